# One derivation a check: what is committed is what the platform config gives, and every stage builds.
_:
{
  config,
  evaluated,
  lib,
  ...
}:
let
  inherit (config) platformRoot;

  # One committed file; a check must not depend on the rest.
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
    let
      isCommitted =
        file: package:
        pkgs.runCommand "check-${package}" { nativeBuildInputs = [ pkgs.diffutils ]; } ''
          diff -u ${committed file package} ${config.packages.${package}}
          touch "$out"
        '';
    in
    {
      checks = {
        platform-json = isCommitted "platform.json" "platform";
        terraform-json = isCommitted "terraform/main.tf.json" "terraform";
      }
      // lib.mapAttrs' (
        pair: _: lib.nameValuePair "stage-${pair}" config.packages."k8s-manifests-${pair}"
      ) evaluated.stages;
    };
}
