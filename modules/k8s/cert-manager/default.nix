# Certificates: cert-manager with its CRDs, and its shim for the Gateway API.
{
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.cert-manager;
  version = "v1.21.1";
  namespace = "cert-manager";
  resources = {
    requests = {
      cpu = "50m";
      memory = "64Mi";
    };
    limits = {
      cpu = "200m";
      memory = "256Mi";
    };
  };
  workloads = [
    "cert-manager"
    "cert-manager-cainjector"
    "cert-manager-webhook"
  ];
  platforms = lib.mkDefault [
    "linux/amd64"
    "linux/arm64"
  ];
in
{
  options.components.cert-manager = mkComponent {
    gatewayApi = lib.mkOption {
      type = lib.types.bool;
      default = config.components.gateway-api.enable;
      defaultText = lib.literalExpression "components.gateway-api.enable";
      description = "Whether Gateways get certificates by annotation and HTTP-01 challenges are answered by HTTPRoutes; the controller ends with an error when the CRDs are missing.";
      example = false;
    };
  };

  config.components.cert-manager = {
    phase = "cert-manager";
    namespaces = [ namespace ];
    dependsOn = lib.optional cfg.gatewayApi "gateway-api";
    charts.cert-manager = {
      source = {
        type = "github";
        owner = "cert-manager";
        repo = "cert-manager";
        # v1.21.1
        rev = "24e33194fb39488eff2bbf10c6dc640f407cad44";
        hash = "sha256-IRfPPsVRPdFsE3WhtW+qeC9wg3ilxa8c2cp+xzJ3eZk=";
      };
      path = "deploy/charts/cert-manager";
      inherit namespace version;
      # In git it is v0.0.0, which 98 labels and three images would take over.
      overwriteVersion = version;
      contains = [
        "crds"
        "plain"
        "workloads"
      ];
      values = mkDefaults {
        crds = {
          enabled = true;
          keep = true;
        };
        # A hook that polls; the gates below do that.
        startupapicheck.enabled = false;
        replicaCount = 1;
        inherit resources;
        clusterResourceNamespace = namespace;
        config = {
          apiVersion = "controller.config.cert-manager.io/v1alpha1";
          kind = "ControllerConfiguration";
          enableGatewayAPI = cfg.gatewayApi;
        };
        webhook = {
          replicaCount = 1;
          timeoutSeconds = 30;
          inherit resources;
        };
        cainjector = {
          replicaCount = 1;
          inherit resources;
        };
      };
    };
    images = lib.genAttrs [ "acmesolver" "cainjector" "controller" "webhook" ] (image: {
      reference = lib.mkDefault "quay.io/jetstack/cert-manager-${image}:${version}";
      inherit platforms;
    });
    gates =
      lib.genAttrs workloads (name: {
        needs = "kubelet";
        object = {
          apiVersion = "apps/v1";
          kind = "Deployment";
          inherit name namespace;
        };
        condition.type = "podsReady";
      })
      // {
        # Until it answers, every Issuer and Certificate is refused.
        webhook = {
          needs = "kubelet";
          object = {
            apiVersion = "v1";
            kind = "Service";
            inherit namespace;
            name = "cert-manager-webhook";
          };
          condition.type = "endpointsReady";
        };
      };
  };
}
