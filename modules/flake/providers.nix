# Sources of ClusterAPI providers that are no Go modules one could fetch by their sum; xtask renders their components.
_:
{ config, lib, ... }:
let
  # By version, so that facts that name another one fail here, and not on a cluster.
  hetzner = {
    "v1.1.8" = {
      rev = "b2cbc5986e347fb4dde542d3a8cc17ae1a1638ff";
      hash = "sha256-cFkE2x+AVUr2dFBKNM5tvlzHZNeMEs5ULcc3m5JTmP8=";
    };
  };
  wanted = lib.unique (
    lib.concatMap (
      cluster:
      lib.optional (
        cluster.clusterApi != null && cluster.clusterApi.infrastructure == "hetzner"
      ) cluster.clusterApi.providers.hetzner
    ) (lib.attrValues config.platform.clusters)
  );
  version = lib.head wanted;
in
{
  config = lib.mkIf (wanted != [ ]) {
    perSystem =
      { pkgs, ... }:
      {
        packages.cluster-api-provider-hetzner = pkgs.fetchFromGitHub (
          {
            owner = "syself";
            repo = "cluster-api-provider-hetzner";
          }
          // hetzner.${version}
            or (throw "cluster-api-provider-hetzner ${version} is not pinned in modules/flake/providers.nix")
        );
      };
  };
}
