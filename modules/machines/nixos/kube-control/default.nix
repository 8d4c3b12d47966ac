# The first server of the k3s cluster at Hetzner, as a module for `clan.machines.kube-control`.
# clan brings disko and sops-nix; terranix made the server that this is installed on.
{
  # The evaluated platform config.
  platform,
  # The srvos flake, or `import` of its sources.
  srvos,
  # The machine's name in the platform config.
  name ? "kube-control",
  # The checkout with the encrypted host secrets and with machines/<name>/authorized_keys.
  root ? ../../../..,
}:
{
  config,
  lib,
  ...
}:
let
  machine = platform.machines.${name};
  clusters = lib.filterAttrs (_: cluster: cluster.machine == name) platform.clusters;
  cluster =
    if lib.length (lib.attrNames clusters) == 1 then
      lib.head (lib.attrValues clusters)
    else
      throw "machine `${name}`: the platform config names it as the machine of ${toString (lib.length (lib.attrNames clusters))} clusters, it takes one; set `clusters.<cluster>.machine`";

  # Public halves of the keys that may log in, one a line: that of the deploy key, and those of operators.
  keysFile = root + "/machines/${name}/authorized_keys";
  keys = lib.optionals (builtins.pathExists keysFile) (
    lib.filter (line: line != "" && !lib.hasPrefix "#" line) (
      lib.splitString "\n" (builtins.readFile keysFile)
    )
  );

  # Before the secret is made the machine can be evaluated; k3s would then make a token of its own.
  token =
    lib.findFirst (secret: secret.id == "k3s-token")
      (throw "machine `${name}`: the platform config has no secret `k3s-token`")
      platform.secrets.required;
  tokenFile = root + "/${token.file}";
  hasToken = builtins.pathExists tokenFile;
in
{
  imports = [
    srvos.nixosModules.server
    srvos.nixosModules.hardware-hetzner-cloud
    ../../../nixos/k3s-server
    (import ../../../nixos/k3s-server/from-facts.nix {
      inherit cluster;
      inherit (platform) versions;
    })
    ./disko.nix
  ];

  config = lib.mkMerge [
    {
      assertions = [
        {
          assertion = config.users.users.root.openssh.authorizedKeys.keys != [ ];
          message = "machine `${name}`: no user could log in; put the public half of the deploy key into machines/${name}/authorized_keys, or set `users.users.root.openssh.authorizedKeys.keys`";
        }
      ];

      nixpkgs.hostPlatform = lib.mkDefault machine.system;
      # The release whose state formats the machine keeps, whatever it is updated to; clan would take the newest as its default.
      system.stateVersion = "25.05";

      networking.hostName = lib.mkDefault name;

      users.users.root.openssh.authorizedKeys = { inherit keys; };

      # srvos leaves the interfaces to cloud-init; this one is the uplink whatever the image says.
      systemd.network.networks."10-uplink" = {
        matchConfig.Name = "en*";
        networkConfig = {
          DHCP = "yes";
          IPv6AcceptRA = true;
        };
      };

      # Half of the smallest server's memory would be the ARC's otherwise, and the kubelet counts on it.
      boot.kernelParams = [ "zfs.zfs_arc_max=${toString (1024 * 1024 * 1024)}" ];

      k3s-server = {
        enable = true;
        role = "server";
        # etcd from the start: further servers can join without a migration.
        clusterInit = lib.mkDefault true;
      };

      # Cilium's gateway listens on the host.
      networking.firewall.allowedTCPPorts = [
        80
        443
      ];
    }

    (lib.mkIf hasToken {
      sops.secrets.k3s-token = {
        sopsFile = tokenFile;
        key = lib.head (lib.attrNames token.keys);
        restartUnits = [ "k3s.service" ];
      };
      k3s-server.tokenFile = config.sops.secrets.k3s-token.path;
    })
  ];
}
