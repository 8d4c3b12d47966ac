# Our platform config: one plain attribute set without `pkgs` or `lib`. The options and their meaning are in modules/flake/platform.
# Every value of the platform stands here once; `platform.json` is its evaluation.
let
  kubernetesMinor = "1.35";
  # What an embedded control plane runs; the nodes' patch level is that of the k3s package or the node image.
  kubernetes = "${kubernetesMinor}.4";

  domain = "vanixiets.example";

  # Domains of routes; applications have their hosts below them.
  routes = {
    # Answered by sslip.io; inside the cluster coredns leads it to the gateway, for a pod's own loopback is not the host's.
    local = "127.0.0.1.sslip.io";
    hetzner = "hetzner.${domain}";
    vanixiets = domain;
  };

  # The k3s clusters are alike inside; they never meet on one network.
  k3sNetwork = {
    podCidr = "10.42.0.0/16";
    serviceCidr = "10.43.0.0/16";
    dnsAddress = "10.43.0.10";
  };

  productionClusters = [
    "hetzner"
    "vanixiets"
  ];
in
{
  name = "vanixiets";
  inherit domain;

  versions = {
    kubernetes = kubernetesMinor;
    k3s = kubernetesMinor;
  };

  defaultClusters = {
    local.cluster = "k3s-dev";
    full.cluster = "vanixiets";
    capi = {
      cluster = "k3s-capi";
      afterPivot = "vanixiets";
    };
  };

  clusters = {
    k3s-dev = k3sNetwork // {
      environment = "local";
      backends = [
        "colima"
        "lima"
        "embedded"
      ];
      distribution = "k3s";
      inherit kubernetes;
      apiHost = "127.0.0.1";
      apiPort = 6443;
      routeDomain = routes.local;
      nodes = 1;
      profile = "k3s-dev";
      issuer = "step-ca-acme";
      stages.local = { };
      components = {
        namespaces = { };
        gateway-api = { };
        cilium = { };
        coredns-custom = { };
        local-path-provisioner = { };
        sops-secrets-operator = { };
        step-ca = { };
        cert-manager = { };
        issuers = { };
        gateway.hosts.whoami.hostname = "whoami.${routes.local}";
        nix-csi = { };
        metrics-server = { };
        argocd = { };
      };
    };

    # Bootstraps the ClusterAPI cluster and is deleted after the pivot: only what that needs.
    k3s-capi = k3sNetwork // {
      environment = "local";
      backends = [
        "colima"
        "lima"
        "embedded"
      ];
      distribution = "k3s";
      inherit kubernetes;
      apiHost = "127.0.0.1";
      apiPort = 6444;
      routeDomain = routes.local;
      nodes = 1;
      profile = "k3s-capi";
      issuer = "step-ca-acme";
      stages = {
        local = { };
        capi.describes = "vanixiets";
      };
      components = {
        namespaces = { };
        gateway-api = { };
        cilium = { };
        coredns-custom = { };
        cert-manager = { };
        cluster-api = { };
      };
    };

    # k3s on the host that clan installs.
    hetzner = k3sNetwork // {
      environment = "production";
      backends = [ "remote" ];
      distribution = "k3s";
      inherit kubernetes;
      apiHost = "kube-control.${domain}";
      apiPort = 6443;
      routeDomain = routes.hetzner;
      nodes = 1;
      machine = "kube-control";
      # Let's Encrypt's production issuer takes over once staging certificates were seen to work.
      issuer = "letsencrypt-staging";
      stages.full = { };
      components = {
        namespaces = { };
        gateway-api = { };
        cilium = { };
        local-path-provisioner = { };
        sops-secrets-operator = { };
        cert-manager = { };
        issuers = { };
        gateway.hosts.whoami.hostname = "whoami.${routes.hetzner}";
        nix-csi = { };
        external-dns = { };
        metrics-server = { };
        argocd = { };
      };
    };

    # kubeadm nodes that ClusterAPI makes, and that manage themselves after the pivot.
    vanixiets = {
      environment = "production";
      backends = [ "remote" ];
      distribution = "kubeadm";
      inherit kubernetes;
      context = "vanixiets-admin@vanixiets";
      apiHost = "api.${domain}";
      apiPort = 6443;
      routeDomain = routes.vanixiets;
      podCidr = "10.133.0.0/16";
      serviceCidr = "10.134.0.0/16";
      dnsAddress = "10.134.0.10";
      nodes = 4;
      issuer = "letsencrypt-staging";
      stages = {
        full = { };
        capi = {
          describes = "vanixiets";
          needsPivot = true;
        };
      };
      clusterApi = {
        bootstrap = "k3s-capi";
        namespace = "vanixiets";
        infrastructure = "hetzner";
        # The Hetzner provider 1.1 covers core 1.10 to 1.13 and Kubernetes 1.32 to 1.36.
        providers = {
          cluster-api = "v1.13.6";
          kubeadm = "v1.13.6";
          hetzner = "v1.1.8";
        };
        controlPlanes = 3;
        controlPlaneType = "cx23";
        imageName = "2505-x86";
        workers = {
          workers-x86 = {
            replicas = 1;
            type = "cx33";
            imageName = "2505-x86";
          };
          workers-arm64 = {
            replicas = 0;
            type = "cax11";
            imageName = "2505-arm";
          };
        };
        sshKey = "vanixiets";
        regions = [ "hel1" ];
        dns = "cloudflare";
      };
      components = {
        namespaces = { };
        gateway-api = { };
        cilium = { };
        hcloud-ccm = { };
        coredns = { };
        local-path-provisioner = { };
        sops-secrets-operator = { };
        cert-manager = { };
        issuers = { };
        gateway.hosts.whoami.hostname = "whoami.${routes.vanixiets}";
        nix-csi = { };
        external-dns = { };
        metrics-server = { };
        argocd = { };
        cluster-api = { };
      };
    };
  };

  profiles = {
    k3s-dev = {
      cpus = 4;
      memory = 8;
      disk = 60;
      apiPort = 6443;
    };
    k3s-capi = {
      cpus = 6;
      memory = 12;
      disk = 80;
      apiPort = 6444;
    };
  };

  machines = {
    kube-control = {
      enabled = true;
      provider = "hetzner";
      serverType = "cpx31";
      location = "fsn1";
      image = "debian-12";
      system = "x86_64-linux";
      comment = "Control plane of the k3s cluster";
    };
    kube-worker = {
      enabled = false;
      provider = "hetzner";
      serverType = "cpx21";
      location = "fsn1";
      image = "debian-12";
      system = "x86_64-linux";
      comment = "Template of a k3s agent";
    };
  };

  apps.environments =
    let
      repository = "https://git.${domain}/vanixiets/manifests.git";
    in
    {
      k3s-dev = {
        cluster = "k3s-dev";
        inherit repository;
      };
      hetzner = {
        cluster = "hetzner";
        inherit repository;
      };
      vanixiets = {
        cluster = "vanixiets";
        inherit repository;
      };
      # CI applies what it rendered itself: a bare repository on the node, never the one of production.
      ci = {
        cluster = "k3s-dev";
        repository = "file:///srv/manifests.git";
      };
    };

  secrets = {
    recipients = {
      admin = "age1myd0w2l46yj3lxn8y7uw29yysue8emxjlekf69zlpw32mvqvv3ssp4azf6";
      ci = "age16y5lyra95z0gf3s2zj3nwq5rw79238y3an0muqyqq08jlc5tau8qdtw407";
      dev = "age19dsrf0lm89nl7aycj02w9npluyuvxpk2tx97h9k9awf8tgzdg3yqa66j5m";
      # A machine reads the secrets of its own folder, `k8s/secrets/hosts/<machine>`.
      kube-control = "age1qjf7mh9ezmcemymf0arlr86ly48du72tgfuymnqc7erpsz68udnqpyc6jk";
    };
    operatorIdentities = {
      k3s-dev = "dev";
      k3s-capi = "dev";
      hetzner = "ci";
      vanixiets = "ci";
    };
    required = [
      {
        id = "step-ca-ca-password";
        clusters = [ "k3s-dev" ];
        file = "k8s/secrets/local/step-ca-ca-password.enc.yaml";
        namespace = "step-ca";
        name = "step-ca-step-certificates-ca-password";
        keys.password = {
          kind = "generated";
          description = "Password of the keys of the local certificate authority.";
        };
        consumers = [ "StatefulSet/step-ca/step-ca-step-certificates" ];
      }
      {
        id = "step-ca-keys";
        clusters = [ "k3s-dev" ];
        file = "k8s/secrets/local/step-ca-keys.enc.yaml";
        namespace = "step-ca";
        name = "step-ca-step-certificates-secrets";
        keys = {
          root_ca_key = {
            kind = "step-ca-root-key";
            description = "Private key of the local root certificate.";
          };
          intermediate_ca_key = {
            kind = "step-ca-intermediate-key";
            description = "Private key of the local intermediate certificate.";
          };
        };
        consumers = [ "StatefulSet/step-ca/step-ca-step-certificates" ];
      }
      {
        id = "argocd-redis-local";
        clusters = [ "k3s-dev" ];
        file = "k8s/secrets/local/argocd-redis.enc.yaml";
        namespace = "argocd";
        name = "argocd-redis";
        keys.auth = {
          kind = "generated";
          description = "Password of ArgoCD's Redis.";
        };
        consumers = [
          "Deployment/argocd/argocd-redis"
          "Deployment/argocd/argocd-repo-server"
          "Deployment/argocd/argocd-server"
          "StatefulSet/argocd/argocd-application-controller"
        ];
      }
      {
        id = "argocd-redis-production";
        clusters = productionClusters;
        file = "k8s/secrets/production/argocd-redis.enc.yaml";
        namespace = "argocd";
        name = "argocd-redis";
        keys.auth = {
          kind = "generated";
          description = "Password of ArgoCD's Redis.";
        };
        consumers = [
          "Deployment/argocd/argocd-redis"
          "Deployment/argocd/argocd-repo-server"
          "Deployment/argocd/argocd-server"
          "StatefulSet/argocd/argocd-application-controller"
        ];
      }
      {
        id = "cert-manager-cloudflare";
        clusters = productionClusters;
        file = "k8s/secrets/production/cert-manager-cloudflare.enc.yaml";
        namespace = "cert-manager";
        name = "cloudflare-api-token";
        keys.token = {
          kind = "asked";
          variable = "CLOUDFLARE_API_TOKEN";
          description = "Cloudflare token with DNS:Edit and Zone:Read, for DNS-01 challenges.";
        };
        consumers = [ "Deployment/cert-manager/cert-manager" ];
      }
      {
        id = "external-dns-cloudflare";
        clusters = productionClusters;
        file = "k8s/secrets/production/external-dns-cloudflare.enc.yaml";
        namespace = "external-dns";
        name = "cloudflare-api-token";
        keys.CF_API_TOKEN = {
          kind = "asked";
          variable = "CLOUDFLARE_API_TOKEN";
          description = "Cloudflare token with DNS:Edit and Zone:Read, for external-dns.";
        };
        consumers = [ "Deployment/external-dns/external-dns" ];
      }
      {
        id = "nix-csi-cache-ssh";
        clusters = productionClusters;
        file = "k8s/secrets/production/nix-csi-cache-ssh.enc.yaml";
        namespace = "nix-csi";
        name = "nix-csi-cache-ssh";
        keys.id_ed25519 = {
          kind = "ssh-key";
          description = "SSH key with which nodes reach the Nix cache in the cluster.";
        };
        consumers = [
          "DaemonSet/nix-csi/nix-csi-node"
          "StatefulSet/nix-csi/nix-csi-cache"
        ];
      }
      {
        id = "hetzner";
        clusters = [
          "k3s-capi"
          "vanixiets"
        ];
        file = "k8s/secrets/production/hetzner.enc.yaml";
        namespace = "vanixiets";
        name = "hetzner";
        keys.hcloud = {
          kind = "asked";
          variable = "HCLOUD_TOKEN";
          description = "Hetzner Cloud token of the project that carries the nodes.";
        };
        # Without this label `clusterctl move` leaves the Secret behind.
        labels."clusterctl.cluster.x-k8s.io/move" = "";
      }
      {
        id = "kube-control-age-key";
        file = "k8s/secrets/hosts/kube-control/age-key.enc.yaml";
        name = "age-key";
        keys.key = {
          kind = "age-identity";
          description = "Age identity of the machine, with which it reads the other secrets of its folder.";
        };
      }
      {
        id = "k3s-token";
        file = "k8s/secrets/hosts/kube-control/k3s-token.enc.yaml";
        name = "k3s-token";
        keys.token = {
          kind = "generated";
          description = "Token with which nodes join the k3s cluster.";
        };
      }
      {
        id = "deploy-key";
        file = "k8s/secrets/hosts/kube-control/deploy-key.enc.yaml";
        name = "deploy-key";
        keys.id_ed25519 = {
          kind = "ssh-key";
          description = "SSH key with which machines are installed.";
        };
      }
      {
        id = "tofu-state-passphrase";
        file = "k8s/secrets/hosts/kube-control/tofu-state-passphrase.enc.yaml";
        name = "tofu-state-passphrase";
        keys.passphrase = {
          kind = "generated";
          description = "Passphrase that encrypts the state of OpenTofu.";
        };
      }
      {
        id = "tofu-hcloud";
        file = "k8s/secrets/hosts/kube-control/tofu-hcloud.enc.yaml";
        name = "tofu-hcloud";
        keys.token = {
          kind = "asked";
          variable = "HCLOUD_TOKEN";
          description = "Hetzner Cloud token with which servers are made.";
        };
      }
      {
        id = "tofu-cloudflare";
        file = "k8s/secrets/hosts/kube-control/tofu-cloudflare.enc.yaml";
        name = "tofu-cloudflare";
        keys.token = {
          kind = "asked";
          variable = "CLOUDFLARE_API_TOKEN";
          description = "Cloudflare token with which the records of machines are set.";
        };
      }
    ];
  };

  # Measured by modules/k8s/parity.nix, and compared with it by a test.
  parity = [
    {
      aspect = "Architecture";
      local = "linux/amd64 or linux/arm64";
      production = "linux/amd64";
      reason = "Apple's virtualisation boots the host's own architecture only; images are there for both, and x86_64 is proved on CI runners";
    }
    {
      aspect = "Kubernetes";
      local = "k3s 1.35";
      production = "kubeadm 1.35";
      reason = "ClusterAPI's Hetzner provider makes kubeadm nodes; all clusters share the minor";
    }
    {
      aspect = "CNI";
      local = "Cilium 1.19.6, tunnel by geneve";
      production = "Cilium 1.19.6, tunnel by geneve";
    }
    {
      aspect = "kube-proxy";
      local = "replaced by Cilium";
      production = "replaced by Cilium";
    }
    {
      aspect = "TLS CA";
      local = "step-ca-acme";
      production = "letsencrypt-staging";
      reason = "A public CA needs public DNS";
    }
    {
      aspect = "DNS";
      local = "sslip.io";
      production = "external-dns at Cloudflare";
      reason = "A local cluster manages no zone";
    }
    {
      aspect = "Secrets";
      local = "age key dev";
      production = "age key ci";
      reason = "Separate keys: who can read local secrets cannot read production's";
    }
    {
      aspect = "Storage";
      local = "rancher.io/local-path";
      production = "rancher.io/local-path";
    }
    {
      aspect = "Node count";
      local = "1";
      production = "4";
      reason = "High availability is not needed locally";
    }
    {
      aspect = "ClusterAPI";
      local = "not used";
      production = "self-managing";
      reason = "A local cluster is one virtual machine";
    }
    {
      aspect = "Hubble";
      local = "off";
      production = "on, relay, UI";
      reason = "Saves resources locally";
    }
    {
      aspect = "Firewall";
      local = "off";
      production = "hetzner: host and provider, vanixiets: none";
      reason = "A VM is reached through its host's loopback alone";
    }
    {
      aspect = "Load balancing";
      local = "Gateways on the nodes' own addresses";
      production = "Hetzner's load balancers";
      reason = "A local cluster has nothing that hands out addresses";
    }
    {
      aspect = "Nix cache";
      local = "none";
      production = "in the cluster";
      reason = "One node has no other to share its store with";
    }
    {
      aspect = "ArgoCD's default role";
      local = "role:admin";
      production = "none";
      reason = "A developer is the admin of their own cluster";
    }
  ];
}
