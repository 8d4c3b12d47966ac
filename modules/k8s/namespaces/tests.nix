{ lib, stage, ... }:
let
  local = stage "k3s-dev-local" { };
in
{
  "a namespace is made for each component that is on, and none that the distribution makes" = {
    expr = {
      argocd = local.objects ? "_/Namespace/argocd";
      kube-system = local.objects ? "_/Namespace/kube-system";
      external-dns = local.objects ? "_/Namespace/external-dns";
    };
    expected = {
      argocd = true;
      kube-system = false;
      external-dns = false;
    };
  };
  "a component's labels reach its namespace" = {
    expr = local.objects."_/Namespace/nix-csi".metadata.labels;
    expected."pod-security.kubernetes.io/enforce" = "privileged";
  };
  "every component has tests beside it" = {
    expr = map baseNameOf (
      lib.filter (path: !builtins.pathExists (path + "/tests.nix")) (import ../components.nix)
    );
    expected = [ ];
  };
}
