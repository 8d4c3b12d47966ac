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
        data = lib.mapAttrs' (
          zone: resolvers:
          lib.nameValuePair "${zone}.server" ''
            ${zone}:53 {
                errors
                cache 30
                forward . ${lib.concatStringsSep " " resolvers}
            }
          ''
        ) cfg.forward;
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
