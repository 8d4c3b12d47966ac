{
  lib,
  stage,
  withComponents,
  ...
}:
let
  local = stage "k3s-dev-local" (withComponents "k3s-dev" { cilium-policies = { }; });
  spec = name: local.objects."_/CiliumClusterwideNetworkPolicy/${name}".spec;
in
{
  "they are off until the platform config names them" = {
    expr = (stage "k3s-dev-local" { }).objects ? "_/CiliumClusterwideNetworkPolicy/ep-default";
    expected = false;
  };
  "they come in a phase after the operator that makes their CRD" = {
    expr =
      lib.lists.findFirstIndex (name: name == "cilium") null local.componentNames
      < lib.lists.findFirstIndex (name: name == "cilium-policies") null local.componentNames
      && local.components.cilium.phase != local.components.cilium-policies.phase;
    expected = true;
  };
  "nodes stay reachable by SSH, the API and etcd" = {
    expr = map (port: port.port) (lib.head (lib.elemAt (spec "node-default").ingress 1).toPorts).ports;
    expected = [
      "22"
      "2379"
      "2380"
      "6443"
    ];
  };
  "pods are reached from the cluster and through its gateways" = {
    expr = (lib.head (spec "ep-default").ingress).fromEntities;
    expected = [
      "cluster"
      "ingress"
    ];
  };
}
