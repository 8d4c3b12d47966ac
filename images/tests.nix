{ inputs, lib }:
let
  inherit (import ../modules/nixos/testing.nix { inherit lib; })
    evaluate
    evaluates
    failures
    needs
    nixos
    ;

  cluster = profile: apiPort: {
    environment = "local";
    distribution = "k3s";
    inherit profile apiPort;
    podCidr = "10.42.0.0/16";
    serviceCidr = "10.43.0.0/16";
    dnsAddress = "10.43.0.10";
    clusterDomain = "cluster.local";
  };
  platform = {
    versions.kubernetes = "1.35";
    clusters = {
      alpha = cluster "alpha-vm" 6443;
      beta = cluster "beta-vm" 6444;
      # Neither of these is a VM of this image.
      production = cluster null 6443 // {
        environment = "production";
      };
      kubeadm = cluster "kubeadm-vm" 6443 // {
        distribution = "kubeadm";
      };
    };
    profiles = {
      alpha-vm.rosetta = false;
      beta-vm.rosetta = true;
    };
  };

  guest =
    {
      system,
      facts ? platform,
      modules ? [ ],
    }:
    evaluate {
      inherit system;
      specialArgs.modulesPath = toString ./fixture/modules;
      modules = [ (import ./k3s-local.nix { platform = facts; }) ] ++ modules;
    };
  arm = guest { system = "aarch64-linux"; };
  intel = guest { system = "x86_64-linux"; };

  image =
    system:
    (guest {
      inherit system;
      modules = [ (guest { inherit system; }).image.modules.k3s-local ];
    }).system.build.image;
in
[
  {
    name = "k3s-local: VMs of both architectures evaluate without a failed assertion";
    expr = map failures [
      arm
      intel
    ];
    expected = [
      [ ]
      [ ]
    ];
  }
  {
    name = "k3s-local: the image is a qcow2 of that name with an EFI partition and without a copy of nixpkgs";
    expr = map image [
      "aarch64-linux"
      "x86_64-linux"
    ];
    expected =
      let
        disk = {
          baseName = "nixos";
          format = "qcow2";
          partitionTableType = "efi";
          copyChannel = false;
          diskSize = "auto";
          additionalSpace = "1024M";
        };
      in
      [
        disk
        disk
      ];
  }
  {
    name = "k3s-local: systemd-boot starts the VM from labelled partitions that grow";
    expr = {
      inherit (intel.boot) growPartition;
      systemd-boot = intel.boot.loader.systemd-boot.enable;
      grub = intel.boot.loader.grub.enable;
      variables = intel.boot.loader.efi.canTouchEfiVariables;
      root = {
        inherit (intel.fileSystems."/") device fsType autoResize;
      };
      esp = {
        inherit (intel.fileSystems."/boot") device fsType;
      };
    };
    expected = {
      growPartition = true;
      systemd-boot = true;
      grub = false;
      variables = false;
      root = {
        device = "/dev/disk/by-label/nixos";
        fsType = "ext4";
        autoResize = true;
      };
      esp = {
        device = "/dev/disk/by-label/ESP";
        fsType = "vfat";
      };
    };
  }
  {
    name = "k3s-local: Rosetta is in the aarch64 image when a profile asks for it, and never in the other";
    expr =
      map
        (config: {
          inherit (config.virtualisation.rosetta) enable mountTag mountPoint;
          kernel = config.boot.kernelPackages.kernel.version;
        })
        [
          arm
          intel
        ];
    expected = [
      {
        enable = true;
        mountTag = "vz-rosetta";
        mountPoint = "/mnt/lima-rosetta";
        kernel = "6.6.143";
      }
      {
        enable = false;
        mountTag = "rosetta";
        mountPoint = "/run/rosetta";
        kernel = "6.12.40";
      }
    ];
  }
  {
    name = "k3s-local: Rosetta forced into an x86_64 VM is refused with what to do";
    expr = failures (guest {
      system = "x86_64-linux";
      modules = [ { k3s-local.rosetta.enable = true; } ];
    });
    expected = [
      "lima-guest: Rosetta runs x86_64 programs in aarch64 VMs; this VM is x86_64-linux, turn `lima-guest.rosetta.enable` off or build the aarch64-linux image"
    ];
  }
  {
    name = "k3s-local: the kernel is a consumer's choice";
    expr =
      (guest {
        system = "aarch64-linux";
        modules = [ { k3s-server.kernelPackages.kernel.version = "6.1.150"; } ];
      }).boot.kernelPackages.kernel.version;
    expected = "6.1.150";
  }
  {
    name = "k3s-local: k3s is a lone server whose port is left to the instance";
    expr = {
      inherit (intel.services.k3s)
        role
        clusterInit
        extraFlags
        ;
    };
    expected = {
      role = "server";
      clusterInit = false;
      extraFlags = [
        "--flannel-backend=none"
        "--disable-network-policy"
        "--disable-kube-proxy"
        "--cluster-cidr=10.42.0.0/16"
        "--service-cidr=10.43.0.0/16"
        "--disable-cloud-controller"
        "--cluster-dns=10.43.0.10"
      ];
    };
  }
  {
    name = "k3s-local: each local cluster's port is chosen by the name of the instance, before k3s starts";
    expr =
      let
        unit = intel.systemd.services.k3s-instance;
      in
      {
        cases = lib.filter (line: lib.hasInfix ") port=" line) (lib.splitString "\n" unit.script);
        inherit (unit) before;
      };
    expected = {
      cases = [
        "'alpha-vm') port=6443 ;;"
        "'beta-vm') port=6444 ;;"
      ];
      before = [ "k3s.service" ];
    };
  }
  {
    name = "k3s-local: clusters that one image cannot serve are named";
    expr = failures (guest {
      system = "x86_64-linux";
      facts = lib.recursiveUpdate platform { clusters.beta.podCidr = "10.99.0.0/16"; };
    });
    expected = [
      "k3s-local: the image is shared by alpha, beta, but beta differ from alpha in podCidr, serviceCidr, dnsAddress or clusterDomain; give them the same values"
    ];
  }
  {
    name = "k3s-local: no firewall, keys only, flakes on, DHCP on the uplink alone";
    expr = {
      firewall = intel.networking.firewall.enable;
      opened = intel.networking.firewall.allowedTCPPorts;
      sshd = intel.services.openssh.enable;
      passwords = intel.services.openssh.settings.PasswordAuthentication;
      features = intel.nix.settings.experimental-features;
      inherit (intel.networking) useDHCP;
      inherit (intel.systemd.network) networks;
      waitsForOne = intel.systemd.network.wait-online.anyInterface;
    };
    expected = {
      firewall = false;
      opened = [ ];
      sshd = true;
      passwords = false;
      features = [
        "nix-command"
        "flakes"
      ];
      useDHCP = false;
      networks."10-uplink" = {
        matchConfig.Name = "en* eth*";
        networkConfig.DHCP = "yes";
      };
      waitsForOne = true;
    };
  }
  (needs [ "nixpkgs" ] inputs {
    name = "k3s-local: with NixOS' own modules both architectures have a closure and an image nixos.qcow2";
    expr =
      map
        (
          system:
          let
            config = nixos {
              inherit (inputs) nixpkgs;
              inherit system;
              modules = [ (import ./k3s-local.nix { inherit platform; }) ];
            };
            disk = config.system.build.images.k3s-local;
          in
          {
            failed = failures config;
            inherit (config) warnings;
            closure = evaluates config.system.build.toplevel.drvPath;
            image = evaluates disk.drvPath;
            file = disk.passthru.filePath;
            # NixOS' own variants copy nixpkgs as a channel.
            withoutChannel = lib.hasInfix "--no-channel-copy" disk.preVM;
          }
        )
        [
          "aarch64-linux"
          "x86_64-linux"
        ];
    expected =
      let
        guest = {
          failed = [ ];
          warnings = [ ];
          closure = true;
          image = true;
          file = "nixos.qcow2";
          withoutChannel = true;
        };
      in
      [
        guest
        guest
      ];
  })
]
