# The native objects of a stage: as its components state them, and complete, each with the component that it belongs to.
{
  lib,
  easykubenix,
  components,
  componentNames,
  # What a message begins with.
  here,
}:
let
  # Every native object with the component that states it.
  native = lib.concatMap (
    name:
    lib.concatLists (
      lib.mapAttrsToList (
        namespace: byKind:
        lib.concatLists (
          lib.mapAttrsToList (
            kind: byName:
            lib.mapAttrsToList (objectName: object: {
              component = name;
              inherit kind namespace object;
              name = objectName;
            }) byName
          ) byKind
        )
      ) components.${name}.objects
    )
  ) componentNames;

  keyOf = entry: "${entry.namespace}/${entry.kind}/${entry.name}";
  byKey = lib.groupBy keyOf native;

  complete =
    entry:
    entry.object
    // {
      inherit (entry) kind;
      metadata =
        (entry.object.metadata or { })
        // {
          inherit (entry) name;
        }
        // lib.optionalAttrs (entry.namespace != "none") { inherit (entry) namespace; };
    };

  generated =
    if easykubenix == null then
      map complete native
    else
      easykubenix (
        lib.foldl' (
          objects: entry:
          lib.recursiveUpdateUntil
            (
              path: _: _:
              lib.length path == 3
            )
            objects
            {
              ${entry.namespace}.${entry.kind}.${entry.name} = entry.object;
            }
        ) { } native
      );

  # Each result leads back to its component by namespace, kind and name.
  objects = map (
    object:
    let
      key = "${object.metadata.namespace or "none"}/${object.kind}/${object.metadata.name}";
    in
    {
      component =
        (lib.head (byKey.${key} or (throw "${here}: the object ${key} belongs to no component"))).component;
      inherit object;
    }
  ) generated;
in
{
  inherit
    byKey
    keyOf
    native
    objects
    ;
}
