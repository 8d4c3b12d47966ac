{ inputs, lib }:
let
  inherit (import ../testing.nix { inherit lib; })
    evaluate
    evaluates
    failures
    needs
    nixos
    package
    ;

  node =
    settings:
    evaluate {
      modules = [
        ./default.nix
        {
          k3s-server = {
            enable = true;
          }
          // settings;
        }
      ];
    };

  joining = {
    serverAddr = "https://10.0.0.2:6443";
    tokenFile = "/run/secrets/k3s-token";
  };

  # The smallest cluster with a quorum, and a worker.
  first = node {
    clusterInit = true;
    tokenFile = "/run/secrets/k3s-token";
    tlsSans = [ "api.example.org" ];
  };
  second = node joining;
  third = node joining;
  agent = node (joining // { role = "agent"; });
  lone = node { };

  nodes = [
    first
    second
    third
    agent
  ];

  # A node of NixOS' own modules, as far as its closure has a name.
  real =
    settings:
    nixos {
      inherit (inputs) nixpkgs;
      modules = [
        ./default.nix
        {
          k3s-server = {
            enable = true;
          }
          // settings;
          system.stateVersion = "25.05";
          boot.loader.systemd-boot.enable = true;
          fileSystems."/" = {
            device = "/dev/disk/by-label/nixos";
            fsType = "ext4";
          };
        }
      ];
    };

  hasFlag =
    prefix: config: builtins.any (flag: lib.hasPrefix prefix flag) config.services.k3s.extraFlags;

  facts = {
    cluster = {
      apiPort = 6444;
      apiHost = "api.example.org";
      podCidr = "10.52.0.0/16";
      serviceCidr = "10.53.0.0/16";
      dnsAddress = "10.53.0.10";
      clusterDomain = "cluster.local";
    };
    versions.kubernetes = "1.35";
  };
  fromFacts =
    settings:
    evaluate {
      modules = [
        ./default.nix
        (import ./from-facts.nix facts)
        {
          k3s-server = {
            enable = true;
          }
          // settings;
        }
      ];
    };
in
[
  {
    name = "k3s-server: three servers and an agent evaluate without a failed assertion";
    expr = map failures nodes;
    expected = [
      [ ]
      [ ]
      [ ]
      [ ]
    ];
  }
  {
    name = "k3s-server: of three servers one begins the etcd cluster and the others join it";
    expr = map (config: {
      inherit (config.services.k3s)
        role
        clusterInit
        serverAddr
        tokenFile
        ;
    }) nodes;
    expected = [
      {
        role = "server";
        clusterInit = true;
        serverAddr = "";
        tokenFile = "/run/secrets/k3s-token";
      }
      {
        role = "server";
        clusterInit = false;
        serverAddr = "https://10.0.0.2:6443";
        tokenFile = "/run/secrets/k3s-token";
      }
      {
        role = "server";
        clusterInit = false;
        serverAddr = "https://10.0.0.2:6443";
        tokenFile = "/run/secrets/k3s-token";
      }
      {
        role = "agent";
        clusterInit = false;
        serverAddr = "https://10.0.0.2:6443";
        tokenFile = "/run/secrets/k3s-token";
      }
    ];
  }
  {
    name = "k3s-server: an agent gets no flag of servers";
    expr = {
      inherit (agent.services.k3s) extraFlags disable;
    };
    expected = {
      extraFlags = [ ];
      disable = [ ];
    };
  }
  {
    name = "k3s-server: a first server leaves network, proxy and cloud to others";
    expr = {
      inherit (first.services.k3s) extraFlags disable;
    };
    expected = {
      extraFlags = [
        "--flannel-backend=none"
        "--disable-network-policy"
        "--disable-kube-proxy"
        "--cluster-cidr=10.42.0.0/16"
        "--service-cidr=10.43.0.0/16"
        "--disable-cloud-controller"
        "--etcd-expose-metrics"
        "--tls-san=api.example.org"
      ];
      disable = [
        "local-storage"
        "metrics-server"
        "traefik"
        "servicelb"
      ];
    };
  }
  {
    name = "k3s-server: etcd metrics are for servers that have an etcd";
    expr = map (hasFlag "--etcd-expose-metrics") (nodes ++ [ lone ]);
    expected = [
      true
      true
      true
      false
      false
    ];
  }
  {
    name = "k3s-server: servicelb and the embedded cloud controller are on together or off together";
    expr =
      let
        config = node { serviceLoadBalancer.enable = true; };
      in
      {
        cloudControllerOff = hasFlag "--disable-cloud-controller" config;
        inherit (config.services.k3s) disable;
        refused = failures (node {
          serviceLoadBalancer.enable = true;
          disable = [ "servicelb" ];
        });
      };
    expected = {
      cloudControllerOff = false;
      disable = [
        "local-storage"
        "metrics-server"
        "traefik"
      ];
      refused = [
        "k3s-server: `disable` and `serviceLoadBalancer.enable` disagree about servicelb; the embedded cloud controller follows the latter"
      ];
    };
  }
  {
    name = "k3s-server: a component that k3s does not know cannot be disabled";
    expr = map evaluates [
      (node { disable = [ "flannel" ]; }).services.k3s.disable
      (node { disable = [ "traefik" ]; }).services.k3s.disable
    ];
    expected = [
      false
      true
    ];
  }
  {
    name = "k3s-server: an external cloud provider is a flag of every kubelet";
    expr =
      map
        (
          role:
          (node (
            joining
            // {
              inherit role;
              externalCloudProvider = true;
            }
          )).services.k3s.extraFlags
        )
        [
          "agent"
        ];
    expected = [ [ "--kubelet-arg=cloud-provider=external" ] ];
  }
  {
    name = "k3s-server: the firewall opens the node's ports and trusts the interfaces of pods";
    expr = {
      inherit (first.networking.firewall)
        allowedTCPPorts
        allowedTCPPortRanges
        allowedUDPPorts
        allowedUDPPortRanges
        trustedInterfaces
        allowPing
        ;
    };
    expected = {
      allowedTCPPorts = [
        6443
        4240
        4244
        10250
      ];
      allowedTCPPortRanges = [
        {
          from = 2379;
          to = 2380;
        }
      ];
      allowedUDPPorts = [ 6081 ];
      allowedUDPPortRanges = [ ];
      trustedInterfaces = [
        "cni+"
        "cilium+"
        "lxc+"
      ];
      allowPing = true;
    };
  }
  {
    name = "k3s-server: an agent opens no port of the control plane";
    expr = {
      inherit (agent.networking.firewall) allowedTCPPorts allowedTCPPortRanges allowedUDPPorts;
    };
    expected = {
      allowedTCPPorts = [
        4240
        4244
        10250
      ];
      allowedTCPPortRanges = [ ];
      allowedUDPPorts = [ 6081 ];
    };
  }
  {
    name = "k3s-server: systemd-networkd leaves the routes of Cilium alone";
    expr = agent.systemd.network.config.networkConfig;
    expected = {
      ManageForeignRoutes = false;
      ManageForeignRoutingPolicyRules = false;
    };
  }
  {
    name = "k3s-server: the tunnel's port follows the tunnel's protocol";
    expr = (node { tunnelProtocol = "vxlan"; }).networking.firewall.allowedUDPPorts;
    expected = [ 8472 ];
  }
  {
    name = "k3s-server: a firewall that is left alone is left alone";
    expr = {
      inherit ((node { firewall.enable = false; }).networking.firewall) allowedTCPPorts trustedInterfaces;
    };
    expected = {
      allowedTCPPorts = [ ];
      trustedInterfaces = [ ];
    };
  }
  {
    name = "k3s-server: kernel modules and sysctls are those that Cilium and the kubelet want, on agents too";
    expr = {
      inherit (agent.boot) kernelModules;
      inherit (agent.boot.kernel) sysctl;
    };
    expected = {
      kernelModules = [
        "br_netfilter"
        "ip6_tables"
        "ip6table_filter"
        "ip6table_mangle"
        "ip6table_raw"
        "ip_tables"
        "nf_conntrack"
        "overlay"
      ];
      sysctl = {
        "kernel.panic" = 10;
        "kernel.panic_on_oops" = 1;
        "net.bridge.bridge-nf-call-ip6tables" = 1;
        "net.bridge.bridge-nf-call-iptables" = 1;
        "net.ipv4.conf.lxc*.rp_filter" = 0;
        "net.ipv4.ip_forward" = 1;
        "net.ipv6.conf.all.forwarding" = 1;
        "net.ipv6.conf.default.forwarding" = 1;
        "vm.overcommit_memory" = 1;
      };
    };
  }
  {
    name = "k3s-server: the kernel is an option, and one without iptables' legacy tables is not asked for them";
    expr = {
      default = lone.boot.kernelPackages.kernel.version;
      newer =
        let
          config = node { kernelPackages.kernel.version = "6.18.37"; };
        in
        {
          inherit (config.boot.kernelPackages.kernel) version;
          inherit (config.boot) kernelModules;
        };
    };
    expected = {
      default = "6.12.40";
      newer = {
        version = "6.18.37";
        kernelModules = [
          "br_netfilter"
          "nf_conntrack"
          "overlay"
        ];
      };
    };
  }
  {
    name = "k3s-server: pods get half a minute when the node shuts down";
    expr = agent.services.k3s.gracefulNodeShutdown;
    expected = {
      enable = true;
      shutdownGracePeriod = "30s";
      shutdownGracePeriodCriticalPods = "10s";
    };
  }
  {
    name = "k3s-server: the package is the one of the platform's minor";
    expr = {
      default = lone.services.k3s.package.version;
      other = (node { kubernetesMinor = "1.34"; }).services.k3s.package.version;
      absent = evaluates (node { kubernetesMinor = "1.31"; }).services.k3s.package.version;
      wrong = failures (node {
        package = package "k3s" "1.34.8+k3s1";
      });
    };
    expected = {
      default = "1.35.6+k3s1";
      other = "1.34.8+k3s1";
      absent = false;
      wrong = [
        "k3s-server: the package is k3s 1.34.8+k3s1, the platform's Kubernetes minor is 1.35; set `package` or `kubernetesMinor`"
      ];
    };
  }
  {
    name = "k3s-server: an agent that begins or joins nothing is refused, with what it needs";
    expr = {
      lonely = failures (node {
        role = "agent";
      });
      tokenless = failures (node {
        role = "agent";
        serverAddr = "https://10.0.0.2:6443";
      });
      begins = failures (
        node (
          joining
          // {
            role = "agent";
            clusterInit = true;
          }
        )
      );
      certified = failures (
        node (
          joining
          // {
            role = "agent";
            tlsSans = [ "api.example.org" ];
          }
        )
      );
    };
    expected = {
      lonely = [ "k3s-server: an agent needs `serverAddr`, for example `https://10.0.0.2:6443`" ];
      tokenless = [
        "k3s-server: a node that joins `https://10.0.0.2:6443` needs `tokenFile`, the file with that cluster's token"
      ];
      begins = [
        "k3s-server: `clusterInit` is for the first server; this node has role `agent`, give it `serverAddr` and `tokenFile` instead"
        "k3s-server: `clusterInit` starts a cluster and `serverAddr` joins one; set one of them"
      ];
      certified = [
        "k3s-server: `tlsSans` belongs to the API's certificate; this node has role `agent` and serves none"
      ];
    };
  }
  {
    name = "k3s-server: a server begins a cluster or joins one, not both";
    expr = failures (node (joining // { clusterInit = true; }));
    expected = [
      "k3s-server: `clusterInit` starts a cluster and `serverAddr` joins one; set one of them"
    ];
  }
  {
    name = "k3s-server: a token in the Nix store is refused";
    expr = failures (node {
      tokenFile = "/nix/store/00000000000000000000000000000000-token";
    });
    expected = [
      "k3s-server: `tokenFile` lies in the Nix store, where every user can read it; name a file that is made on the node"
    ];
  }
  {
    name = "k3s-server: pods and services cannot share a network";
    expr = failures (node {
      clusterCidr = "10.42.0.0/16";
      serviceCidr = "10.42.0.0/16";
    });
    expected = [
      "k3s-server: `clusterCidr` and `serviceCidr` are both 10.42.0.0/16; pods and services need networks of their own"
    ];
  }
  {
    name = "k3s-server: an old kernel and an nftables firewall are refused";
    expr = failures (evaluate {
      modules = [
        ./default.nix
        {
          k3s-server.enable = true;
          boot.kernelPackages.kernel.version = "5.4.290";
          networking.nftables.enable = true;
        }
      ];
    });
    expected = [
      "k3s-server: Cilium needs Linux 5.10 or later, `boot.kernelPackages` has 5.4.290"
      "k3s-server: the trusted interfaces are iptables wildcards, which nftables takes literally; turn `networking.nftables.enable` off, or `k3s-server.firewall.enable` and open the ports yourself"
    ];
  }
  {
    name = "k3s-server: a server address is an https URL with its port";
    expr =
      map (address: evaluates (node (joining // { serverAddr = address; })).services.k3s.serverAddr)
        [
          "10.0.0.2"
          "https://10.0.0.2"
          "https://10.0.0.2:6443"
        ];
    expected = [
      false
      false
      true
    ];
  }
  {
    name = "k3s-server: a cluster's platform config becomes flags, and a machine may still choose otherwise";
    expr = {
      server = (fromFacts { }).services.k3s.extraFlags;
      agent = failures (fromFacts (joining // { role = "agent"; }));
      chosen = hasFlag "--https-listen-port=7443" (fromFacts {
        apiPort = 7443;
      });
    };
    expected = {
      server = [
        "--flannel-backend=none"
        "--disable-network-policy"
        "--disable-kube-proxy"
        "--cluster-cidr=10.52.0.0/16"
        "--service-cidr=10.53.0.0/16"
        "--disable-cloud-controller"
        "--https-listen-port=6444"
        "--cluster-dns=10.53.0.10"
        "--tls-san=api.example.org"
      ];
      agent = [ ];
      chosen = true;
    };
  }
  {
    name = "k3s-server: a module that is not enabled changes nothing";
    expr =
      let
        config = evaluate { modules = [ ./default.nix ]; };
      in
      {
        inherit (config.boot) kernelModules;
        inherit (config.services.k3s) enable;
      };
    expected = {
      kernelModules = [ ];
      enable = false;
    };
  }
  (needs [ "nixpkgs" ] inputs {
    name = "k3s-server: with NixOS' own modules three servers and an agent have a closure, and k3s gets the flags of its role";
    expr =
      map
        (
          settings:
          let
            config = real settings;
          in
          {
            failed = failures config;
            inherit (config) warnings;
            closure = evaluates config.system.build.toplevel.drvPath;
            # The program and the kubelet's file are paths of the store.
            command =
              lib.filter (word: !lib.hasPrefix "/nix/store" word && !lib.hasPrefix "--kubelet-arg=config" word)
                (
                  lib.filter (word: word != "\\" && word != "") (
                    lib.splitString " " (
                      lib.replaceStrings [ "\n" ] [ " " ] config.systemd.services.k3s.serviceConfig.ExecStart
                    )
                  )
                );
          }
        )
        [
          {
            clusterInit = true;
            tokenFile = "/run/secrets/k3s-token";
            tlsSans = [ "api.example.org" ];
          }
          joining
          joining
          (joining // { role = "agent"; })
        ];
    expected =
      let
        node = command: {
          failed = [ ];
          warnings = [ ];
          closure = true;
          inherit command;
        };
        token = [
          "--token-file"
          "/run/secrets/k3s-token"
        ];
        join = [
          "--server"
          "https://10.0.0.2:6443"
        ]
        ++ token;
        disabled = [
          "--disable=local-storage"
          "--disable=metrics-server"
          "--disable=traefik"
          "--disable=servicelb"
        ];
        flags = [
          "--flannel-backend=none"
          "--disable-network-policy"
          "--disable-kube-proxy"
          "--cluster-cidr=10.42.0.0/16"
          "--service-cidr=10.43.0.0/16"
          "--disable-cloud-controller"
          "--etcd-expose-metrics"
        ];
      in
      [
        (node (
          [ "server" ]
          ++ token
          ++ disabled
          ++ [ "--cluster-init" ]
          ++ flags
          ++ [ "--tls-san=api.example.org" ]
        ))
        (node ([ "server" ] ++ join ++ disabled ++ flags))
        (node ([ "server" ] ++ join ++ disabled ++ flags))
        (node ([ "agent" ] ++ join))
      ];
  })
]
