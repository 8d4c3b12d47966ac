{ stage, withComponents, ... }:
let
  local = stage "k3s-dev-local" { };
  moved = stage "k3s-dev-local" (
    withComponents "k3s-dev" {
      local-path-provisioner = {
        path = "/mnt/volumes";
        default = false;
      };
    }
  );
  isDefault =
    s:
    s.objects."_/StorageClass/local-path".metadata.annotations."storageclass.kubernetes.io/is-default-class";
  configOf =
    s: builtins.fromJSON s.objects."kube-system/ConfigMap/local-path-config".data."config.json";
in
{
  "its StorageClass is the default until somebody says otherwise" = {
    expr = map isDefault [
      local
      moved
    ];
    expected = [
      "true"
      "false"
    ];
  };
  "exactly one default StorageClass is a gate that the API server alone can hold" = {
    expr = {
      inherit (local.gates."local-path-provisioner.default-class") condition needs;
    };
    expected = {
      condition.type = "oneDefaultStorageClass";
      needs = "api";
    };
  };
  "the folder on the nodes can be moved" = {
    expr = (configOf moved).nodePathMap;
    expected = [
      {
        node = "DEFAULT_PATH_FOR_NON_LISTED_NODES";
        paths = [ "/mnt/volumes" ];
      }
    ];
  };
  "the helper pod's image is the pinned one in both places that name it" = {
    expr =
      let
        inherit (local.components.local-path-provisioner.images.helper) reference;
        pod =
          builtins.fromJSON
            local.objects."kube-system/ConfigMap/local-path-config".data."helperPod.yaml";
        container =
          builtins.head
            local.objects."kube-system/Deployment/local-path-provisioner".spec.template.spec.containers;
      in
      (builtins.head pod.spec.containers).image == reference && builtins.elem reference container.command;
    expected = true;
  };
}
