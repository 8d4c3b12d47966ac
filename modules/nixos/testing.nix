# Evaluates NixOS modules on nixpkgs' `lib` alone, against the options that they set, declared here with NixOS' own types.
# The types were read in, and the results compared with, the module set of nixpkgs 26.11pre of 2026-07 (k3s_1_35 is 1.35.6 there).
# It declares options only; what NixOS makes of them is not repeated here.
{ lib }:
let
  inherit (lib) mkOption types;

  option =
    type: default:
    mkOption {
      inherit type default;
      description = "Declared by NixOS.";
    };
  required =
    type:
    mkOption {
      inherit type;
      description = "Declared by NixOS.";
    };

  # A list of names, or which of them are on; read back as a list.
  namesToTrue = types.coercedTo (types.listOf types.str) (names: lib.genAttrs names (_: true)) (
    types.attrsOf types.bool
  );
  moduleNames = mkOption {
    type = namesToTrue;
    default = { };
    apply = modules: lib.attrNames (lib.filterAttrs (_: isOn: isOn) modules);
    description = "Declared by NixOS.";
  };

  # One definition, also where two would be equal: `boot.kernel.sysctl` merges like this.
  sysctlValue = lib.mkOptionType {
    name = "sysctl option value";
    check = value: lib.isBool value || lib.isString value || lib.isInt value || value == null;
    merge = lib.mergeOneOption;
  };

  json =
    let
      value =
        types.nullOr (
          types.oneOf [
            types.bool
            types.int
            types.float
            types.str
            types.path
            (types.attrsOf value)
            (types.listOf value)
          ]
        )
        // {
          description = "JSON value";
        };
    in
    value;

  portRange = types.attrsOf types.port;

  unit = types.submodule {
    options = {
      description = option types.str "";
      enable = option types.bool true;
      wantedBy = option (types.listOf types.str) [ ];
      requiredBy = option (types.listOf types.str) [ ];
      before = option (types.listOf types.str) [ ];
      after = option (types.listOf types.str) [ ];
      requires = option (types.listOf types.str) [ ];
      wants = option (types.listOf types.str) [ ];
      path = option (types.listOf types.raw) [ ];
      environment = option (types.attrsOf (types.nullOr types.str)) { };
      script = option types.lines "";
      restartIfChanged = option types.bool true;
      unitConfig = option (types.attrsOf json) { };
      serviceConfig = option (types.attrsOf json) { };
    };
  };

  fileSystem = types.submodule {
    options = {
      device = option (types.nullOr types.str) null;
      fsType = option types.str "auto";
      options = option (types.listOf types.str) [ "defaults" ];
      autoResize = option types.bool false;
      neededForBoot = option types.bool false;
    };
  };

  declared = {
    options = {
      assertions = option (types.listOf types.unspecified) [ ];
      warnings = option (types.listOf types.str) [ ];
      lib = option (types.attrsOf types.attrs) { };

      boot.kernelModules = moduleNames;
      boot.initrd.kernelModules = moduleNames;
      boot.initrd.availableKernelModules = moduleNames;
      boot.kernelParams = option (types.listOf types.str) [ ];
      boot.kernelPackages = mkOption {
        type = types.raw;
        default.kernel.version = "6.18.37";
        description = "Declared by NixOS.";
      };
      boot.kernel.sysctl = option (types.submodule { freeformType = types.attrsOf sysctlValue; }) { };
      boot.growPartition = option types.bool false;
      boot.supportedFilesystems = option (types.coercedTo (types.listOf types.str) (
        names: lib.genAttrs names (_: true)
      ) (types.attrsOf types.bool)) { };
      boot.zfs.forceImportRoot = option types.bool true;
      boot.zfs.devNodes = option types.path "/dev/disk/by-id";
      boot.loader = {
        timeout = option (types.nullOr types.int) 5;
        efi.canTouchEfiVariables = option types.bool false;
        systemd-boot.enable = option types.bool false;
        systemd-boot.configurationLimit = option (types.nullOr types.int) null;
        grub.enable = option types.bool true;
        grub.devices = option (types.listOf types.str) [ ];
        grub.efiSupport = option types.bool false;
        grub.efiInstallAsRemovable = option types.bool false;
      };
      system.requiredKernelConfig = option (types.listOf types.attrs) [ ];
      system.stateVersion = option types.str "";
      system.build = option (types.lazyAttrsOf types.unspecified) { };
      system.extraDependencies = option (types.listOf types.raw) [ ];

      environment.systemPackages = option (types.listOf types.raw) [ ];
      environment.etc = option (types.attrsOf (
        types.submodule {
          options = {
            source = option (types.nullOr types.raw) null;
            text = option (types.nullOr types.lines) null;
            mode = option types.str "symlink";
          };
        }
      )) { };
      fileSystems = option (types.attrsOf fileSystem) { };
      image.modules = option (types.attrsOf types.deferredModule) { };

      networking = {
        hostName = option types.str "nixos";
        hostId = option (types.nullOr types.str) null;
        useDHCP = option types.bool true;
        useNetworkd = option types.bool false;
        nftables.enable = option types.bool false;
        firewall = {
          enable = option types.bool true;
          allowPing = option types.bool true;
          allowedTCPPorts = option (types.listOf types.port) [ ];
          allowedUDPPorts = option (types.listOf types.port) [ ];
          allowedTCPPortRanges = option (types.listOf portRange) [ ];
          allowedUDPPortRanges = option (types.listOf portRange) [ ];
          trustedInterfaces = option (types.listOf types.str) [ ];
          checkReversePath = option (types.either types.bool (
            types.enum [
              "strict"
              "loose"
            ]
          )) true;
        };
      };

      nix.settings = option (types.submodule { freeformType = types.attrsOf json; }) { };
      nix.channel.enable = option types.bool true;
      nixpkgs.hostPlatform = required (types.either types.str types.attrs);
      documentation.enable = option types.bool true;

      security.sudo.enable = option types.bool true;
      security.sudo.wheelNeedsPassword = option types.bool true;

      services.k3s = {
        enable = option types.bool false;
        package = required types.package;
        role = option (types.enum [
          "server"
          "agent"
        ]) "server";
        serverAddr = option types.str "";
        token = option types.str "";
        tokenFile = option (types.nullOr types.path) null;
        configPath = option (types.nullOr types.path) null;
        environmentFile = option (types.nullOr types.path) null;
        extraFlags = option (types.either types.str (types.listOf types.str)) [ ];
        disable = option (types.listOf types.str) [ ];
        nodeLabel = option (types.listOf types.str) [ ];
        nodeTaint = option (types.listOf types.str) [ ];
        nodeName = option (types.nullOr types.str) null;
        nodeIP = option (types.nullOr types.str) null;
        containerdConfigTemplate = option (types.nullOr types.str) null;
        images = option (types.listOf types.package) [ ];
        extraKubeletConfig = option (types.attrsOf types.anything) { };
        clusterInit = option types.bool false;
        disableAgent = option types.bool false;
        gracefulNodeShutdown = {
          enable = option types.bool false;
          shutdownGracePeriod = option types.nonEmptyStr "30s";
          shutdownGracePeriodCriticalPods = option types.nonEmptyStr "10s";
        };
      };
      services.openssh = {
        enable = option types.bool false;
        settings = option (types.submodule { freeformType = types.attrsOf json; }) { };
      };
      services.qemuGuest.enable = option types.bool false;

      systemd.services = option (types.attrsOf unit) { };
      systemd.network.config.networkConfig = option (types.attrsOf json) { };
      systemd.network.enable = option types.bool false;
      systemd.network.networks = option (types.attrsOf (
        types.submodule { freeformType = types.attrsOf json; }
      )) { };
      systemd.network.wait-online.anyInterface = option types.bool false;
      systemd.tmpfiles.rules = option (types.listOf types.str) [ ];

      users.mutableUsers = option types.bool true;
      users.users = option (types.attrsOf (
        types.submodule {
          options.openssh.authorizedKeys.keys = option (types.listOf types.str) [ ];
        }
      )) { };

      virtualisation.rosetta = {
        enable = option types.bool false;
        mountPoint = option types.str "/run/rosetta";
        mountTag = option types.str "rosetta";
      };
    };

    config.lib.kernelConfig = {
      isYes = name: {
        assertion = kernel: kernel.isYes name;
        message = "CONFIG_${name} is not yes!";
      };
    };
  };

  # What modules ask of `pkgs`: packages by name and version, nothing that could be built.
  package = pname: version: {
    type = "derivation";
    name = "${pname}-${version}";
    outPath = "/nix/store/00000000000000000000000000000000-${pname}-${version}";
    inherit pname version;
  };
  pkgsFor =
    system:
    {
      stdenv.hostPlatform = lib.systems.elaborate system;
      k3s_1_34 = package "k3s" "1.34.8+k3s1";
      k3s_1_35 = package "k3s" "1.35.6+k3s1";
      linuxPackages_6_12.kernel.version = "6.12.40";
      linuxPackages_6_6.kernel.version = "6.6.143";
    }
    // lib.genAttrs [
      "bash"
      "coreutils"
      "gawk"
      "gnused"
      "gnugrep"
      "jq"
      "shadow"
      "systemd"
      "util-linux"
      "yq-go"
    ] (name: package name "1");
in
{
  inherit
    json
    option
    package
    pkgsFor
    ;

  # The configuration that `modules` make, as NixOS' modules would read it.
  evaluate =
    {
      modules,
      system ? "x86_64-linux",
      specialArgs ? { },
    }:
    (lib.evalModules {
      inherit specialArgs;
      modules = modules ++ [
        declared
        {
          nixpkgs.hostPlatform = lib.mkOptionDefault system;
          _module.args.pkgs = pkgsFor system;
        }
      ];
    }).config;

  # A test against the sources of others: `inputs` has their trees by name. Without them it is named as not run.
  # Evaluate with --readonly-mode: these tests want derivations' names, and the store need not hold them.
  needs =
    names: inputs: test:
    let
      missing = lib.filter (name: !inputs ? ${name}) names;
    in
    if missing == [ ] then
      test
    else
      {
        inherit (test) name;
        notRun = "needs the sources of ${lib.concatStringsSep ", " names}, `--arg inputs '{ ${
          lib.concatMapStrings (name: "${name} = …; ") names
        }}'`";
      };

  # The same with all of NixOS' own modules; `nixpkgs` is a tree of it.
  nixos =
    {
      nixpkgs,
      modules,
      system ? "x86_64-linux",
    }:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      # Taken from `nixpkgs.hostPlatform`.
      system = null;
      modules = modules ++ [ { nixpkgs.hostPlatform = lib.mkOptionDefault system; } ];
    }).config;

  # Messages of the assertions that do not hold.
  failures =
    config: map (failed: failed.message) (lib.filter (checked: !checked.assertion) config.assertions);

  # Whether a value can be had at all: a wrong type or a missing definition is false.
  evaluates = value: (builtins.tryEval (builtins.deepSeq value true)).success;
}
