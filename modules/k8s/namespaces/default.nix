# The namespaces that the components of a stage live in, made once and before everything else.
# Those that every cluster has (kube-system and its like) are left alone: an object of ours there would one day be pruned.
{
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.namespaces;

  wanted = lib.concatMap (component: lib.optionals component.enable component.namespaces) (
    lib.attrValues config.components
  );
  ours = lib.subtractLists cfg.builtIn (lib.unique (lib.sort (a: b: a < b) wanted));
in
{
  options.components.namespaces = mkComponent {
    builtIn = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [
        "default"
        "kube-node-lease"
        "kube-public"
        "kube-system"
      ];
      description = "Namespaces that the distribution makes.";
    };
    labels = lib.mkOption {
      type = lib.types.attrsOf (lib.types.attrsOf lib.types.str);
      default = { };
      description = "Labels by namespace.";
      example = {
        nix-csi."pod-security.kubernetes.io/enforce" = "privileged";
      };
    };
  };

  config.components.namespaces = {
    phase = "base";
    objects.none.Namespace = lib.genAttrs ours (
      name:
      mkDefaults (
        {
          apiVersion = "v1";
        }
        // lib.optionalAttrs (cfg.labels ? ${name}) { metadata.labels = cfg.labels.${name}; }
      )
    );
  };
}
