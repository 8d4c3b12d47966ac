# What the tests beside the components can use: our own platform config with parts of it changed, evaluated to a stage.
{ lib }:
{
  # `stage "k3s-dev-local" { clusters.k3s-dev.nodes = lib.mkForce 3; }`
  stage =
    name: facts:
    let
      result =
        (import ../flake/evaluate.nix {
          inherit lib;
          platform =
            (lib.evalModules {
              modules = [
                ../flake/platform
                (import ../platform.nix)
                facts
              ];
            }).config;
        }).stages.${name};
    in
    result
    // {
      # Native objects by `<namespace or _>/<Kind>/<name>`.
      objects = lib.listToAttrs (
        map (
          { object, ... }:
          lib.nameValuePair "${object.metadata.namespace or "_"}/${object.kind}/${object.metadata.name}" object
        ) result.spec.objects
      );
      gates = lib.listToAttrs (map (gate: lib.nameValuePair gate.id gate) result.spec.stage.gates);
      # Whether a problem names all of these; the wording is free.
      complains =
        words: lib.any (problem: lib.all (word: lib.hasInfix word problem) words) result.problems;
    };

  # Component settings of one cluster, as facts.
  withComponents = cluster: components: { clusters.${cluster} = { inherit components; }; };
}
