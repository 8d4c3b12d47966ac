{
  lib,
  stage,
  ...
}:
let
  capi = stage "k3s-capi-capi" { };
  bigger = stage "k3s-capi-capi" {
    clusters.vanixiets.clusterApi.workers.workers-x86.type = lib.mkForce "cx43";
  };
  at = key: capi.objects."vanixiets/${key}";
  plane = at "KubeadmControlPlane/vanixiets-control-plane";
  named =
    s: kind: prefix:
    lib.filter (lib.hasPrefix "vanixiets/${kind}/${prefix}") (lib.attrNames s.objects);
in
{
  "the objects are the same before and after the pivot" = {
    expr = capi.objects == (stage "vanixiets-capi" { }).objects;
    expected = true;
  };
  "networks, endpoint and version are the workload cluster's platform config" = {
    expr = {
      inherit ((at "Cluster/vanixiets").spec.clusterNetwork) pods services;
      endpoint = (at "HetznerCluster/vanixiets").spec.controlPlaneEndpoint;
      inherit (plane.spec) replicas version;
    };
    expected = {
      pods.cidrBlocks = [ "10.133.0.0/16" ];
      services.cidrBlocks = [ "10.134.0.0/16" ];
      endpoint = {
        host = "api.vanixiets.example";
        port = 6443;
      };
      replicas = 3;
      version = "v1.35.4";
    };
  };
  "nodes get a pod network, and neither kube-proxy nor kubeadm's CoreDNS" = {
    expr = {
      arguments = plane.spec.kubeadmConfigSpec.clusterConfiguration.controllerManager.extraArgs;
      inherit (plane.spec.kubeadmConfigSpec.initConfiguration) skipPhases;
    };
    expected = {
      arguments = [
        {
          name = "allocate-node-cidrs";
          value = "true";
        }
        {
          name = "cloud-provider";
          value = "external";
        }
      ];
      skipPhases = [
        "addon/kube-proxy"
        "addon/coredns"
      ];
    };
  };
  "another machine type is another template, and the pool points to it" = {
    expr =
      let
        templates = s: named s "HCloudMachineTemplate" "vanixiets-workers-x86-";
        pointed =
          s:
          "vanixiets/HCloudMachineTemplate/${
            s.objects."vanixiets/MachineDeployment/vanixiets-workers-x86".spec.template.spec.infrastructureRef.name
          }";
      in
      {
        changed = templates capi != templates bigger;
        follows = [ (pointed bigger) ] == templates bigger;
        others =
          named capi "HCloudMachineTemplate" "vanixiets-control"
          == named bigger "HCloudMachineTemplate" "vanixiets-control";
      };
    expected = {
      changed = true;
      follows = true;
      others = true;
    };
  };
  "every pool of machines has a health check" = {
    expr = named capi "MachineHealthCheck" "";
    expected = map (name: "vanixiets/MachineHealthCheck/vanixiets-${name}") [
      "control-plane"
      "workers-arm64"
      "workers-x86"
    ];
  };
  "the token is not among the objects" = {
    expr = lib.any (lib.hasInfix "Secret/") (lib.attrNames capi.objects);
    expected = false;
  };
  "a Kubernetes minor that the Hetzner provider does not cover is an error" = {
    expr = (stage "k3s-capi-capi" { clusters.vanixiets.kubernetes = lib.mkForce "1.37.0"; }).complains [
      "`cluster-api`"
      "1.37"
      "v1.1.8"
    ];
    expected = true;
  };
}
