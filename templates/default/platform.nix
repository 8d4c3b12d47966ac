# The facts of your platform. docs/options.md of vanixiets explains every option.
let
  components = {
    namespaces = { };
    gateway-api = { };
    # One value of a chart, changed: ours are defaults at every leaf.
    cilium.charts.cilium.values.operator.prometheus.enabled = true;
    local-path-provisioner = { };
    metrics-server = { };
    # A component of your own.
    greeter.text = "hello";
  };
in
{
  name = "acme";
  domain = "acme.example";
  versions.kubernetes = "1.35";
  componentModules = [ ./k8s/greeter ];

  defaultClusters = {
    local.cluster = "laptop";
    full.cluster = "west";
  };

  clusters = {
    laptop = {
      environment = "local";
      backends = [
        "colima"
        "lima"
        "embedded"
      ];
      distribution = "k3s";
      kubernetes = "1.35.4";
      apiHost = "127.0.0.1";
      apiPort = 7443;
      routeDomain = "127.0.0.1.sslip.io";
      podCidr = "10.52.0.0/16";
      serviceCidr = "10.53.0.0/16";
      dnsAddress = "10.53.0.10";
      nodes = 1;
      profile = "laptop";
      issuer = "none";
      stages.local = { };
      components = components // {
        coredns-custom = { };
        # A component taken away again.
        metrics-server.enable = false;
      };
    };

    west = {
      environment = "production";
      backends = [ "remote" ];
      distribution = "k3s";
      kubernetes = "1.35.4";
      apiHost = "west.acme.example";
      apiPort = 6443;
      routeDomain = "acme.example";
      podCidr = "10.52.0.0/16";
      serviceCidr = "10.53.0.0/16";
      dnsAddress = "10.53.0.10";
      nodes = 1;
      machine = "west-1";
      issuer = "none";
      stages.full = { };
      inherit components;
    };
  };

  profiles.laptop = {
    cpus = 4;
    memory = 8;
    disk = 60;
    apiPort = 7443;
  };

  machines.west-1 = {
    enabled = true;
    provider = "hetzner";
    serverType = "cpx31";
    location = "nbg1";
    image = "debian-12";
    system = "x86_64-linux";
    comment = "The only node";
  };

  secrets.required = [
    {
      id = "k3s-token";
      file = "k8s/secrets/hosts/west-1/k3s-token.enc.yaml";
      name = "k3s-token";
      keys.token = {
        kind = "generated";
        description = "Token with which nodes join the k3s cluster.";
      };
    }
  ];
}
