# The template is a consumer: its facts evaluate, and what it changes arrives.
{ evaluate, lib }:
let
  acme = evaluate { facts = [ (import ./default/platform.nix) ]; };
  laptop = acme.specs.laptop-local;
  objectsOf = component: lib.filter (entry: entry.component == component) laptop.objects;
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
    name = "the consumer's name begins its discriminators";
    expr = acme.stages.laptop-local.discriminator;
    expected = "acme-laptop-local";
  }
]
