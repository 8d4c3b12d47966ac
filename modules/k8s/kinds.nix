# The kinds of the Kubernetes API that the project knows: the one table from which evaluation and renderer take rank, scope and class.
# It needs neither `lib` nor `pkgs`. What is not in it is a custom resource, and namespaced unless it is listed below.
let
  # A kind a line: rank, group (`v1` is the core group), kind, scope, class.
  # Ranks are Helm's install order; kluctl applies an item in file-name order, and the rank begins the file name.
  # The last rows are custom resources without a namespace, also those whose CRD an operator makes at run time.
  lines = ''
     2  scheduling.k8s.io             PriorityClass                     cluster     plain
     4  v1                            Namespace                         cluster     plain
     6  networking.k8s.io             NetworkPolicy                     namespaced  plain
     8  v1                            ResourceQuota                     namespaced  plain
     8  v1                            LimitRange                        namespaced  plain
    10  policy                        PodDisruptionBudget               namespaced  plain
    12  v1                            ServiceAccount                    namespaced  plain
    14  v1                            Secret                            namespaced  plain
    16  v1                            ConfigMap                         namespaced  plain
    18  storage.k8s.io                StorageClass                      cluster     plain
    18  storage.k8s.io                CSIDriver                         cluster     plain
    18  storage.k8s.io                CSINode                           cluster     plain
    18  storage.k8s.io                VolumeAttachment                  cluster     plain
    20  v1                            PersistentVolume                  cluster     plain
    22  v1                            PersistentVolumeClaim             namespaced  workloads
    24  apiextensions.k8s.io          CustomResourceDefinition          cluster     crds
    26  rbac.authorization.k8s.io     ClusterRole                       cluster     plain
    28  rbac.authorization.k8s.io     ClusterRoleBinding                cluster     plain
    30  rbac.authorization.k8s.io     Role                              namespaced  plain
    32  rbac.authorization.k8s.io     RoleBinding                       namespaced  plain
    34  v1                            Service                           namespaced  plain
    34  v1                            Endpoints                         namespaced  plain
    34  discovery.k8s.io              EndpointSlice                     namespaced  plain
    36  apps                          DaemonSet                         namespaced  workloads
    38  v1                            Pod                               namespaced  workloads
    38  v1                            ReplicationController             namespaced  workloads
    40  apps                          ReplicaSet                        namespaced  workloads
    42  apps                          Deployment                        namespaced  workloads
    44  autoscaling                   HorizontalPodAutoscaler           namespaced  plain
    46  apps                          StatefulSet                       namespaced  workloads
    48  batch                         Job                               namespaced  workloads
    50  batch                         CronJob                           namespaced  plain
    52  networking.k8s.io             IngressClass                      cluster     plain
    54  networking.k8s.io             Ingress                           namespaced  plain
    56  coordination.k8s.io           Lease                             namespaced  plain
    56  node.k8s.io                   RuntimeClass                      cluster     plain
    56  flowcontrol.apiserver.k8s.io  FlowSchema                        cluster     plain
    56  flowcontrol.apiserver.k8s.io  PriorityLevelConfiguration        cluster     plain
    56  v1                            Node                              cluster     plain
    90  admissionregistration.k8s.io  MutatingWebhookConfiguration      cluster     plain
    90  admissionregistration.k8s.io  ValidatingWebhookConfiguration    cluster     plain
    90  admissionregistration.k8s.io  ValidatingAdmissionPolicy         cluster     plain
    90  admissionregistration.k8s.io  ValidatingAdmissionPolicyBinding  cluster     plain
    90  admissionregistration.k8s.io  MutatingAdmissionPolicy           cluster     plain
    90  admissionregistration.k8s.io  MutatingAdmissionPolicyBinding    cluster     plain
    95  apiregistration.k8s.io        APIService                        cluster     plain
    80  cert-manager.io               ClusterIssuer                     cluster     custom
    80  cilium.io                     CiliumBGPAdvertisement            cluster     custom
    80  cilium.io                     CiliumBGPClusterConfig            cluster     custom
    80  cilium.io                     CiliumBGPNodeConfigOverride       cluster     custom
    80  cilium.io                     CiliumBGPPeerConfig               cluster     custom
    80  cilium.io                     CiliumCIDRGroup                   cluster     custom
    80  cilium.io                     CiliumClusterwideEnvoyConfig      cluster     custom
    80  cilium.io                     CiliumClusterwideNetworkPolicy    cluster     custom
    80  cilium.io                     CiliumEgressGatewayPolicy         cluster     custom
    80  cilium.io                     CiliumIdentity                    cluster     custom
    80  cilium.io                     CiliumL2AnnouncementPolicy        cluster     custom
    80  cilium.io                     CiliumLoadBalancerIPPool          cluster     custom
    80  cilium.io                     CiliumNode                        cluster     custom
    80  cilium.io                     CiliumPodIPPool                   cluster     custom
    80  gateway.networking.k8s.io     GatewayClass                      cluster     custom
  '';

  table = builtins.concatMap (
    line:
    let
      row = builtins.filter (word: builtins.isString word && word != "") (builtins.split " +" line);
      group = builtins.elemAt row 1;
    in
    if row == [ ] then
      [ ]
    else
      [
        {
          rank = builtins.fromJSON (builtins.head row);
          group = if group == "v1" then "" else group;
          kind = builtins.elemAt row 2;
          namespaced = builtins.elemAt row 3 == "namespaced";
          class = builtins.elemAt row 4;
        }
      ]
  ) (builtins.filter builtins.isString (builtins.split "\n" lines));

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
