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
  hostNetwork = config.components.cilium.gateway.hostNetwork;
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
    loadBalancerAnnotations = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = lib.optionalAttrs (!hostNetwork && cluster.clusterApi != null) {
        # Hetzner's manager makes no load balancer that it was given no place for.
        "load-balancer.hetzner.cloud/location" = lib.head cluster.clusterApi.regions;
      };
      defaultText = lib.literalMD "the region at Hetzner, where a load balancer carries the Gateway";
      description = "Annotations of the Service that the Gateway makes.";
      example = {
        "load-balancer.hetzner.cloud/location" = "hel1";
      };
    };
    recordTarget = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = if hostNetwork && config.components.external-dns.enable then cluster.apiHost else null;
      defaultText = lib.literalMD "the host of the API, when the Gateway listens on the nodes and external-dns is on";
      description = "What the records of the hosts lead to; null leaves it to the Gateway's own addresses, which it has only from a load balancer.";
      example = "nodes.example.org";
    };
    nodesService = lib.mkOption {
      type = lib.types.str;
      readOnly = true;
      default = "gateway-nodes.kube-system.svc.${cluster.clusterDomain}";
      defaultText = lib.literalMD "a Service in kube-system";
      description = "Name inside the cluster that resolves to the addresses of the nodes on which the Gateway listens, when it listens on nodes.";
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
    dependsOn = [
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
    objects = mkDefaults (
      {
        ${cfg.namespace}.Gateway.${cfg.name} = {
          apiVersion = "gateway.networking.k8s.io/v1";
          metadata.annotations = {
            # cert-manager's shim makes a Certificate a TLS listener from these; an explicit one beside it would fight it.
            "cert-manager.io/cluster-issuer" = cfg.issuer;
            "cert-manager.io/duration" = cfg.duration;
            "cert-manager.io/renew-before" = cfg.renewBefore;
          }
          // lib.optionalAttrs (cfg.recordTarget != null) {
            "external-dns.alpha.kubernetes.io/target" = cfg.recordTarget;
          };
          spec = {
            gatewayClassName = cfg.className;
            listeners = lib.concatLists (lib.mapAttrsToList listeners cfg.hosts);
          }
          // lib.optionalAttrs (cfg.loadBalancerAnnotations != { }) {
            infrastructure.annotations = cfg.loadBalancerAnnotations;
          };
        };
      }
      // lib.optionalAttrs hostNetwork {
        # Headless, and Envoy is on the host's network: its pods' addresses are the nodes'.
        kube-system.Service.gateway-nodes = {
          apiVersion = "v1";
          spec = {
            clusterIP = "None";
            selector.k8s-app = "cilium-envoy";
            ports = [
              {
                name = "http";
                port = 80;
                protocol = "TCP";
              }
              {
                name = "https";
                port = 443;
                protocol = "TCP";
              }
            ];
          };
        };
      }
    );
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
