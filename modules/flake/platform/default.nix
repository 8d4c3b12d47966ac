# The options of the platform config, one file a subject. They need `lib` alone, so that a platform config can be evaluated without nixpkgs.
{ lib, ... }:
let
  inherit (lib) mkOption types;
in
{
  imports = [
    ./apps.nix
    ./clusters.nix
    ./machines.nix
    ./parity.nix
    ./profiles.nix
    ./secrets.nix
  ];

  options = {
    name = mkOption {
      type = types.strMatching "[a-z][a-z0-9-]{0,23}";
      description = "Name of the platform; it begins every discriminator and every owner of DNS records.";
      example = "vanixiets";
    };
    domain = mkOption {
      type = types.str;
      description = "DNS zone of production.";
      example = "example.org";
    };
    versions = mkOption {
      type = types.attrsOf types.str;
      description = ''
        Versions that more than one part of the platform has to agree on; `kubernetes` is the minor that all clusters share.
        Versions of charts stand beside their hashes in the components.
      '';
      example = {
        kubernetes = "1.35";
      };
    };
    componentModules = mkOption {
      type = types.listOf types.raw;
      default = [ ];
      description = "Modules with components beside those of this project; `modules/k8s/namespaces` is the model.";
      example = lib.literalExpression "[ ./k8s/my-component ]";
    };
  };
}
