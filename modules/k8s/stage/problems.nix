# Everything that is wrong with a stage, a message each.
{
  lib,
  # Which phases each stage has.
  phases,
  # The stage by name.
  stage,
  # Components that are on, and those of them that are part of the stage.
  enabled,
  components,
  componentNames,
  # What node-platforms.nix and objects.nix give.
  nodePlatforms,
  native,
  byKey,
  keyOf,
}:
let
  kinds = import ../kinds.nix;
in
lib.concatMap (
  name:
  let
    component = components.${name};
  in
  map (
    need:
    "component `${name}` needs `${need}`, which is off; switch it on in the platform config of the cluster, or `${name}` off"
  ) (lib.filter (need: !(enabled ? ${need})) component.dependsOn)
  ++ lib.concatLists (
    lib.mapAttrsToList (
      image:
      { platforms, reference }:
      map (
        platform:
        "component `${name}`: the image `${image}` (${reference}) is not there for ${platform}, which a node of the cluster has"
      ) (lib.subtractLists platforms nodePlatforms)
    ) component.images
  )
  ++ map (failed: "component `${name}`: ${failed.message}") (
    lib.filter (a: !a.assertion) component.assertions
  )
) (lib.attrNames components)
++ lib.concatMap (
  name:
  lib.optional (!(lib.any (lib.elem enabled.${name}.phase) (lib.attrValues phases)))
    "component `${name}` is in phase `${enabled.${name}.phase}`; the phases are ${toString (lib.unique (lib.concatLists (lib.attrValues phases)))}"
) (lib.attrNames enabled)
++ lib.optional (
  componentNames == [ ]
) "no component of the cluster is in one of the stage's phases: ${toString phases.${stage}}"
++ lib.concatMap (
  key:
  lib.optional (lib.length byKey.${key} > 1)
    "the object ${key} is stated by ${
      lib.concatMapStringsSep " and " (entry: "`${entry.component}`") byKey.${key}
    }"
) (lib.attrNames byKey)
++ lib.concatMap (
  entry:
  let
    what = "component `${entry.component}`: the object ${keyOf entry}";
    kind = kinds.find {
      inherit (entry) kind;
      inherit (entry.object) apiVersion;
    };
  in
  if !(entry.object ? apiVersion) then
    [ "${what} has no apiVersion" ]
  else
    lib.optional (kind.namespaced && entry.namespace == "none") "${what} needs a namespace"
    ++ lib.optional (
      !kind.namespaced && entry.namespace != "none"
    ) "${what} is cluster-scoped: state it below `none`"
    ++ lib.optional (
      entry.kind == "Ingress"
    ) "${what} has no controller here; use an HTTPRoute to the main gateway"
) native
