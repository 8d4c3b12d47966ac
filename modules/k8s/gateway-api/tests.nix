{
  lib,
  stage,
  withComponents,
  ...
}:
let
  filesOf =
    settings:
    (stage "k3s-dev-local" (withComponents "k3s-dev" { gateway-api = settings; }))
    .components.gateway-api.manifests.gateway-api.files;
in
{
  "the standard channel is the default" = {
    expr = filesOf { };
    expected = [ "config/crd/standard" ];
  };
  "the experimental channel is another folder of the same revision" = {
    expr = filesOf { channel = "experimental"; };
    expected = [ "config/crd/experimental" ];
  };
  "the CRDs are there, and awaited, before Cilium's operator looks for them" = {
    expr = map (item: { inherit (item) barrier component waitReadiness; }) (
      lib.filter (
        item:
        lib.elem item.component [
          "cilium"
          "gateway-api"
        ]
      ) (lib.take 3 (stage "k3s-dev-local" { }).spec.stage.items)
    );
    expected = [
      {
        component = "gateway-api";
        waitReadiness = true;
        barrier = true;
      }
      {
        component = "cilium";
        waitReadiness = true;
        barrier = true;
      }
    ];
  };
}
