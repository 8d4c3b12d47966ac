# Packages `k8s-manifests-<cluster>-<stage>`: one kluctl project a pair, with `k8s-manifests-<stage>` for the stage's default cluster.
{ inputs }:
{
  config,
  lib,
  ...
}:
let
  inherit (config) platform platformRoot;
in
{
  config.perSystem =
    { pkgs, ... }:
    let
      # The same facts with easykubenix, which needs `pkgs`.
      evaluated = import ./evaluate.nix {
        inherit lib platform;
        easykubenix = import ../k8s/easykubenix.nix {
          source = inputs.easykubenix;
          inherit pkgs;
        };
      };
      projects = lib.mapAttrs' (
        pair: stage:
        lib.nameValuePair "k8s-manifests-${pair}" (
          import ../k8s/render.nix {
            inherit pkgs;
            name = "k8s-manifests-${pair}";
            inherit (stage) spec;
            root = platformRoot;
          }
        )
      ) evaluated.stages;
      aliases = lib.concatMapAttrs (
        stage: default:
        lib.optionalAttrs (default != null) {
          "k8s-manifests-${stage}" = projects."k8s-manifests-${default.cluster}-${stage}";
        }
      ) platform.defaultClusters;
    in
    {
      packages = projects // aliases;
    };
}
