# Machines that clan installs: each enabled machine of the platform config that is the host of a cluster.
{ inputs }:
{ config, lib, ... }:
let
  inherit (config) platform platformRoot;

  hosts = lib.filterAttrs (
    name: machine:
    machine.enabled && lib.any (cluster: cluster.machine == name) (lib.attrValues platform.clusters)
  ) platform.machines;
in
{
  imports = [ inputs.clan-core.flakeModules.default ];

  config.clan = {
    meta.name = platform.name;
    meta.domain = platform.domain;
    directory = platformRoot;
    machines = lib.mapAttrs (name: machine: {
      imports = [
        (import ../machines/nixos/kube-control {
          inherit name platform;
          srvos = import inputs.srvos;
          root = platformRoot;
        })
      ];
      nixpkgs.hostPlatform = lib.mkDefault machine.system;
    }) hosts;
  };
}
