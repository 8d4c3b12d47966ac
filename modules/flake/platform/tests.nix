# Facts that contradict themselves are refused with a message that says what to do; each contradiction alone.
{
  evaluate,
  fails,
  lib,
}:
let
  ours = evaluate { };
  # Our platform config with one change.
  problemsOf = change: (evaluate { facts = [ (import ../../platform.nix) ] ++ [ change ]; }).problems;
  refuses = name: text: change: {
    inherit name;
    expr = map (problem: lib.hasInfix text problem) (problemsOf change);
    expected = [ true ];
  };
  inherit (lib) mkForce;
  long = lib.concatStrings (lib.genList (_: "x") 64);
in
[
  {
    name = "our platform config has no problem";
    expr = ours.problems;
    expected = [ ];
  }
  {
    name = "platform.json is the evaluation of the platform config";
    expr = ours.json == lib.importJSON ../../../platform.json;
    expected = true;
  }
  (
    {
      name = "docs/options.md is generated from the options";
    }
    // (
      if lib.trivial.release == "24.05" then
        {
          expr = ours.optionsDoc == builtins.readFile ../../../docs/options.md;
          expected = true;
        }
      else
        {
          notRun = "types describe themselves otherwise in nixpkgs ${lib.trivial.release}, it is made with the lib of 24.05";
        }
    )
  )
  {
    name = "every option has a description";
    expr = lib.hasInfix "`\n\n\n" ours.optionsDoc;
    expected = false;
  }
  {
    name = "the platform config has the clusters and stages of the reference platform";
    expr = lib.mapAttrs (_: cluster: lib.attrNames cluster.stages) ours.json.clusters;
    expected = {
      hetzner = [ "full" ];
      k3s-capi = [
        "capi"
        "local"
      ];
      k3s-dev = [ "local" ];
      vanixiets = [
        "capi"
        "full"
      ];
    };
  }
  {
    name = "the pairs of stage capi share one discriminator, and only they need the pivot";
    expr = map (name: { inherit (ours.json.clusters.${name}.stages.capi) discriminator needsPivot; }) [
      "k3s-capi"
      "vanixiets"
    ];
    expected = [
      {
        discriminator = "vanixiets-vanixiets-capi";
        needsPivot = false;
      }
      {
        discriminator = "vanixiets-vanixiets-capi";
        needsPivot = true;
      }
    ];
  }
  {
    name = "an unknown stage is an error";
    expr =
      fails
        (evaluate {
          facts = [
            (import ../../platform.nix)
            { clusters.k3s-dev.stages.ful = { }; }
          ];
        }).json;
    expected = true;
  }
  (refuses "an unknown provider is refused, with the known ones"
    "machine `kube-control`: nothing is known of provider `gcp`; known are `hetzner`"
    { machines.kube-control.provider = mkForce "gcp"; }
  )
  {
    name = "an unknown component is an error";
    expr =
      fails
        (evaluate {
          facts = [
            (import ../../platform.nix)
            { clusters.k3s-dev.components.celium = { }; }
          ];
        }).json;
    expected = true;
  }
  {
    name = "facts with a problem give no platform.json";
    expr =
      fails
        (evaluate {
          facts = [
            (import ../../platform.nix)
            { clusters.k3s-dev.profile = mkForce "nowhere"; }
          ];
        }).json;
    expected = true;
  }
  (refuses "overlapping networks are refused" "overlap" {
    clusters.k3s-dev.podCidr = mkForce "10.43.128.0/17";
  })
  (refuses "a DNS address outside of the services is refused" "is not one of the services'" {
    clusters.k3s-dev.dnsAddress = mkForce "10.44.0.10";
  })
  (refuses "two local clusters on one port are refused" "share port 6443" {
    clusters.k3s-capi.apiPort = mkForce 6443;
    profiles.k3s-capi.apiPort = mkForce 6443;
  })
  (refuses "a cluster and a profile on different ports are refused" "its profile forwards" {
    profiles.k3s-dev.apiPort = mkForce 7000;
  })
  (refuses "two stages of one cluster with one discriminator are refused"
    "two stages with the discriminator"
    { clusters.k3s-capi.stages.local.discriminator = mkForce "vanixiets-vanixiets-capi"; }
  )
  (refuses "a discriminator longer than a label is refused" "has 64 characters" {
    clusters.k3s-dev.stages.local.discriminator = mkForce long;
  })
  (refuses "a discriminator that no label can hold is refused" "can't be the value of a label" {
    clusters.k3s-dev.stages.local.discriminator = mkForce "a b";
  })
  (refuses "a cluster with another Kubernetes minor is refused" "the platform's minor is 1.35" {
    clusters.hetzner.kubernetes = mkForce "1.34.1";
  })
  {
    name = "a Kubernetes minor that no k3s package covers is refused";
    expr = lib.any (lib.hasInfix "k3s supports Kubernetes 1.33 to 1.36, not 1.32") (problemsOf {
      versions.kubernetes = mkForce "1.32";
      clusters.k3s-dev.kubernetes = mkForce "1.32.1";
    });
    expected = true;
  }
  (refuses "a provider outside of the core's contract is refused" "works with ClusterAPI 1.8 to 1.10"
    {
      clusters.vanixiets.clusterApi.providers.hetzner = mkForce "v1.0.7";
    }
  )
  (refuses "a provider of ClusterAPI that nothing is known of is refused"
    "nothing is known of provider hetzner 1.9 (known are 1.0, 1.1)"
    { clusters.vanixiets.clusterApi.providers.hetzner = mkForce "v1.9.0"; }
  )
  (refuses "core and kubeadm provider of two releases are refused" "is released with" {
    clusters.vanixiets.clusterApi.providers.kubeadm = mkForce "v1.13.5";
  })
  (refuses "a default cluster that does not carry the stage is refused" "does not carry stage `full`"
    { defaultClusters.full.cluster = mkForce "k3s-dev"; }
  )
  (refuses "an unknown profile is refused, with the known ones" "known are `k3s-capi`, `k3s-dev`" {
    clusters.k3s-dev.profile = mkForce "nowhere";
  })
  (refuses "a local cluster with a UID is refused" "recorded at first contact" {
    clusters.k3s-dev.uid = "01234567-89ab-cdef-0123-456789abcdef";
  })
  (refuses "a production cluster on a local backend is refused" "its only backend is `remote`" {
    clusters.vanixiets.backends = [ "embedded" ];
  })
  (refuses "two secrets with one id are refused" "have the id `k3s-token`" {
    secrets.required = [
      {
        id = "k3s-token";
        file = "x";
        name = "x";
        keys = { };
      }
    ];
  })
  (refuses "a secret of an unknown cluster is refused" "the secret `stray` names `nowhere`" {
    secrets.required = [
      {
        id = "stray";
        clusters = [ "nowhere" ];
        namespace = "x";
        file = "x";
        name = "x";
        keys = { };
      }
    ];
  })
  (refuses "a difference between local and production without a reason is refused" "give a reason" {
    parity = [
      {
        aspect = "Example";
        local = "a";
        production = "b";
      }
    ];
  })
  (refuses "an excuse for what is equal is refused" "excuses nothing" {
    parity = [
      {
        aspect = "Example";
        local = "a";
        production = "a";
        reason = "because";
      }
    ];
  })
  (refuses "the local stage does not go to production" "does not go to an environment `production`" {
    clusters.hetzner.stages.local = { };
  })
  (refuses "an image without arm64 is refused where a VM may be aarch64"
    "is not there for linux/arm64"
    {
      clusters.k3s-dev.components.metrics-server.images.metrics-server.platforms = mkForce [
        "linux/amd64"
      ];
    }
  )
  {
    name = "Rosetta runs an image without arm64";
    expr = problemsOf {
      profiles.k3s-dev.rosetta = mkForce true;
      clusters.k3s-dev.components.metrics-server.images.metrics-server.platforms = mkForce [
        "linux/amd64"
      ];
    };
    expected = [ ];
  }
]
