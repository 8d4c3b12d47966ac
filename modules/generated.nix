# Committed files that are made from the modules, by their path; `cargo xtask generate` writes and compares them.
#   nix-instantiate --eval --strict --json modules/generated.nix -I nixpkgs=DIR
{
  lib ? import <nixpkgs/lib>,
}:
let
  evaluated = import ./. { inherit lib; };
in
{
  "docs/options.md" = evaluated.optionsDoc;
  "platform.json" = evaluated.json;
  "terraform/main.tf.json" = import ./terranix {
    inherit lib;
    inherit (evaluated) platform;
  };
}
