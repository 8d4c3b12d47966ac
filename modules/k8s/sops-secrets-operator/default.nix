# Decrypts SopsSecrets inside the cluster, and carries those of `k8s/secrets` that the platform config requires of this cluster.
# The age key is never rendered: the Secret that holds it is put into the namespace before the phases begin.
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
  cfg = config.components.sops-secrets-operator;
  name = "sops-secrets-operator";
  labels."app.kubernetes.io/name" = name;
  keyFolder = "/etc/${cfg.ageKeySecret}";

  # What the platform config says must exist on this cluster, as far as a component of this cluster makes the namespace:
  # hosts have secrets too, and those of ClusterAPI are moved from cluster to cluster and not decrypted here.
  namespaces = lib.concatMap (component: lib.optionals component.enable component.namespaces) (
    lib.attrValues config.components
  );
  required = lib.filter (
    secret: lib.elem cluster.name secret.clusters && lib.elem secret.namespace namespaces
  ) platform.secrets.required;
  isAsked = secret: lib.any (key: key.kind == "asked") (lib.attrValues secret.keys);
  filesOf = secrets: lib.unique (map (secret: secret.file) secrets);
in
{
  options.components.sops-secrets-operator = mkComponent {
    ageKeySecret = lib.mkOption {
      type = lib.types.str;
      default = "sops-age-key-file";
      description = "Secret with the age identity under the key `key`, made before the operator and never part of the manifests.";
      example = "age-identity";
    };
    logLevel = lib.mkOption {
      type = lib.types.enum [
        "debug"
        "info"
        "error"
      ];
      default = "info";
      description = "What the operator logs.";
      example = "debug";
    };
    retryMinutes = lib.mkOption {
      type = lib.types.ints.positive;
      default = 1;
      description = "Minutes until a SopsSecret that could not be decrypted is tried again.";
      example = 5;
    };
  };

  config.components.sops-secrets-operator = {
    phase = "secrets";
    namespaces = [ name ];
    images.operator = {
      reference = lib.mkDefault "quay.io/isindir/sops-secrets-operator:0.21.1";
      platforms = lib.mkDefault [
        "linux/amd64"
        "linux/arm64"
      ];
    };
    manifests.crd = {
      source = {
        type = "github";
        owner = "isindir";
        repo = "sops-secrets-operator";
        # 0.21.1
        rev = "061dc76a5e1a8a263afa5ec75da9d77df66479cd";
        hash = "sha256-e/BStoWDWaVOm/CzUYVizaHQ/nsUSkQq6+ALi8boIj8=";
      };
      # The chart's own copy is a symlink to this file.
      files = [ "config/crd/bases/isindir.github.com_sopssecrets.yaml" ];
      contains = [ "crds" ];
    };
    secrets = filesOf (lib.filter (secret: !isAsked secret) required);
    optionalSecrets = filesOf (lib.filter isAsked required);
    objects = mkDefaults {
      none = {
        ClusterRole.${name} = {
          apiVersion = "rbac.authorization.k8s.io/v1";
          metadata = { inherit labels; };
          rules = [
            {
              apiGroups = [ "isindir.github.com" ];
              resources = [ "sopssecrets" ];
              verbs = [
                "create"
                "delete"
                "get"
                "list"
                "patch"
                "update"
                "watch"
              ];
            }
            {
              apiGroups = [ "isindir.github.com" ];
              resources = [ "sopssecrets/finalizers" ];
              verbs = [ "update" ];
            }
            {
              apiGroups = [ "isindir.github.com" ];
              resources = [ "sopssecrets/status" ];
              verbs = [
                "get"
                "patch"
                "update"
              ];
            }
            {
              # A SopsSecret may stand in any namespace and makes Secrets beside itself.
              apiGroups = [ "" ];
              resources = [
                "configmaps"
                "secrets"
              ];
              verbs = [ "*" ];
            }
            {
              apiGroups = [ "" ];
              resources = [ "secrets/status" ];
              verbs = [
                "get"
                "patch"
                "update"
              ];
            }
            {
              apiGroups = [
                ""
                "events.k8s.io"
              ];
              resources = [ "events" ];
              verbs = [
                "create"
                "patch"
              ];
            }
            {
              apiGroups = [ "coordination.k8s.io" ];
              resources = [ "leases" ];
              verbs = [ "*" ];
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
            replicas = 1;
            selector.matchLabels = labels;
            template = {
              metadata = { inherit labels; };
              spec = {
                serviceAccountName = name;
                securityContext = {
                  # The image names its user, and only a number can be proved not to be root.
                  fsGroup = 13001;
                  runAsGroup = 13001;
                  runAsNonRoot = true;
                  runAsUser = 13001;
                  seccompProfile.type = "RuntimeDefault";
                };
                containers = [
                  {
                    inherit name;
                    image = cfg.images.operator.reference;
                    command = [ "/usr/local/bin/manager" ];
                    args = [
                      "-health-probe-bind-address=:8081"
                      "-leader-elect"
                      "-requeue-decrypt-after=${toString cfg.retryMinutes}"
                      "-zap-encoder=json"
                      "-zap-log-level=${cfg.logLevel}"
                    ];
                    env = [
                      {
                        name = "POD_NAME";
                        valueFrom.fieldRef.fieldPath = "metadata.name";
                      }
                      {
                        name = "SOPS_AGE_KEY_FILE";
                        value = "${keyFolder}/key";
                      }
                    ];
                    ports = [
                      {
                        name = "health";
                        containerPort = 8081;
                        protocol = "TCP";
                      }
                    ];
                    livenessProbe = {
                      httpGet = {
                        path = "/healthz";
                        port = "health";
                      };
                      initialDelaySeconds = 15;
                      periodSeconds = 20;
                    };
                    readinessProbe = {
                      httpGet = {
                        path = "/readyz";
                        port = "health";
                      };
                      initialDelaySeconds = 5;
                    };
                    resources = {
                      requests = {
                        cpu = "10m";
                        memory = "64Mi";
                      };
                      limits = {
                        cpu = "100m";
                        memory = "128Mi";
                      };
                    };
                    securityContext = {
                      allowPrivilegeEscalation = false;
                      capabilities.drop = [ "ALL" ];
                    };
                    volumeMounts = [
                      {
                        name = "age-key";
                        mountPath = keyFolder;
                        readOnly = true;
                      }
                    ];
                  }
                ];
                volumes = [
                  {
                    name = "age-key";
                    secret = {
                      secretName = cfg.ageKeySecret;
                      # 0440
                      defaultMode = 288;
                    };
                  }
                ];
              };
            };
          };
        };
      };
    };
    gates =
      lib.optionalAttrs (required != [ ]) {
        # kluctl takes any status for ready, `Decryption error` too.
        decrypted = {
          needs = "controller";
          object = {
            apiVersion = "isindir.github.com/v1alpha3";
            kind = "SopsSecret";
          };
          condition = {
            type = "field";
            pointer = "/status/message";
            value = "Healthy";
          };
        };
      }
      // lib.listToAttrs (
        map (
          secret:
          lib.nameValuePair "secret-${secret.namespace}-${secret.name}" {
            needs = "controller";
            object = {
              apiVersion = "v1";
              kind = "Secret";
              inherit (secret) name namespace;
            };
            condition.type = "exists";
          }
        ) required
      );
  };
}
