{
  lib,
  stage,
  withComponents,
  ...
}:
let
  local = stage "k3s-dev-local" (
    withComponents "k3s-dev" { gateway.hosts.shop.hostname = "shop.127.0.0.1.sslip.io"; }
  );
  production = stage "vanixiets-full" { };
  gatewayOf = s: s.objects."gateway-system/Gateway/main-gateway";
in
{
  "each host has an HTTP and an HTTPS listener of its own name" = {
    expr =
      map
        (listener: {
          inherit (listener)
            hostname
            name
            port
            protocol
            ;
        })
        (lib.filter (listener: lib.hasPrefix "shop." listener.hostname) (gatewayOf local).spec.listeners);
    expected = [
      {
        name = "http-shop";
        hostname = "shop.127.0.0.1.sslip.io";
        port = 80;
        protocol = "HTTP";
      }
      {
        name = "https-shop";
        hostname = "shop.127.0.0.1.sslip.io";
        port = 443;
        protocol = "HTTPS";
      }
    ];
  };
  "the certificate of each host is a gate" = {
    expr = local.gates."gateway.certificate-shop".object;
    expected = {
      apiVersion = "cert-manager.io/v1";
      kind = "Certificate";
      namespace = "gateway-system";
      name = "shop-tls";
    };
  };
  "certificates come from the issuer in use" = {
    expr = map (s: (gatewayOf s).metadata.annotations."cert-manager.io/cluster-issuer") [
      local
      production
    ];
    expected = [
      "step-ca-acme"
      "letsencrypt-staging"
    ];
  };
  "a load balancer is told where to stand, a node needs no telling" = {
    expr = {
      local = (gatewayOf local).spec ? infrastructure;
      production = (gatewayOf production).spec.infrastructure.annotations;
    };
    expected = {
      local = false;
      production."load-balancer.hetzner.cloud/location" = "hel1";
    };
  };
  "records lead to the node where the Gateway has no address of its own" = {
    expr =
      map (s: (gatewayOf s).metadata.annotations."external-dns.alpha.kubernetes.io/target" or null)
        [
          local
          (stage "hetzner-full" { })
          production
        ];
    expected = [
      null
      "kube-control.vanixiets.example"
      null
    ];
  };
  "the nodes have a name inside the cluster where Gateways listen on them" = {
    expr = map (s: s.objects ? "kube-system/Service/gateway-nodes") [
      local
      production
    ];
    expected = [
      true
      false
    ];
  };
  "a Gateway without a host is an error" = {
    expr =
      (stage "k3s-dev-local" (withComponents "k3s-dev" { gateway.hosts = lib.mkForce { }; })).complains
        [
          "`gateway`"
          "listeners"
        ];
    expected = true;
  };
  "a wildcard is no host name" = {
    expr =
      (builtins.tryEval (
        builtins.deepSeq
          (stage "k3s-dev-local" (withComponents "k3s-dev" { gateway.hosts.any.hostname = "*.example.org"; }))
          .objects
          true
      )).success;
    expected = false;
  };
  "issuers come first within their phase" = {
    expr = lib.filter (
      name:
      lib.elem name [
        "gateway"
        "issuers"
      ]
    ) local.componentNames;
    expected = [
      "issuers"
      "gateway"
    ];
  };
}
