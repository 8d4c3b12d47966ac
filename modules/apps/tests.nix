{ inputs, lib }:
let
  json = import ../k8s/json.nix { inherit lib; };
  inherit (import ../nixos/testing.nix { inherit lib; }) evaluates needs option;
  inherit (lib) types;

  # The options of nixidy that we set, with its types; `resources` is typed by kind there.
  nixidy.options = {
    nixidy = {
      env = option types.str "default";
      k8sVersion = option types.str "1.35";
      target = {
        repository = lib.mkOption { type = types.str; };
        branch = lib.mkOption { type = types.str; };
        rootPath = option types.str "./";
      };
      appOfApps.name = option types.str "apps";
      defaults.syncPolicy.autoSync = lib.genAttrs [
        "enable"
        "prune"
        "selfHeal"
      ] (_: option types.bool false);
      assertions = option (types.listOf (types.attrsOf types.raw)) [ ];
    };
    applications = option (types.attrsOf (
      types.submodule (
        { name, ... }:
        {
          options = {
            namespace = option types.str name;
            createNamespace = option types.bool false;
            ignoreDifferences = option json { };
            resources = option json { };
            objects = option (types.listOf types.attrs) [ ];
          };
        }
      )
    )) { };
  };

  evaluated = import ../. { inherit lib; };
  inherit (evaluated) platform;

  evaluate =
    platform:
    lib.mapAttrs (_: modules: (lib.evalModules { modules = modules ++ [ nixidy ]; }).config)
      (import ./default.nix { inherit lib platform; }).modules;
  ours = evaluate platform;

  failures =
    config:
    map (failed: failed.message) (lib.filter (checked: !checked.assertion) config.nixidy.assertions);

  routes =
    config:
    lib.filter (object: object.kind == "HTTPRoute") (
      lib.concatMap (application: application.objects) (lib.attrValues config.applications)
    );

  # Listeners of a cluster's Gateway, in whatever stage carries it.
  listeners =
    cluster:
    lib.concatLists (
      lib.mapAttrsToList (
        pair: spec:
        lib.optionals (lib.hasPrefix "${cluster}-" pair) (
          lib.concatMap (
            entry:
            lib.optionals (entry.object.kind == "Gateway") (
              map (listener: "${listener.name} ${listener.hostname}") entry.object.spec.listeners
            )
          ) spec.objects
        )
      ) evaluated.specs
    );

  # An environment with an application of a consumer's own.
  with' =
    application:
    failures
      (evaluate (lib.recursiveUpdate platform { apps.modules = [ { applications = application; } ]; }))
      .hetzner;
in
[
  {
    name = "apps: every environment of the platform config is one, and its applications keep to themselves";
    expr = lib.mapAttrs (_: failures) ours;
    expected = lib.mapAttrs (_: _: [ ]) platform.apps.environments;
  }
  {
    name = "apps: an environment takes its repository, branch and Kubernetes minor from the platform config";
    expr = {
      inherit (ours.hetzner.nixidy) k8sVersion;
      inherit (ours.hetzner.nixidy.target) branch repository;
    };
    expected = {
      k8sVersion = platform.versions.kubernetes;
      inherit (platform.apps.environments.hetzner) branch repository;
    };
  }
  {
    name = "apps: CI never takes what production takes, nor gives it";
    expr = lib.filter (
      name:
      name != "ci"
      && platform.apps.environments.${name}.repository == platform.apps.environments.ci.repository
    ) (lib.attrNames platform.apps.environments);
    expected = [ ];
  }
  {
    name = "apps: what is not in Git goes, and what was changed comes back";
    expr = ours.k3s-dev.nixidy.defaults.syncPolicy.autoSync;
    expected = {
      enable = true;
      prune = true;
      selfHeal = true;
    };
  }
  {
    name = "apps: every route of an application has its listener in the cluster's Gateway";
    expr = lib.mapAttrs (
      name: config:
      let
        known = listeners platform.apps.environments.${name}.cluster;
      in
      map (
        route:
        lib.all (
          parent: lib.all (host: lib.elem "${parent.sectionName} ${host}" known) route.spec.hostnames
        ) route.spec.parentRefs
      ) (routes config)
    ) ours;
    expected = lib.mapAttrs (_: _: [ true ]) platform.apps.environments;
  }
  {
    name = "apps: the whoami application runs unprivileged from a tagged image and is reached by its Service";
    expr =
      let
        inherit (ours.ci.applications) whoami;
        pod = whoami.resources.deployments.whoami.spec.template.spec;
        container = pod.containers.whoami;
      in
      {
        inherit (container) image;
        inherit (pod.securityContext) runAsNonRoot;
        inherit (container.securityContext) readOnlyRootFilesystem allowPrivilegeEscalation;
        selected =
          whoami.resources.services.whoami.spec.selector
          == whoami.resources.deployments.whoami.spec.template.metadata.labels;
        backends = map (rule: map (backend: backend.name) rule.backendRefs) (
          lib.concatMap (route: route.spec.rules) (routes ours.ci)
        );
      };
    expected = {
      image = "docker.io/traefik/whoami:v1.11.0";
      runAsNonRoot = true;
      readOnlyRootFilesystem = true;
      allowPrivilegeEscalation = false;
      selected = true;
      backends = [ [ "whoami" ] ];
    };
  }
  {
    name = "apps: an application that declares a component of the platform is refused";
    expr = {
      named = with' { cilium.namespace = "network"; };
      placed = with' { shop.namespace = "kube-system"; };
      fine = with' { shop.namespace = "shop"; };
    };
    expected =
      let
        message =
          name: namespace:
          "application `${name}` in namespace `${namespace}`: the stages own that name; components are changed in the platform config (`clusters.<cluster>.components`), applications have namespaces of their own";
      in
      {
        named = [ (message "cilium" "network") ];
        placed = [ (message "shop" "kube-system") ];
        fine = [ ];
      };
  }
  {
    name = "apps: an environment of a cluster without ArgoCD, or of no cluster, is an error";
    expr =
      map
        (
          cluster:
          evaluates
            (import ./default.nix {
              inherit lib;
              platform = lib.recursiveUpdate platform {
                apps.environments.ci = { inherit cluster; };
              };
            }).modules.ci
        )
        [
          "k3s-capi"
          "nowhere"
        ];
    expected = [
      false
      false
    ];
  }
  (needs
    [
      "nix-kube-generators"
      "nixidy"
      "pkgs"
    ]
    inputs
    {
      name = "apps: nixidy itself takes the applications, and makes one Application of ArgoCD of each";
      expr =
        let
          environments = (import ./default.nix { inherit lib platform; }).environments {
            inherit (inputs) nix-kube-generators nixidy pkgs;
          };
          identity = object: "${object.kind} ${object.metadata.namespace or "-"} ${object.metadata.name}";
        in
        lib.mapAttrs (_: environment: {
          rendered = evaluates environment.environmentPackage.drvPath;
          apps = map (object: object.spec.source.path) environment.config.applications.apps.objects;
          whoami = lib.sort (a: b: a < b) (map identity environment.config.applications.whoami.objects);
        }) environments;
      expected = lib.mapAttrs (name: _: {
        rendered = true;
        apps = [ "./manifests/${name}/whoami" ];
        whoami = [
          "Deployment whoami whoami"
          "HTTPRoute whoami whoami"
          "Namespace - whoami"
          "Service whoami whoami"
        ];
      }) platform.apps.environments;
    }
  )
]
