# Which phases a stage has, and the evaluation of one (cluster, stage) pair into values: components, items, gates, objects.
# It builds nothing and needs no `pkgs`.
{
  lib,
  # The evaluated facts (modules/flake/platform).
  platform,
  # Files or modules of components.
  modules ? import ./components.nix ++ platform.componentModules,
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

  evaluate =
    { cluster, stage }:
    let
      facts = platform.clusters.${cluster};
      pair = facts.stages.${stage};
      derive =
        name: facts:
        facts
        // {
          inherit name;
          kubernetesMinor = lib.versions.majorMinor facts.kubernetes;
        };

      evaluation = lib.evalModules {
        specialArgs = {
          inherit mkComponent mkDefaults platform;
          cluster = derive cluster facts;
          workload =
            if pair.describes == null then null else derive pair.describes platform.clusters.${pair.describes};
        };
        modules = modules ++ [
          {
            _file = "the facts of cluster `${cluster}`";
            components = lib.mapAttrs (_: settings: {
              imports = [ settings ];
              enable = lib.mkDefault true;
            }) facts.components;
          }
        ];
      };

      all = evaluation.config.components;
      ofStage = lib.filterAttrs (
        _: component: component.enable && lib.elem component.phase phases.${stage}
      ) all;
    in
    {
      inherit evaluation;
      components = ofStage;
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
