# Package `xtask` and `nix run .#xtask`: the build system of this project, with the tools it wraps on its PATH.
_:
{ lib, ... }:
{
  config.perSystem =
    { config, pkgs, ... }:
    let
      root = ../..;
      tools = import ./tools.nix { inherit lib pkgs; };
    in
    {
      packages.xtask = pkgs.rustPlatform.buildRustPackage {
        pname = "xtask";
        version = (lib.importTOML (root + "/Cargo.toml")).workspace.package.version;
        src = lib.fileset.toSource {
          inherit root;
          fileset = lib.fileset.unions [
            (root + "/Cargo.lock")
            (root + "/Cargo.toml")
            (root + "/xtask")
          ];
        };
        cargoLock.lockFile = root + "/Cargo.lock";
        cargoBuildFlags = [
          "-p"
          "xtask"
        ];
        # `cargo xtask ci` runs them, with the tools that they need.
        doCheck = false;
        meta.mainProgram = "xtask";
      };

      apps.xtask = {
        type = "app";
        program = lib.getExe (
          pkgs.writeShellApplication {
            name = "xtask";
            runtimeInputs = tools;
            text = ''exec ${lib.getExe config.packages.xtask} "$@"'';
          }
        );
      };
    };
}
