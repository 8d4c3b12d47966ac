# The VM of the local clusters: `nixosConfigurations.k3s-local-<arch>` and the package `k3s-local-image`, its disk.
{ inputs }:
{ config, lib, ... }:
let
  inherit (config) platform;

  hasGuest = lib.any (cluster: cluster.distribution == "k3s" && cluster.profile != null) (
    lib.attrValues platform.clusters
  );

  guest =
    arch:
    inputs.nixpkgs.lib.nixosSystem {
      modules = [
        (import ../../images/k3s-local.nix { inherit platform; })
        { nixpkgs.hostPlatform = "${arch}-linux"; }
      ];
    };
  guests = lib.genAttrs [
    "aarch64"
    "x86_64"
  ] guest;
in
{
  config = lib.mkIf hasGuest {
    flake.nixosConfigurations = lib.mapAttrs' (arch: lib.nameValuePair "k3s-local-${arch}") guests;

    perSystem =
      { system, ... }:
      {
        # On a Mac the VM is Linux of the same architecture; building it needs a Linux builder.
        packages.k3s-local-image =
          guests.${lib.head (lib.splitString "-" system)}.config.system.build.images.k3s-local;
      };
  };
}
