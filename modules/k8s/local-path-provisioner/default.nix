# Volumes on the node's own disk, and the one default StorageClass of the platform.
{
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.local-path-provisioner;
  name = "local-path-provisioner";
  labels."app.kubernetes.io/name" = name;
  platforms = lib.mkDefault [
    "linux/amd64"
    "linux/arm64"
  ];
in
{
  options.components.local-path-provisioner = mkComponent {
    path = lib.mkOption {
      type = lib.types.str;
      default = "/var/lib/local-path-provisioner";
      description = "Folder on every node below which volumes are made.";
      example = "/mnt/volumes";
    };
    storageClass = lib.mkOption {
      type = lib.types.str;
      default = "local-path";
      description = "Name of the StorageClass.";
      example = "node-disk";
    };
    default = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Whether the StorageClass is the cluster's default; exactly one may be.";
      example = false;
    };
  };

  config.components.local-path-provisioner = {
    phase = "storage";
    images = {
      provisioner = {
        reference = lib.mkDefault "docker.io/rancher/local-path-provisioner:v0.0.37";
        inherit platforms;
      };
      # Runs once for each volume that is made or removed.
      helper = {
        reference = lib.mkDefault "docker.io/library/busybox:1.37.0";
        inherit platforms;
      };
    };
    objects = mkDefaults {
      none = {
        StorageClass.${cfg.storageClass} = {
          apiVersion = "storage.k8s.io/v1";
          metadata = {
            inherit labels;
            annotations."storageclass.kubernetes.io/is-default-class" = lib.boolToString cfg.default;
          };
          provisioner = "rancher.io/local-path";
          reclaimPolicy = "Delete";
          # The volume must be made on the node that the pod goes to.
          volumeBindingMode = "WaitForFirstConsumer";
        };
        ClusterRole.${name} = {
          apiVersion = "rbac.authorization.k8s.io/v1";
          metadata = { inherit labels; };
          rules = [
            {
              apiGroups = [ "" ];
              resources = [
                "configmaps"
                "nodes"
                "pods"
                "pods/log"
              ];
              verbs = [
                "get"
                "list"
                "watch"
              ];
            }
            {
              apiGroups = [ "" ];
              resources = [ "persistentvolumeclaims" ];
              verbs = [
                "get"
                "list"
                "update"
                "watch"
              ];
            }
            {
              apiGroups = [ "" ];
              resources = [ "persistentvolumes" ];
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
              apiGroups = [ "" ];
              resources = [ "events" ];
              verbs = [
                "create"
                "patch"
              ];
            }
            {
              apiGroups = [ "storage.k8s.io" ];
              resources = [ "storageclasses" ];
              verbs = [
                "get"
                "list"
                "watch"
              ];
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
              namespace = "kube-system";
            }
          ];
        };
      };
      kube-system = {
        ServiceAccount.${name} = {
          apiVersion = "v1";
          metadata = { inherit labels; };
        };
        # The provisioner starts its helper pods in its own namespace only.
        Role.${name} = {
          apiVersion = "rbac.authorization.k8s.io/v1";
          metadata = { inherit labels; };
          rules = [
            {
              apiGroups = [ "" ];
              resources = [ "pods" ];
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
          ];
        };
        RoleBinding.${name} = {
          apiVersion = "rbac.authorization.k8s.io/v1";
          metadata = { inherit labels; };
          roleRef = {
            apiGroup = "rbac.authorization.k8s.io";
            kind = "Role";
            inherit name;
          };
          subjects = [
            {
              kind = "ServiceAccount";
              inherit name;
              namespace = "kube-system";
            }
          ];
        };
        ConfigMap.local-path-config = {
          apiVersion = "v1";
          metadata = { inherit labels; };
          data = {
            "config.json" = builtins.toJSON {
              nodePathMap = [
                {
                  node = "DEFAULT_PATH_FOR_NON_LISTED_NODES";
                  paths = [ cfg.path ];
                }
              ];
            };
            setup = ''
              #!/bin/sh
              set -eu
              mkdir -m 0777 -p "$VOL_DIR"
            '';
            teardown = ''
              #!/bin/sh
              set -eu
              rm -rf "$VOL_DIR"
            '';
            # JSON is YAML; the provisioner reads either.
            "helperPod.yaml" = builtins.toJSON {
              apiVersion = "v1";
              kind = "Pod";
              metadata.name = "helper-pod";
              spec = {
                priorityClassName = "system-node-critical";
                # A volume must also go away from a node whose disk is full.
                tolerations = [
                  {
                    key = "node.kubernetes.io/disk-pressure";
                    operator = "Exists";
                    effect = "NoSchedule";
                  }
                ];
                containers = [
                  {
                    name = "helper-pod";
                    image = cfg.images.helper.reference;
                    imagePullPolicy = "IfNotPresent";
                  }
                ];
              };
            };
          };
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
                containers = [
                  {
                    inherit name;
                    image = cfg.images.provisioner.reference;
                    command = [
                      "local-path-provisioner"
                      "start"
                      "--config"
                      "/etc/config/config.json"
                      "--service-account-name"
                      name
                      "--provisioner-name"
                      "rancher.io/local-path"
                      "--helper-image"
                      cfg.images.helper.reference
                      "--configmap-name"
                      "local-path-config"
                    ];
                    env = [
                      {
                        name = "POD_NAMESPACE";
                        valueFrom.fieldRef.fieldPath = "metadata.namespace";
                      }
                      {
                        name = "CONFIG_MOUNT_PATH";
                        value = "/etc/config/";
                      }
                      {
                        name = "HEALTH_PORT";
                        value = "8080";
                      }
                    ];
                    ports = [
                      {
                        name = "health";
                        containerPort = 8080;
                        protocol = "TCP";
                      }
                    ];
                    startupProbe = {
                      httpGet = {
                        path = "/health";
                        port = "health";
                      };
                      periodSeconds = 5;
                      failureThreshold = 12;
                    };
                    livenessProbe.httpGet = {
                      path = "/health";
                      port = "health";
                    };
                    readinessProbe = {
                      httpGet = {
                        path = "/ready";
                        port = "health";
                      };
                      periodSeconds = 5;
                    };
                    resources = {
                      requests = {
                        cpu = "10m";
                        memory = "32Mi";
                      };
                      limits.memory = "128Mi";
                    };
                    volumeMounts = [
                      {
                        name = "config";
                        mountPath = "/etc/config/";
                        readOnly = true;
                      }
                    ];
                  }
                ];
                volumes = [
                  {
                    name = "config";
                    configMap.name = "local-path-config";
                  }
                ];
              };
            };
          };
        };
      };
    };
    gates.default-class = {
      needs = "api";
      object = {
        apiVersion = "storage.k8s.io/v1";
        kind = "StorageClass";
      };
      condition.type = "oneDefaultStorageClass";
    };
  };
}
