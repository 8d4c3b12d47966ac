# Clusters, the stages each may carry, and where a stage goes when no cluster is named.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;

  platform = config;

  stageNames = import ./stage-names.nix;
  cidr = types.strMatching "([0-9]{1,3}\\.){3}[0-9]{1,3}/[0-9]{1,2}";
  address = types.strMatching "([0-9]{1,3}\\.){3}[0-9]{1,3}";

  # Attribute names are checked by the type, so that an unknown stage is an error that lists the known ones.
  byStage =
    type:
    types.submodule {
      options = lib.genAttrs stageNames (
        stage:
        mkOption {
          type = types.nullOr type;
          default = null;
          description = "Stage `${stage}`.";
        }
      );
    };

  defaultCluster = types.submodule {
    options = {
      cluster = mkOption {
        type = types.str;
        description = "The default.";
      };
      afterPivot = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "The default once a pivot to that cluster is recorded.";
      };
    };
  };

  stageOnCluster =
    clusterName: stage:
    types.submodule (
      { config, ... }:
      {
        options = {
          discriminator = mkOption {
            type = types.str;
            default = "${platform.name}-${
              if config.describes == null then clusterName else config.describes
            }-${stage}";
            defaultText = lib.literalMD "`<platform>-<cluster, or the one that is described>-<stage>`";
            description = "Value of the label `kluctl.io/discriminator`, unique within a target cluster, at most 63 characters.";
          };
          describes = mkOption {
            type = types.nullOr types.str;
            default = null;
            description = "The cluster that the objects describe (stage `capi`); the pairs before and after a pivot share its discriminator.";
          };
          needsPivot = mkOption {
            type = types.bool;
            default = false;
            description = "Whether the stage may only go here once the pivot is recorded.";
          };
        };
      }
    );

  clusterApi = types.submodule {
    options = {
      bootstrap = mkOption {
        type = types.str;
        description = "Cluster that carries the objects until the pivot.";
      };
      namespace = mkOption {
        type = types.str;
        description = "Namespace of the objects.";
      };
      infrastructure = mkOption {
        type = types.enum [ "hetzner" ];
        description = "Infrastructure provider, as clusterctl names it.";
      };
      providers = mkOption {
        type = types.attrsOf types.str;
        description = "Provider versions by clusterctl's name.";
        example = {
          cluster-api = "v1.13.6";
        };
      };
      controlPlanes = mkOption {
        type = types.ints.positive;
        description = "Control-plane machines.";
      };
      controlPlaneType = mkOption {
        type = types.str;
        description = "Server type of the control-plane machines.";
        example = "cx23";
      };
      workers = mkOption {
        type = types.attrsOf (
          types.submodule {
            options = {
              replicas = mkOption {
                type = types.ints.unsigned;
                description = "Machines.";
              };
              type = mkOption {
                type = types.str;
                description = "Server type.";
              };
              imageName = mkOption {
                type = types.str;
                description = "Name and label `caph-image-name` of the node snapshot.";
              };
            };
          }
        );
        default = { };
        description = "Worker machines by MachineDeployment.";
      };
      imageName = mkOption {
        type = types.str;
        description = "Name and label `caph-image-name` of the control plane's node snapshot.";
      };
      sshKey = mkOption {
        type = types.str;
        description = "Name of the SSH key at the provider; without one it mails a root password.";
      };
      regions = mkOption {
        type = types.nonEmptyListOf types.str;
        description = "Regions of the control plane.";
        example = [ "hel1" ];
      };
      dns = mkOption {
        type = types.enum [
          "manual"
          "cloudflare"
        ];
        description = "Who sets the record of the API endpoint.";
      };
    };
  };

  cluster =
    { name, ... }:
    {
      options = {
        environment = mkOption {
          type = types.enum [
            "local"
            "production"
          ];
          description = "What a mistake costs here; it decides what is asked and refused.";
        };
        backends = mkOption {
          type = types.nonEmptyListOf (
            types.enum [
              "colima"
              "lima"
              "embedded"
              "remote"
            ]
          );
          description = "Backends that the cluster may run on, in the order in which `--backend auto` tries them.";
        };
        distribution = mkOption {
          type = types.enum [
            "k3s"
            "kubeadm"
          ];
          description = "Distribution of the nodes.";
        };
        uid = mkOption {
          type = types.nullOr (types.strMatching "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");
          default = null;
          description = "UID of the `kube-system` namespace of a production cluster, null until it is adopted; local clusters are recorded at first contact.";
        };
        kubeconfig = mkOption {
          type = types.strMatching "\\.xtask/.+";
          default = ".xtask/kubeconfigs/${name}.yaml";
          defaultText = lib.literalMD "`.xtask/kubeconfigs/<name>.yaml`";
          description = "Kubeconfig of this cluster alone, relative to the checkout's root.";
        };
        context = mkOption {
          type = types.str;
          default = name;
          defaultText = lib.literalMD "the cluster's name";
          description = "Context inside that kubeconfig.";
        };
        kubernetes = mkOption {
          type = types.strMatching "1\\.[0-9]+\\.[0-9]+";
          description = "Kubernetes version of an embedded control plane.";
          example = "1.35.4";
        };
        apiHost = mkOption {
          type = types.str;
          description = "Host name or address under which the nodes reach the API.";
        };
        apiPort = mkOption {
          type = types.port;
          description = "TCP port of the API.";
        };
        clusterDomain = mkOption {
          type = types.str;
          default = "cluster.local";
          description = "DNS domain inside the cluster.";
        };
        routeDomain = mkOption {
          type = types.str;
          description = "DNS domain under which the cluster's routes are reached.";
        };
        podCidr = mkOption {
          type = cidr;
          description = "IPv4 CIDR of pods.";
        };
        serviceCidr = mkOption {
          type = cidr;
          description = "IPv4 CIDR of services.";
        };
        dnsAddress = mkOption {
          type = address;
          description = "Address of the cluster DNS service.";
        };
        nodes = mkOption {
          type = types.ints.positive;
          description = "Nodes that are expected.";
        };
        profile = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "Virtual machine profile of the colima and lima backends.";
        };
        machine = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "Machine that clan installs for this cluster.";
        };
        closureStore = mkOption {
          type = types.nullOr (types.strMatching "[a-z][a-z0-9+-]*://[^[:space:]]+");
          default = null;
          description = ''
            Store to which the closures that nix-csi volumes name are copied before the phase that mounts them, as `nix copy --to` takes it: the node's own, or the cache in the cluster.
            A stage whose volumes name closures is refused where none is named.
          '';
          example = "ssh-ng://root@kube-control.example.org";
        };
        clusterApi = mkOption {
          type = types.nullOr clusterApi;
          default = null;
          description = "How ClusterAPI makes this cluster; null for all others.";
        };
        issuer = mkOption {
          type = types.str;
          description = "ClusterIssuer in use.";
          example = "letsencrypt-staging";
        };
        components = mkOption {
          type = types.attrsOf types.deferredModule;
          default = { };
          description = ''
            Components of the cluster and their settings. Naming a component switches it on; `enable = false` takes one away that another module named.
            Which stage a component belongs to follows from its phase.
          '';
          example = lib.literalExpression ''
            {
              cilium.datapath = "reduced";
              nix-csi.enable = false;
            }
          '';
        };
        stages = mkOption {
          type = types.submodule {
            options = lib.genAttrs stageNames (
              stage:
              mkOption {
                type = types.nullOr (stageOnCluster name stage);
                default = null;
                description = "Stage `${stage}` on this cluster; null when it may not carry it.";
              }
            );
          };
          default = { };
          description = "Stages that the cluster may carry.";
        };
      };
    };
in
{
  options = {
    clusters = mkOption {
      type = types.attrsOf (types.submodule cluster);
      default = { };
      description = "Clusters by name.";
    };
    defaultClusters = mkOption {
      type = byStage defaultCluster;
      default = { };
      description = "The cluster that a stage goes to when none is named.";
    };
  };
}
