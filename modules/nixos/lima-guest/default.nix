# A VM that Lima (2.1 or later), and Colima on top of it, can start and reach: user, keys, shell, mounts, signals, guest agent.
# It knows nothing of Kubernetes, and of Lima only what the host puts on the `cidata` disk.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkDefault
    mkEnableOption
    mkIf
    mkOption
    types
    ;

  cfg = config.lima-guest;

  mountPoint = "/mnt/lima-cidata";
in
{
  options.lima-guest = {
    enable = mkEnableOption "the VM's side of Lima's contract";

    agentPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = ''
        Packages on the guest agent's PATH.
        It asks `kubectl` for Services whose ports no process listens on, in order to forward them.
      '';
    };

    rosetta.enable = mkOption {
      type = types.bool;
      default = false;
      description = "Whether x86_64 programs run by Rosetta where the host offers it; for aarch64 VMs on Apple Silicon.";
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = !cfg.rosetta.enable || pkgs.stdenv.hostPlatform.isAarch64;
        message = "lima-guest: Rosetta runs x86_64 programs in aarch64 VMs; this VM is ${pkgs.stdenv.hostPlatform.system}, turn `lima-guest.rosetta.enable` off or build the aarch64-linux image";
      }
      {
        assertion = config.users.mutableUsers;
        message = "lima-guest: the host names the VM's user when it starts it, so `users.mutableUsers` must stay on";
      }
    ];

    services.openssh = {
      enable = true;
      settings = {
        PasswordAuthentication = mkDefault false;
        PermitRootLogin = mkDefault "no";
      };
    };

    # The host's checks run `sudo` without a terminal.
    security.sudo.enable = true;
    security.sudo.wheelNeedsPassword = false;

    fileSystems.${mountPoint} = {
      device = "/dev/disk/by-label/cidata";
      fsType = "iso9660";
      options = [
        "ro"
        "mode=0700"
        "dmode=0700"
        "overriderockperm"
        "exec"
        "uid=0"
        # Without a host that brings the disk the VM still boots to a console.
        "nofail"
        "x-systemd.device-timeout=30s"
      ];
    };

    # Each probe of the host is a script for this path, and so is its login shell.
    systemd.tmpfiles.rules = [ "L+ /bin/bash - - - - /run/current-system/sw/bin/bash" ];

    systemd.services.lima-init = {
      description = "Set the VM up as the host's cidata disk says";
      wantedBy = [ "multi-user.target" ];
      after = [
        "network-pre.target"
        "systemd-tmpfiles-setup.service"
      ];
      unitConfig = {
        RequiresMountsFor = [ mountPoint ];
        ConditionPathExists = "${mountPoint}/lima.env";
      };
      path = [
        pkgs.bash
        pkgs.coreutils
        pkgs.jq
        pkgs.shadow
        pkgs.util-linux
        pkgs.yq-go
      ];
      environment.CIDATA = mountPoint;
      script = builtins.readFile ./init.sh;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
    };

    systemd.services.lima-guestagent = {
      description = "Tell the host which ports the VM listens on";
      wantedBy = [ "multi-user.target" ];
      after = [
        "lima-init.service"
        "network.target"
      ];
      requires = [ "lima-init.service" ];
      unitConfig.ConditionPathExists = "${mountPoint}/lima-guestagent";
      path = [
        pkgs.coreutils
        pkgs.gnugrep
      ]
      ++ cfg.agentPackages;
      environment.CIDATA = mountPoint;
      script = builtins.readFile ./agent.sh;
      serviceConfig = {
        Restart = "on-failure";
        RestartSec = "3s";
      };
    };

    virtualisation.rosetta = mkIf cfg.rosetta.enable {
      enable = true;
      # Lima's names for the share and its place.
      mountTag = "vz-rosetta";
      mountPoint = "/mnt/lima-rosetta";
    };
    # A host that does not offer the share must not hold the boot up.
    fileSystems."/mnt/lima-rosetta" = mkIf cfg.rosetta.enable { options = [ "nofail" ]; };
  };
}
