# Facts to values: the evaluated options, `platform.json` and the stages. It needs nixpkgs' `lib` alone.
{
  lib,
  # The evaluated options of modules/flake/platform.
  platform,
  # See k8s/stages.nix; null where easykubenix is not available, which gives the same objects.
  easykubenix ? null,
}:
let
  stages = import ../k8s/stages.nix { inherit easykubenix lib platform; };
  pairs = lib.concatLists (
    lib.mapAttrsToList (
      cluster: facts:
      map (stage: { inherit cluster stage; }) (
        lib.attrNames (lib.filterAttrs (_: pair: pair != null) facts.stages)
      )
    ) platform.clusters
  );
  evaluated = lib.listToAttrs (
    map (pair: lib.nameValuePair "${pair.cluster}-${pair.stage}" (stages.evaluate pair)) pairs
  );

  problems = import ./platform/problems.nix { inherit lib platform; };
  checked =
    lib.throwIf (problems != [ ])
      "the platform config:\n${lib.concatMapStrings (p: "- ${p}\n") problems}";

  stageNames = import ./platform/stage-names.nix;
  withoutNulls = lib.filterAttrs (_: value: value != null);
in
{
  inherit pairs platform problems;
  stages = lib.mapAttrs (_: stage: stage // { spec = checked stage.spec; }) evaluated;

  # The shape of `platform.json`; a field that it does not have is refused by its reader.
  json = checked {
    schema = 1;
    inherit (platform)
      domain
      machines
      name
      parity
      profiles
      secrets
      ;
    versions = platform.versions // lib.concatMapAttrs (_: stage: stage.versions) evaluated;
    defaultClusters = withoutNulls platform.defaultClusters;
    clusters = lib.mapAttrs (
      name: cluster:
      removeAttrs cluster [ "components" ]
      // {
        clusterApi =
          if cluster.clusterApi == null then
            null
          else
            removeAttrs cluster.clusterApi [ "controlPlaneType" ]
            // {
              workers = lib.mapAttrs (_: pool: pool.replicas) cluster.clusterApi.workers;
            };
        components = lib.unique (
          lib.concatMap (
            stage: lib.optionals (cluster.stages.${stage} != null) evaluated."${name}-${stage}".componentNames
          ) stageNames
        );
        stages = lib.mapAttrs (
          stage: pair:
          pair
          // {
            inherit (evaluated."${name}-${stage}") phases;
          }
        ) (withoutNulls cluster.stages);
      }
    ) platform.clusters;
  };
}
