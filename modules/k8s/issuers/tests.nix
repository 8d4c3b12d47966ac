{
  lib,
  stage,
  withComponents,
  ...
}:
let
  local = stage "k3s-dev-local" { };
  production = stage "vanixiets-full" { };
  issuersOf = s: lib.filter (lib.hasPrefix "_/ClusterIssuer/") (lib.attrNames s.objects);
  acme = s: name: s.objects."_/ClusterIssuer/${name}".spec.acme;
in
{
  "a cluster has step-ca's issuer or Let's Encrypt's" = {
    expr = {
      local = issuersOf local;
      production = issuersOf production;
    };
    expected = {
      local = [ "_/ClusterIssuer/step-ca-acme" ];
      production = [
        "_/ClusterIssuer/letsencrypt-prod"
        "_/ClusterIssuer/letsencrypt-staging"
      ];
    };
  };
  "the local issuer trusts the root and nothing else" = {
    expr =
      let
        issuer = acme local "step-ca-acme";
      in
      {
        # -----BEGIN CERTIFICATE-----
        bundle = lib.hasPrefix "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t" issuer.caBundle;
        skips = issuer ? skipTLSVerify;
      };
    expected = {
      bundle = true;
      skips = false;
    };
  };
  "Let's Encrypt's challenges go by DNS, with a token from a Secret" = {
    expr = (lib.head (acme production "letsencrypt-prod").solvers).dns01;
    expected.cloudflare.apiTokenSecretRef = {
      name = "cloudflare-api-token";
      key = "token";
    };
  };
  "without cert-manager they are an error" = {
    expr =
      (stage "k3s-dev-local" (withComponents "k3s-dev" { cert-manager.enable = false; })).complains
        [
          "`issuers`"
          "`cert-manager`"
        ];
    expected = true;
  };
  "an issuer in use that nobody makes is an error that names those there are" = {
    expr =
      (stage "k3s-dev-local" { clusters.k3s-dev.issuer = lib.mkForce "letsencrypt-prod"; }).complains
        [
          "letsencrypt-prod"
          "step-ca-acme"
        ];
    expected = true;
  };
  "each is waited for by its Ready condition" = {
    expr = production.gates."issuers.letsencrypt-prod".condition;
    expected = {
      type = "condition";
      condition = "Ready";
      status = "True";
    };
  };
}
