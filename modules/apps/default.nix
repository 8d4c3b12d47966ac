# The applications: an environment of nixidy for each that the platform config names.
#   modules      by environment, the modules of nixidy that make it up
#   environments what nixidy makes of them, with its sources and `pkgs`: environmentPackage, activationPackage, bootstrapPackage
# No import-from-derivation: no charts, no `yamls`, and custom resources are objects.
{ lib, platform }:
let
  modules = lib.mapAttrs (
    name: environment:
    let
      cluster =
        platform.clusters.${environment.cluster}
          or (throw "apps.environments.${name}: there is no cluster `${environment.cluster}`; known are ${lib.concatStringsSep ", " (lib.attrNames platform.clusters)}");
    in
    lib.throwIf (!cluster.components ? argocd)
      "apps.environments.${name}: cluster `${environment.cluster}` has no component `argocd` to apply applications"
      (
        [
          (import ./environment.nix {
            inherit cluster environment;
            inherit (platform) versions;
          })
          ./whoami.nix
        ]
        ++ platform.apps.modules
      )
  ) platform.apps.environments;
in
{
  inherit modules;

  environments =
    {
      pkgs,
      # Trees of github:arnarg/nixidy and github:farcaller/nix-kube-generators.
      nixidy,
      nix-kube-generators,
    }:
    (import (nixidy + "/make-env.nix") {
      kubelib.lib = import (nix-kube-generators + "/lib");
    }).mkEnvs
      {
        inherit pkgs;
        envs = lib.mapAttrs (_: modules: { inherit modules; }) modules;
      };
}
