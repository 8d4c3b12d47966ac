{
  lib,
  stage,
  withComponents,
  ...
}:
let
  dataOf = s: s.objects."kube-system/ConfigMap/coredns-custom".data;
in
{
  "sslip.io is asked at resolvers that do not filter private addresses" = {
    expr =
      lib.hasInfix "forward . 1.1.1.1 8.8.8.8"
        (dataOf (stage "k3s-capi-local" { }))."sslip.io.server";
    expected = true;
  };
  "a route's name that means loopback outside leads pods to the nodes" = {
    expr =
      let
        block = (dataOf (stage "k3s-dev-local" { }))."127.0.0.1.sslip.io.server";
      in
      {
        zone = lib.hasPrefix "127.0.0.1.sslip.io:53 {\n" block;
        rewrite = lib.hasInfix "127\\.0\\.0\\.1\\.sslip\\.io\\.? gateway-nodes.kube-system.svc.cluster.local answer auto" block;
        forward = lib.hasInfix "forward . 10.43.0.10" block;
      };
    expected = {
      zone = true;
      rewrite = true;
      forward = true;
    };
  };
  "a route's name with a reachable address is left alone" = {
    expr = lib.attrNames (
      dataOf (
        stage "k3s-dev-local" { clusters.k3s-dev.routeDomain = lib.mkForce "192.168.64.5.sslip.io"; }
      )
    );
    expected = [ "sslip.io.server" ];
  };
  "no gateway, no address to lead to" = {
    expr = lib.attrNames (dataOf (stage "k3s-capi-local" { }));
    expected = [ "sslip.io.server" ];
  };
  "a cluster whose CoreDNS does not read it refuses it" = {
    expr = (stage "vanixiets-full" (withComponents "vanixiets" { coredns-custom = { }; })).complains [
      "`coredns-custom`"
    ];
    expected = true;
  };
}
