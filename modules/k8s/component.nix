# What every component states: when it is deployed, where its objects come from, and what to wait for afterwards.
# A component adds options of its own with `mkComponent` (see stages.nix); `namespaces/default.nix` is the model to copy.
{
  config,
  lib,
  name,
  ...
}:
let
  inherit (lib) mkOption types;

  json = import ./json.nix { inherit lib; };
  kinds = import ./kinds.nix;

  # Which classes of objects a source holds decides the items of the project, so it has to be known without rendering a chart.
  # The renderer compares what is stated here with what it finds.
  contains = mkOption {
    type = types.listOf (types.enum kinds.classes);
    description = ''
      Classes of objects that this source renders: `crds` (CustomResourceDefinition), `workloads` (kinds whose readiness kluctl judges),
      `custom` (custom resources) and `plain` (everything else).
      A rendering that differs fails the build.
    '';
  };

  source = types.submodule {
    options = {
      type = mkOption {
        type = types.enum [
          "url"
          "github"
          "local"
        ];
        description = "How the source is had: one file by URL, one revision of a GitHub repository, or a folder of this checkout.";
      };
      url = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "Address of the file (type `url`).";
        example = "https://helm.cilium.io/cilium-1.19.6.tgz";
      };
      owner = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "Owner of the repository (type `github`).";
      };
      repo = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "Name of the repository (type `github`).";
      };
      rev = mkOption {
        type = types.nullOr (types.strMatching "[0-9a-f]{40}");
        default = null;
        description = "Commit (type `github`); never a branch or tag, for those move.";
      };
      hash = mkOption {
        type = types.nullOr (types.strMatching "sha256-[A-Za-z0-9+/]{43}=");
        default = null;
        description = "SRI hash of the file or of the unpacked tree (types `url` and `github`).";
      };
      folder = mkOption {
        type = types.nullOr types.path;
        default = null;
        description = "Folder of this checkout (type `local`).";
      };
    };
  };

  chart =
    { name, ... }:
    {
      options = {
        source = mkOption {
          type = source;
          description = "Where the chart comes from; pinned by hash and fetched only when the stage is built.";
        };
        path = mkOption {
          type = types.str;
          default = "";
          description = "Folder of the chart inside the source; empty for a packaged chart.";
          example = "deploy/charts/cert-manager";
        };
        release = mkOption {
          type = types.str;
          default = name;
          description = "Release name, which most charts put into the names of their objects.";
        };
        namespace = mkOption {
          type = types.str;
          description = "Namespace of the release.";
        };
        version = mkOption {
          type = types.str;
          description = "Version of the chart, as its Chart.yaml says it after the fix-ups.";
        };
        overwriteVersion = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "Written into `version` and `appVersion` of a copy of Chart.yaml, for charts whose source holds a placeholder there.";
          example = "v1.21.1";
        };
        dropDependencies = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Dependencies that are removed from a copy of Chart.yaml (with Chart.lock), for charts whose disabled dependencies would have to be downloaded.";
        };
        includeCRDs = mkOption {
          type = types.bool;
          default = false;
          description = "Whether the chart's `crds/` folder is rendered too.";
        };
        apiVersions = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "API versions that the chart may believe the cluster has.";
        };
        setNamespace = mkOption {
          type = types.bool;
          default = false;
          description = "Whether namespaced objects that the chart left without a namespace get the release's, as `helm install` would do.";
        };
        values = mkOption {
          type = types.attrsOf json;
          default = { };
          description = "Values of the chart. Ours are defaults at every leaf, so that one leaf can be changed.";
        };
        patches = mkOption {
          type = types.listOf (
            types.submodule {
              options = {
                kind = mkOption {
                  type = types.str;
                  description = "Kind of the object.";
                };
                namespace = mkOption {
                  type = types.str;
                  default = "";
                  description = "Namespace of the object; empty for cluster-scoped ones.";
                };
                name = mkOption {
                  type = types.str;
                  description = "Name of the object.";
                };
                patch = mkOption {
                  type = types.attrsOf json;
                  description = "JSON merge patch (RFC 7396); null removes a field.";
                };
              };
            }
          );
          default = [ ];
          description = "Patches of rendered objects; one that matches nothing fails the build.";
        };
        contains = contains // {
          default = [
            "plain"
            "workloads"
          ];
        };
      };
    };

  manifest = {
    options = {
      source = mkOption {
        type = source;
        description = "Where the manifests come from; pinned by hash and fetched only when the stage is built.";
      };
      files = mkOption {
        type = types.listOf types.str;
        description = "YAML files inside the source, or folders of them (not searched recursively, `kustomization.yaml` left out); empty string for a source that is one file.";
        example = [ "config/crd/standard" ];
      };
      contains = contains // {
        default = [ "crds" ];
      };
    };
  };

  gate = {
    options = {
      needs = mkOption {
        type = types.enum [
          "api"
          "kubelet"
          "controller"
        ];
        default = "controller";
        description = "What must exist for the gate to be able to hold: the API server alone, nodes and pods (also simulated ones), or a controller in a real pod.";
      };
      object = mkOption {
        type = types.submodule {
          options = {
            apiVersion = mkOption {
              type = types.str;
              description = "`group/version`, or `version` for the core group.";
            };
            kind = mkOption {
              type = types.str;
              description = "Kind.";
            };
            namespace = mkOption {
              type = types.str;
              default = "";
              description = "Namespace; empty for cluster-scoped objects.";
            };
            name = mkOption {
              type = types.str;
              default = "";
              description = "Name; empty means every object of the kind.";
            };
          };
        };
        description = "The object that is looked at.";
      };
      condition = mkOption {
        type = types.submodule {
          options = {
            type = mkOption {
              type = types.enum [
                "exists"
                "condition"
                "field"
                "podsReady"
                "endpointsReady"
                "nodesReady"
                "nodesWithoutTaint"
                "oneDefaultStorageClass"
              ];
              description = "What is asked of the object.";
            };
            condition = mkOption {
              type = types.nullOr types.str;
              default = null;
              description = "Condition type (type `condition`).";
              example = "Ready";
            };
            status = mkOption {
              type = types.nullOr (
                types.enum [
                  "True"
                  "False"
                  "Unknown"
                ]
              );
              default = null;
              description = "Status of the condition (type `condition`).";
            };
            pointer = mkOption {
              type = types.nullOr types.str;
              default = null;
              description = "RFC 6901 pointer (type `field`).";
            };
            value = mkOption {
              type = types.nullOr types.str;
              default = null;
              description = "Expected value as text (type `field`).";
            };
            taint = mkOption {
              type = types.nullOr types.str;
              default = null;
              description = "Key of the taint (type `nodesWithoutTaint`).";
            };
          };
        };
        description = "What must be true of it.";
      };
      timeoutSeconds = mkOption {
        type = types.ints.positive;
        # 120 s failed on CI runners, 300 s held.
        default = 300;
        description = "Deadline in seconds.";
      };
    };
  };

  # Classes of the native objects; those of other sources are stated.
  nativeObjects = lib.concatMap (
    byKind:
    lib.concatLists (
      lib.mapAttrsToList (
        kind: objects: map (object: object // { inherit kind; }) (lib.attrValues objects)
      ) byKind
    )
  ) (lib.attrValues config.objects);
in
{
  options = {
    enable = lib.mkEnableOption "the component ${name}";
    phase = mkOption {
      type = types.str;
      description = "Phase in which the component is deployed; stages.nix has the phases of each stage in order.";
    };
    dependsOn = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Components without which this one can't work: they must be on in the same stage and, within a phase, come first.";
      example = [ "cert-manager" ];
    };
    namespaces = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Namespaces that the component lives in; the component `namespaces` makes them. Those that each cluster has need not be named.";
    };
    objects = mkOption {
      type = types.attrsOf (types.attrsOf (types.attrsOf (types.attrsOf json)));
      default = { };
      description = ''
        Native objects as `<namespace or "none">.<Kind>.<name>`, each with its `apiVersion`; kind, name and namespace are taken from the path.
        Nix has no octal numbers: a file mode of 0400 is written 256.
      '';
      example = lib.literalExpression ''
        {
          none.StorageClass.local-path = { apiVersion = "storage.k8s.io/v1"; provisioner = "rancher.io/local-path"; };
        }
      '';
    };
    charts = mkOption {
      type = types.attrsOf (types.submodule chart);
      default = { };
      description = "Helm charts by release, rendered without hooks when the stage is built.";
    };
    manifests = mkOption {
      type = types.attrsOf (types.submodule manifest);
      default = { };
      description = "Plain YAML of pinned sources, split when the stage is built.";
    };
    secrets = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Encrypted SopsSecret files, relative to the checkout's root; put into the project as they are, each inside a `kind: List`.";
      example = [ "k8s/secrets/local/step-ca.enc.yaml" ];
    };
    optionalSecrets = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Like `secrets`, for files whose values a person has to give: a stage is rendered without those that are not there yet, and `xtask secrets check` names them before a deploy.";
      example = [ "k8s/secrets/production/external-dns-cloudflare.enc.yaml" ];
    };
    gates = mkOption {
      type = types.attrsOf (types.submodule gate);
      default = { };
      description = "Waits after the component's phase, for what kluctl does not judge or judges wrongly; `<component>.<name>` is their id.";
    };
    images = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            reference = mkOption {
              type = types.str;
              description = "Image with tag or digest.";
              example = "docker.io/rancher/local-path-provisioner:v0.0.37";
            };
            platforms = mkOption {
              type = types.listOf types.str;
              description = "Platforms that the image was published for, as recorded when it was pinned.";
              example = [
                "linux/amd64"
                "linux/arm64"
              ];
            };
          };
        }
      );
      default = { };
      description = "Images of the component: native objects take their reference from here, and the platforms are compared with the VM's architecture.";
    };
    assertions = mkOption {
      type = types.listOf (
        types.submodule {
          options = {
            assertion = mkOption {
              type = types.bool;
              description = "What must hold.";
            };
            message = mkOption {
              type = types.str;
              description = "What is wrong and what to do, shown when it does not hold.";
            };
          };
        }
      );
      default = [ ];
      description = "Conditions on the platform config that are checked when the component is on.";
    };
    classes = mkOption {
      type = types.listOf (types.enum kinds.classes);
      readOnly = true;
      internal = true;
      description = "Classes of all objects of the component.";
    };
  };

  config.classes = lib.unique (
    lib.sort (a: b: a < b) (
      map (object: kinds.classOf { inherit (object) kind apiVersion; }) nativeObjects
      ++ lib.concatMap (source: source.contains) (
        lib.attrValues config.charts ++ lib.attrValues config.manifests
      )
      ++ lib.optional (config.secrets ++ config.optionalSecrets != [ ]) "custom"
    )
  );
}
