{
  lib,
  stage,
  withComponents,
  ...
}:
let
  valuesOf = s: s.components.cilium.charts.cilium.values;
  local = stage "k3s-dev-local" { };
  production = stage "vanixiets-full" { };
  reduced = stage "k3s-dev-local" (withComponents "k3s-dev" { cilium.datapath = "reduced"; });
in
{
  "the agents reach the API by the cluster's own host and port" = {
    expr = { inherit (valuesOf (stage "k3s-capi-local" { })) k8sServiceHost k8sServicePort; };
    expected = {
      k8sServiceHost = "127.0.0.1";
      k8sServicePort = 6444;
    };
  };
  "the full datapath replaces kube-proxy and masquerades in BPF" = {
    expr = {
      inherit (valuesOf local) kubeProxyReplacement;
      inherit ((valuesOf local).bpf) masquerade;
    };
    expected = {
      kubeProxyReplacement = true;
      masquerade = true;
    };
  };
  "the reduced datapath leaves both to the host and keeps node ports for the Gateway API" = {
    expr = {
      inherit (valuesOf reduced) enableIPv4Masquerade kubeProxyReplacement;
      inherit ((valuesOf reduced).bpf) masquerade;
      nodePort = (valuesOf reduced).nodePort.enabled;
      sysctlfix = (valuesOf reduced).sysctlfix.enabled;
      inherit (reduced) problems;
    };
    expected = {
      enableIPv4Masquerade = true;
      kubeProxyReplacement = false;
      masquerade = false;
      nodePort = true;
      sysctlfix = false;
      problems = [ ];
    };
  };
  "the Gateway API without node ports and without the replacement is an error" = {
    expr =
      (stage "k3s-dev-local" (
        withComponents "k3s-dev" {
          cilium = {
            datapath = "reduced";
            charts.cilium.values.nodePort.enabled = false;
          };
        }
      )).complains
        [
          "`cilium`"
          "nodePort.enabled"
        ];
    expected = true;
  };
  "a Kubernetes minor that Cilium is not tested with is an error that names the tested ones" = {
    expr = (stage "k3s-dev-local" { clusters.k3s-dev.kubernetes = lib.mkForce "1.36.0"; }).complains [
      "`cilium`"
      "1.36"
      "1.35"
    ];
    expected = true;
  };
  "no certificate is made when the chart is rendered" = {
    expr = {
      local = (valuesOf local).hubble;
      production = (valuesOf production).hubble.tls.auto.method;
    };
    expected = {
      local.enabled = false;
      production = "cronJob";
    };
  };
  "one operator of two is enough to go on" = {
    expr = {
      annotation = (valuesOf production).operator.annotations."kluctl.io/is-ready";
      inherit (production.gates."cilium.operator") condition;
    };
    expected = {
      annotation = "true";
      condition = {
        type = "condition";
        condition = "Available";
        status = "True";
      };
    };
  };
  "Hubble is not awaited before the DNS and the initialised nodes that it needs" = {
    expr = map (annotations: annotations."kluctl.io/is-ready") [
      (valuesOf production).certgen.annotations.job
      (valuesOf production).hubble.relay.annotations
      (valuesOf production).hubble.ui.annotations
    ];
    expected = [
      "true"
      "true"
      "true"
    ];
  };
  "the operator has one replica on one node and two on more" = {
    expr = map (s: (valuesOf s).operator.replicas) [
      local
      production
    ];
    expected = [
      1
      2
    ];
  };
  "Gateways listen on the nodes where no load balancer has addresses" = {
    expr = map (s: (valuesOf s).gatewayAPI.hostNetwork.enabled) [
      local
      production
    ];
    expected = [
      true
      false
    ];
  };
  "Envoy may bind the nodes' low ports when Gateways listen there" = {
    expr = (valuesOf local).envoy.securityContext.capabilities;
    expected = {
      keepCapNetBindService = true;
      envoy = [
        "NET_ADMIN"
        "NET_BIND_SERVICE"
        "SYS_ADMIN"
      ];
    };
  };
  "the GatewayClass is ours, and goes with the Gateway API" = {
    expr = map (s: s.objects ? "_/GatewayClass/cilium") [
      local
      (stage "k3s-capi-local" (withComponents "k3s-capi" { cilium.gateway.enable = false; }))
    ];
    expected = [
      true
      false
    ];
  };
  "one value of the chart can be changed without restating the others" = {
    expr =
      let
        values = valuesOf (
          stage "k3s-dev-local" (
            withComponents "k3s-dev" { cilium.charts.cilium.values.operator.replicas = 3; }
          )
        );
      in
      {
        inherit (values.operator) replicas rollOutPods;
      };
    expected = {
      replicas = 3;
      rollOutPods = true;
    };
  };
  "agent pods are a gate, because kluctl takes none on one node for ready" = {
    expr = { inherit (local.gates."cilium.agent") condition needs phase; };
    expected = {
      condition.type = "podsReady";
      needs = "kubelet";
      phase = "cilium";
    };
  };
}
