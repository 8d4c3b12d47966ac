{ lib, stage, ... }:
let
  local = stage "k3s-dev-local" { };
  container =
    lib.head
      local.objects."kube-system/Deployment/metrics-server".spec.template.spec.containers;
in
{
  "kubelets are asked without a CA that signs their certificates" = {
    expr = lib.elem "--kubelet-insecure-tls" container.args;
    expected = true;
  };
  "the phase ends only when the aggregated API answers" = {
    expr = {
      inherit (local.gates."metrics-server.api") condition object;
    };
    expected = {
      condition = {
        type = "condition";
        condition = "Available";
        status = "True";
      };
      object = {
        apiVersion = "apiregistration.k8s.io/v1";
        kind = "APIService";
        namespace = "";
        name = "v1beta1.metrics.k8s.io";
      };
    };
  };
}
