# The parity matrix: local against production, a row an aspect.
{ lib, ... }:
let
  inherit (lib) mkOption types;
in
{
  options.parity = mkOption {
    type = types.listOf (
      types.submodule {
        options = {
          aspect = mkOption {
            type = types.str;
            description = "What is compared.";
          };
          local = mkOption {
            type = types.str;
            description = "Value on the local cluster.";
          };
          production = mkOption {
            type = types.str;
            description = "Value in production.";
          };
          reason = mkOption {
            type = types.nullOr types.str;
            default = null;
            description = "Why they differ; null demands that they are equal.";
          };
        };
      }
    );
    default = [ ];
    description = "Rows of the parity matrix.";
  };
}
