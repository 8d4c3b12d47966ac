# What all applications of an environment share; a module of nixidy.
# It declares no component of the platform: values that stand in two places drift, and rendered secrets would reach Git.
{
  # The environment of the platform config.
  environment,
  # Its cluster, an entry of the platform config's clusters.
  cluster,
  # The platform config's versions.
  versions,
}:
{ config, lib, ... }:
let
  # Names that the stages own, as namespaces of components or as the components themselves.
  taken = [
    "argocd"
    "default"
    "gateway-system"
    "kube-node-lease"
    "kube-public"
    "kube-system"
  ]
  ++ lib.attrNames cluster.components;
  own = lib.filterAttrs (
    name: _: name != config.nixidy.appOfApps.name && !lib.hasPrefix "__" name
  ) config.applications;
in
{
  config = {
    # Facts of the cluster as an argument of every application.
    _module.args = { inherit cluster; };

    nixidy = {
      k8sVersion = lib.mkDefault versions.kubernetes;
      target = {
        inherit (environment) branch repository;
      };
      # What Git no longer has goes, and what somebody changed comes back.
      defaults.syncPolicy.autoSync = {
        enable = lib.mkDefault true;
        prune = lib.mkDefault true;
        selfHeal = lib.mkDefault true;
      };
      assertions = lib.mapAttrsToList (name: application: {
        assertion = !lib.elem name taken && !lib.elem application.namespace taken;
        message = "application `${name}` in namespace `${application.namespace}`: the stages own that name; components are changed in the platform config (`clusters.<cluster>.components`), applications have namespaces of their own";
      }) own;
    };
  };
}
