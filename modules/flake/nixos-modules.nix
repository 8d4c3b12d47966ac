# Output `nixosModules`: what the local VM and the hosts share. NixOS modules, so not among the flake modules.
_: {
  config.flake.nixosModules = {
    k3s-server = ../nixos/k3s-server;
    lima-guest = ../nixos/lima-guest;
  };
}
