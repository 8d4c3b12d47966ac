# Measures what the parity matrix of the platform config claims: each aspect on the local and on the production side, and every difference
# between the two stages that no aspect explains. It judges nothing; its tests compare the result with the platform config.
{
  lib,
  # The evaluated platform config.
  platform,
  # Evaluated stages by pair (flake/evaluate.nix).
  stages,
}:
let
  side =
    stage:
    let
      name = platform.defaultClusters.${stage}.cluster;
      evaluated = stages."${name}-${stage}";
    in
    {
      inherit name;
      inherit (evaluated) components nodePlatforms spec;
      facts = platform.clusters.${name};
      chart = component: (lib.head (lib.attrValues evaluated.components.${component}.charts)).values;
    };
  sides = {
    local = side "local";
    production = side "full";
  };

  # Per cluster: the VM is reached through its host alone, a machine has one of its own and one at the provider,
  # and for nodes that ClusterAPI makes only policies of Cilium could be one.
  firewallOf =
    name: cluster:
    if cluster.profile != null then
      "off"
    else if cluster.machine != null then
      "host and provider"
    else if
      lib.any (
        { object, ... }: object.kind == "CiliumClusterwideNetworkPolicy"
      ) stages."${name}-full".spec.objects
    then
      "Cilium's policies"
    else
      "none";
  firewallsOf =
    environment:
    let
      clusters = lib.filterAttrs (
        name: cluster:
        cluster.environment == environment
        && stages ? "${name}-${if environment == "local" then "local" else "full"}"
      ) platform.clusters;
      each = lib.mapAttrs firewallOf clusters;
      values = lib.unique (lib.attrValues each);
    in
    if lib.length values == 1 then
      lib.head values
    else
      lib.concatStringsSep ", " (lib.mapAttrsToList (name: value: "${name}: ${value}") each);

  aspects = {
    Architecture = {
      measure = { nodePlatforms, ... }: lib.concatStringsSep " or " nodePlatforms;
      explains = [ ];
    };
    Kubernetes = {
      measure = { facts, ... }: "${facts.distribution} ${lib.versions.majorMinor facts.kubernetes}";
      # k3s brings its own DNS, and its nodes need no cloud controller.
      explains = [
        "coredns: "
        "hcloud-ccm: "
      ];
    };
    CNI = {
      measure =
        { chart, components, ... }:
        let
          values = chart "cilium";
        in
        "Cilium ${(lib.head (lib.attrValues components.cilium.charts)).version}, ${values.routingMode} by ${values.tunnelProtocol}";
      explains = [ ];
    };
    "kube-proxy" = {
      measure =
        { chart, ... }:
        if (chart "cilium").kubeProxyReplacement then "replaced by Cilium" else "the distribution's";
      explains = [ ];
    };
    "TLS CA" = {
      measure = { facts, ... }: facts.issuer;
      explains = [
        "gateway: Gateway gateway-system/main-gateway /metadata/annotations/cert-manager.io/cluster-issuer"
        "issuers: "
        "namespaces: Namespace /step-ca"
        "step-ca: "
      ];
    };
    DNS = {
      measure =
        { components, facts, ... }:
        if components ? external-dns then
          "external-dns at Cloudflare"
        else if lib.hasSuffix ".sslip.io" facts.routeDomain then
          "sslip.io"
        else
          "none";
      explains = [
        "coredns-custom: "
        "external-dns: "
        "namespaces: Namespace /external-dns"
      ];
    };
    Secrets = {
      measure = { name, ... }: "age key ${platform.secrets.operatorIdentities.${name}}";
      explains = [ ];
    };
    Storage = {
      measure =
        { spec, ... }:
        lib.concatMapStringsSep ", " (entry: entry.object.provisioner) (
          lib.filter (
            { object, ... }:
            object.kind == "StorageClass"
            && object.metadata.annotations."storageclass.kubernetes.io/is-default-class" or "" == "true"
          ) spec.objects
        );
      explains = [ ];
    };
    "Node count" = {
      measure = { facts, ... }: toString facts.nodes;
      explains = [ "cilium: chart cilium /values/operator/replicas" ];
    };
    ClusterAPI = {
      measure = { facts, ... }: if facts.clusterApi == null then "not used" else "self-managing";
      explains = [ ];
    };
    Hubble = {
      measure =
        { chart, ... }:
        let
          inherit (chart "cilium") hubble;
        in
        if !hubble.enabled then
          "off"
        else
          "on"
          + lib.optionalString (hubble.relay.enabled or false) ", relay"
          + lib.optionalString (hubble.ui.enabled or false) ", UI";
      explains = [ "cilium: chart cilium /values/hubble/" ];
    };
    Firewall = {
      measure = { facts, ... }: firewallsOf facts.environment;
      explains = [ ];
    };
    "Load balancing" = {
      measure =
        { chart, components, ... }:
        if (chart "cilium").gatewayAPI.hostNetwork.enabled then
          "Gateways on the nodes' own addresses"
        else if components ? hcloud-ccm then
          "Hetzner's load balancers"
        else
          "none";
      explains = [
        "cilium: chart cilium /values/envoy/"
        "cilium: chart cilium /values/gatewayAPI/hostNetwork/"
        "gateway: Gateway gateway-system/main-gateway /spec/infrastructure/"
        "gateway: Service kube-system/gateway-nodes"
      ];
    };
    "Nix cache" = {
      measure = { components, ... }: if components.nix-csi.cache.enable then "in the cluster" else "none";
      explains = [ "nix-csi: " ];
    };
    "ArgoCD's default role" = {
      measure =
        { components, ... }:
        if components.argocd.defaultRole == "" then "none" else components.argocd.defaultRole;
      explains = [ "argocd: chart argocd /values/configs/rbac/policy.default" ];
    };
  };

  # Everything that a stage consists of, by a name that people can find it by.
  things =
    { spec, ... }:
    lib.listToAttrs (
      map (
        { component, object }:
        lib.nameValuePair "${component}: ${object.kind} ${object.metadata.namespace or ""}/${object.metadata.name}" object
      ) spec.objects
      ++ map (
        chart:
        lib.nameValuePair "${chart.component}: chart ${chart.release}" {
          inherit (chart) patches values version;
        }
      ) spec.charts
      ++ map (
        manifest:
        lib.nameValuePair "${manifest.component}: manifests ${manifest.name}" {
          inherit (manifest) files;
          inherit (manifest.source) hash;
        }
      ) spec.manifests
    );

  # Leaves by path, with what each cluster has a name of its own for written alike.
  leaves =
    { facts, name, ... }:
    let
      leaf =
        value:
        if value == name then
          "<cluster>"
        else if lib.isString value then
          lib.replaceStrings [ facts.routeDomain facts.apiHost ] [ "<routes>" "<api>" ] value
        else
          value;
      walk =
        path: value:
        if lib.isAttrs value && value != { } then
          lib.concatLists (lib.mapAttrsToList (key: walk "${path}/${key}") value)
        else if lib.isList value && value != [ ] then
          lib.concatLists (lib.imap0 (index: walk "${path}/${toString index}") value)
        else
          [ (lib.nameValuePair path (leaf value)) ];
    in
    value: lib.listToAttrs (walk "" value);

  differences =
    let
      local = things sides.local;
      production = things sides.production;
      names = lib.attrNames (local // production);
      ofThing =
        name:
        if !(local ? ${name}) || !(production ? ${name}) then
          [ name ]
        else
          let
            a = leaves sides.local local.${name};
            b = leaves sides.production production.${name};
          in
          map (path: "${name} ${path}") (
            lib.filter (path: !(a ? ${path}) || !(b ? ${path}) || a.${path} != b.${path}) (
              lib.attrNames (a // b)
            )
          );
    in
    lib.concatMap ofThing names;

  explained =
    aspect: difference: lib.any (prefix: lib.hasPrefix prefix difference) aspects.${aspect}.explains;
  measured = lib.mapAttrs (_: aspect: lib.mapAttrs (_: aspect.measure) sides) aspects;
in
{
  inherit measured;
  # Differences that no row of the matrix speaks of, or only a row that claims there is none.
  unexplained = lib.filter (
    difference:
    !lib.any (
      aspect: measured.${aspect}.local != measured.${aspect}.production && explained aspect difference
    ) (lib.attrNames aspects)
  ) differences;
  # Explanations of what is the same on both sides.
  unused = lib.concatLists (
    lib.mapAttrsToList (
      name: aspect:
      map (prefix: "${name}: ${prefix}") (
        lib.filter (prefix: !lib.any (lib.hasPrefix prefix) differences) aspect.explains
      )
    ) aspects
  );
}
