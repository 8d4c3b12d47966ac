# DNS records at Cloudflare for the hosts of the platform's routes.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  platform,
  ...
}:
let
  cfg = config.components.external-dns;
  name = "external-dns";
  labels."app.kubernetes.io/name" = name;

  routeSources = {
    gateway-grpcroute = "grpcroutes";
    gateway-httproute = "httproutes";
    gateway-tcproute = "tcproutes";
    gateway-tlsroute = "tlsroutes";
    gateway-udproute = "udproutes";
  };
  # external-dns ends with an error when it watches a kind that the API server does not serve.
  experimental = [
    "gateway-tcproute"
    "gateway-tlsroute"
    "gateway-udproute"
  ];
  unserved = lib.optionals (config.components.gateway-api.channel != "experimental") (
    lib.intersectLists experimental cfg.sources
  );
  watched = lib.attrVals (lib.intersectLists (lib.attrNames routeSources) cfg.sources) routeSources;
  read = [
    "get"
    "list"
    "watch"
  ];
in
{
  options.components.external-dns = mkComponent {
    sources = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [
        "service"
        "ingress"
        "gateway-httproute"
        "gateway-grpcroute"
      ]
      ++ lib.optionals (config.components.gateway-api.channel == "experimental") experimental;
      defaultText = lib.literalMD "Services, Ingresses and the routes that the Gateway API's channel serves";
      description = "Kinds of objects that records are read from.";
      example = [ "gateway-httproute" ];
    };
    policy = lib.mkOption {
      type = lib.types.enum [
        "sync"
        "upsert-only"
        "create-only"
      ];
      default = "sync";
      description = "Whether records are also removed (`sync`).";
      example = "upsert-only";
    };
    domains = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ platform.domain ];
      defaultText = lib.literalExpression "[ platform.domain ]";
      description = "Zones that may be changed; all others are left alone.";
      example = [ "example.org" ];
    };
    txtOwnerId = lib.mkOption {
      type = lib.types.str;
      default = "${platform.name}-${cluster.name}";
      defaultText = lib.literalExpression ''"''${platform.name}-''${cluster.name}"'';
      description = "Owner written beside each record; under `sync`, clusters with the same owner delete each other's records.";
      example = "vanixiets-hetzner";
    };
    txtPrefix = lib.mkOption {
      type = lib.types.str;
      default = "externaldns-";
      description = "Prefix of the TXT records that hold the owner.";
      example = "owner-";
    };
    tokenSecret = {
      name = lib.mkOption {
        type = lib.types.str;
        default = "cloudflare-api-token";
        description = "Secret with the Cloudflare token, made by the SopsSecret `external-dns-cloudflare`.";
        example = "cloudflare-dns";
      };
      key = lib.mkOption {
        type = lib.types.str;
        default = "CF_API_TOKEN";
        description = "Key of the token in that Secret; it needs DNS:Edit and Zone:Read.";
        example = "token";
      };
    };
  };

  config.components.external-dns = {
    phase = "external-dns";
    dependsOn = [
      "gateway-api"
      "sops-secrets-operator"
    ];
    namespaces = [ name ];
    assertions = [
      {
        assertion = unserved == [ ];
        message = "${lib.concatStringsSep ", " unserved} would be watched, but the Gateway API's standard channel does not serve them and external-dns ends with an error; leave them out of `components.external-dns.sources` or set `components.gateway-api.channel = \"experimental\"`.";
      }
    ];
    images.external-dns = {
      reference = lib.mkDefault "registry.k8s.io/external-dns/external-dns:v0.21.0";
      platforms = lib.mkDefault [
        "linux/amd64"
        "linux/arm64"
      ];
    };
    objects = mkDefaults {
      none = {
        ClusterRole.${name} = {
          apiVersion = "rbac.authorization.k8s.io/v1";
          metadata = { inherit labels; };
          rules = [
            {
              apiGroups = [ "" ];
              resources = [
                "namespaces"
                "nodes"
                "pods"
                "services"
              ];
              verbs = read;
            }
            {
              apiGroups = [ "discovery.k8s.io" ];
              resources = [ "endpointslices" ];
              verbs = read;
            }
            {
              apiGroups = [ "networking.k8s.io" ];
              resources = [ "ingresses" ];
              verbs = read;
            }
            {
              apiGroups = [ "gateway.networking.k8s.io" ];
              resources = [ "gateways" ] ++ watched;
              verbs = read;
            }
          ];
        };
        ClusterRoleBinding.${name} = {
          apiVersion = "rbac.authorization.k8s.io/v1";
          metadata = { inherit labels; };
          roleRef = {
            apiGroup = "rbac.authorization.k8s.io";
            kind = "ClusterRole";
            inherit name;
          };
          subjects = [
            {
              kind = "ServiceAccount";
              inherit name;
              namespace = name;
            }
          ];
        };
      };
      ${name} = {
        ServiceAccount.${name} = {
          apiVersion = "v1";
          metadata = { inherit labels; };
        };
        Deployment.${name} = {
          apiVersion = "apps/v1";
          metadata = { inherit labels; };
          spec = {
            # It has no leader election.
            replicas = 1;
            strategy.type = "Recreate";
            selector.matchLabels = labels;
            template = {
              metadata = { inherit labels; };
              spec = {
                serviceAccountName = name;
                securityContext = {
                  fsGroup = 65534;
                  runAsNonRoot = true;
                  seccompProfile.type = "RuntimeDefault";
                };
                containers = [
                  {
                    inherit name;
                    image = cfg.images.external-dns.reference;
                    args =
                      map (source: "--source=${source}") cfg.sources
                      ++ map (domain: "--domain-filter=${domain}") cfg.domains
                      ++ [
                        "--provider=cloudflare"
                        "--cloudflare-dns-records-per-page=5000"
                        "--no-cloudflare-proxied"
                        "--interval=1m"
                        "--log-format=json"
                        "--policy=${cfg.policy}"
                        "--registry=txt"
                        "--txt-owner-id=${cfg.txtOwnerId}"
                        "--txt-prefix=${cfg.txtPrefix}"
                      ];
                    env = [
                      {
                        name = "CF_API_TOKEN";
                        valueFrom.secretKeyRef = {
                          inherit (cfg.tokenSecret) key name;
                        };
                      }
                    ];
                    ports = [
                      {
                        name = "http";
                        containerPort = 7979;
                        protocol = "TCP";
                      }
                    ];
                    livenessProbe = {
                      httpGet = {
                        path = "/healthz";
                        port = "http";
                      };
                      initialDelaySeconds = 10;
                    };
                    readinessProbe = {
                      httpGet = {
                        path = "/healthz";
                        port = "http";
                      };
                      initialDelaySeconds = 5;
                    };
                    resources = {
                      requests = {
                        cpu = "10m";
                        memory = "64Mi";
                      };
                      limits.memory = "128Mi";
                    };
                    securityContext = {
                      allowPrivilegeEscalation = false;
                      capabilities.drop = [ "ALL" ];
                      privileged = false;
                      readOnlyRootFilesystem = true;
                      runAsGroup = 65532;
                      runAsUser = 65532;
                    };
                  }
                ];
              };
            };
          };
        };
      };
    };
  };
}
