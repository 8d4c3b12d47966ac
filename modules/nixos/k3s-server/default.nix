# A k3s node that leaves its network to Cilium: kernel, sysctls, firewall and flags, for servers and agents.
# It deploys nothing into the cluster; whatever runs there is the stages' business.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    filter
    mkDefault
    mkEnableOption
    mkIf
    mkOption
    optional
    optionals
    types
    ;

  cfg = config.k3s-server;

  isServer = cfg.role == "server";
  joins = cfg.serverAddr != null;
  # Only embedded etcd has more than one server; a lone server keeps its state in sqlite.
  isHighlyAvailable = isServer && (cfg.clusterInit || joins);

  kernelVersion = config.boot.kernelPackages.kernel.version;

  packageName = minor: "k3s_" + lib.replaceStrings [ "." ] [ "_" ] minor;

  # A server is a node like every other, with the control plane beside it.
  ports = filter (port: isServer || port.role == "agent") (
    import ./ports.nix { inherit (cfg) apiPort tunnelProtocol; }
  );
  of = protocol: filter (port: port.protocol == protocol) ports;
  single = protocol: map (port: port.from) (filter (port: port.from == port.to) (of protocol));
  ranges =
    protocol:
    map (port: { inherit (port) from to; }) (filter (port: port.from != port.to) (of protocol));

  serverFlags = [
    "--flannel-backend=none"
    "--disable-network-policy"
    "--disable-kube-proxy"
    "--cluster-cidr=${cfg.clusterCidr}"
    "--service-cidr=${cfg.serviceCidr}"
  ]
  # servicelb runs inside the embedded cloud controller, so both are on or both are off.
  ++ optional (!cfg.serviceLoadBalancer.enable) "--disable-cloud-controller"
  ++ optional (cfg.apiPort != 6443) "--https-listen-port=${toString cfg.apiPort}"
  ++ optional (cfg.clusterDns != null) "--cluster-dns=${cfg.clusterDns}"
  ++ optional (cfg.clusterDomain != "cluster.local") "--cluster-domain=${cfg.clusterDomain}"
  ++ optional isHighlyAvailable "--etcd-expose-metrics"
  ++ map (san: "--tls-san=${san}") cfg.tlsSans;

  nodeFlags = optional cfg.externalCloudProvider "--kubelet-arg=cloud-provider=external";

  inStore = path: lib.hasPrefix builtins.storeDir (toString path);
in
{
  options.k3s-server = {
    enable = mkEnableOption "k3s without a network of its own, prepared for Cilium";

    role = mkOption {
      type = types.enum [
        "server"
        "agent"
      ];
      default = "server";
      description = "Whether the node carries the control plane (`server`) or workloads alone (`agent`).";
    };

    kubernetesMinor = mkOption {
      type = types.strMatching "1\\.[0-9]+";
      default = "1.35";
      description = "Kubernetes minor that the k3s package must have.";
    };

    package = mkOption {
      type = types.package;
      default =
        pkgs.${packageName cfg.kubernetesMinor} or (throw ''
          k3s-server: this nixpkgs has no `${packageName cfg.kubernetesMinor}` for Kubernetes ${cfg.kubernetesMinor}; it has ${
            lib.concatStringsSep ", " (
              filter (name: builtins.match "k3s_1_[0-9]+" name != null) (builtins.attrNames pkgs)
            )
          }
        '');
      defaultText = lib.literalExpression "pkgs.k3s_1_35";
      description = "The k3s package; its minor must be `kubernetesMinor`.";
    };

    kernelPackages = mkOption {
      type = types.raw;
      default = pkgs.linuxPackages_6_12;
      defaultText = lib.literalExpression "pkgs.linuxPackages_6_12";
      description = ''
        Kernel of the node, 5.10 or later.
        nixpkgs' kernels from 6.17 on lack iptables' legacy tables (`NETFILTER_XTABLES_LEGACY`), which pods with an iptables of their own may want.
      '';
    };

    clusterInit = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether this server starts an embedded etcd that other servers join.
        True on the first server of several and nowhere else; a lone server needs no etcd.
      '';
    };

    serverAddr = mkOption {
      type = types.nullOr (types.strMatching "https://[^/]+:[0-9]+");
      default = null;
      example = "https://10.0.0.2:6443";
      description = "API of the server that this node joins; null on a first or lone server.";
    };

    tokenFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/k3s-token";
      description = "File on the node with the secret that nodes join with; never a path of the Nix store.";
    };

    clusterCidr = mkOption {
      type = types.str;
      default = "10.42.0.0/16";
      description = "IPv4 CIDR of pods.";
    };

    serviceCidr = mkOption {
      type = types.str;
      default = "10.43.0.0/16";
      description = "IPv4 CIDR of services.";
    };

    clusterDns = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "10.43.0.10";
      description = "Address of the cluster's DNS service; null leaves it to k3s, which takes the tenth of `serviceCidr`.";
    };

    clusterDomain = mkOption {
      type = types.str;
      default = "cluster.local";
      description = "DNS domain inside the cluster.";
    };

    apiPort = mkOption {
      type = types.port;
      default = 6443;
      description = "TCP port of the Kubernetes API.";
    };

    tlsSans = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "api.example.org" ];
      description = "Names and addresses, beside the node's own, that the API's certificate is valid for.";
    };

    disable = mkOption {
      # A closed list: k3s ignores a name that it does not know, `flannel` for example, and the component stays.
      type = types.listOf (
        types.enum [
          "coredns"
          "local-storage"
          "metrics-server"
          "runtimes"
          "servicelb"
          "traefik"
        ]
      );
      default = [
        "local-storage"
        "metrics-server"
        "traefik"
      ]
      ++ optional (!cfg.serviceLoadBalancer.enable) "servicelb";
      defaultText = lib.literalExpression ''[ "local-storage" "metrics-server" "traefik" "servicelb" ]'';
      description = "Packaged components that k3s leaves out; coredns stays, the stages configure it.";
    };

    serviceLoadBalancer.enable = mkOption {
      type = types.bool;
      default = false;
      description = "Whether k3s' own servicelb gives Services of type LoadBalancer the node's address.";
    };

    externalCloudProvider = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether a cloud controller manager in the cluster sets up the nodes.
        Nodes then carry the taint `node.cloudprovider.kubernetes.io/uninitialized` until it does.
      '';
    };

    tunnelProtocol = mkOption {
      type = types.enum [
        "geneve"
        "vxlan"
      ];
      default = "geneve";
      description = "Encapsulation that Cilium uses between nodes; decides which UDP port is opened.";
    };

    firewall.enable = mkOption {
      type = types.bool;
      default = true;
      description = "Whether the ports of the node are opened, and the interfaces of pods trusted, in the host's firewall.";
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = isServer || !cfg.clusterInit;
        message = "k3s-server: `clusterInit` is for the first server; this node has role `agent`, give it `serverAddr` and `tokenFile` instead";
      }
      {
        assertion = isServer || joins;
        message = "k3s-server: an agent needs `serverAddr`, for example `https://10.0.0.2:6443`";
      }
      {
        assertion = isServer || cfg.tlsSans == [ ];
        message = "k3s-server: `tlsSans` belongs to the API's certificate; this node has role `agent` and serves none";
      }
      {
        assertion = !joins || cfg.tokenFile != null;
        message = "k3s-server: a node that joins `${toString cfg.serverAddr}` needs `tokenFile`, the file with that cluster's token";
      }
      {
        assertion = !(cfg.clusterInit && joins);
        message = "k3s-server: `clusterInit` starts a cluster and `serverAddr` joins one; set one of them";
      }
      {
        assertion = cfg.tokenFile == null || !inStore cfg.tokenFile;
        message = "k3s-server: `tokenFile` lies in the Nix store, where every user can read it; name a file that is made on the node";
      }
      {
        assertion = cfg.clusterCidr != cfg.serviceCidr;
        message = "k3s-server: `clusterCidr` and `serviceCidr` are both ${cfg.clusterCidr}; pods and services need networks of their own";
      }
      {
        assertion = cfg.serviceLoadBalancer.enable != builtins.elem "servicelb" cfg.disable;
        message = "k3s-server: `disable` and `serviceLoadBalancer.enable` disagree about servicelb; the embedded cloud controller follows the latter";
      }
      {
        assertion = lib.versions.majorMinor cfg.package.version == cfg.kubernetesMinor;
        message = "k3s-server: the package is k3s ${cfg.package.version}, the platform's Kubernetes minor is ${cfg.kubernetesMinor}; set `package` or `kubernetesMinor`";
      }
      {
        assertion = lib.versionAtLeast kernelVersion "5.10";
        message = "k3s-server: Cilium needs Linux 5.10 or later, `boot.kernelPackages` has ${kernelVersion}";
      }
      {
        assertion = !cfg.firewall.enable || !config.networking.nftables.enable;
        message = "k3s-server: the trusted interfaces are iptables wildcards, which nftables takes literally; turn `networking.nftables.enable` off, or `k3s-server.firewall.enable` and open the ports yourself";
      }
    ];

    # k3s brings a containerd of its own: `virtualisation.containerd` would not reach it.
    services.k3s = {
      enable = true;
      inherit (cfg) role package;
      clusterInit = isServer && cfg.clusterInit;
      serverAddr = mkIf joins cfg.serverAddr;
      tokenFile = mkIf (cfg.tokenFile != null) cfg.tokenFile;
      # `--disable` is a flag of servers; an agent does not start with it.
      disable = optionals isServer cfg.disable;
      # A list and never a string: definitions of the two forms do not merge.
      extraFlags = optionals isServer serverFlags ++ nodeFlags;
      gracefulNodeShutdown = {
        enable = true;
        shutdownGracePeriod = mkDefault "30s";
        shutdownGracePeriodCriticalPods = mkDefault "10s";
      };
    };

    boot.kernelPackages = mkDefault cfg.kernelPackages;

    # Cilium loads xt_socket, ip_set and geneve by itself; these must be there before it starts.
    boot.kernelModules = [
      "br_netfilter"
      "nf_conntrack"
      "overlay"
    ]
    # A name that a kernel does not have would fail the unit that loads them all.
    ++ optionals (lib.versionOlder kernelVersion "6.17") [
      "ip_tables"
      "ip6_tables"
      "ip6table_mangle"
      "ip6table_raw"
      "ip6table_filter"
    ];

    # Checked by NixOS for kernels that are not nixpkgs' own.
    system.requiredKernelConfig = map config.lib.kernelConfig.isYes [
      "BPF"
      "BPF_SYSCALL"
      "BPF_JIT"
      "HAVE_EBPF_JIT"
    ];

    boot.kernel.sysctl = {
      "net.ipv4.ip_forward" = 1;
      "net.ipv6.conf.all.forwarding" = 1;
      "net.ipv6.conf.default.forwarding" = 1;
      "net.bridge.bridge-nf-call-iptables" = 1;
      "net.bridge.bridge-nf-call-ip6tables" = 1;
      # Replies leave a pod's interface by another way than they came in.
      "net.ipv4.conf.lxc*.rp_filter" = 0;
      # The kubelet refuses to start with other values when it protects kernel defaults.
      "vm.overcommit_memory" = 1;
      "kernel.panic" = 10;
      "kernel.panic_on_oops" = 1;
    };

    # systemd-networkd removes routes and rules that it did not make, Cilium's among them, unless it is told not to.
    systemd.network.config.networkConfig = {
      ManageForeignRoutes = false;
      ManageForeignRoutingPolicyRules = false;
    };

    networking.firewall = mkIf cfg.firewall.enable {
      allowedTCPPorts = single "tcp";
      allowedTCPPortRanges = ranges "tcp";
      allowedUDPPorts = single "udp";
      allowedUDPPortRanges = ranges "udp";
      # Cilium's health checks fall back to ICMP echo.
      allowPing = true;
      # Pods reach the node over these; `+` is the wildcard of iptables.
      trustedInterfaces = [
        "cni+"
        "cilium+"
        "lxc+"
      ];
      # A packet for a pod may come in by another interface than the one its answer leaves by.
      checkReversePath = mkDefault "loose";
    };
  };
}
