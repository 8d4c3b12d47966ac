{ lib }:
let
  inherit (import ../testing.nix { inherit lib; }) evaluate failures package;

  guest =
    system: settings:
    evaluate {
      inherit system;
      modules = [
        ./default.nix
        {
          lima-guest = {
            enable = true;
          }
          // settings;
        }
      ];
    };
  plain = guest "x86_64-linux" { };
  inherit (plain.systemd) services;

  init = builtins.readFile ./init.sh;
  agent = builtins.readFile ./agent.sh;
  # Positions in the text: what must come before something else.
  position = needle: text: lib.stringLength (lib.head (lib.splitString needle text));
in
[
  {
    name = "lima-guest: the host reaches a shell by key, and root without a password";
    expr = {
      sshd = plain.services.openssh.enable;
      inherit (plain.services.openssh) settings;
      inherit (plain.security.sudo) wheelNeedsPassword;
      inherit (plain.systemd.tmpfiles) rules;
    };
    expected = {
      sshd = true;
      settings = {
        PasswordAuthentication = false;
        PermitRootLogin = "no";
      };
      wheelNeedsPassword = false;
      rules = [ "L+ /bin/bash - - - - /run/current-system/sw/bin/bash" ];
    };
  }
  {
    name = "lima-guest: the host's disk is mounted where its probes look for it, and may be absent";
    expr = {
      inherit (plain.fileSystems."/mnt/lima-cidata") device fsType;
      mayBeAbsent = lib.elem "nofail" plain.fileSystems."/mnt/lima-cidata".options;
      runs = lib.elem "exec" plain.fileSystems."/mnt/lima-cidata".options;
    };
    expected = {
      device = "/dev/disk/by-label/cidata";
      fsType = "iso9660";
      mayBeAbsent = true;
      runs = true;
    };
  }
  {
    name = "lima-guest: the VM is set up at every boot, and the agent starts after that";
    expr = {
      inherit (services.lima-init) wantedBy;
      inherit (services.lima-init.serviceConfig) Type;
      inherit (services.lima-guestagent) after requires;
      inherit (services.lima-guestagent.serviceConfig) Restart;
    };
    expected = {
      wantedBy = [ "multi-user.target" ];
      Type = "oneshot";
      after = [
        "lima-init.service"
        "network.target"
      ];
      requires = [ "lima-init.service" ];
      Restart = "on-failure";
    };
  }
  {
    name = "lima-guest: ssh is signalled once the keys lie there, the boot once all else is done";
    expr =
      let
        keys = position "ssh-authorized-keys" init;
        ssh = position ''signal "$run/lima-ssh-ready"'' init;
        mounts = position ".mounts //" init;
        done = position ''signal "$run/lima-boot-done"'' init;
      in
      [
        (keys < ssh)
        (ssh < mounts)
        (mounts < done)
        (done < lib.stringLength init)
      ];
    expected = [
      true
      true
      true
      true
    ];
  }
  {
    name = "lima-guest: values of the host are never run as shell code";
    expr = map (text: builtins.match ".*(source |\\. \"|eval ).*" text == null) [
      init
      agent
    ];
    expected = [
      true
      true
    ];
  }
  {
    name = "lima-guest: packages for the guest agent are on its path";
    expr = map (p: p.pname) (
      lib.filter (p: p.pname == "k3s")
        (guest "x86_64-linux" { agentPackages = [ (package "k3s" "1.35.6") ]; })
        .systemd.services.lima-guestagent.path
    );
    expected = [ "k3s" ];
  }
  {
    name = "lima-guest: Rosetta has Lima's names, is for aarch64, and does not hold up the boot";
    expr = {
      inherit ((guest "aarch64-linux" { rosetta.enable = true; }).virtualisation) rosetta;
      inherit ((guest "aarch64-linux" { rosetta.enable = true; }).fileSystems."/mnt/lima-rosetta")
        options
        ;
      refused = failures (guest "x86_64-linux" { rosetta.enable = true; });
      off = plain.virtualisation.rosetta.enable;
    };
    expected = {
      rosetta = {
        enable = true;
        mountTag = "vz-rosetta";
        mountPoint = "/mnt/lima-rosetta";
      };
      options = [ "nofail" ];
      refused = [
        "lima-guest: Rosetta runs x86_64 programs in aarch64 VMs; this VM is x86_64-linux, turn `lima-guest.rosetta.enable` off or build the aarch64-linux image"
      ];
      off = false;
    };
  }
  {
    name = "lima-guest: users that only the configuration may make are refused";
    expr = failures (evaluate {
      modules = [
        ./default.nix
        {
          lima-guest.enable = true;
          users.mutableUsers = false;
        }
      ];
    });
    expected = [
      "lima-guest: the host names the VM's user when it starts it, so `users.mutableUsers` must stay on"
    ];
  }
]
