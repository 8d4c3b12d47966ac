# The template is a consumer: its facts evaluate, and what it changes arrives.
{ evaluate, lib }:
let
  acme = evaluate { facts = [ (import ./default/platform.nix) ]; };
  laptop = acme.specs.laptop-local;
  objectsOf = component: lib.filter (entry: entry.component == component) laptop.objects;
  terraform = import ../modules/terranix {
    inherit lib;
    inherit (acme) platform;
  };
  # A server of a cluster, on NixOS' option types.
  server =
    cluster:
    (import ../modules/nixos/testing.nix { inherit lib; }).evaluate {
      modules = [
        ../modules/nixos/k3s-server
        (import ../modules/nixos/k3s-server/from-facts.nix {
          cluster = acme.platform.clusters.${cluster};
          inherit (acme.platform) versions;
        })
        {
          k3s-server.enable = true;
          k3s-server.clusterInit = true;
        }
      ];
    };
in
[
  {
    name = "the template's facts have no problem";
    expr = acme.problems;
    expected = [ ];
  }
  {
    name = "the template has a stage for each of its clusters";
    expr = lib.attrNames acme.stages;
    expected = [
      "laptop-local"
      "west-full"
    ];
  }
  {
    name = "a component that is taken away is in no stage of that cluster";
    expr = map (name: lib.elem "metrics-server" acme.json.clusters.${name}.components) [
      "laptop"
      "west"
    ];
    expected = [
      false
      true
    ];
  }
  {
    name = "a component of the consumer's own is rendered with its option";
    expr = map (entry: entry.object.data.text) (objectsOf "greeter");
    expected = [ "hello" ];
  }
  {
    name = "a namespace that only the consumer's component asks for is made";
    expr = map (entry: entry.object.metadata.name) (objectsOf "namespaces");
    expected = [ "greeter" ];
  }
  {
    name = "a changed chart value arrives beside our defaults";
    expr =
      let
        values = (lib.findFirst (chart: chart.component == "cilium") null laptop.charts).values;
      in
      {
        changed = values.operator.prometheus.enabled;
        ours = values.k8sServicePort;
      };
    expected = {
      changed = true;
      ours = 7443;
    };
  }
  {
    name = "the consumer's machine gets a server, and ours none";
    expr = lib.mapAttrs (_: machine: {
      inherit (machine) location server_type;
    }) terraform.resource.hcloud_server;
    expected.west-1 = {
      location = "nbg1";
      server_type = "cpx31";
    };
  }
  {
    name = "the consumer's networks and port are those of its servers";
    expr = lib.intersectLists [
      "--cluster-cidr=10.52.0.0/16"
      "--service-cidr=10.53.0.0/16"
      "--https-listen-port=7443"
      "--cluster-dns=10.53.0.10"
    ] (server "laptop").services.k3s.extraFlags;
    expected = [
      "--cluster-cidr=10.52.0.0/16"
      "--service-cidr=10.53.0.0/16"
      "--https-listen-port=7443"
      "--cluster-dns=10.53.0.10"
    ];
  }
  {
    name = "the consumer's name begins its discriminators";
    expr = acme.stages.laptop-local.discriminator;
    expected = "acme-laptop-local";
  }
]
