# The ClusterAPI objects of the cluster that the stage describes: kubeadm nodes at Hetzner.
# Core objects are v1beta2, those of the Hetzner provider v1beta1, the versions that both sides of the pivot serve.
# The Secret with the Hetzner token is not among them: there is no secrets operator on the bootstrap cluster, so it is put there before the stage.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  workload,
  ...
}:
let
  cfg = config.components.cluster-api;
  facts = workload.clusterApi;
  inherit (workload) name;
  inherit (facts) namespace;
  region = lib.head facts.regions;
  version = "v${workload.kubernetes}";

  # Kubernetes minors by minor of the Hetzner provider.
  covered = {
    "1.0" = [
      "1.31"
      "1.32"
      "1.33"
      "1.34"
    ];
    "1.1" = [
      "1.32"
      "1.33"
      "1.34"
      "1.35"
      "1.36"
    ];
  };
  provider = lib.versions.majorMinor (lib.removePrefix "v" facts.providers.hetzner);

  infrastructure = "infrastructure.cluster.x-k8s.io";
  clusterLabel."cluster.x-k8s.io/cluster-name" = name;
  deploymentLabel = pool: clusterLabel // { "cluster.x-k8s.io/deployment-name" = pool; };

  # Providers refuse to change a machine template, and a changed bootstrap template alone rolls nothing out:
  # a new content is a new object, and the reference to it is what starts the rollout.
  versioned =
    base: content:
    "${base}-${lib.substring 0 8 (builtins.hashString "sha256" (builtins.toJSON content))}";

  ref = group: kind: refName: {
    apiGroup = group;
    inherit kind;
    name = refName;
  };

  nodeRegistration = {
    kubeletExtraArgs = [
      {
        name = "cloud-provider";
        value = "external";
      }
    ];
  };
  commands = lib.optionalAttrs (cfg.preKubeadmCommands != [ ]) {
    inherit (cfg) preKubeadmCommands;
  };

  machine = type: imageName: placementGroupName: {
    inherit imageName placementGroupName type;
    publicNetwork = {
      enableIPv4 = true;
      enableIPv6 = true;
    };
  };
  controlPlane = "${name}-control-plane";
  controlPlaneMachine = machine facts.controlPlaneType facts.imageName "control-plane";
  controlPlaneTemplate = versioned controlPlane controlPlaneMachine;

  pools = lib.mapAttrs' (
    pool: settings:
    let
      poolName = "${name}-${pool}";
      template = machine settings.type settings.imageName "workers";
    in
    lib.nameValuePair poolName {
      inherit (settings) replicas;
      inherit template;
      templateName = versioned poolName template;
    }
  ) facts.workers;
  workerConfig = {
    joinConfiguration = { inherit nodeRegistration; };
  }
  // commands;
  workerConfigName = versioned "${name}-workers" workerConfig;

  healthCheck = startup: matchLabels: remediation: {
    apiVersion = "cluster.x-k8s.io/v1beta2";
    metadata.labels = clusterLabel;
    spec = {
      clusterName = name;
      selector = { inherit matchLabels; };
      checks = {
        # What runs before kubeadm counts too.
        nodeStartupTimeoutSeconds = startup;
        unhealthyNodeConditions =
          map
            (status: {
              type = "Ready";
              inherit status;
              timeoutSeconds = 180;
            })
            [
              "Unknown"
              "False"
            ];
      };
      remediation = {
        triggerIf.unhealthyLessThanOrEqualTo = "100%";
        templateRef = {
          apiVersion = "${infrastructure}/v1beta1";
          kind = "HCloudRemediationTemplate";
          name = remediation;
        };
      };
    };
  };
  reboot = {
    apiVersion = "${infrastructure}/v1beta1";
    metadata.labels = clusterLabel;
    spec.template.spec.strategy = {
      type = "Reboot";
      retryLimit = 1;
      timeout = "180s";
    };
  };
  machineTemplate = spec: {
    apiVersion = "${infrastructure}/v1beta1";
    metadata.labels = clusterLabel;
    spec.template = { inherit spec; };
  };
in
{
  options.components.cluster-api = mkComponent {
    preKubeadmCommands = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = "Shell commands that each node runs before kubeadm. The node image holds kubelet and kubeadm already; time spent here counts against the start-up limit.";
      example = [ "modprobe br_netfilter" ];
    };
    tokenSecret = {
      name = lib.mkOption {
        type = lib.types.str;
        default = "hetzner";
        description = "Secret beside the objects with the Hetzner token; it must carry the label `clusterctl.cluster.x-k8s.io/move`, or the pivot leaves it behind.";
        example = "hcloud";
      };
      key = lib.mkOption {
        type = lib.types.str;
        default = "hcloud";
        description = "Key of the token in that Secret.";
        example = "token";
      };
    };
  };

  config.components.cluster-api = lib.mkMerge [
    { phase = "capi"; }
    # The component may be on for a cluster that also carries stages which describe no other.
    (lib.mkIf (workload != null) {
      assertions = [
        {
          assertion = lib.elem workload.kubernetesMinor (covered.${provider} or [ ]);
          message = "the Hetzner provider ${facts.providers.hetzner} covers Kubernetes ${
            lib.concatStringsSep ", " (covered.${provider} or [ "of no known minor" ])
          }, cluster `${name}` has ${workload.kubernetesMinor}; move the cluster's `kubernetes` or `clusterApi.providers.hetzner`.";
        }
        {
          assertion = facts.infrastructure == "hetzner";
          message = "only the infrastructure provider `hetzner` is known, cluster `${name}` asks for `${facts.infrastructure}`.";
        }
        {
          assertion = cluster.name == facts.bootstrap || cluster.name == name;
          message = "the objects of `${name}` belong on its bootstrap cluster `${facts.bootstrap}`, after the pivot on itself, and not on `${cluster.name}`; set `stages.capi` there to null.";
        }
      ];
      objects = mkDefaults {
        none.Namespace.${namespace}.apiVersion = "v1";
        ${namespace} = {
          Cluster.${name} = {
            # CloudNativePG has a Cluster too.
            apiVersion = "cluster.x-k8s.io/v1beta2";
            metadata.labels = clusterLabel;
            spec = {
              clusterNetwork = {
                pods.cidrBlocks = [ workload.podCidr ];
                services.cidrBlocks = [ workload.serviceCidr ];
                serviceDomain = workload.clusterDomain;
              };
              controlPlaneRef = ref "controlplane.cluster.x-k8s.io" "KubeadmControlPlane" controlPlane;
              infrastructureRef = ref infrastructure "HetznerCluster" name;
            };
          };
          HetznerCluster.${name} = {
            apiVersion = "${infrastructure}/v1beta1";
            metadata.labels = clusterLabel;
            spec = {
              controlPlaneRegions = facts.regions;
              # A DNS name that leads to the control planes, in place of a load balancer.
              controlPlaneEndpoint = {
                host = workload.apiHost;
                port = workload.apiPort;
              };
              controlPlaneLoadBalancer.enabled = false;
              hcloudNetwork.enabled = false;
              # Spread over hosts: at most ten servers a group.
              hcloudPlacementGroups =
                map
                  (group: {
                    name = group;
                    type = "spread";
                  })
                  [
                    "control-plane"
                    "workers"
                  ];
              hetznerSecretRef = {
                inherit (cfg.tokenSecret) name;
                key.hcloudToken = cfg.tokenSecret.key;
              };
              # Without a key Hetzner mails root passwords.
              sshKeys.hcloud = [ { name = facts.sshKey; } ];
            };
          };
          KubeadmControlPlane.${controlPlane} = {
            apiVersion = "controlplane.cluster.x-k8s.io/v1beta2";
            metadata.labels = clusterLabel;
            spec = {
              replicas = facts.controlPlanes;
              inherit version;
              rollout.strategy = {
                type = "RollingUpdate";
                rollingUpdate.maxSurge = 1;
              };
              machineTemplate = {
                metadata.labels = clusterLabel;
                spec.infrastructureRef = ref infrastructure "HCloudMachineTemplate" controlPlaneTemplate;
              };
              kubeadmConfigSpec = {
                clusterConfiguration = {
                  apiServer.certSANs = [
                    workload.apiHost
                    "127.0.0.1"
                    "localhost"
                  ];
                  controllerManager.extraArgs = [
                    {
                      # Cilium's IPAM takes the node's PodCIDR.
                      name = "allocate-node-cidrs";
                      value = "true";
                    }
                    {
                      name = "cloud-provider";
                      value = "external";
                    }
                  ];
                };
                initConfiguration = {
                  nodeRegistration = nodeRegistration // {
                    taints = [
                      {
                        key = "node-role.kubernetes.io/control-plane";
                        effect = "PreferNoSchedule";
                      }
                    ];
                  };
                  skipPhases = [
                    # Cilium replaces it.
                    "addon/kube-proxy"
                    # Ours has the address that the platform config states.
                    "addon/coredns"
                  ];
                };
                joinConfiguration.nodeRegistration = nodeRegistration // {
                  taints = [
                    {
                      key = "node-role.kubernetes.io/control-plane";
                      effect = "PreferNoSchedule";
                    }
                  ];
                };
              }
              // commands;
            };
          };
          HCloudMachineTemplate = {
            ${controlPlaneTemplate} = machineTemplate controlPlaneMachine;
          }
          // lib.mapAttrs' (
            _: pool: lib.nameValuePair pool.templateName (machineTemplate pool.template)
          ) pools;
          KubeadmConfigTemplate.${workerConfigName} = {
            apiVersion = "bootstrap.cluster.x-k8s.io/v1beta2";
            metadata.labels = clusterLabel;
            spec.template.spec = workerConfig;
          };
          MachineDeployment = lib.mapAttrs (poolName: pool: {
            apiVersion = "cluster.x-k8s.io/v1beta2";
            metadata.labels = clusterLabel;
            spec = {
              clusterName = name;
              inherit (pool) replicas;
              selector.matchLabels = deploymentLabel poolName;
              rollout.strategy = {
                type = "RollingUpdate";
                rollingUpdate = {
                  maxSurge = 1;
                  maxUnavailable = 0;
                };
              };
              template = {
                metadata.labels = deploymentLabel poolName;
                spec = {
                  clusterName = name;
                  failureDomain = region;
                  inherit version;
                  bootstrap.configRef = ref "bootstrap.cluster.x-k8s.io" "KubeadmConfigTemplate" workerConfigName;
                  infrastructureRef = ref infrastructure "HCloudMachineTemplate" pool.templateName;
                };
              };
            };
          }) pools;
          MachineHealthCheck = {
            ${controlPlane} = healthCheck 900 (
              clusterLabel // { "cluster.x-k8s.io/control-plane" = ""; }
            ) "control-plane-remediation-request";
          }
          // lib.mapAttrs (
            poolName: _: healthCheck 600 (deploymentLabel poolName) "worker-remediation-request"
          ) pools;
          HCloudRemediationTemplate = {
            control-plane-remediation-request = reboot;
            worker-remediation-request = reboot;
          };
        };
      };
      # The control plane itself is waited for elsewhere: it stalls until the record of the API leads to its first machine.
      gates.infrastructure = {
        needs = "controller";
        object = {
          apiVersion = "cluster.x-k8s.io/v1beta2";
          kind = "Cluster";
          inherit name namespace;
        };
        condition = {
          type = "condition";
          condition = "InfrastructureReady";
          status = "True";
        };
      };
    })
  ];
}
