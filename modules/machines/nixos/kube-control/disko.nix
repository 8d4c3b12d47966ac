# The disk of a Hetzner Cloud server: it boots by BIOS and by UEFI, for which of the two a server type has is not documented.
# Options of disko: clan installs with it, and NixOS mounts by it.
{ lib, ... }:
{
  disko.devices = {
    disk.main = {
      type = "disk";
      device = lib.mkDefault "/dev/sda";
      content = {
        type = "gpt";
        partitions = {
          # GRUB's place on a GPT disk under BIOS; disko takes the disk as GRUB's device from this.
          bios = {
            size = "1M";
            type = "EF02";
            priority = 1;
          };
          ESP = {
            size = "1G";
            type = "EF00";
            content = {
              type = "filesystem";
              format = "vfat";
              mountpoint = "/boot";
              mountOptions = [ "umask=0077" ];
            };
          };
          zfs = {
            size = "100%";
            content = {
              type = "zfs";
              pool = "zroot";
            };
          };
        };
      };
    };

    zpool.zroot = {
      type = "zpool";
      options.ashift = "12";
      rootFsOptions = {
        compression = "lz4";
        # What containerd's overlayfs needs of its lower file system.
        acltype = "posixacl";
        xattr = "sa";
        atime = "off";
        mountpoint = "none";
      };
      datasets = {
        root = {
          type = "zfs_fs";
          options.mountpoint = "none";
        };
        # Holds /var/lib/rancher, /var/lib/kubelet and /etc/rancher: nothing of the cluster is lost in a reboot.
        "root/nixos" = {
          type = "zfs_fs";
          mountpoint = "/";
          options.mountpoint = "legacy";
        };
        "root/home" = {
          type = "zfs_fs";
          mountpoint = "/home";
          options.mountpoint = "legacy";
        };
        "root/nix" = {
          type = "zfs_fs";
          mountpoint = "/nix";
          options.mountpoint = "legacy";
        };
      };
    };
  };

  boot.loader.grub = {
    enable = true;
    efiSupport = true;
    # The firmware's variables are not ours to rely on: the removable path is what every UEFI tries.
    efiInstallAsRemovable = true;
  };
  # Device names of the cloud's disks by id are not stable, those by path are.
  boot.zfs.devNodes = "/dev/disk/by-path";
  boot.zfs.forceImportRoot = lib.mkDefault false;

  # srvos turns it on for an ext4 root; there is no partition below a ZFS root to be found from its device.
  boot.growPartition = lib.mkForce false;
}
