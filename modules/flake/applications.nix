# Output `nixidyEnvs.<system>.<env>`: the applications that ArgoCD takes over, where nixidy's command line looks for them.
{ inputs }:
{
  config,
  flake-parts-lib,
  lib,
  ...
}:
let
  inherit (config) platform;
in
{
  imports = [
    (flake-parts-lib.mkTransposedPerSystemModule {
      name = "nixidyEnvs";
      option = lib.mkOption {
        type = lib.types.lazyAttrsOf lib.types.raw;
        default = { };
        description = "Environments of nixidy.";
      };
      file = ./applications.nix;
    })
  ];

  config.perSystem =
    { pkgs, ... }:
    {
      nixidyEnvs = (import ../apps { inherit lib platform; }).environments {
        inherit pkgs;
        inherit (inputs) nix-kube-generators nixidy;
      };
    };
}
