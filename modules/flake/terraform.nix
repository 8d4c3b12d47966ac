# Package `terraform`: the configuration of the servers as JSON, which is committed as `terraform/main.tf.json`.
{ inputs }:
{ config, lib, ... }:
let
  inherit (config) platform terranixModules;
in
{
  options.terranixModules = lib.mkOption {
    type = lib.types.listOf lib.types.raw;
    default = [ ];
    description = "Terranix modules beside ours: networks, volumes, resources of other kinds.";
    example = lib.literalExpression "[ ./terranix/volumes.nix ]";
  };

  config.perSystem =
    { pkgs, ... }:
    {
      packages.terraform =
        pkgs.runCommand "main.tf.json"
          {
            nativeBuildInputs = [ pkgs.jq ];
            json = builtins.toJSON (
              import ../terranix {
                inherit lib pkgs platform;
                modules = terranixModules;
                terranix = inputs.terranix;
              }
            );
            passAsFile = [ "json" ];
          }
          ''
            jq -S . "$jsonPath" > "$out"
          '';
    };
}
