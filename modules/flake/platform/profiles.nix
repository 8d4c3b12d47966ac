# Virtual machines of the colima and lima backends.
{ lib, ... }:
let
  inherit (lib) mkOption types;
in
{
  options.profiles = mkOption {
    type = types.attrsOf (
      types.submodule {
        options = {
          cpus = mkOption {
            type = types.ints.positive;
            description = "Virtual CPUs.";
          };
          memory = mkOption {
            type = types.ints.positive;
            description = "Memory in GiB.";
          };
          disk = mkOption {
            type = types.ints.positive;
            description = "Disk in GiB, root disk and data disk alike.";
          };
          arch = mkOption {
            type = types.nullOr (
              types.enum [
                "aarch64"
                "x86_64"
              ]
            );
            default = null;
            description = "Architecture of the VM; null means the host's own, the only one that Apple's virtualisation boots.";
          };
          rosetta = mkOption {
            type = types.bool;
            default = false;
            description = "Whether Rosetta translates x86_64 user space in an aarch64 VM on Apple Silicon.";
          };
          apiPort = mkOption {
            type = types.port;
            description = "TCP port of the API on the VM's and the host's loopback.";
          };
        };
      }
    );
    default = { };
    description = "Virtual machine profiles by name.";
  };
}
