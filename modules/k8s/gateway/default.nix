# The one Gateway of the platform; components and applications add a host and attach their routes to its listeners.
# Each host has listeners of its own: a wildcard on 80 would send the ACME solver's route to HTTPS, one on 443 would ask for a certificate that HTTP-01 can't give.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.gateway;
  everywhere.namespaces.from = "All";
  listeners =
    host:
    { hostname, ... }:
    [
      {
        name = "http-${host}";
        inherit hostname;
        port = 80;
        protocol = "HTTP";
        allowedRoutes = everywhere;
      }
      {
        name = "https-${host}";
        inherit hostname;
        port = 443;
        protocol = "HTTPS";
        allowedRoutes = everywhere;
        tls = {
          mode = "Terminate";
          # In the Gateway's own namespace, where the shim makes the Certificate; elsewhere it would need a ReferenceGrant.
          certificateRefs = [
            {
              group = "";
              kind = "Secret";
              name = "${host}-tls";
            }
          ];
        };
      }
    ];
in
{
  options.components.gateway = mkComponent {
    name = lib.mkOption {
      type = lib.types.str;
      default = "main-gateway";
      description = "Name of the Gateway.";
      example = "public";
    };
    namespace = lib.mkOption {
      type = lib.types.str;
      default = "gateway-system";
      description = "Namespace of the Gateway and of its TLS Secrets.";
      example = "ingress";
    };
    className = lib.mkOption {
      type = lib.types.str;
      default = "cilium";
      description = "GatewayClass.";
      example = "cilium-internal";
    };
    issuer = lib.mkOption {
      type = lib.types.str;
      default = cluster.issuer;
      defaultText = lib.literalExpression "cluster.issuer";
      description = "ClusterIssuer of the listeners' certificates.";
      example = "letsencrypt-staging";
    };
    duration = lib.mkOption {
      type = lib.types.str;
      default = "2160h";
      description = "Validity that the certificates ask for.";
      example = "720h";
    };
    renewBefore = lib.mkOption {
      type = lib.types.str;
      default = "360h";
      description = "How long before their end certificates are renewed.";
      example = "240h";
    };
    hosts = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule {
          options.hostname = lib.mkOption {
            type = lib.types.strMatching "[a-z0-9]([a-z0-9.-]*[a-z0-9])?";
            description = "Full name of the host, without a wildcard.";
            example = "argocd.example.org";
          };
        }
      );
      default = { };
      description = "Hosts by short name: listeners `http-<name>` and `https-<name>`, Secret `<name>-tls`.";
      example = lib.literalExpression ''{ shop.hostname = "shop.''${cluster.routeDomain}"; }'';
    };
  };

  config.components.gateway = {
    phase = "issuers";
    needs = [
      "cert-manager"
      "cilium"
      "gateway-api"
      "issuers"
    ];
    namespaces = [ cfg.namespace ];
    assertions = [
      {
        assertion = cfg.hosts != { };
        message = "a Gateway without listeners is refused by the API; add a host with `components.gateway.hosts.<name>.hostname`, or switch the component off on cluster `${cluster.name}`.";
      }
    ];
    objects.${cfg.namespace}.Gateway.${cfg.name} = mkDefaults {
      apiVersion = "gateway.networking.k8s.io/v1";
      metadata.annotations = {
        # cert-manager's shim makes a Certificate a TLS listener from these; an explicit one beside it would fight it.
        "cert-manager.io/cluster-issuer" = cfg.issuer;
        "cert-manager.io/duration" = cfg.duration;
        "cert-manager.io/renew-before" = cfg.renewBefore;
      };
      spec = {
        gatewayClassName = cfg.className;
        listeners = lib.concatLists (lib.mapAttrsToList listeners cfg.hosts);
      };
    };
    gates = {
      programmed = {
        needs = "controller";
        object = {
          apiVersion = "gateway.networking.k8s.io/v1";
          kind = "Gateway";
          inherit (cfg) name namespace;
        };
        condition = {
          type = "condition";
          condition = "Programmed";
          status = "True";
        };
      };
    }
    // lib.mapAttrs' (
      host: _:
      lib.nameValuePair "certificate-${host}" {
        needs = "controller";
        object = {
          apiVersion = "cert-manager.io/v1";
          kind = "Certificate";
          namespace = cfg.namespace;
          name = "${host}-tls";
        };
        condition = {
          type = "condition";
          condition = "Ready";
          status = "True";
        };
      }
    ) cfg.hosts;
  };
}
