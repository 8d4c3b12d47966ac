# The VM of the local k3s clusters: a NixOS configuration and, as `system.build.images.k3s-local`, its disk `nixos.qcow2`.
# One image serves every local cluster: which one it is, it learns from the name of its instance when it boots.
# `platform` is the evaluated platform config, of which it reads clusters, profiles and versions.
{ platform }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkDefault
    mkOption
    types
    ;

  cfg = config.k3s-local;

  clusters = lib.filterAttrs (
    _: cluster:
    cluster.environment == "local" && cluster.distribution == "k3s" && cluster.profile != null
  ) platform.clusters;
  names = lib.attrNames clusters;
  first = clusters.${lib.head names};

  # What stands in the image itself has to be alike in all of them.
  shared = cluster: {
    inherit (cluster)
      podCidr
      serviceCidr
      dnsAddress
      clusterDomain
      ;
  };
  different = lib.filter (name: shared clusters.${name} != shared first) names;

  # Instances are named after the profile, by Colima with `colima-` before it.
  portOfInstance = lib.mapAttrs' (
    _: cluster: lib.nameValuePair cluster.profile cluster.apiPort
  ) clusters;
in
{
  imports = [
    ../modules/nixos/k3s-server
    ../modules/nixos/lima-guest
  ];

  options.k3s-local.rosetta.enable = mkOption {
    type = types.bool;
    default =
      pkgs.stdenv.hostPlatform.isAarch64 && lib.any (p: p.rosetta) (lib.attrValues platform.profiles);
    defaultText = lib.literalMD "on aarch64, whether a profile of the platform config asks for Rosetta";
    description = "Whether x86_64 programs run by Rosetta; the whole VM stays aarch64.";
  };

  config = {
    assertions = [
      {
        assertion = different == [ ];
        message = "k3s-local: the image is shared by ${lib.concatStringsSep ", " names}, but ${lib.concatStringsSep ", " different} differ from ${lib.head names} in podCidr, serviceCidr, dnsAddress or clusterDomain; give them the same values";
      }
    ];

    networking.hostName = mkDefault "k3s-local";
    system.stateVersion = mkDefault "25.05";

    lima-guest = {
      enable = true;
      rosetta.enable = cfg.rosetta.enable;
      # k3s brings the `kubectl` with which the guest agent finds Services without a socket.
      agentPackages = [ config.k3s-server.package ];
    };

    k3s-server = {
      enable = true;
      kubernetesMinor = mkDefault platform.versions.kubernetes;
      clusterCidr = mkDefault first.podCidr;
      serviceCidr = mkDefault first.serviceCidr;
      clusterDns = mkDefault first.dnsAddress;
      clusterDomain = mkDefault first.clusterDomain;
      # Before macOS 26 Rosetta fails on aarch64 kernels from 6.11 (vDSO without DT_HASH) and 6.13 (unknown auxiliary vector) on.
      kernelPackages = lib.mkIf cfg.rosetta.enable (mkDefault pkgs.linuxPackages_6_6);
      # k3s' own default, hence no flag: a flag would win against the file that k3s-instance writes.
      apiPort = 6443;
      # The VM is behind its host; only what the host forwards is reached.
      firewall.enable = false;
    };
    networking.firewall.enable = false;

    # Two VMs on one port of the host would shadow each other, so each cluster has its own.
    systemd.services.k3s-instance = {
      description = "Give k3s the API port of this instance";
      wantedBy = [ "multi-user.target" ];
      before = [ "k3s.service" ];
      unitConfig = {
        RequiresMountsFor = [ "/mnt/lima-cidata" ];
        ConditionPathExists = "/mnt/lima-cidata/lima.env";
      };
      path = [
        pkgs.coreutils
        pkgs.gnused
      ];
      script = ''
        set -euo pipefail
        name=$(sed -n 's/^LIMA_CIDATA_NAME=//p' /mnt/lima-cidata/lima.env)
        case ''${name#colima-} in
        ${
          lib.concatStrings (
            lib.mapAttrsToList (instance: port: ''
              '${instance}') port=${toString port} ;;
            '') portOfInstance
          )
        }*)
          echo "no cluster of the platform config has the profile ''${name#colima-}; k3s takes its default port" >&2
          port=6443
          ;;
        esac
        mkdir -p /etc/rancher/k3s
        printf 'https-listen-port: %s\n' "$port" >/etc/rancher/k3s/config.yaml
      '';
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
    };
    systemd.services.k3s.after = [ "lima-init.service" ];

    # DHCP on the uplink alone: a client on every interface would ask on the pods' too.
    networking.useNetworkd = true;
    networking.useDHCP = false;
    systemd.network.networks."10-uplink" = {
      matchConfig.Name = "en* eth*";
      networkConfig.DHCP = "yes";
    };

    # Lima may add interfaces that never get an address; k3s must not wait for them.
    systemd.network.wait-online.anyInterface = true;

    nix.settings = {
      experimental-features = [
        "nix-command"
        "flakes"
      ];
      # Whom the host logs in as may send a new closure.
      trusted-users = [ "@wheel" ];
    };
    nix.channel.enable = false;
    documentation.enable = mkDefault false;

    boot.kernelParams = [
      (if pkgs.stdenv.hostPlatform.isAarch64 then "console=hvc0" else "console=ttyS0")
      "console=tty0"
    ];
    boot.initrd.availableKernelModules = [
      "9p"
      "9pnet_virtio"
      "virtio_blk"
      "virtio_mmio"
      "virtio_net"
      "virtio_pci"
      "virtio_scsi"
    ];
    boot.initrd.kernelModules = [
      "virtio_console"
      "virtio_rng"
    ];
    boot.loader = {
      grub.enable = false;
      systemd-boot.enable = true;
      # Nobody waits in front of it.
      timeout = 0;
      # The firmware's variables live with the virtual machine, not in the image.
      efi.canTouchEfiVariables = false;
    };

    # The image is small; the disk of the machine is the profile's.
    boot.growPartition = true;
    fileSystems."/" = {
      device = "/dev/disk/by-label/nixos";
      fsType = "ext4";
      autoResize = true;
    };
    fileSystems."/boot" = {
      device = "/dev/disk/by-label/ESP";
      fsType = "vfat";
    };

    # A variant of our own: those of NixOS copy the whole of nixpkgs into the image, and offer no way not to.
    image.modules.k3s-local =
      {
        config,
        modulesPath,
        ...
      }:
      {
        imports = [
          "${modulesPath}/image/file-options.nix"
          "${modulesPath}/virtualisation/disk-size-option.nix"
        ];
        image.baseName = "nixos";
        image.extension = "qcow2";
        system.build.image = import "${modulesPath}/../lib/make-disk-image.nix" {
          inherit config lib pkgs;
          inherit (config.image) baseName;
          inherit (config.virtualisation) diskSize;
          format = "qcow2";
          partitionTableType = "efi";
          copyChannel = false;
          # Room until the first boot has grown the partition.
          additionalSpace = "1024M";
        };
      };
  };
}
