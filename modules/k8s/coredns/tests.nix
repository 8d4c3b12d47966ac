{ stage, withComponents, ... }:
let
  production = stage "vanixiets-full" { };
  spec = production.objects."kube-system/Service/kube-dns".spec;
in
{
  "the Service has the address that the platform config states" = {
    expr = spec.clusterIP;
    expected = "10.134.0.10";
  };
  "the Service finds the pods" = {
    expr =
      spec.selector == production.objects."kube-system/Deployment/coredns".spec.template.metadata.labels;
    expected = true;
  };
  "a second CoreDNS beside that of k3s is an error" = {
    expr = (stage "k3s-dev-local" (withComponents "k3s-dev" { coredns = { }; })).complains [
      "`coredns`"
      "k3s"
    ];
    expected = true;
  };
}
