# What `stage.json` says of a stage: its items, the waits between them, and where its charts come from.
{
  lib,
  # The cluster and the stage by name, and what the platform config says of both.
  cluster,
  stage,
  facts,
  pair,
  components,
  # What order.nix gives.
  order,
}:
let
  gates = lib.concatMap (
    name:
    lib.mapAttrsToList (gateName: gate: {
      id = "${name}.${gateName}";
      component = name;
      inherit (components.${name}) phase;
      inherit (gate) needs object timeoutSeconds;
      condition = lib.filterAttrs (_: value: value != null) gate.condition;
    }) components.${name}.gates
  ) order.componentNames;

  # A source as a line that people read, and that says where to look.
  sourceText =
    source:
    {
      url = source.url;
      github = "github:${source.owner}/${source.repo}/${source.rev}";
      local = "local";
    }
    .${source.type};

  charts = lib.concatMap (
    name:
    lib.mapAttrsToList (_: chart: {
      component = name;
      inherit (chart)
        namespace
        release
        values
        version
        ;
      source = sourceText chart.source;
      hash = if chart.source.hash == null then "" else chart.source.hash;
    }) components.${name}.charts
  ) order.componentNames;
in
{
  schema = 1;
  inherit
    charts
    cluster
    gates
    stage
    ;
  inherit (order) items;
  inherit (facts) environment;
  inherit (pair) discriminator;
  inherit (order) phases;
}
