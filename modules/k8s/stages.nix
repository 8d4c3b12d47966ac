# Which phases a stage has, and the evaluation of one (cluster, stage) pair into values: items, gates, objects, what the renderer needs.
# It builds nothing and needs no `pkgs`. Everything wrong with a pair is collected in `problems` and reported at once.
{
  lib,
  # The evaluated facts (modules/flake/platform).
  platform,
  # A function from `<namespace or "none">.<Kind>.<name>` to the list of objects; null takes our own, which gives the same objects.
  easykubenix ? null,
}:
let
  kinds = import ./kinds.nix;

  # In this order; the number of a phase begins the folders of its items.
  phases =
    let
      platformPhases = [
        "base"
        "cilium"
        "ccm"
        "dns"
        "storage"
        "secrets"
        "step-ca"
        "cert-manager"
        "issuers"
        "nix-csi"
        "external-dns"
        "metrics-server"
        "argocd"
        "apps"
      ];
    in
    {
      local = platformPhases;
      full = platformPhases;
      capi = [ "capi" ];
    };

  mkDefaults = lib.mapAttrsRecursiveCond (value: !(value ? _type)) (_: lib.mkDefault);

  # An option for a component: the shared ones of component.nix and its own.
  mkComponent =
    options:
    lib.mkOption {
      # Not the shorthand form: what the facts say of a component is a module.
      type = lib.types.submoduleWith {
        modules = [
          ./component.nix
          { inherit options; }
        ];
      };
      default = { };
      description = "The component.";
    };

  # What components may ask of a cluster: its facts, its name, and what follows from them.
  derive =
    name:
    let
      facts = platform.clusters.${name};
    in
    facts
    // {
      inherit name;
      kubernetesMinor = lib.versions.majorMinor facts.kubernetes;
    };

  evaluate =
    { cluster, stage }:
    let
      facts = platform.clusters.${cluster};
      pair = facts.stages.${stage};
      here = "cluster `${cluster}`, stage `${stage}`";

      evaluation = lib.evalModules {
        specialArgs = {
          inherit mkComponent mkDefaults platform;
          cluster = derive cluster;
          workload = if pair.describes == null then null else derive pair.describes;
        };
        modules =
          import ./components.nix
          ++ platform.componentModules
          ++ [
            {
              _file = "the facts of cluster `${cluster}`";
              components = lib.mapAttrs (_: settings: {
                imports = [ settings ];
                enable = lib.mkDefault true;
              }) facts.components;
            }
          ];
      };

      enabled = lib.filterAttrs (_: component: component.enable) evaluation.config.components;
      # A component without content (no namespace is asked of `namespaces`) has no item.
      components = lib.filterAttrs (
        _: component: lib.elem component.phase phases.${stage} && component.classes != [ ]
      ) enabled;

      # Phase by phase, and inside a phase what is needed first.
      componentsOf =
        phase:
        let
          names = lib.attrNames (lib.filterAttrs (_: component: component.phase == phase) components);
          sorted = lib.toposort (a: b: lib.elem a components.${b}.needs) names;
        in
        sorted.result or (throw "${here}: the components ${toString sorted.cycle} need each other");
      phasesInUse = lib.filter (phase: componentsOf phase != [ ]) phases.${stage};
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
            1 + lib.lists.findFirstIndex (phase: phase == component.phase) 0 phases.${stage}
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

      gates = lib.concatMap (
        name:
        lib.mapAttrsToList (gateName: gate: {
          id = "${name}.${gateName}";
          component = name;
          inherit (components.${name}) phase;
          inherit (gate) needs object timeoutSeconds;
          condition = lib.filterAttrs (_: value: value != null) gate.condition;
        }) components.${name}.gates
      ) componentNames;

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
      ) componentNames;

      description = {
        schema = 1;
        inherit
          charts
          cluster
          gates
          items
          stage
          ;
        inherit (facts) environment;
        inherit (pair) discriminator;
        phases = phasesInUse;
      };

      # What the cluster's nodes run: a guest is its host's architecture unless the profile says otherwise, and Rosetta runs the other one.
      nodePlatforms =
        if facts.profile != null then
          let
            profile = platform.profiles.${facts.profile};
          in
          lib.optional (profile.arch != "aarch64" || profile.rosetta) "linux/amd64"
          ++ lib.optional (profile.arch != "x86_64" && !profile.rosetta) "linux/arm64"
        else if facts.machine != null then
          [
            (
              if platform.machines.${facts.machine}.system == "aarch64-linux" then
                "linux/arm64"
              else
                "linux/amd64"
            )
          ]
        else
          [ "linux/amd64" ];

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

      problems =
        lib.concatMap (
          name:
          let
            component = components.${name};
          in
          map (
            need:
            "component `${name}` needs `${need}`, which is off; switch it on in the facts of the cluster, or `${name}` off"
          ) (lib.filter (need: !(enabled ? ${need})) component.needs)
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
        ) native;
    in
    {
      inherit
        componentNames
        components
        description
        evaluation
        nodePlatforms
        problems
        ;
      phases = phasesInUse;

      # One chart is what a component is mostly about; its version is the component's.
      versions = lib.mapAttrs (_: component: (lib.head (lib.attrValues component.charts)).version) (
        lib.filterAttrs (_: component: lib.length (lib.attrValues component.charts) == 1) components
      );

      # What render.nix and render.sh take, with sources still as data.
      spec = lib.throwIf (problems != [ ]) "${here}:\n${lib.concatMapStrings (p: "- ${p}\n") problems}" {
        schema = 1;
        stage = description;
        # Charts are rendered for the minor: a patch level must not change a manifest.
        kubeVersion = "${lib.versions.majorMinor facts.kubernetes}.0";
        kinds = kinds.table;
        folders = lib.genAttrs componentNames (name: (foldersOf name).byClass);
        classes = lib.genAttrs componentNames (name: components.${name}.classes);
        inherit objects;
        charts = lib.concatMap (
          name: map (chart: chart // { component = name; }) (lib.attrValues components.${name}.charts)
        ) componentNames;
        manifests = lib.concatMap (
          name:
          lib.mapAttrsToList (
            manifestName: manifest:
            manifest
            // {
              component = name;
              name = manifestName;
            }
          ) components.${name}.manifests
        ) componentNames;
        secrets = lib.concatMap (
          name:
          map (file: {
            component = name;
            inherit file;
            asked = false;
          }) components.${name}.secrets
          ++ map (file: {
            component = name;
            inherit file;
            asked = true;
          }) components.${name}.askedSecrets
        ) componentNames;
      };
    };
in
{
  inherit
    evaluate
    mkComponent
    mkDefaults
    phases
    ;
}
