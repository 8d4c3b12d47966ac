{ inputs, lib }:
let
  inherit (import ../../../nixos/testing.nix { inherit lib; })
    evaluate
    evaluates
    failures
    json
    needs
    nixos
    option
    ;
  inherit (lib) types;

  # What clan and srvos bring. disko's own type of `devices` was tried beside this, with clan-core d7c35d9, srvos e49ccb0,
  # disko 878ec37, sops-nix 56b2406 and nixpkgs 26.11pre: toplevel and disk script evaluate without a failed assertion.
  foreign = {
    options = {
      disko.devices = option json { };
      sops.secrets = option (types.attrsOf (
        types.submodule (
          { name, ... }:
          {
            options = {
              sopsFile = option (types.nullOr types.path) null;
              key = option types.str name;
              path = option types.str "/run/secrets/${name}";
              restartUnits = option (types.listOf types.str) [ ];
            };
          }
        )
      )) { };
    };
  };
  srvos.nixosModules = {
    # Where srvos says something else than we do, at its own priority.
    server.networking.hostName = lib.mkOverride 1337 "";
    hardware-hetzner-cloud = {
      boot.growPartition = true;
      boot.loader.grub.devices = lib.mkDefault [ "/dev/sda" ];
      networking.useDHCP = false;
    };
  };

  platform = {
    versions.kubernetes = "1.35";
    machines.host.system = "aarch64-linux";
    clusters = {
      ours = {
        machine = "host";
        apiHost = "host.acme.test";
        apiPort = 7443;
        podCidr = "10.52.0.0/16";
        serviceCidr = "10.53.0.0/16";
        dnsAddress = "10.53.0.10";
        clusterDomain = "cluster.local";
      };
      other.machine = null;
    };
    secrets.required = [
      {
        id = "k3s-token";
        file = "secrets/token.enc.yaml";
        keys.token = { };
      }
    ];
  };
  host =
    {
      facts ? platform,
      root ? ./fixture,
      modules ? [ ],
    }:
    evaluate {
      modules = [
        (import ./default.nix {
          platform = facts;
          inherit root srvos;
          name = "host";
        })
        foreign
      ]
      ++ modules;
    };
  complete = host { };
  bare = host { root = ./.; };
in
[
  {
    name = "kube-control: a machine with a key and a token evaluates without a failed assertion";
    expr = failures complete;
    expected = [ ];
  }
  {
    name = "kube-control: the machine's platform config becomes its system and name, and its state version stays";
    expr = {
      inherit (complete.nixpkgs) hostPlatform;
      inherit (complete.networking) hostName;
      inherit (complete.system) stateVersion;
    };
    expected = {
      hostPlatform = "aarch64-linux";
      hostName = "host";
      stateVersion = "25.05";
    };
  }
  {
    name = "kube-control: k3s begins a cluster with the platform config of the one that names the machine";
    expr = {
      inherit (complete.services.k3s)
        role
        clusterInit
        tokenFile
        extraFlags
        ;
    };
    expected = {
      role = "server";
      clusterInit = true;
      tokenFile = "/run/secrets/k3s-token";
      extraFlags = [
        "--flannel-backend=none"
        "--disable-network-policy"
        "--disable-kube-proxy"
        "--cluster-cidr=10.52.0.0/16"
        "--service-cidr=10.53.0.0/16"
        "--disable-cloud-controller"
        "--https-listen-port=7443"
        "--cluster-dns=10.53.0.10"
        "--etcd-expose-metrics"
        "--tls-san=host.acme.test"
      ];
    };
  }
  {
    name = "kube-control: the token is the secret of the platform config, and k3s restarts when it changes";
    expr = {
      inherit (complete.sops.secrets.k3s-token) key restartUnits;
      file = baseNameOf complete.sops.secrets.k3s-token.sopsFile;
    };
    expected = {
      key = "token";
      restartUnits = [ "k3s.service" ];
      file = "token.enc.yaml";
    };
  }
  {
    name = "kube-control: before its secret and its keys are made a machine evaluates, and says what is missing";
    expr = {
      secrets = lib.attrNames bare.sops.secrets;
      inherit (bare.services.k3s) tokenFile;
      failed = failures bare;
    };
    expected = {
      secrets = [ ];
      tokenFile = null;
      failed = [
        "machine `host`: no user could log in; put the public half of the deploy key into machines/host/authorized_keys, or set `users.users.root.openssh.authorizedKeys.keys`"
      ];
    };
  }
  {
    name = "kube-control: keys come from the machine's folder, comments and empty lines do not";
    expr = complete.users.users.root.openssh.authorizedKeys.keys;
    expected = [
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA deploy"
    ];
  }
  {
    name = "kube-control: a machine that no cluster or more than one names is an error";
    expr = map (facts: evaluates (host { inherit facts; }).services.k3s.extraFlags) [
      (
        platform
        // {
          clusters.ours = platform.clusters.ours // {
            machine = null;
          };
        }
      )
      (lib.recursiveUpdate platform { clusters.other = platform.clusters.ours; })
      platform
    ];
    expected = [
      false
      false
      true
    ];
  }
  {
    name = "kube-control: the disk boots by BIOS and UEFI, and holds ZFS with the datasets of the system";
    expr = {
      partitions = lib.mapAttrs (
        _: partition: partition.size
      ) complete.disko.devices.disk.main.content.partitions;
      datasets = lib.mapAttrs (
        _: set: set.mountpoint or null
      ) complete.disko.devices.zpool.zroot.datasets;
      inherit (complete.disko.devices.zpool.zroot.rootFsOptions) compression;
      inherit (complete.boot.loader.grub) efiSupport efiInstallAsRemovable;
      inherit (complete.boot.zfs) devNodes;
      inherit (complete.boot) growPartition;
    };
    expected = {
      partitions = {
        bios = "1M";
        ESP = "1G";
        zfs = "100%";
      };
      datasets = {
        root = null;
        "root/nixos" = "/";
        "root/home" = "/home";
        "root/nix" = "/nix";
      };
      compression = "lz4";
      efiSupport = true;
      efiInstallAsRemovable = true;
      devNodes = "/dev/disk/by-path";
      growPartition = false;
    };
  }
  {
    name = "kube-control: the firewall opens the gateway beside the node's ports, and the uplink has DHCP and RA";
    expr = {
      # NixOS sorts them as well; the order of definitions differs between versions of `lib`.
      allowedTCPPorts = lib.sort (a: b: a < b) complete.networking.firewall.allowedTCPPorts;
      inherit (complete.networking.firewall) allowedUDPPorts;
      inherit (complete.systemd.network) networks;
    };
    expected = {
      allowedTCPPorts = [
        80
        443
        4240
        4244
        7443
        10250
      ];
      allowedUDPPorts = [ 6081 ];
      networks."10-uplink" = {
        matchConfig.Name = "en*";
        networkConfig = {
          DHCP = "yes";
          IPv6AcceptRA = true;
        };
      };
    };
  }
  (needs
    [
      "disko"
      "nixpkgs"
      "sops-nix"
      "srvos"
    ]
    inputs
    {
      name = "kube-control: with NixOS, srvos, disko and sops-nix themselves it has a closure and a disk script";
      expr =
        let
          config = nixos {
            inherit (inputs) nixpkgs;
            modules = [
              (inputs.disko + "/module.nix")
              (inputs.sops-nix + "/modules/sops")
              (import ./default.nix {
                inherit platform;
                srvos = import inputs.srvos;
                root = ./fixture;
                name = "host";
              })
              # The file of the fixture is not encrypted.
              { sops.validateSopsFiles = false; }
            ];
          };
        in
        {
          failed = failures config;
          inherit (config) warnings;
          closure = evaluates config.system.build.toplevel.drvPath;
          script = evaluates config.system.build.diskoScript.drvPath;
          grub = config.boot.loader.grub.devices;
          disks = lib.mapAttrs (_: fileSystem: fileSystem.device) config.fileSystems;
          token = config.services.k3s.tokenFile;
        };
      expected = {
        failed = [ ];
        warnings = [ ];
        closure = true;
        script = true;
        grub = [ "/dev/sda" ];
        disks = {
          "/" = "zroot/root/nixos";
          "/boot" = "/dev/disk/by-partlabel/disk-main-ESP";
          "/home" = "zroot/root/home";
          "/nix" = "zroot/root/nix";
        };
        token = "/run/secrets/k3s-token";
      };
    }
  )
]
