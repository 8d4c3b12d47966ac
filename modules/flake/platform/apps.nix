# Where ArgoCD takes the applications from, an environment of nixidy each.
{ lib, ... }:
let
  inherit (lib) mkOption types;
in
{
  options.apps = {
    environments = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            cluster = mkOption {
              type = types.str;
              description = "Cluster that the applications are for; it carries ArgoCD.";
              example = "k3s-dev";
            };
            repository = mkOption {
              type = types.str;
              description = "URL of the Git repository with the rendered applications, as ArgoCD reaches it.";
              example = "https://git.example.org/platform/manifests.git";
            };
            branch = mkOption {
              type = types.str;
              default = "main";
              description = "Branch of that repository.";
            };
          };
        }
      );
      default = { };
      description = "Environments of the applications by name; their folder in the repository is `manifests/<name>`.";
    };
    modules = mkOption {
      type = types.listOf types.raw;
      default = [ ];
      description = "Modules of nixidy with applications beside those of this project; `modules/apps/whoami.nix` is the model.";
      example = lib.literalExpression "[ ./apps/shop.nix ]";
    };
  };
}
