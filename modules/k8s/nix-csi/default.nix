# Volumes with a Nix store inside: a CSI driver mounts closures into pods.
# Objects and names follow the driver's own modules at 0.1.12 (rev ff41e10841df062941d8d5fcd2dd66fdd9e9d846), whose code looks some of them up by name.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.nix-csi;
  inherit (cfg) cache namespace;
  driver = "nix.csi.store";
  rbac = "rbac.authorization.k8s.io";

  labels."app.kubernetes.io/name" = "nix-csi-node";
  cacheName = "nix-csi-cache";
  cacheLabels."app.kubernetes.io/name" = cacheName;

  # The driver copies what it builds to this ssh host, by this name.
  cacheHost = "nix-cache";
  sshConfig = ''
    Host ${cacheHost}
      HostName ${cacheName}.${namespace}.svc
      User root
      Port 22
      IdentityFile ~/.ssh/id_ed25519
      StrictHostKeyChecking accept-new
      UserKnownHostsFile ~/.ssh/known_hosts
  '';

  nixConf = ''
    store = daemon
    build-users-group = nobody
    auto-allocate-uids = true
    experimental-features = nix-command flakes auto-allocate-uids fetch-closure
    fallback = true
    warn-dirty = false
    trusted-public-keys = cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=
  ''
  + (
    if cache.enable then
      ''
        substituters = ssh://${cacheHost}?trusted=true https://cache.nixos.org
      ''
    else
      ''
        substituters = https://cache.nixos.org
      ''
  );

  # What `<nixpkgs>` means in expressions given to the driver; built once on each node.
  nixPath = ''
    let
      nixpkgs = builtins.fetchTree {
        type = "github";
        owner = "NixOS";
        repo = "nixpkgs";
        rev = "${cfg.nixpkgs.rev}";
        narHash = "${cfg.nixpkgs.hash}";
      };
    in
    (import nixpkgs { }).writeText "NIX_PATH" "nixpkgs=''${nixpkgs}"
  '';

  hostPath = name: path: type: {
    inherit name;
    hostPath = {
      inherit path;
    }
    // lib.optionalAttrs (type != null) { inherit type; };
  };
  mount = name: mountPath: { inherit name mountPath; };
  shared = name: mountPath: {
    inherit name mountPath;
    # Mounts that the driver makes must reach the host, and from there the pods.
    mountPropagation = "Bidirectional";
  };
  nodeName = {
    name = "KUBE_NODE_NAME";
    valueFrom.fieldRef.fieldPath = "spec.nodeName";
  };

  platforms = lib.mkDefault [
    "linux/amd64"
    "linux/arm64"
  ];
in
{
  options.components.nix-csi = mkComponent {
    namespace = lib.mkOption {
      type = lib.types.str;
      default = "nix-csi";
      description = "Namespace of the driver.";
      example = "nix-system";
    };
    hostPath = lib.mkOption {
      type = lib.types.str;
      # Build jobs of the driver mount this very path, whatever else is said here.
      default = "/var/lib/nix-csi/nix";
      description = "Folder on the node that holds the store.";
      example = "/var/lib/nix-csi/nix";
    };
    nixpkgs = {
      rev = lib.mkOption {
        type = lib.types.strMatching "[0-9a-f]{40}";
        default = "b18a4b905f8d028dc4476412e6d6891728695379";
        description = "Revision of nixpkgs that `<nixpkgs>` means in expressions given to the driver.";
        example = "b18a4b905f8d028dc4476412e6d6891728695379";
      };
      hash = lib.mkOption {
        type = lib.types.str;
        default = "sha256-gwrPcFf/rDjHPaVflbDZ040ZDmBTRj/7+s8ZmE2SaIM=";
        description = "NAR hash of that revision.";
        example = "sha256-gwrPcFf/rDjHPaVflbDZ040ZDmBTRj/7+s8ZmE2SaIM=";
      };
    };
    cache = {
      enable = lib.mkOption {
        type = lib.types.bool;
        default = cluster.environment == "production";
        defaultText = lib.literalExpression ''cluster.environment == "production"'';
        description = "Whether the nodes share a store on a volume, reached by SSH; one node alone has no other to share with.";
        example = true;
      };
      storage = lib.mkOption {
        type = lib.types.str;
        default = "10Gi";
        description = "Size of the cache's volume.";
        example = "50Gi";
      };
      storageClassName = lib.mkOption {
        type = lib.types.str;
        default = config.components.local-path-provisioner.storageClass;
        defaultText = lib.literalExpression "components.local-path-provisioner.storageClass";
        description = "StorageClass of the cache's volume.";
        example = "local-path";
      };
      keySecret = lib.mkOption {
        type = lib.types.str;
        default = "nix-csi-cache-ssh";
        description = "Secret with the SSH key `id_ed25519`: the cache's host key, and the key with which nodes and people come.";
        example = "nix-cache-key";
      };
      loadBalancer = lib.mkOption {
        type = lib.types.bool;
        default = config.components.hcloud-ccm.enable;
        defaultText = lib.literalExpression "components.hcloud-ccm.enable";
        description = "Whether closures can be pushed from outside, at port 2222 of a load balancer; something must hand out its address.";
        example = false;
      };
    };
  };

  config.components.namespaces.labels.${namespace} = {
    # The driver's pod is privileged.
    "pod-security.kubernetes.io/enforce" = "privileged";
  };

  config.components.nix-csi = {
    phase = "nix-csi";
    namespaces = [ namespace ];
    dependsOn = lib.optionals cache.enable [
      "local-path-provisioner"
      "sops-secrets-operator"
    ];
    images = {
      driver = {
        reference = lib.mkDefault "quay.io/nix-csi/nix-csi:0.1.12";
        inherit platforms;
      };
      # Holds nothing: what runs in it comes from the mounted store.
      scratch = {
        reference = lib.mkDefault "quay.io/nix-csi/scratch:1.0.0";
        inherit platforms;
      };
      registrar = {
        reference = lib.mkDefault "registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.15.0";
        inherit platforms;
      };
      livenessprobe = {
        reference = lib.mkDefault "registry.k8s.io/sig-storage/livenessprobe:v2.17.0";
        inherit platforms;
      };
    };
    objects = mkDefaults {
      none = {
        CSIDriver.${driver} = {
          apiVersion = "storage.k8s.io/v1";
          spec = {
            attachRequired = false;
            fsGroupPolicy = "File";
            podInfoOnMount = false;
            requiresRepublish = false;
            storageCapacity = false;
            volumeLifecycleModes = [ "Ephemeral" ];
          };
        };
        StorageClass.nix-csi = {
          apiVersion = "storage.k8s.io/v1";
          provisioner = driver;
          allowVolumeExpansion = false;
          reclaimPolicy = "Delete";
          volumeBindingMode = "WaitForFirstConsumer";
        };
      };
      ${namespace} = {
        ServiceAccount.nix-csi = {
          apiVersion = "v1";
          metadata = { inherit labels; };
        };
        Role.nix-csi = {
          apiVersion = "${rbac}/v1";
          metadata = { inherit labels; };
          rules = [
            {
              # Builds run as Jobs, each with its expression in a ConfigMap.
              apiGroups = [ "batch" ];
              resources = [ "jobs" ];
              verbs = [
                "create"
                "delete"
                "get"
                "list"
                "patch"
                "watch"
              ];
            }
            {
              apiGroups = [ "" ];
              resources = [ "configmaps" ];
              verbs = [
                "create"
                "delete"
                "get"
                "list"
                "patch"
                "watch"
              ];
            }
            {
              apiGroups = [ "" ];
              resources = [
                "pods"
                "pods/log"
              ];
              verbs = [
                "get"
                "list"
                "watch"
              ];
            }
          ];
        };
        RoleBinding.nix-csi = {
          apiVersion = "${rbac}/v1";
          metadata = { inherit labels; };
          roleRef = {
            apiGroup = rbac;
            kind = "Role";
            name = "nix-csi";
          };
          subjects = [
            {
              kind = "ServiceAccount";
              name = "nix-csi";
              inherit namespace;
            }
          ];
        };
        ConfigMap = {
          nix-buildscript = {
            apiVersion = "v1";
            metadata = { inherit labels; };
            data.run = ''
              set -eu
              nix build --impure --no-link --print-out-paths --file /buildinfo
            '';
          };
          nix-config = {
            apiVersion = "v1";
            metadata = { inherit labels; };
            data = {
              "nix.conf" = nixConf;
              "nix-path.nix" = nixPath;
            };
          };
        }
        // lib.optionalAttrs cache.enable {
          nix-csi-ssh = {
            apiVersion = "v1";
            metadata = { inherit labels; };
            data.config = sshConfig;
          };
        };
        DaemonSet.nix-csi-node = {
          apiVersion = "apps/v1";
          metadata = { inherit labels; };
          spec = {
            selector.matchLabels = labels;
            updateStrategy = {
              type = "RollingUpdate";
              rollingUpdate.maxUnavailable = 1;
            };
            template = {
              metadata = {
                inherit labels;
                annotations = {
                  "kubectl.kubernetes.io/default-container" = "nix-csi-node";
                  # nix.conf is read at start.
                  "checksum/config" = builtins.hashString "sha256" (nixConf + nixPath);
                };
              };
              spec = {
                serviceAccountName = "nix-csi";
                priorityClassName = "system-node-critical";
                tolerations = [
                  {
                    operator = "Exists";
                    effect = "NoSchedule";
                  }
                  {
                    operator = "Exists";
                    effect = "NoExecute";
                  }
                ];
                initContainers = [
                  {
                    name = "populate-nix";
                    image = cfg.images.driver.reference;
                    imagePullPolicy = "IfNotPresent";
                    volumeMounts = [
                      (mount "nix-store" "/nix-volume")
                      (mount "nix-config" "/etc/nix")
                    ];
                  }
                ];
                containers = [
                  {
                    name = "nix-csi-node";
                    image = cfg.images.scratch.reference;
                    command = [ "dinit" ];
                    env = [
                      {
                        name = "CSI_ENDPOINT";
                        value = "unix:///csi/csi.sock";
                      }
                      nodeName
                      {
                        name = "KUBE_NAMESPACE";
                        valueFrom.fieldRef.fieldPath = "metadata.namespace";
                      }
                      {
                        name = "PATH";
                        value = "/nix/var/result/bin";
                      }
                      {
                        name = "HOME";
                        value = "/nix/var/nix-csi/home";
                      }
                      {
                        name = "USER";
                        value = "root";
                      }
                      {
                        name = "BUILD_CACHE";
                        value = lib.boolToString cache.enable;
                      }
                    ];
                    securityContext.privileged = true;
                    volumeMounts = [
                      (mount "socket-dir" "/csi")
                      (mount "registration-dir" "/registration")
                      (mount "nix-config" "/etc/nix")
                      (shared "kubelet-dir" "/var/lib/kubelet")
                      (shared "nix-store" "/nix")
                    ]
                    ++ lib.optional cache.enable (mount "ssh" "/etc/sshc");
                  }
                  {
                    name = "csi-node-driver-registrar";
                    image = cfg.images.registrar.reference;
                    args = [
                      "--csi-address=/csi/csi.sock"
                      "--kubelet-registration-path=/var/lib/kubelet/plugins/${driver}/csi.sock"
                      "--v=2"
                    ];
                    env = [ nodeName ];
                    volumeMounts = [
                      (mount "socket-dir" "/csi")
                      (mount "kubelet-dir" "/var/lib/kubelet")
                      (mount "registration-dir" "/registration")
                    ];
                  }
                  {
                    name = "livenessprobe";
                    image = cfg.images.livenessprobe.reference;
                    args = [ "--csi-address=/csi/csi.sock" ];
                    volumeMounts = [ (mount "socket-dir" "/csi") ];
                  }
                ];
                volumes = [
                  (hostPath "nix-store" cfg.hostPath "DirectoryOrCreate")
                  (hostPath "socket-dir" "/var/lib/kubelet/plugins/${driver}/" "DirectoryOrCreate")
                  (hostPath "kubelet-dir" "/var/lib/kubelet" "Directory")
                  (hostPath "registration-dir" "/var/lib/kubelet/plugins_registry" "Directory")
                  {
                    name = "nix-config";
                    configMap.name = "nix-config";
                  }
                ]
                ++ lib.optional cache.enable {
                  name = "ssh";
                  projected.sources = [
                    { configMap.name = "nix-csi-ssh"; }
                    { secret.name = cache.keySecret; }
                  ];
                };
              };
            };
          };
        };
      }
      // lib.optionalAttrs cache.enable {
        Service = {
          ${cacheName} = {
            apiVersion = "v1";
            metadata.labels = cacheLabels;
            spec = {
              selector = cacheLabels;
              ports = [
                {
                  name = "ssh";
                  port = 22;
                  protocol = "TCP";
                  targetPort = "ssh";
                }
              ];
            };
          };
        }
        // lib.optionalAttrs cache.loadBalancer {
          "${cacheName}-lb" = {
            apiVersion = "v1";
            metadata = {
              labels = cacheLabels;
              # Nothing else waits for its address, so the deploy doesn't either.
              annotations."kluctl.io/is-ready" = "true";
            };
            spec = {
              type = "LoadBalancer";
              selector = cacheLabels;
              ports = [
                {
                  name = "ssh";
                  port = 2222;
                  protocol = "TCP";
                  targetPort = "ssh";
                }
              ];
            };
          };
        };
        StatefulSet.${cacheName} = {
          apiVersion = "apps/v1";
          metadata.labels = cacheLabels;
          spec = {
            replicas = 1;
            serviceName = cacheName;
            selector.matchLabels = cacheLabels;
            template = {
              metadata.labels = cacheLabels;
              spec = {
                automountServiceAccountToken = false;
                initContainers = [
                  {
                    name = "populate-nix";
                    image = cfg.images.scratch.reference;
                    command = [ "cache-populate" ];
                    env = [
                      {
                        name = "PATH";
                        value = "/nix/var/result/bin";
                      }
                    ];
                    volumeMounts = [
                      (mount "environment" "/nix")
                      (mount "nix-cache" "/nix-volume")
                    ];
                  }
                ];
                containers = [
                  {
                    name = "cache";
                    image = cfg.images.scratch.reference;
                    command = [ "cache-serve" ];
                    env = [
                      {
                        name = "HOME";
                        value = "/var/empty";
                      }
                      {
                        name = "PATH";
                        value = "/nix/var/result/bin";
                      }
                    ];
                    ports = [
                      {
                        name = "ssh";
                        containerPort = 22;
                        protocol = "TCP";
                      }
                    ];
                    readinessProbe.tcpSocket.port = "ssh";
                    volumeMounts = [
                      (mount "nix-cache" "/nix")
                      {
                        name = "key";
                        mountPath = "/secrets";
                        readOnly = true;
                      }
                    ];
                  }
                ];
                volumes = [
                  {
                    name = "environment";
                    csi = {
                      inherit driver;
                      readOnly = false;
                      volumeAttributes.expression = builtins.readFile ./cache.nix;
                    };
                  }
                  {
                    name = "key";
                    secret.secretName = cache.keySecret;
                  }
                ];
              };
            };
            volumeClaimTemplates = [
              {
                apiVersion = "v1";
                kind = "PersistentVolumeClaim";
                metadata = {
                  name = "nix-cache";
                  labels = cacheLabels;
                };
                spec = {
                  accessModes = [ "ReadWriteOnce" ];
                  inherit (cache) storageClassName;
                  resources.requests.storage = cache.storage;
                };
              }
            ];
          };
        };
      };
    };
    gates = {
      # Ready for kluctl with no ready pod on one node.
      node = {
        needs = "kubelet";
        object = {
          apiVersion = "apps/v1";
          kind = "DaemonSet";
          inherit namespace;
          name = "nix-csi-node";
        };
        condition.type = "podsReady";
      };
      driver = {
        needs = "api";
        object = {
          apiVersion = "storage.k8s.io/v1";
          kind = "CSIDriver";
          name = driver;
        };
        condition.type = "exists";
      };
    };
  };
}
