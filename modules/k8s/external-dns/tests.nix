{
  lib,
  stage,
  withComponents,
  ...
}:
let
  argsOf =
    s: (lib.head s.objects."external-dns/Deployment/external-dns".spec.template.spec.containers).args;
  has = arg: s: lib.elem arg (argsOf s);
  vanixiets = stage "vanixiets-full" { };
  experimental = stage "vanixiets-full" (
    withComponents "vanixiets" { gateway-api.channel = "experimental"; }
  );
in
{
  "clusters own their records apart" = {
    expr = [
      (has "--txt-owner-id=vanixiets-vanixiets" vanixiets)
      (has "--txt-owner-id=vanixiets-hetzner" (stage "hetzner-full" { }))
    ];
    expected = [
      true
      true
    ];
  };
  "only route kinds that the API server serves are watched" = {
    expr = map (has "--source=gateway-tcproute") [
      vanixiets
      experimental
    ];
    expected = [
      false
      true
    ];
  };
  "asking for one that it does not serve is an error" = {
    expr =
      (stage "vanixiets-full" (
        withComponents "vanixiets" {
          external-dns.sources = [
            "gateway-httproute"
            "gateway-udproute"
          ];
        }
      )).complains
        [
          "`external-dns`"
          "gateway-udproute"
        ];
    expected = true;
  };
  "the token comes from a Secret" = {
    expr =
      (lib.head
        (lib.head vanixiets.objects."external-dns/Deployment/external-dns".spec.template.spec.containers)
        .env
      ).valueFrom.secretKeyRef;
    expected = {
      name = "cloudflare-api-token";
      key = "CF_API_TOKEN";
    };
  };
}
