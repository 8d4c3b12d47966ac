# The evaluation of stages: order, items, gates, and what it refuses.
{
  evaluate,
  inputs,
  lib,
}:
let
  ours = evaluate { };

  # A stage of components that are written out here.
  stageOf =
    components:
    (evaluate {
      facts = [
        {
          name = "t";
          domain = "t.example";
          versions.kubernetes = "1.35";
          componentModules = lib.mapAttrsToList (
            name: component:
            { mkComponent, ... }:
            {
              options.components.${name} = mkComponent { };
              config.components.${name} = component;
            }
          ) components;
          clusters.c = {
            environment = "local";
            backends = [ "embedded" ];
            distribution = "kubeadm";
            kubernetes = "1.35.4";
            apiHost = "127.0.0.1";
            apiPort = 6443;
            routeDomain = "t.example";
            podCidr = "10.42.0.0/16";
            serviceCidr = "10.43.0.0/16";
            dnsAddress = "10.43.0.10";
            nodes = 1;
            issuer = "none";
            stages.local = { };
            components = {
              namespaces = { };
            }
            // lib.mapAttrs (_: _: { }) components;
          };
        }
      ];
    });
  itemsOf =
    components:
    map (
      item:
      "${item.directory}${lib.optionalString item.waitReadiness " waits"}${lib.optionalString item.barrier " |"}"
    ) (stageOf components).stages.c-local.items;
  problemsOf = components: (stageOf components).problems;

  configMap.default.ConfigMap.x.apiVersion = "v1";
  deployment.default.Deployment.x.apiVersion = "apps/v1";
  crd.none.CustomResourceDefinition."xs.t.example".apiVersion = "apiextensions.k8s.io/v1";
  custom.default.X.x.apiVersion = "t.example/v1";

  refuses = name: text: components: {
    inherit name;
    expr = map (problem: lib.hasInfix text problem) (problemsOf components);
    expected = [ true ];
  };

  parityOf = change: (evaluate { facts = [ (import ../platform.nix) ] ++ [ change ]; }).parity;

  sorted = lib.sort (a: b: builtins.toJSON a < builtins.toJSON b);
in
[
  {
    name = "phases come in the order of the deployment";
    expr = ours.stages.vanixiets-full.phases;
    expected = [
      "base"
      "cilium"
      "ccm"
      "dns"
      "storage"
      "secrets"
      "cert-manager"
      "issuers"
      "nix-csi"
      "external-dns"
      "metrics-server"
      "argocd"
    ];
  }
  {
    name = "the bootstrap cluster has only what ClusterAPI needs";
    expr = ours.stages.k3s-capi-local.phases;
    expected = [
      "base"
      "cilium"
      "dns"
      "cert-manager"
    ];
  }
  {
    name = "step-ca is local, Let's Encrypt's DNS is production's";
    expr = map (stage: lib.intersectLists [ "step-ca" "external-dns" ] ours.stages.${stage}.phases) [
      "k3s-dev-local"
      "hetzner-full"
      "vanixiets-full"
    ];
    expected = [
      [ "step-ca" ]
      [ "external-dns" ]
      [ "external-dns" ]
    ];
  }
  {
    name = "the last item of a phase has a barrier, the last of all has none";
    expr = itemsOf {
      a = {
        phase = "base";
        objects = configMap;
      };
      b = {
        phase = "apps";
        objects = deployment;
      };
    };
    expected = [
      "01-a |"
      "14-b waits"
    ];
  }
  {
    name = "CRDs come before and are waited for, custom resources come after and are not";
    expr = itemsOf {
      a = {
        phase = "base";
        objects = lib.foldl' lib.recursiveUpdate { } [
          crd
          deployment
          custom
        ];
      };
    };
    expected = [
      "01-a-crds waits |"
      "01-a waits |"
      "01-a-custom"
    ];
  }
  {
    name = "CRDs alone need no item of their own";
    expr = itemsOf {
      a = {
        phase = "base";
        objects = crd;
      };
      b = {
        phase = "base";
        objects = custom;
      };
    };
    expected = [
      "01-a waits |"
      "01-b"
    ];
  }
  {
    name = "a custom resource without a workload stays in its component's item, which is not waited for";
    expr = itemsOf {
      a = {
        phase = "base";
        objects = lib.recursiveUpdate configMap custom;
      };
    };
    expected = [ "01-a" ];
  }
  {
    name = "inside a phase, what is needed comes first";
    expr = itemsOf {
      a = {
        phase = "base";
        dependsOn = [ "b" ];
        objects = configMap;
      };
      b = {
        phase = "base";
        objects = deployment;
      };
    };
    expected = [
      "01-b waits"
      "01-a"
    ];
  }
  {
    name = "a component without content has no item";
    expr = itemsOf {
      a = {
        phase = "base";
      };
      b = {
        phase = "apps";
        objects = configMap;
      };
    };
    expected = [ "14-b" ];
  }
  {
    name = "kind, name and namespace of an object are its path";
    expr =
      map (entry: entry.object)
        (stageOf {
          a = {
            phase = "base";
            objects = configMap;
          };
        }).specs.c-local.objects;
    expected = [
      {
        apiVersion = "v1";
        kind = "ConfigMap";
        metadata = {
          name = "x";
          namespace = "default";
        };
      }
    ];
  }
  {
    name = "a gate's id begins with its component";
    expr =
      (stageOf {
        a = {
          phase = "base";
          objects = configMap;
          gates.there = {
            object = {
              apiVersion = "v1";
              kind = "ConfigMap";
              namespace = "default";
              name = "x";
            };
            condition.type = "exists";
            needs = "api";
          };
        };
      }).stages.c-local.gates;
    expected = [
      {
        id = "a.there";
        component = "a";
        phase = "base";
        needs = "api";
        object = {
          apiVersion = "v1";
          kind = "ConfigMap";
          namespace = "default";
          name = "x";
        };
        condition.type = "exists";
        timeoutSeconds = 300;
      }
    ];
  }
  (refuses "a component without what it needs is refused" "needs `b`, which is off" {
    a = {
      phase = "base";
      dependsOn = [ "b" ];
      objects = configMap;
    };
  })
  (refuses "a component in an unknown phase is refused" "is in phase `nowhere`" {
    a = {
      phase = "nowhere";
      objects = configMap;
    };
    b = {
      phase = "base";
      objects = deployment;
    };
  })
  (refuses "an object of two components is refused" "is stated by `a` and `b`" {
    a = {
      phase = "base";
      objects = configMap;
    };
    b = {
      phase = "base";
      objects = configMap;
    };
  })
  (refuses "an Ingress is refused" "use an HTTPRoute" {
    a = {
      phase = "base";
      objects.default.Ingress.x.apiVersion = "networking.k8s.io/v1";
    };
  })
  (refuses "a namespaced object without a namespace is refused" "needs a namespace" {
    a = {
      phase = "base";
      objects.none.ConfigMap.x.apiVersion = "v1";
    };
  })
  (refuses "a cluster-scoped object in a namespace is refused" "state it below `none`" {
    a = {
      phase = "base";
      objects.default.ClusterRole.x.apiVersion = "rbac.authorization.k8s.io/v1";
    };
  })
  (refuses "a component's own assertion is shown" "not like this" {
    a = {
      phase = "base";
      objects = configMap;
      assertions = [
        {
          assertion = false;
          message = "not like this";
        }
      ];
    };
  })
  {
    name = "the parity matrix says of each aspect what is measured";
    expr = lib.listToAttrs (
      map (row: lib.nameValuePair row.aspect { inherit (row) local production; }) ours.platform.parity
    );
    expected = ours.parity.measured;
  }
  {
    name = "local and production differ in nothing that the matrix does not speak of";
    expr = ours.parity.unexplained;
    expected = [ ];
  }
  {
    name = "the matrix excuses nothing that is the same";
    expr = ours.parity.unused;
    expected = [ ];
  }
  {
    name = "a difference on one side is noticed";
    expr =
      (parityOf {
        clusters.k3s-dev.components.metrics-server.replicas = 2;
      }).unexplained;
    expected = [ "metrics-server: Deployment kube-system/metrics-server /spec/replicas" ];
  }
  {
    name = "an excuse that became stale is noticed";
    expr = (parityOf { clusters.vanixiets.components.cilium.hubble = false; }).unused;
    expected = [ "Hubble: cilium: chart cilium /values/hubble/" ];
  }
  (refuses "a stage without a component is refused" "no component of the cluster" { })
]
++
  # Our own evaluation of native objects and easykubenix give the same, pair by pair.
  lib.mapAttrsToList (
    pair: spec:
    {
      name = "easykubenix gives the objects of ${pair} as they are stated";
    }
    // (
      if inputs ? easykubenix then
        {
          expr =
            sorted
              (evaluate {
                easykubenix = import ./easykubenix.nix {
                  source = inputs.easykubenix;
                  inherit (inputs) pkgs;
                };
              }).specs.${pair}.objects == sorted spec.objects;
          expected = true;
        }
      else
        { notRun = "needs the sources of easykubenix, `--arg inputs '{ easykubenix = …; pkgs = …; }'`"; }
    )
  ) ours.specs
