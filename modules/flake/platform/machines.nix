# Hosts that terranix provisions and clan installs.
{ lib, ... }:
let
  inherit (lib) mkOption types;
in
{
  options.machines = mkOption {
    type = types.attrsOf (
      types.submodule {
        options = {
          enabled = mkOption {
            type = types.bool;
            description = "Whether the machine has a server; turning it off destroys one.";
          };
          provider = mkOption {
            # Those that are known are a list of problems.nix, so that another one is refused with their names.
            type = types.str;
            description = "Cloud provider; known is `hetzner`.";
          };
          serverType = mkOption {
            type = types.str;
            description = "Server type at the provider.";
            example = "cpx31";
          };
          location = mkOption {
            type = types.str;
            description = "Location at the provider.";
            example = "fsn1";
          };
          image = mkOption {
            type = types.str;
            description = "Image that the server boots before clan installs it.";
            example = "debian-12";
          };
          system = mkOption {
            type = types.enum [
              "aarch64-linux"
              "x86_64-linux"
            ];
            description = "Nix system of the host.";
          };
          comment = mkOption {
            type = types.str;
            description = "What the machine is for.";
          };
        };
      }
    );
    default = { };
    description = "Hosts by name.";
  };
}
