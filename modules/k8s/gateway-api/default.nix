# The Gateway API's CRDs of the standard channel.
# They come before everything that reads them: Cilium's operator and cert-manager look for them once, at start.
{
  config,
  lib,
  mkComponent,
  ...
}:
let
  cfg = config.components.gateway-api;
in
{
  options.components.gateway-api = mkComponent {
    channel = lib.mkOption {
      type = lib.types.enum [
        "standard"
        "experimental"
      ];
      default = "standard";
      description = "Release channel of the CRDs; `experimental` adds TCPRoute, TLSRoute and UDPRoute.";
      example = "experimental";
    };
  };

  config.components.gateway-api = {
    phase = "base";
    manifests.gateway-api = {
      source = {
        type = "github";
        owner = "kubernetes-sigs";
        repo = "gateway-api";
        # v1.4.1
        rev = "477d172e6ac5eccb82b65781ddb8f924afec4170";
        hash = "sha256-/GHyikcC2QGDN0ndpY6/xvSEEnpSsLrNU+lFElCKBs8=";
      };
      files = [ "config/crd/${cfg.channel}" ];
      contains = [ "crds" ];
    };
  };
}
