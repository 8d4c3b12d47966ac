# The order of a stage: its phases that have a component, the components in them, and the items of the project with their folders.
{
  lib,
  # Components by name, each of a phase of the stage and with content.
  components,
  # The phases of the stage, in order.
  phases,
  # What a message begins with.
  here,
}:
let
  # Phase by phase, and inside a phase what is needed first.
  componentsOf =
    phase:
    let
      names = lib.attrNames (lib.filterAttrs (_: component: component.phase == phase) components);
      sorted = lib.toposort (a: b: lib.elem a components.${b}.dependsOn) names;
    in
    sorted.result or (throw "${here}: the components ${toString sorted.cycle} need each other");
  phasesInUse = lib.filter (phase: componentsOf phase != [ ]) phases;
  componentNames = lib.concatMap componentsOf phasesInUse;

  # Folders of a component by class of object, and the items they make.
  # CRDs get an item before the rest, because an object of a CRD fails until the API server serves it.
  # Custom resources beside workloads get one after them: waiting for an item's readiness costs 15 s for each without a status.
  foldersOf =
    name:
    let
      component = components.${name};
      has = class: lib.elem class component.classes;
      number = lib.fixedWidthNumber 2 (
        1 + lib.lists.findFirstIndex (phase: phase == component.phase) 0 phases
      );
      folder = "${number}-${name}";
      splitCrds = has "crds" && component.classes != [ "crds" ];
      splitCustom = has "custom" && has "workloads";
      item = directory: wait: {
        inherit directory;
        component = name;
        inherit (component) phase;
        waitReadiness = wait;
      };
    in
    {
      byClass = {
        crds = if splitCrds then "${folder}-crds" else folder;
        plain = folder;
        workloads = folder;
        custom = if splitCustom then "${folder}-custom" else folder;
      };
      items =
        lib.optional splitCrds (item "${folder}-crds" true // { barrier = true; })
        ++ lib.optional (component.classes != [ "custom" ] || !splitCustom) (
          item folder (has "workloads" || component.classes == [ "crds" ])
          // {
            barrier = splitCustom || component.classes == [ "crds" ];
          }
        )
        ++ lib.optional splitCustom (item "${folder}-custom" false // { barrier = false; });
    };

  items =
    let
      ofPhase =
        phase:
        let
          all = lib.concatMap (name: (foldersOf name).items) (componentsOf phase);
        in
        if phase == lib.last phasesInUse then
          lib.init all ++ [ (lib.last all // { barrier = false; }) ]
        else
          lib.init all ++ [ (lib.last all // { barrier = true; }) ];
    in
    lib.concatMap ofPhase phasesInUse;
in
{
  inherit
    componentNames
    foldersOf
    items
    ;
  phases = phasesInUse;
}
