{
  lib,
  stage,
  withComponents,
  ...
}:
let
  local = stage "k3s-dev-local" { };
  name = "step-ca-step-certificates";
  configuration = builtins.fromJSON local.objects."step-ca/ConfigMap/${name}-config".data."ca.json";
  checksum =
    s: s.objects."step-ca/StatefulSet/${name}".spec.template.metadata.annotations."checksum/config";
in
{
  "without storage it is an error" = {
    expr =
      (stage "k3s-dev-local" (withComponents "k3s-dev" { local-path-provisioner.enable = false; }))
      .complains
        [
          "`step-ca`"
          "`local-path-provisioner`"
        ];
    expected = true;
  };
  "its certificate names the Service that issuers ask" = {
    expr = {
      inherit (configuration) dnsNames;
      inherit (local.components.step-ca) directory;
    };
    expected = {
      dnsNames = [
        "${name}.step-ca.svc"
        "${name}.step-ca.svc.cluster.local"
        "127.0.0.1"
      ];
      directory = "https://${name}.step-ca.svc.cluster.local/acme/acme/directory";
    };
  };
  "certificates last 30 days, at most 90, and nobody administers it by API" = {
    expr = {
      inherit (configuration.authority) enableAdmin;
      inherit ((lib.head configuration.authority.provisioners)) claims forceCN type;
    };
    expected = {
      enableAdmin = false;
      type = "ACME";
      forceCN = true;
      claims = {
        minTLSCertDuration = "5m";
        defaultTLSCertDuration = "720h";
        maxTLSCertDuration = "2160h";
      };
    };
  };
  "its objects hold certificates and no key" = {
    expr =
      let
        text = builtins.toJSON (lib.filterAttrs (key: _: lib.hasPrefix "step-ca/" key) local.objects);
      in
      {
        certificates = lib.hasInfix "BEGIN CERTIFICATE" text;
        keys = lib.hasInfix "PRIVATE KEY" text;
      };
    expected = {
      certificates = true;
      keys = false;
    };
  };
  "a key in place of a certificate is refused" = {
    expr =
      (stage "k3s-dev-local" (
        withComponents "k3s-dev" { step-ca.rootCertificate = "-----BEGIN EC PRIVATE KEY-----\n"; }
      )).complains
        [
          "`step-ca`"
          "root_ca.crt"
        ];
    expected = true;
  };
  "a changed configuration restarts the pod" = {
    expr =
      checksum local
      == checksum (stage "k3s-dev-local" (withComponents "k3s-dev" { step-ca.defaultDuration = "24h"; }));
    expected = false;
  };
}
