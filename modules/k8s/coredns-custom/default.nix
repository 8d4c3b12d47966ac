# Additions to the CoreDNS that k3s ships.
# k3s rewrites its own ConfigMap `coredns` and imports `*.server` and `*.override` of this one; the Corefile's `reload` notices a change.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.coredns-custom;
  gateway = config.components.gateway;

  block = zone: lines: ''
    ${zone}:53 {
        errors
    ${lib.concatMapStrings (line: "    ${line}\n") lines}}
  '';
  forwarded = _: resolvers: [
    "cache 30"
    "forward . ${lib.concatStringsSep " " resolvers}"
  ];
  # The question goes once more to the cluster's DNS, under the other name; the answer comes back under the first.
  answeredAs = zone: name: [
    "rewrite name regex (.*\\.)?${lib.replaceStrings [ "." ] [ "\\." ] zone}\\.? ${name} answer auto"
    "forward . ${cluster.dnsAddress}"
  ];
  blocks = lib.mapAttrs forwarded cfg.forward // lib.mapAttrs answeredAs cfg.answerAs;
in
{
  options.components.coredns-custom = mkComponent {
    forward = lib.mkOption {
      type = lib.types.attrsOf (lib.types.listOf lib.types.str);
      default = {
        # Many routers and company resolvers drop answers with private addresses, and those are all that sslip.io gives.
        "sslip.io" = [
          "1.1.1.1"
          "8.8.8.8"
        ];
      };
      description = "Resolvers by zone, asked instead of the node's own.";
      example = {
        "corp.example.org" = [ "10.0.0.53" ];
      };
    };
    answerAs = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default =
        # What a host's resolver answers with its own loopback must lead pods to the nodes, or a pod would ask itself
        # (step-ca validates its challenges from a pod).
        lib.optionalAttrs (gateway.enable && lib.hasPrefix "127." cluster.routeDomain) {
          ${cluster.routeDomain} = gateway.nodesService;
        };
      defaultText = lib.literalMD "the domain of the routes, when it is a name of a loopback address";
      description = "Name of a Service by zone: pods get its addresses for every name of the zone.";
      example = {
        "127.0.0.1.sslip.io" = "gateway-nodes.kube-system.svc.cluster.local";
      };
    };
  };

  config.components.coredns-custom = {
    phase = "dns";
    assertions = [
      {
        assertion = cluster.distribution == "k3s";
        message = "only the CoreDNS of k3s reads the ConfigMap `coredns-custom`; switch it off on cluster `${cluster.name}` and set `components.coredns.upstreams` there.";
      }
    ];
    objects = mkDefaults {
      kube-system.ConfigMap.coredns-custom = {
        apiVersion = "v1";
        data = lib.mapAttrs' (zone: lines: lib.nameValuePair "${zone}.server" (block zone lines)) blocks;
      };
    };
    # k3s deploys CoreDNS by itself, so kluctl has nothing of ours to wait for.
    gates.dns = {
      needs = "controller";
      object = {
        apiVersion = "v1";
        kind = "Service";
        namespace = "kube-system";
        name = "kube-dns";
      };
      condition.type = "endpointsReady";
    };
  };
}
