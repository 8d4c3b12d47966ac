# Option `platform`: the platform config, typed. Everything else of the plugin follows from it.
_:
{
  config,
  lib,
  self,
  ...
}:
{
  options = {
    platform = lib.mkOption {
      type = lib.types.submoduleWith { modules = [ ./platform ]; };
      description = "The platform config; docs/options.md lists its options.";
    };
    platformRoot = lib.mkOption {
      type = lib.types.path;
      default = self.outPath;
      defaultText = lib.literalMD "the flake itself";
      description = "Folder with `k8s/secrets`, `k8s/golden` and `platform.json`.";
    };
  };

  config._module.args.evaluated = import ./evaluate.nix {
    inherit lib;
    inherit (config) platform;
  };
}
