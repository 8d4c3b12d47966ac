# The CNI, in place of flannel and kube-proxy, and the controller of the Gateway API.
# Agent and operator are one component because they wait for each other: the operator registers the CRDs that the agent needs, the agent brings the network that the operator needs.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.cilium;
  version = "1.19.6";
  # Kubernetes minors that Cilium 1.19 is tested with.
  covered = [
    "1.32"
    "1.33"
    "1.34"
    "1.35"
  ];
  full = cfg.datapath == "full";
  # Hubble's relay needs the cluster's DNS, its pods need a node that the cloud's manager has initialised, and a second operator a second node.
  # All of that comes in later phases, which would never begin if kluctl waited here.
  notAwaited."kluctl.io/is-ready" = "true";
  platforms = lib.mkDefault [
    "linux/amd64"
    "linux/arm64"
  ];
in
{
  options.components.cilium = mkComponent {
    datapath = lib.mkOption {
      type = lib.types.enum [
        "full"
        "reduced"
      ];
      default = "full";
      description = "`full` replaces kube-proxy and masquerades in BPF; `reduced` leaves both to the host, for nodes inside containers (k3d, kind), where they fail.";
      example = "reduced";
    };
    operatorReplicas = lib.mkOption {
      type = lib.types.ints.positive;
      default = if cluster.nodes > 1 then 2 else 1;
      defaultText = lib.literalExpression "if cluster.nodes > 1 then 2 else 1";
      description = "Replicas of the operator; they never share a node.";
      example = 1;
    };
    hubble = lib.mkOption {
      type = lib.types.bool;
      default = cluster.environment == "production";
      defaultText = lib.literalExpression ''cluster.environment == "production"'';
      description = "Whether flows are observed: Hubble with relay and UI.";
      example = true;
    };
    ipv6 = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether pods get IPv6 addresses too; the cluster must then have IPv6 CIDRs, which the platform config does not state yet.";
      example = true;
    };
    gateway = {
      enable = lib.mkOption {
        type = lib.types.bool;
        default = true;
        description = "Whether Cilium implements the Gateway API, with the GatewayClass `cilium`.";
        example = false;
      };
      hostNetwork = lib.mkOption {
        type = lib.types.bool;
        default = !config.components.hcloud-ccm.enable;
        defaultText = lib.literalExpression "!components.hcloud-ccm.enable";
        description = "Whether Gateways listen on the nodes themselves; without it a Gateway needs a load balancer that hands out addresses.";
        example = true;
      };
    };
  };

  config.components.cilium = {
    phase = "cilium";
    dependsOn = lib.optional cfg.gateway.enable "gateway-api";
    assertions = [
      {
        assertion = lib.elem cluster.kubernetesMinor covered;
        message = "Cilium ${version} is tested with Kubernetes ${lib.concatStringsSep ", " covered}, cluster `${cluster.name}` has ${cluster.kubernetesMinor}; move the cluster's `kubernetes` or pin another Cilium.";
      }
      {
        assertion =
          let
            inherit (cfg.charts.cilium) values;
          in
          values.gatewayAPI.enabled
          ->
            lib.elem values.kubeProxyReplacement [
              true
              "true"
            ]
            || values.nodePort.enabled or false;
        message = "the Gateway API needs either the kube-proxy replacement or `nodePort.enabled`; set `components.cilium.datapath = \"full\"`, keep the `reduced` one's `nodePort.enabled = true`, or set `components.cilium.gateway.enable = false`.";
      }
    ];
    charts.cilium = {
      source = {
        type = "url";
        url = "https://helm.cilium.io/cilium-${version}.tgz";
        hash = "sha256-IcQ89ThB+asDdQR9lapMZAUepSu9LGeUFuZAj18ckXk=";
      };
      inherit version;
      namespace = "kube-system";
      contains = [
        "plain"
        "workloads"
      ];
      values = mkDefaults (
        {
          cluster.name = cluster.name;
          # Never the Service's address: without kube-proxy nobody answers it before Cilium runs.
          k8sServiceHost = cluster.apiHost;
          k8sServicePort = cluster.apiPort;
          kubeProxyReplacement = full;
          routingMode = "tunnel";
          tunnelProtocol = "geneve";
          ipam.mode = "kubernetes";
          ipv6.enabled = cfg.ipv6;
          bpf.masquerade = full;
          rollOutCiliumPods = true;
          policyEnforcementMode = "default";
          operator = {
            replicas = cfg.operatorReplicas;
            rollOutPods = true;
            annotations = notAwaited;
          };
          envoy.rollOutPods = true;
          gatewayAPI = {
            enabled = cfg.gateway.enable;
            # Rendered only when the chart can ask an API server; ours stands below.
            gatewayClass.create = "false";
            hostNetwork.enabled = cfg.gateway.hostNetwork;
          };
          hubble =
            if cfg.hubble then
              {
                enabled = true;
                relay = {
                  enabled = true;
                  rollOutPods = true;
                  annotations = notAwaited;
                };
                ui = {
                  enabled = true;
                  rollOutPods = true;
                  annotations = notAwaited;
                };
                # Made in the cluster: Helm would make new ones at each rendering, cert-manager comes after the CNI.
                tls.auto.method = "cronJob";
              }
            else
              { enabled = false; };
          certgen.annotations.job = notAwaited;
        }
        // lib.optionalAttrs (!full) {
          enableIPv4Masquerade = true;
          nodePort.enabled = true;
          # /proc/sys is read-only in a container.
          sysctlfix.enabled = false;
        }
        // lib.optionalAttrs (cfg.gateway.enable && cfg.gateway.hostNetwork) {
          # Ports 80 and 443 of the node are below 1024.
          envoy = {
            rollOutPods = true;
            securityContext.capabilities = {
              keepCapNetBindService = true;
              envoy = [
                "NET_ADMIN"
                "NET_BIND_SERVICE"
                "SYS_ADMIN"
              ];
            };
          };
        }
      );
    };
    images = {
      agent = {
        reference = lib.mkDefault "quay.io/cilium/cilium:v${version}";
        inherit platforms;
      };
      operator = {
        reference = lib.mkDefault "quay.io/cilium/operator-generic:v${version}";
        inherit platforms;
      };
      envoy = {
        reference = lib.mkDefault "quay.io/cilium/cilium-envoy:v1.36.9-1782267392-edeb3f2af56c37c407efa1f63f0b32f595399bbc";
        inherit platforms;
      };
    }
    // lib.optionalAttrs cfg.hubble {
      certgen = {
        reference = lib.mkDefault "quay.io/cilium/certgen:v0.4.6";
        inherit platforms;
      };
      hubble-relay = {
        reference = lib.mkDefault "quay.io/cilium/hubble-relay:v${version}";
        inherit platforms;
      };
      hubble-ui = {
        reference = lib.mkDefault "quay.io/cilium/hubble-ui:v0.13.5";
        inherit platforms;
      };
      hubble-ui-backend = {
        reference = lib.mkDefault "quay.io/cilium/hubble-ui-backend:v0.13.5";
        inherit platforms;
      };
    };
    objects = lib.mkIf cfg.gateway.enable {
      none.GatewayClass.cilium = mkDefaults {
        apiVersion = "gateway.networking.k8s.io/v1";
        spec = {
          controllerName = "io.cilium/gateway-controller";
          description = "Gateways by Cilium's Envoy.";
        };
      };
    };
    gates = {
      # Ready for kluctl with no ready pod on one node.
      agent = {
        needs = "kubelet";
        object = {
          apiVersion = "apps/v1";
          kind = "DaemonSet";
          namespace = "kube-system";
          name = "cilium";
        };
        condition.type = "podsReady";
      };
      operator = {
        needs = "kubelet";
        object = {
          apiVersion = "apps/v1";
          kind = "Deployment";
          namespace = "kube-system";
          name = "cilium-operator";
        };
        # One of two is enough, and all there can be while ClusterAPI has made one node: the second machine comes when the first is Ready.
        condition = {
          type = "condition";
          condition = "Available";
          status = "True";
        };
      };
      nodes = {
        needs = "kubelet";
        object = {
          apiVersion = "v1";
          kind = "Node";
        };
        condition.type = "nodesReady";
      };
    };
  };
}
