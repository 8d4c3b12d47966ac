# ArgoCD, which applies the applications; it manages no component of the platform.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.argocd;
  namespace = "argocd";
  gateway = config.components.gateway;
  # A search list of five domains turns each look-up of a Git host into six queries.
  dns.dnsConfig.options = [
    {
      name = "ndots";
      value = "1";
    }
  ];
  applicationHealth = ''
    local health = { status = "Progressing", message = "no health yet" }
    if obj.status ~= nil and obj.status.health ~= nil then
      health.status = obj.status.health.status
      health.message = obj.status.health.message or ""
    end
    return health
  '';
  deployments = [
    "argocd-redis"
    "argocd-repo-server"
    "argocd-server"
  ];
  platforms = lib.mkDefault [
    "linux/amd64"
    "linux/arm64"
  ];
in
{
  options.components.argocd = mkComponent {
    hostname = lib.mkOption {
      type = lib.types.str;
      default = "argocd.${cluster.routeDomain}";
      defaultText = lib.literalExpression ''"argocd.''${cluster.routeDomain}"'';
      description = "Host name of the UI.";
      example = "argocd.example.org";
    };
    route = lib.mkOption {
      type = lib.types.bool;
      default = gateway.enable;
      defaultText = lib.literalExpression "components.gateway.enable";
      description = "Whether the UI is reached through the main gateway.";
      example = false;
    };
    defaultRole = lib.mkOption {
      type = lib.types.str;
      default = if cluster.environment == "local" then "role:admin" else "";
      defaultText = lib.literalExpression ''if cluster.environment == "local" then "role:admin" else ""'';
      description = "What a user may do who is in no group; empty means nothing.";
      example = "role:readonly";
    };
  };

  config.components.gateway.hosts = lib.mkIf (cfg.enable && cfg.route) {
    argocd.hostname = cfg.hostname;
  };

  config.components.argocd = {
    phase = "argocd";
    namespaces = [ namespace ];
    # The Secret `argocd-redis` comes by SopsSecret.
    dependsOn = [ "sops-secrets-operator" ] ++ lib.optional cfg.route "gateway";
    charts.argocd = {
      source = {
        type = "github";
        owner = "argoproj";
        repo = "argo-helm";
        # argo-cd-10.1.1
        rev = "af0a9310bacbaa4636018dfe22c801a6d33a5c43";
        hash = "sha256-zch04nvDlCeXwK1fdvbZv11gqOJwrqIz8WuKy3uHDqs=";
      };
      path = "charts/argo-cd";
      version = "10.1.1";
      inherit namespace;
      # Off, and would have to be downloaded all the same.
      dropDependencies = [ "redis-ha" ];
      contains = [
        "crds"
        "plain"
        "workloads"
      ];
      values = mkDefaults {
        crds = {
          install = true;
          keep = true;
        };
        global = {
          domain = cfg.hostname;
          revisionHistoryLimit = 3;
        };
        configs = {
          # Without it sync waves order only the creation of Applications, not one after the other's health.
          cm."resource.customizations.health.argoproj.io_Application" = applicationHealth;
          # TLS ends at the gateway.
          params."server.insecure" = true;
          rbac."policy.default" = cfg.defaultRole;
        };
        # Its Job ran before its ServiceAccount and hung without a CNI; the Secret is ours.
        redisSecretInit.enabled = false;
        redis-ha.enabled = false;
        dex.enabled = false;
        notifications.enabled = false;
        redis = dns // {
          enabled = true;
        };
        controller = dns // {
          replicas = 1;
          # It has a default of its own.
          revisionHistoryLimit = 3;
        };
        server = dns // {
          replicas = 1;
        };
        repoServer = dns // {
          replicas = 1;
        };
        applicationSet = dns // {
          replicas = 1;
        };
      };
    };
    images.argocd = {
      reference = lib.mkDefault "quay.io/argoproj/argocd:v3.4.4";
      inherit platforms;
    };
    images.redis = {
      reference = lib.mkDefault "ecr-public.aws.com/docker/library/redis:8.2.3-alpine";
      inherit platforms;
    };
    objects.${namespace}.HTTPRoute = lib.mkIf cfg.route (mkDefaults {
      argocd = {
        apiVersion = "gateway.networking.k8s.io/v1";
        spec = {
          parentRefs = [
            {
              group = "gateway.networking.k8s.io";
              kind = "Gateway";
              inherit (gateway) name namespace;
              sectionName = "https-argocd";
            }
          ];
          hostnames = [ cfg.hostname ];
          rules = [
            {
              backendRefs = [
                {
                  group = "";
                  kind = "Service";
                  name = "argocd-server";
                  port = 80;
                }
              ];
            }
          ];
        };
      };
      # The ACME solver's route on the same listener names a longer path and so goes first.
      argocd-redirect = {
        apiVersion = "gateway.networking.k8s.io/v1";
        spec = {
          parentRefs = [
            {
              group = "gateway.networking.k8s.io";
              kind = "Gateway";
              inherit (gateway) name namespace;
              sectionName = "http-argocd";
            }
          ];
          hostnames = [ cfg.hostname ];
          rules = [
            {
              filters = [
                {
                  type = "RequestRedirect";
                  requestRedirect = {
                    scheme = "https";
                    statusCode = 301;
                  };
                }
              ];
            }
          ];
        };
      };
    });
    gates =
      lib.genAttrs deployments (name: {
        needs = "kubelet";
        object = {
          apiVersion = "apps/v1";
          kind = "Deployment";
          inherit name namespace;
        };
        condition.type = "podsReady";
      })
      // {
        application-controller = {
          needs = "kubelet";
          object = {
            apiVersion = "apps/v1";
            kind = "StatefulSet";
            inherit namespace;
            name = "argocd-application-controller";
          };
          condition.type = "podsReady";
        };
      };
  };
}
