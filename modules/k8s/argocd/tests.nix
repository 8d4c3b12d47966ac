{
  stage,
  withComponents,
  ...
}:
let
  local = stage "k3s-dev-local" { };
  production = stage "vanixiets-full" { };
  valuesOf = s: s.components.argocd.charts.argocd.values;
in
{
  "only on a developer's own cluster is everybody an administrator" = {
    expr = map (s: (valuesOf s).configs.rbac."policy.default") [
      local
      production
    ];
    expected = [
      "role:admin"
      ""
    ];
  };
  "the password of Redis is a SopsSecret and no Job" = {
    expr = {
      job = (valuesOf local).redisSecretInit.enabled;
      gate = local.gates ? "sops-secrets-operator.secret-argocd-argocd-redis";
    };
    expected = {
      job = false;
      gate = true;
    };
  };
  "its route goes to the listener of its host" = {
    expr = (builtins.head local.objects."argocd/HTTPRoute/argocd".spec.parentRefs).sectionName;
    expected = "https-argocd";
  };
  "without a gateway it has no route" = {
    expr =
      let
        s = stage "k3s-dev-local" (withComponents "k3s-dev" { gateway.enable = false; });
      in
      {
        route = s.objects ? "argocd/HTTPRoute/argocd";
        inherit (s) problems;
      };
    expected = {
      route = false;
      problems = [ ];
    };
  };
  "sync waves wait for the health of Applications" = {
    expr = (valuesOf local).configs.cm ? "resource.customizations.health.argoproj.io_Application";
    expected = true;
  };
}
