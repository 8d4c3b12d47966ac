# The way in without flakes, on nixpkgs' `lib` alone; Nix 2.8 and later.
#   nix-instantiate --eval --strict --json modules -I nixpkgs=DIR -A json                     platform.json
#   nix-instantiate --eval --strict --json modules -I nixpkgs=DIR -A stages.CLUSTER-STAGE      stage.json
#   nix-instantiate --eval --strict --json modules -I nixpkgs=DIR -A specs.CLUSTER-STAGE       what k8s/render.sh reads
# DIR holds nixpkgs, or just its `lib` folder and a file `.version`.
{
  lib ? import <nixpkgs/lib>,
  facts ? [ (import ./platform.nix) ],
  root ? toString ../.,
  easykubenix ? null,
  # Paths of pinned sources by their hash, for a machine that has them.
  sources ? { },
}:
let
  factsEvaluation = lib.evalModules { modules = [ ./flake/platform ] ++ facts; };
  evaluated = import ./flake/evaluate.nix {
    inherit easykubenix lib;
    platform = factsEvaluation.config;
  };

  # Sources of the checkout are had as they lie there; pinned ones have no path here.
  withPath =
    entry:
    entry
    // {
      source = removeAttrs entry.source [ "folder" ] // {
        path =
          if entry.source.type == "local" then
            toString entry.source.folder
          else
            sources.${entry.source.hash} or null;
      };
    };
in
{
  inherit (evaluated) json platform;
  evaluated = evaluated.stages;
  stages = lib.mapAttrs (_: stage: stage.spec.stage) evaluated.stages;
  specs = lib.mapAttrs (
    _: stage:
    stage.spec
    // {
      charts = map withPath stage.spec.charts;
      manifests = map withPath stage.spec.manifests;
      secrets = map (secret: secret // { source.path = "${root}/${secret.file}"; }) stage.spec.secrets;
    }
  ) evaluated.stages;
  parity = import ./k8s/parity.nix {
    inherit lib;
    inherit (evaluated) platform stages;
  };
  # Text of docs/options.md.
  optionsDoc = import ./options-doc.nix {
    inherit lib;
    facts = removeAttrs factsEvaluation.options [ "_module" ];
    stage = (lib.head (lib.attrValues evaluated.stages)).evaluation.options;
  };
  # Stages of a platform config that contradicts itself are not worth looking at.
  problems =
    if evaluated.problems != [ ] then
      evaluated.problems
    else
      lib.concatLists (lib.mapAttrsToList (_: stage: stage.problems) evaluated.stages);
}
