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
            # `explain` has its words.
            (root + "/docs/glossary.md")
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
        nativeBuildInputs = [ pkgs.installShellFiles ];
        # What is built for another platform cannot be run here.
        postInstall = lib.optionalString (pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform) ''
          for shell in bash fish zsh; do
            "$out/bin/xtask" completions "$shell" > "xtask.$shell"
          done
          installShellCompletion --cmd xtask --bash xtask.bash --fish xtask.fish --zsh xtask.zsh
          "$out/bin/xtask" man man
          installManPage man/*.1
        '';
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
