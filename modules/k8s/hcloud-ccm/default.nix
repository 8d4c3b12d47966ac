# Hetzner's cloud controller manager: gives kubeadm nodes their provider ID and addresses, takes the `uninitialized` taint away, and makes load balancers.
# Kubelets run with `cloud-provider=external`, so it comes right after the network.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.hcloud-ccm;
  version = "1.35.0";
  name = "hcloud-cloud-controller-manager";
in
{
  options.components.hcloud-ccm = mkComponent {
    tokenSecret = {
      name = lib.mkOption {
        type = lib.types.str;
        default = "hcloud";
        description = "Secret in kube-system with the Hetzner token. The Hetzner provider of ClusterAPI makes `hcloud` there out of the one it was given.";
        example = "hetzner";
      };
      key = lib.mkOption {
        type = lib.types.str;
        default = "token";
        description = "Key of the token in that Secret.";
        example = "hcloud";
      };
    };
  };

  config.components.hcloud-ccm = {
    phase = "ccm";
    assertions = [
      {
        assertion = cluster.distribution == "kubeadm";
        message = "on k3s the kubelets are not told of an external cloud provider and the manager would find no node to initialise; switch `hcloud-ccm` off on cluster `${cluster.name}`, or give its k3s the kubelet argument `cloud-provider=external` and extend this assertion.";
      }
    ];
    charts.hcloud-ccm = {
      source = {
        type = "github";
        owner = "hetznercloud";
        repo = "hcloud-cloud-controller-manager";
        # v1.35.0
        rev = "cfbbbd9d6f249e835f4499f4a2aa10ee59b2eb07";
        hash = "sha256-2Fog8XPp+IEEtIc6ybtCcvSY23IjK2zIps5MWc1jIPc=";
      };
      path = "chart";
      inherit version;
      namespace = "kube-system";
      contains = [
        "plain"
        "workloads"
      ];
      values = mkDefaults {
        replicaCount = 1;
        # Nodes talk over their public addresses; pods through Cilium's tunnel.
        networking.enabled = false;
        env.HCLOUD_TOKEN.valueFrom.secretKeyRef = {
          inherit (cfg.tokenSecret) key name;
        };
      };
    };
    images.manager = {
      reference = lib.mkDefault "docker.io/hetznercloud/hcloud-cloud-controller-manager:v${version}";
      platforms = lib.mkDefault [
        "linux/amd64"
        "linux/arm64"
      ];
    };
    gates = {
      manager = {
        needs = "kubelet";
        object = {
          apiVersion = "apps/v1";
          kind = "Deployment";
          namespace = "kube-system";
          inherit name;
        };
        condition.type = "podsReady";
      };
      initialised = {
        needs = "controller";
        object = {
          apiVersion = "v1";
          kind = "Node";
        };
        condition = {
          type = "nodesWithoutTaint";
          taint = "node.cloudprovider.kubernetes.io/uninitialized";
        };
      };
    };
  };
}
