# The dev shell: the tools, and the toolchain that builds xtask.
_:
{ lib, ... }:
{
  config.perSystem =
    { pkgs, ... }:
    {
      devShells.default = pkgs.mkShell {
        packages = import ./tools.nix { inherit lib pkgs; } ++ [
          pkgs.cargo
          pkgs.rustc
        ];
      };
    };
}
