# Servers at Hetzner Cloud with their key, firewall, networks, volumes and DNS records; a terranix module.
# It makes no operating system: clan installs that on what stands here. Nothing secret is in it; the providers read
# HCLOUD_TOKEN and CLOUDFLARE_API_TOKEN, and OpenTofu reads TF_VAR_deploy_public_key and TF_VAR_state_passphrase.
# `platform` is the evaluated platform config. Provider schemas: hcloud 1.66, cloudflare 5.21.
{
  config,
  lib,
  platform,
  ...
}:
let
  inherit (lib) mkOption types;

  cfg = config.hetzner;

  ofHetzner = lib.filterAttrs (_: machine: machine.provider == "hetzner") platform.machines;
  enabled = lib.filterAttrs (_: machine: machine.enabled) ofHetzner;
  names = lib.attrNames enabled;

  # A reference that OpenTofu resolves.
  ref = path: "\${${path}}";
  server = name: attribute: ref "hcloud_server.${name}.${attribute}";

  # The clusters that run on these machines decide which ports are open.
  clusters = lib.filterAttrs (
    _: cluster: cluster.machine != null && enabled ? ${cluster.machine}
  ) platform.clusters;
  clusterOf = name: lib.filterAttrs (_: cluster: cluster.machine == name) clusters;
  ports = lib.unique (
    lib.concatMap (
      cluster:
      import ../nixos/k3s-server/ports.nix {
        inherit (cluster) apiPort;
        inherit (cfg) tunnelProtocol;
      }
    ) (lib.attrValues clusters)
  );

  anywhere = [
    "0.0.0.0/0"
    "::/0"
  ];
  rule =
    sources: port:
    {
      direction = "in";
      inherit (port) protocol description;
      source_ips = sources;
    }
    // lib.optionalAttrs (port ? from) {
      port =
        if port.from == port.to then toString port.from else "${toString port.from}-${toString port.to}";
    };
  single = description: port: {
    protocol = "tcp";
    from = port;
    to = port;
    inherit description;
  };
  ping = {
    protocol = "icmp";
    description = "Echo";
  };

  labels = {
    platform = platform.name;
  };

  known =
    what: name:
    if enabled ? ${name} then
      name
    else
      throw "hetzner: ${what} belongs to machine `${name}`, which has no server; machines with one: ${
        if names == [ ] then "none" else lib.concatStringsSep ", " names
      }";

  records = lib.listToAttrs (
    lib.concatMap (
      name:
      map
        (host: {
          # A resource's name cannot hold dots.
          name = lib.replaceStrings [ "." ] [ "_" ] host;
          value = { inherit host name; };
        })
        (
          lib.unique (
            [ "${name}.${platform.domain}" ]
            ++ lib.filter (lib.hasSuffix ".${platform.domain}") (
              map (cluster: cluster.apiHost) (lib.attrValues (clusterOf name))
            )
          )
        )
    ) names
  );

  perMember =
    make:
    lib.listToAttrs (
      lib.concatLists (
        lib.mapAttrsToList (
          networkName: network:
          lib.mapAttrsToList (machine: address: {
            name = "${networkName}_${machine}";
            value = make networkName (known "network `${networkName}`" machine) address;
          }) network.machines
        ) cfg.networks
      )
    );
in
{
  options.hetzner = {
    tunnelProtocol = mkOption {
      type = types.enum [
        "geneve"
        "vxlan"
      ];
      default = "geneve";
      description = "Encapsulation between nodes, the one of Cilium and of `k3s-server.tunnelProtocol`.";
    };

    sshSources = mkOption {
      type = types.listOf types.str;
      default = anywhere;
      example = [ "203.0.113.7/32" ];
      description = "CIDRs from which machines can be reached by SSH.";
    };

    networks = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            ipRange = mkOption {
              type = types.str;
              example = "10.0.0.0/16";
              description = "IPv4 CIDR of the network.";
            };
            subnet = mkOption {
              type = types.str;
              example = "10.0.1.0/24";
              description = "IPv4 CIDR, within `ipRange`, that machines get addresses from.";
            };
            zone = mkOption {
              type = types.enum [
                "ap-southeast"
                "eu-central"
                "us-east"
                "us-west"
              ];
              default = "eu-central";
              description = "Network zone; locations fsn1, nbg1 and hel1 are in eu-central.";
            };
            machines = mkOption {
              type = types.attrsOf (types.nullOr types.str);
              default = { };
              example = {
                kube-control = "10.0.1.2";
              };
              description = "Machines in the network and their addresses; null lets the provider choose.";
            };
          };
        }
      );
      default = { };
      description = "Private networks.";
    };

    volumes = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            machine = mkOption {
              type = types.str;
              example = "kube-control";
              description = "Machine that the volume is attached to, and in whose location it is.";
            };
            size = mkOption {
              # Hetzner's smallest and largest.
              type = types.ints.between 10 10240;
              description = "Size in GB; it can grow and never shrink.";
            };
            format = mkOption {
              type = types.enum [
                "ext4"
                "xfs"
              ];
              default = "ext4";
              description = "File system that a new volume gets.";
            };
          };
        }
      );
      default = { };
      description = "Block storage that outlives its machine.";
    };
  };

  config = {
    terraform = {
      required_providers = {
        hcloud = {
          source = "hetznercloud/hcloud";
          version = "~> 1.60";
        };
        cloudflare = {
          source = "cloudflare/cloudflare";
          version = "~> 5.0";
        };
      };
      # The state is committed, so it is never written in clear.
      encryption = {
        key_provider.pbkdf2.state.passphrase = ref "var.state_passphrase";
        method.aes_gcm.state.keys = ref "key_provider.pbkdf2.state";
        state = {
          method = "method.aes_gcm.state";
          enforced = true;
        };
        plan = {
          method = "method.aes_gcm.state";
          enforced = true;
        };
      };
    };

    provider = {
      hcloud = { };
      cloudflare = { };
    };

    variable = {
      deploy_public_key = {
        type = "string";
        description = "Public half, ED25519, of the SSH key that machines are installed with; the private half never comes here.";
      };
      state_passphrase = {
        type = "string";
        sensitive = true;
        description = "Passphrase that encrypts state and plans.";
      };
    };

    data = lib.optionalAttrs (records != { }) {
      cloudflare_zone.main.filter.name = platform.domain;
    };

    resource = {
      hcloud_ssh_key.deploy = {
        name = "${platform.name}-deploy";
        public_key = ref "var.deploy_public_key";
        inherit labels;
      };
    }
    // lib.optionalAttrs (names != [ ]) {
      hcloud_server = lib.mapAttrs (name: machine: {
        inherit name labels;
        inherit (machine) location image;
        server_type = machine.serverType;
        ssh_keys = [ (ref "hcloud_ssh_key.deploy.id") ];
        # This firewall stands before the first boot; the one between nodes needs their addresses and is attached later.
        firewall_ids = [ (ref "hcloud_firewall.clients.id") ];
        ignore_remote_firewall_ids = true;
        public_net = [
          {
            ipv4_enabled = true;
            ipv6_enabled = true;
          }
        ];
        lifecycle = {
          # clan replaces the image, and keys are read at the first boot only: a change must not replace the server.
          ignore_changes = [
            "image"
            "ssh_keys"
          ];
          # A change that would replace the server is an error. To destroy one, `enabled = false` takes it out of this file.
          prevent_destroy = true;
        };
      }) enabled;

      hcloud_firewall = {
        clients = {
          name = "${platform.name}-clients";
          inherit labels;
          rule = [
            (rule anywhere ping)
            (rule cfg.sshSources (single "SSH" 22))
            (rule anywhere (single "HTTP" 80))
            (rule anywhere (single "HTTPS" 443))
          ]
          ++ map (rule anywhere) (lib.filter (port: port.reach == "clients") ports);
        };
      }
      // lib.optionalAttrs (clusters != { }) {
        nodes = {
          name = "${platform.name}-nodes";
          inherit labels;
          # Private networks are not filtered; this is for nodes that meet on their public addresses.
          rule = map (rule (map (name: "${server name "ipv4_address"}/32") names)) (
            lib.filter (port: port.reach == "nodes") ports
          );
        };
      };

      cloudflare_dns_record = lib.mapAttrs (_: record: {
        zone_id = ref "data.cloudflare_zone.main.zone_id";
        name = record.host;
        type = "A";
        content = server record.name "ipv4_address";
        # 1 is the provider's "automatic".
        ttl = 1;
        # Cloudflare's proxy passes neither SSH nor the Kubernetes API.
        proxied = false;
      }) records;
    }
    // lib.optionalAttrs (clusters != { }) {
      hcloud_firewall_attachment.nodes = {
        firewall_id = ref "hcloud_firewall.nodes.id";
        server_ids = map (name: server name "id") names;
      };
    }
    // lib.optionalAttrs (cfg.networks != { }) {
      hcloud_network = lib.mapAttrs (name: network: {
        name = "${platform.name}-${name}";
        ip_range = network.ipRange;
        inherit labels;
      }) cfg.networks;
      hcloud_network_subnet = lib.mapAttrs (name: network: {
        network_id = ref "hcloud_network.${name}.id";
        type = "cloud";
        network_zone = network.zone;
        ip_range = network.subnet;
      }) cfg.networks;
      hcloud_server_network = perMember (
        network: machine: address:
        {
          server_id = server machine "id";
          subnet_id = ref "hcloud_network_subnet.${network}.id";
        }
        // lib.optionalAttrs (address != null) { ip = address; }
      );
    }
    // lib.optionalAttrs (cfg.volumes != { }) {
      hcloud_volume = lib.mapAttrs (name: volume: {
        name = "${platform.name}-${name}";
        inherit (volume) size format;
        inherit labels;
        # By location and not by server: the volume stays when the server goes.
        inherit (enabled.${known "volume `${name}`" volume.machine}) location;
        delete_protection = true;
        lifecycle.prevent_destroy = true;
      }) cfg.volumes;
      hcloud_volume_attachment = lib.mapAttrs (name: volume: {
        volume_id = ref "hcloud_volume.${name}.id";
        server_id = server volume.machine "id";
        # NixOS mounts it.
        automount = false;
      }) cfg.volumes;
    };

    output = {
      machines = {
        description = "Public IPv4 address of each machine.";
        value = lib.mapAttrs (name: _: server name "ipv4_address") enabled;
      };
      # Review sees here what an apply destroys, if it exists.
      machines_without_server = {
        description = "Machines that are not enabled: a server of that name is destroyed.";
        value = lib.attrNames (lib.filterAttrs (_: machine: !machine.enabled) ofHetzner);
      };
    };
  };
}
