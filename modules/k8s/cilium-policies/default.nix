# What may reach nodes and pods from outside the cluster, as clusterwide policies of Cilium.
# They are catch-all rules beside `policyEnforcementMode = "default"`: mode `always` would refuse the traffic that brings a cluster up.
# A component and a phase of their own, because their CRDs are made by Cilium's operator once it runs.
{
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.cilium-policies;
  echo = {
    fromEntities = [ "all" ];
    icmps = [
      {
        fields = map (family: {
          inherit family;
          type = "EchoRequest";
        }) ([ "IPv4" ] ++ lib.optional config.components.cilium.ipv6 "IPv6");
      }
    ];
  };
  everywhere = [ { toEntities = [ "all" ]; } ];
  policy = spec: {
    apiVersion = "cilium.io/v2";
    inherit spec;
  };
in
{
  options.components.cilium-policies = mkComponent {
    nodePorts = lib.mkOption {
      type = lib.types.listOf lib.types.port;
      default = [
        22
        # etcd: a joining node is not yet of the cluster.
        2379
        2380
        6443
      ];
      description = "TCP ports of the nodes that anybody may reach. Enforced only with Cilium's host firewall (`components.cilium.charts.cilium.values.hostFirewall.enabled`).";
      example = [
        22
        443
        6443
      ];
    };
    ingressLabel = lib.mkOption {
      type = lib.types.str;
      default = "cilium.io/ingress";
      description = "Pods with this label and the value `true` may be reached from outside directly.";
      example = "example.org/public";
    };
  };

  config.components.cilium-policies = {
    phase = "dns";
    dependsOn = [ "cilium" ];
    objects.none.CiliumClusterwideNetworkPolicy = mkDefaults {
      node-default = policy {
        nodeSelector = { };
        ingress = [
          { fromEntities = [ "cluster" ]; }
          {
            fromEntities = [ "all" ];
            toPorts = [
              {
                ports = map (port: {
                  port = toString port;
                  protocol = "TCP";
                }) cfg.nodePorts;
              }
            ];
          }
          echo
        ];
        egress = everywhere;
      };
      ep-default = policy {
        endpointSelector = { };
        ingress = [
          {
            fromEntities = [
              "cluster"
              "ingress"
            ];
          }
          echo
        ];
        egress = everywhere;
      };
      ep-ingress-reserved = policy {
        endpointSelector.matchLabels."reserved:ingress" = "";
        ingress = [ { fromEntities = [ "all" ]; } ];
      };
      ep-ingress-label = policy {
        endpointSelector.matchLabels.${cfg.ingressLabel} = "true";
        ingress = [ { fromEntities = [ "all" ]; } ];
      };
    };
  };
}
