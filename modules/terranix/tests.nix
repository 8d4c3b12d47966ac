{ inputs, lib }:
let
  inherit (import ../nixos/testing.nix { inherit lib; }) evaluates needs;

  ours = (import ../. { inherit lib; }).platform;
  terraform = platform: modules: import ./default.nix { inherit lib platform modules; };

  machine = {
    enabled = true;
    provider = "hetzner";
    serverType = "cpx31";
    location = "nbg1";
    image = "debian-12";
    system = "x86_64-linux";
    comment = "";
  };
  # A consumer's platform config, unlike ours in every name and number.
  platform = {
    name = "acme";
    domain = "acme.test";
    machines = {
      one = machine;
      two = machine;
      gone = machine // {
        enabled = false;
      };
    };
    clusters = {
      prod = {
        machine = "one";
        apiHost = "api.acme.test";
        apiPort = 7443;
      };
      elsewhere = {
        machine = null;
        apiHost = "api.other.test";
        apiPort = 6443;
      };
    };
  };
  theirs = terraform platform [ ];
  without = terraform (
    platform
    // {
      machines.gone = machine // {
        enabled = false;
      };
    }
  ) [ ];

  rules = firewall: map (rule: rule.port or rule.protocol) firewall.rule;
in
[
  {
    name = "terraform: the committed terraform/main.tf.json is what the platform config evaluates to";
    expr = terraform ours [ ];
    expected = builtins.fromJSON (builtins.readFile ../../terraform/main.tf.json);
  }
  {
    name = "terraform: enabled machines have a server, and one that is not is named as destroyed";
    expr = {
      servers = lib.attrNames theirs.resource.hcloud_server;
      inherit (theirs.resource.hcloud_server.one) server_type location image;
      without = theirs.output.machines_without_server.value;
      addresses = theirs.output.machines.value;
    };
    expected = {
      servers = [
        "one"
        "two"
      ];
      server_type = "cpx31";
      location = "nbg1";
      image = "debian-12";
      without = [ "gone" ];
      addresses = {
        one = "\${hcloud_server.one.ipv4_address}";
        two = "\${hcloud_server.two.ipv4_address}";
      };
    };
  }
  {
    name = "terraform: a server is destroyed by taking it away, never by a change that replaces it";
    expr = theirs.resource.hcloud_server.one.lifecycle;
    expected = {
      ignore_changes = [
        "image"
        "ssh_keys"
      ];
      prevent_destroy = true;
    };
  }
  {
    name = "terraform: clients reach SSH, HTTP and the cluster's own API port; nodes reach each other alone";
    expr = {
      clients = rules theirs.resource.hcloud_firewall.clients;
      nodes = rules theirs.resource.hcloud_firewall.nodes;
      sources = lib.unique (map (rule: rule.source_ips) theirs.resource.hcloud_firewall.nodes.rule);
      attached = theirs.resource.hcloud_firewall_attachment.nodes.server_ids;
      first = theirs.resource.hcloud_server.one.firewall_ids;
    };
    expected = {
      clients = [
        "icmp"
        "22"
        "80"
        "443"
        "7443"
      ];
      nodes = [
        "2379-2380"
        "4240"
        "4244"
        "10250"
        "6081"
      ];
      sources = [
        [
          "\${hcloud_server.one.ipv4_address}/32"
          "\${hcloud_server.two.ipv4_address}/32"
        ]
      ];
      attached = [
        "\${hcloud_server.one.id}"
        "\${hcloud_server.two.id}"
      ];
      first = [ "\${hcloud_firewall.clients.id}" ];
    };
  }
  {
    name = "terraform: each machine has its record, and so has the API of the cluster on it";
    expr = lib.mapAttrs (_: record: {
      inherit (record)
        name
        content
        ttl
        proxied
        type
        ;
    }) theirs.resource.cloudflare_dns_record;
    expected =
      let
        record = name: machine: {
          inherit name;
          content = "\${hcloud_server.${machine}.ipv4_address}";
          ttl = 1;
          proxied = false;
          type = "A";
        };
      in
      {
        one_acme_test = record "one.acme.test" "one";
        api_acme_test = record "api.acme.test" "one";
        two_acme_test = record "two.acme.test" "two";
      };
  }
  {
    name = "terraform: without a machine there is a key and nothing that costs";
    expr = {
      resources = lib.attrNames without.resource;
      data = without ? data;
      without = without.output.machines_without_server.value;
    };
    expected = {
      resources = [ "hcloud_ssh_key" ];
      data = false;
      without = [ "gone" ];
    };
  }
  {
    name = "terraform: state and plans are encrypted, and no secret has a value here";
    expr = {
      inherit (theirs.terraform.encryption) state plan;
      variables = lib.mapAttrs (_: variable: variable ? default) theirs.variable;
      inherit (theirs) provider;
    };
    expected = {
      state = {
        method = "method.aes_gcm.state";
        enforced = true;
      };
      plan = {
        method = "method.aes_gcm.state";
        enforced = true;
      };
      variables = {
        deploy_public_key = false;
        state_passphrase = false;
      };
      provider = {
        cloudflare = { };
        hcloud = { };
      };
    };
  }
  {
    name = "terraform: networks and volumes are a consumer's options";
    expr =
      let
        inherit
          (terraform platform [
            {
              hetzner.networks.private = {
                ipRange = "10.0.0.0/16";
                subnet = "10.0.1.0/24";
                machines = {
                  one = "10.0.1.2";
                  two = null;
                };
              };
              hetzner.volumes.data = {
                machine = "two";
                size = 50;
              };
            }
          ])
          resource
          ;
      in
      {
        inherit (resource)
          hcloud_network_subnet
          hcloud_server_network
          hcloud_volume
          hcloud_volume_attachment
          ;
      };
    expected = {
      hcloud_network_subnet.private = {
        network_id = "\${hcloud_network.private.id}";
        type = "cloud";
        network_zone = "eu-central";
        ip_range = "10.0.1.0/24";
      };
      hcloud_server_network = {
        private_one = {
          server_id = "\${hcloud_server.one.id}";
          subnet_id = "\${hcloud_network_subnet.private.id}";
          ip = "10.0.1.2";
        };
        private_two = {
          server_id = "\${hcloud_server.two.id}";
          subnet_id = "\${hcloud_network_subnet.private.id}";
        };
      };
      hcloud_volume.data = {
        name = "acme-data";
        size = 50;
        format = "ext4";
        labels.platform = "acme";
        location = "nbg1";
        delete_protection = true;
        lifecycle.prevent_destroy = true;
      };
      hcloud_volume_attachment.data = {
        volume_id = "\${hcloud_volume.data.id}";
        server_id = "\${hcloud_server.two.id}";
        automount = false;
      };
    };
  }
  {
    name = "terraform: a volume or network of a machine without a server is an error";
    expr = map evaluates [
      (terraform platform [
        {
          hetzner.volumes.data = {
            machine = "gone";
            size = 50;
          };
        }
      ]).resource.hcloud_volume
      (terraform platform [
        {
          hetzner.networks.private = {
            ipRange = "10.0.0.0/16";
            subnet = "10.0.1.0/24";
            machines.nobody = null;
          };
        }
      ]).resource.hcloud_server_network
    ];
    expected = [
      false
      false
    ];
  }
  {
    name = "terraform: a consumer's own resources stand beside ours";
    expr =
      (terraform platform [
        {
          resource.hcloud_placement_group.spread = {
            name = "spread";
            type = "spread";
          };
        }
      ]).resource.hcloud_placement_group;
    expected.spread = {
      name = "spread";
      type = "spread";
    };
  }
  (needs [ "terranix" ] inputs {
    name = "terraform: terranix itself gives the same text";
    expr = builtins.toJSON (
      import ./default.nix {
        inherit lib;
        inherit (inputs) terranix;
        platform = ours;
      }
    );
    expected = builtins.toJSON (terraform ours [ ]);
  })
]
