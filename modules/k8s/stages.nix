# Which phases a stage has, and the evaluation of one (cluster, stage) pair into values: items, gates, objects, what the renderer needs.
# It builds nothing and needs no `pkgs`. Everything wrong with a pair is collected in `problems` and reported at once.
{
  lib,
  # The evaluated platform config (modules/flake/platform).
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
      # Not the shorthand form: what the platform config says of a component is a module.
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
              _file = "the platform config of cluster `${cluster}`";
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

      order = import ./stage/order.nix {
        inherit components here lib;
        phases = phases.${stage};
      };
      inherit (order) componentNames;

      description = import ./stage/description.nix {
        inherit
          cluster
          components
          facts
          lib
          order
          pair
          stage
          ;
      };
      nodePlatforms = import ./stage/node-platforms.nix { inherit facts lib platform; };
      native = import ./stage/objects.nix {
        inherit
          componentNames
          components
          easykubenix
          here
          lib
          ;
      };
      problems = import ./stage/problems.nix {
        inherit
          componentNames
          components
          enabled
          lib
          nodePlatforms
          phases
          stage
          ;
        inherit (native) byKey keyOf native;
      };
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
      inherit (order) phases;

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
        folders = lib.genAttrs componentNames (name: (order.foldersOf name).byClass);
        classes = lib.genAttrs componentNames (name: components.${name}.classes);
        inherit (native) objects;
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
          }) components.${name}.optionalSecrets
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
