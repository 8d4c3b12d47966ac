{ stage, withComponents, ... }:
let
  chartOf = s: s.components.cert-manager.charts.cert-manager;
  local = stage "k3s-dev-local" { };
in
{
  "the placeholder version of the source is overwritten" = {
    expr = {
      inherit (chartOf local) overwriteVersion version;
    };
    expected = {
      overwriteVersion = "v1.21.1";
      version = "v1.21.1";
    };
  };
  "the shim for Gateways follows the CRDs that it reads" = {
    expr = map (s: (chartOf s).values.config.enableGatewayAPI) [
      local
      (stage "k3s-capi-local" (
        withComponents "k3s-capi" {
          gateway-api.enable = false;
          cilium.gateway.enable = false;
        }
      ))
    ];
    expected = [
      true
      false
    ];
  };
  "what issuers need of it is a gate: the webhook answers" = {
    expr = local.gates."cert-manager.webhook".condition.type;
    expected = "endpointsReady";
  };
}
