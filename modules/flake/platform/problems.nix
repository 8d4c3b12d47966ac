# Everything that is wrong with a platform config whose types are right: a list of messages that say what to do.
{ lib, platform }:
let
  inherit (platform) clusters;

  coverage = import ../../k8s/coverage.nix { inherit lib; };
  stageNames = import ./stage-names.nix;
  # Each has a module in modules/terranix.
  providers.hetzner = { };
  quoted = lib.concatMapStringsSep ", " (name: "`${name}`");

  # `a.b.c.d/n` as the first and the last address of the network.
  range =
    cidr:
    let
      parts = lib.splitString "/" cidr;
      length = lib.toInt (lib.last parts);
      power = n: if n == 0 then 1 else 2 * power (n - 1);
      size = power (32 - length);
      number = addressNumber (lib.head parts);
      first = number - lib.mod number size;
    in
    {
      inherit first;
      last = first + size - 1;
    };
  addressNumber =
    address: lib.foldl' (sum: part: sum * 256 + lib.toInt part) 0 (lib.splitString "." address);
  overlap = a: b: (range a).first <= (range b).last && (range b).first <= (range a).last;

  stagesOf = cluster: lib.filterAttrs (_: pair: pair != null) cluster.stages;
  repeated = list: lib.unique (lib.filter (x: lib.count (y: x == y) list > 1) list);
  each = f: set: lib.concatLists (lib.mapAttrsToList f set);
  refer =
    what: name: known:
    lib.optional (!(known ? ${name}))
      "${what} names `${name}`, which the platform config does not have; known are ${quoted (lib.attrNames known)}";

  ofCluster =
    name: cluster:
    let
      here = "cluster `${name}`";
      stages = stagesOf cluster;
      minor = lib.versions.majorMinor cluster.kubernetes;
      service = range cluster.serviceCidr;
      dns = addressNumber cluster.dnsAddress;
      discriminators = lib.mapAttrsToList (_: pair: pair.discriminator) stages;
    in
    lib.optional (overlap cluster.podCidr cluster.serviceCidr) "${here}: the pods' ${cluster.podCidr} and the services' ${cluster.serviceCidr} overlap; give one of them another network"
    ++
      lib.optional (dns < service.first || dns > service.last)
        "${here}: the DNS address ${cluster.dnsAddress} is not one of the services' ${cluster.serviceCidr}"
    ++
      lib.optional (minor != platform.versions.kubernetes)
        "${here} runs Kubernetes ${cluster.kubernetes}, the platform's minor is ${platform.versions.kubernetes}; all clusters share one"
    ++ lib.optionals (cluster.distribution == "k3s") (coverage.problems "k3s" "" minor here)
    ++ map (
      d: "${here} has two stages with the discriminator `${d}`; each would prune the other's objects"
    ) (repeated discriminators)
    ++ each (
      stage: pair:
      let
        pairHere = "${here}, stage `${stage}`";
      in
      lib.optional (lib.stringLength pair.discriminator > 63)
        "${pairHere}: the discriminator `${pair.discriminator}` has ${toString (lib.stringLength pair.discriminator)} characters, a label takes 63; set a shorter one"
      ++ lib.optional (
        builtins.match "[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?" pair.discriminator == null
      ) "${pairHere}: the discriminator `${pair.discriminator}` can't be the value of a label"
      ++ lib.optional (
        stage == "capi" && pair.describes == null
      ) "${pairHere}: say which cluster its objects describe (`describes`)"
      ++ lib.optionals (pair.describes != null) (
        refer "${pairHere}: `describes`" pair.describes clusters
        ++ lib.optional (
          clusters ? ${pair.describes} && clusters.${pair.describes}.clusterApi == null
        ) "${pairHere} describes `${pair.describes}`, whose platform config has no `clusterApi`"
      )
      ++ lib.optional (
        (stage == "local") != (cluster.environment == "local") && stage != "capi"
      ) "${pairHere}: stage `${stage}` does not go to an environment `${cluster.environment}`"
    ) stages
    ++ lib.optionals (cluster.profile != null) (
      refer "${here}: `profile`" cluster.profile platform.profiles
      ++
        lib.optional
          (
            platform.profiles ? ${cluster.profile}
            && platform.profiles.${cluster.profile}.apiPort != cluster.apiPort
          )
          "${here} is on port ${toString cluster.apiPort}, its profile forwards ${
            toString platform.profiles.${cluster.profile}.apiPort
          }"
    )
    ++ lib.optional (
      cluster.profile == null
      && lib.any (backend: backend == "colima" || backend == "lima") cluster.backends
    ) "${here} may run in a virtual machine but names no profile"
    ++ lib.optionals (cluster.machine != null) (
      refer "${here}: `machine`" cluster.machine platform.machines
    )
    ++ lib.optional (
      cluster.environment == "local" && cluster.uid != null
    ) "${here} is local: its UID is recorded at first contact and not a fact"
    ++ lib.optional (
      cluster.environment == "production" && cluster.backends != [ "remote" ]
    ) "${here} is of environment production: its only backend is `remote`"
    ++ lib.optionals (cluster.clusterApi != null) (
      let
        inherit (cluster) clusterApi;
        minorOf = version: lib.versions.majorMinor (lib.removePrefix "v" version);
        providers = clusterApi.providers;
        missing = lib.subtractLists (lib.attrNames providers) [
          "cluster-api"
          "kubeadm"
          clusterApi.infrastructure
        ];
      in
      refer "${here}: `clusterApi.bootstrap`" clusterApi.bootstrap clusters
      ++ map (provider: "${here}: no version of provider `${provider}`") missing
      ++ lib.optionals (missing == [ ]) (
        coverage.contractProblems clusterApi.infrastructure (minorOf
          providers.${clusterApi.infrastructure}
        ) (minorOf providers.cluster-api) here
        ++ lib.optional (
          providers.kubeadm != providers.cluster-api
        ) "${here}: provider `kubeadm` is released with `cluster-api`; give both one version"
      )
    );

  localClusters = lib.filterAttrs (_: cluster: cluster.environment == "local") clusters;
in
each ofCluster clusters
++ each (
  name: machine:
  lib.optional (!(providers ? ${machine.provider}))
    "machine `${name}`: nothing is known of provider `${machine.provider}`; known are ${quoted (lib.attrNames providers)}"
) platform.machines
++ map (
  port:
  "the local clusters ${
    quoted (lib.attrNames (lib.filterAttrs (_: cluster: cluster.apiPort == port) localClusters))
  } share port ${toString port}; both forward it to this host, so give each its own"
) (repeated (lib.mapAttrsToList (_: cluster: cluster.apiPort) localClusters))
++ map (file: "two clusters share the kubeconfig `${file}`") (
  repeated (lib.mapAttrsToList (_: cluster: cluster.kubeconfig) clusters)
)
++ lib.concatMap (
  stage:
  let
    default = platform.defaultClusters.${stage};
    check =
      what: name:
      refer what name clusters
      ++ lib.optional (
        clusters ? ${name} && clusters.${name}.stages.${stage} == null
      ) "${what} names `${name}`, which does not carry stage `${stage}`";
  in
  lib.optionals (default != null) (
    check "`defaultClusters.${stage}.cluster`" default.cluster
    ++ lib.optionals (default.afterPivot != null) (
      check "`defaultClusters.${stage}.afterPivot`" default.afterPivot
    )
  )
) stageNames
++ each (
  cluster: recipient:
  refer "`secrets.operatorIdentities`" cluster clusters
  ++ refer "`secrets.operatorIdentities.${cluster}`" recipient platform.secrets.recipients
) platform.secrets.operatorIdentities
++ map (id: "two required secrets have the id `${id}`") (
  repeated (map (secret: secret.id) platform.secrets.required)
)
++ lib.concatMap (
  secret:
  lib.concatMap (cluster: refer "the secret `${secret.id}`" cluster clusters) secret.clusters
  ++
    lib.optional ((secret.namespace == "") != (secret.clusters == [ ]))
      "the secret `${secret.id}` has to have both clusters and a namespace, or neither (a host's secret)"
) platform.secrets.required
++ lib.concatMap (
  row:
  lib.optional (row.reason == null && row.local != row.production)
    "parity, `${row.aspect}`: local has `${row.local}`, production `${row.production}`; give a reason or make them equal"
  ++ lib.optional (
    row.reason != null && row.local == row.production
  ) "parity, `${row.aspect}`: both sides are `${row.local}`, so its reason excuses nothing; remove it"
) platform.parity
