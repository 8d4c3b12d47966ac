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
    file: package:
    let
      path = platformRoot + "/${file}";
    in
    if builtins.pathExists path then
      builtins.path {
        inherit path;
        name = baseNameOf file;
      }
    else
      throw "`${file}` is not committed; make it with: nix build .#${package} && install -D -m 644 result ${file}";
in
{
  config.perSystem =
    { config, pkgs, ... }:
    {
      checks = {
        platform-json = pkgs.runCommand "check-platform-json" { nativeBuildInputs = [ pkgs.diffutils ]; } ''
          diff -u ${committed "platform.json" "platform"} ${config.packages.platform}
          touch "$out"
        '';
      }
      // lib.mapAttrs' (
        pair: _: lib.nameValuePair "stage-${pair}" config.packages."k8s-manifests-${pair}"
      ) evaluated.stages;
    };
}
