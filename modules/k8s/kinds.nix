# The kinds of the Kubernetes API that the project knows: the one table from which evaluation and renderer take rank, scope and class.
# It needs neither `lib` nor `pkgs`. What is not in it is a custom resource, and namespaced unless it is listed below.
let
  # Helm's install order; kluctl applies an item in file-name order, and the rank begins the file name.
  ranks = [
    {
      rank = 2;
      kinds = [ "PriorityClass" ];
      group = "scheduling.k8s.io";
      cluster = true;
    }
    {
      rank = 4;
      kinds = [ "Namespace" ];
      group = "";
      cluster = true;
    }
    {
      rank = 6;
      kinds = [ "NetworkPolicy" ];
      group = "networking.k8s.io";
    }
    {
      rank = 8;
      kinds = [
        "ResourceQuota"
        "LimitRange"
      ];
      group = "";
    }
    {
      rank = 10;
      kinds = [ "PodDisruptionBudget" ];
      group = "policy";
    }
    {
      rank = 12;
      kinds = [ "ServiceAccount" ];
      group = "";
    }
    {
      rank = 14;
      kinds = [ "Secret" ];
      group = "";
    }
    {
      rank = 16;
      kinds = [ "ConfigMap" ];
      group = "";
    }
    {
      rank = 18;
      kinds = [
        "StorageClass"
        "CSIDriver"
        "CSINode"
        "VolumeAttachment"
      ];
      group = "storage.k8s.io";
      cluster = true;
    }
    {
      rank = 20;
      kinds = [ "PersistentVolume" ];
      group = "";
      cluster = true;
    }
    {
      rank = 22;
      kinds = [ "PersistentVolumeClaim" ];
      group = "";
      workload = true;
    }
    {
      rank = 24;
      kinds = [ "CustomResourceDefinition" ];
      group = "apiextensions.k8s.io";
      cluster = true;
    }
    {
      rank = 26;
      kinds = [ "ClusterRole" ];
      group = "rbac.authorization.k8s.io";
      cluster = true;
    }
    {
      rank = 28;
      kinds = [ "ClusterRoleBinding" ];
      group = "rbac.authorization.k8s.io";
      cluster = true;
    }
    {
      rank = 30;
      kinds = [ "Role" ];
      group = "rbac.authorization.k8s.io";
    }
    {
      rank = 32;
      kinds = [ "RoleBinding" ];
      group = "rbac.authorization.k8s.io";
    }
    {
      rank = 34;
      kinds = [
        "Service"
        "Endpoints"
      ];
      group = "";
    }
    {
      rank = 34;
      kinds = [ "EndpointSlice" ];
      group = "discovery.k8s.io";
    }
    {
      rank = 36;
      kinds = [ "DaemonSet" ];
      group = "apps";
      workload = true;
    }
    {
      rank = 38;
      kinds = [
        "Pod"
        "ReplicationController"
      ];
      group = "";
      workload = true;
    }
    {
      rank = 40;
      kinds = [ "ReplicaSet" ];
      group = "apps";
      workload = true;
    }
    {
      rank = 42;
      kinds = [ "Deployment" ];
      group = "apps";
      workload = true;
    }
    {
      rank = 44;
      kinds = [ "HorizontalPodAutoscaler" ];
      group = "autoscaling";
    }
    {
      rank = 46;
      kinds = [ "StatefulSet" ];
      group = "apps";
      workload = true;
    }
    {
      rank = 48;
      kinds = [ "Job" ];
      group = "batch";
      workload = true;
    }
    {
      rank = 50;
      kinds = [ "CronJob" ];
      group = "batch";
    }
    {
      rank = 52;
      kinds = [ "IngressClass" ];
      group = "networking.k8s.io";
      cluster = true;
    }
    {
      rank = 54;
      kinds = [ "Ingress" ];
      group = "networking.k8s.io";
    }
    {
      rank = 56;
      kinds = [ "Lease" ];
      group = "coordination.k8s.io";
    }
    {
      rank = 56;
      kinds = [ "RuntimeClass" ];
      group = "node.k8s.io";
      cluster = true;
    }
    {
      rank = 56;
      kinds = [
        "FlowSchema"
        "PriorityLevelConfiguration"
      ];
      group = "flowcontrol.apiserver.k8s.io";
      cluster = true;
    }
    {
      rank = 56;
      kinds = [ "Node" ];
      group = "";
      cluster = true;
    }
    {
      rank = 90;
      kinds = [
        "MutatingWebhookConfiguration"
        "ValidatingWebhookConfiguration"
        "ValidatingAdmissionPolicy"
        "ValidatingAdmissionPolicyBinding"
        "MutatingAdmissionPolicy"
        "MutatingAdmissionPolicyBinding"
      ];
      group = "admissionregistration.k8s.io";
      cluster = true;
    }
    {
      rank = 95;
      kinds = [ "APIService" ];
      group = "apiregistration.k8s.io";
      cluster = true;
    }
  ];

  # Custom resources without a namespace, also those whose CRD an operator makes at run time.
  clusterScoped = {
    "cert-manager.io" = [ "ClusterIssuer" ];
    "gateway.networking.k8s.io" = [ "GatewayClass" ];
    "cilium.io" = [
      "CiliumBGPAdvertisement"
      "CiliumBGPClusterConfig"
      "CiliumBGPNodeConfigOverride"
      "CiliumBGPPeerConfig"
      "CiliumCIDRGroup"
      "CiliumClusterwideEnvoyConfig"
      "CiliumClusterwideNetworkPolicy"
      "CiliumEgressGatewayPolicy"
      "CiliumIdentity"
      "CiliumL2AnnouncementPolicy"
      "CiliumLoadBalancerIPPool"
      "CiliumNode"
      "CiliumPodIPPool"
    ];
  };

  table =
    builtins.concatMap (
      row:
      map (kind: {
        inherit (row) group rank;
        inherit kind;
        namespaced = !(row.cluster or false);
        class =
          if kind == "CustomResourceDefinition" then
            "crds"
          else if row.workload or false then
            "workloads"
          else
            "plain";
      }) row.kinds
    ) ranks
    ++ builtins.concatMap (
      group:
      map (kind: {
        inherit group kind;
        rank = 80;
        namespaced = false;
        class = "custom";
      }) clusterScoped.${group}
    ) (builtins.attrNames clusterScoped);

  groupOf =
    apiVersion:
    let
      parts = builtins.match "([^/]*)/.*" apiVersion;
    in
    if parts == null then "" else builtins.head parts;

  byKey = builtins.listToAttrs (
    map (row: {
      name = "${row.group}/${row.kind}";
      value = row;
    }) table
  );

  find =
    { apiVersion, kind }:
    byKey."${groupOf apiVersion}/${kind}" or {
      inherit kind;
      group = groupOf apiVersion;
      rank = 80;
      namespaced = true;
      class = "custom";
    };
in
{
  inherit table groupOf find;
  classes = [
    "crds"
    "custom"
    "plain"
    "workloads"
  ];
  classOf = object: (find object).class;
}
