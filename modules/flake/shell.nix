# The dev shell: the tools, and the toolchain that builds xtask.
_:
{ lib, ... }:
{
  config.perSystem =
    { pkgs, ... }:
    {
      devShells.default = pkgs.mkShell {
        packages =
          import ./tools.nix { inherit lib pkgs; }
          ++ [
            pkgs.cargo
            pkgs.rustc
          ]
          # What `cargo xtask ci` calls beside them.
          ++ lib.filter (tool: tool != null) [
            (pkgs.clippy or null)
            (pkgs.go or null)
            (pkgs.rustfmt or null)
          ];
      };
    };
}
