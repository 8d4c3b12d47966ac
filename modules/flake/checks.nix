# One derivation a check: the committed facts are the evaluated ones, and every stage builds.
_:
{
  config,
  evaluated,
  lib,
  ...
}:
let
  inherit (config) platformRoot;

  # One committed file; the check must not depend on the rest.
  committed =
    file:
    builtins.path {
      path = platformRoot + "/${file}";
      name = baseNameOf file;
    };
in
{
  config.perSystem =
    { config, pkgs, ... }:
    {
      checks = {
        platform-json = pkgs.runCommand "check-platform-json" { nativeBuildInputs = [ pkgs.diffutils ]; } ''
          diff -u ${committed "platform.json"} ${config.packages.platform}
          touch "$out"
        '';
      }
      // lib.mapAttrs' (
        pair: _: lib.nameValuePair "stage-${pair}" config.packages."k8s-manifests-${pair}"
      ) evaluated.stages;
    };
}
