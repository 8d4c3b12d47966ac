{ stage, withComponents, ... }:
let
  production = stage "vanixiets-full" { };
in
{
  "the token is the one that ClusterAPI's provider leaves in kube-system" = {
    expr =
      production.components.hcloud-ccm.charts.hcloud-ccm.values.env.HCLOUD_TOKEN.valueFrom.secretKeyRef;
    expected = {
      name = "hcloud";
      key = "token";
    };
  };
  "the phase ends when no node is uninitialised" = {
    expr = production.gates."hcloud-ccm.initialised".condition;
    expected = {
      type = "nodesWithoutTaint";
      taint = "node.cloudprovider.kubernetes.io/uninitialized";
    };
  };
  "on k3s it is an error" = {
    expr = (stage "hetzner-full" (withComponents "hetzner" { hcloud-ccm = { }; })).complains [
      "`hcloud-ccm`"
      "k3s"
    ];
    expected = true;
  };
}
