# ClusterIssuers: step-ca's ACME where no public CA can reach the cluster, Let's Encrypt elsewhere.
# Which one the gateway uses is the fact `issuer`; here it is only asserted that it exists.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  platform,
  ...
}:
let
  cfg = config.components.issuers;
  toBase64 = import ../lib/base64.nix { inherit lib; };
  stepCa = config.components.step-ca;
  gateway = config.components.gateway;

  letsEncrypt = name: server: {
    apiVersion = "cert-manager.io/v1";
    spec.acme = {
      inherit server;
      inherit (cfg.letsEncrypt) email;
      privateKeySecretRef.name = "${name}-account-key";
      solvers = [
        {
          selector.dnsZones = cfg.letsEncrypt.dnsZones;
          dns01.cloudflare.apiTokenSecretRef = {
            inherit (cfg.letsEncrypt.tokenSecret) key name;
          };
        }
      ];
    };
  };

  issuers =
    lib.optionalAttrs cfg.stepCa.enable {
      step-ca-acme = {
        apiVersion = "cert-manager.io/v1";
        spec.acme = {
          server = stepCa.directory;
          inherit (cfg.stepCa) email;
          # Trust in the root, not trust in everything: `skipTLSVerify` would accept any server.
          caBundle = toBase64 stepCa.rootCertificate;
          privateKeySecretRef.name = "step-ca-acme-account-key";
          solvers = [
            {
              http01.gatewayHTTPRoute.parentRefs = [
                {
                  group = "gateway.networking.k8s.io";
                  kind = "Gateway";
                  inherit (gateway) name namespace;
                }
              ];
            }
          ];
        };
      };
    }
    // lib.optionalAttrs cfg.letsEncrypt.enable {
      # Staging first: its limits forgive a broken set-up, those of production last a week.
      letsencrypt-staging = letsEncrypt "letsencrypt-staging" "https://acme-staging-v02.api.letsencrypt.org/directory";
      letsencrypt-prod = letsEncrypt "letsencrypt-prod" "https://acme-v02.api.letsencrypt.org/directory";
    };
in
{
  options.components.issuers = mkComponent {
    stepCa = {
      enable = lib.mkOption {
        type = lib.types.bool;
        default = stepCa.enable;
        defaultText = lib.literalExpression "components.step-ca.enable";
        description = "Whether there is an issuer for the cluster's own step-ca.";
        example = true;
      };
      email = lib.mkOption {
        type = lib.types.str;
        default = "admin@local.cluster";
        description = "Address of the ACME account.";
        example = "platform@example.org";
      };
    };
    letsEncrypt = {
      enable = lib.mkOption {
        type = lib.types.bool;
        default = !cfg.stepCa.enable;
        defaultText = lib.literalExpression "!components.issuers.stepCa.enable";
        description = "Whether there are issuers for Let's Encrypt, staging and production.";
        example = true;
      };
      email = lib.mkOption {
        type = lib.types.str;
        default = "admin@${platform.domain}";
        defaultText = lib.literalExpression ''"admin@''${platform.domain}"'';
        description = "Address of the ACME accounts.";
        example = "platform@example.org";
      };
      dnsZones = lib.mkOption {
        type = lib.types.listOf lib.types.str;
        default = [ platform.domain ];
        defaultText = lib.literalExpression "[ platform.domain ]";
        description = "Zones at Cloudflare in which DNS-01 challenges are answered.";
        example = [ "example.org" ];
      };
      tokenSecret = {
        name = lib.mkOption {
          type = lib.types.str;
          default = "cloudflare-api-token";
          description = "Secret in cert-manager's namespace with the Cloudflare token.";
          example = "cloudflare-dns";
        };
        key = lib.mkOption {
          type = lib.types.str;
          default = "token";
          description = "Key of the token in that Secret.";
          example = "api-token";
        };
      };
    };
  };

  config.components.issuers = {
    phase = "issuers";
    dependsOn = [
      "cert-manager"
    ]
    ++ lib.optional cfg.stepCa.enable "step-ca"
    ++ lib.optional cfg.letsEncrypt.enable "sops-secrets-operator";
    assertions = [
      {
        assertion = issuers ? ${cluster.issuer};
        message = "cluster `${cluster.name}`: issuer `${cluster.issuer}` is in use but not among those the component issuers makes (${lib.concatStringsSep ", " (lib.attrNames issuers)}); set the cluster's `issuer` to one of them, or switch the missing one on.";
      }
    ];
    objects.none.ClusterIssuer = mkDefaults issuers;
    # The webhook answers since the phase before; kluctl does not look at Ready.
    gates = lib.mapAttrs (name: _: {
      needs = "controller";
      object = {
        apiVersion = "cert-manager.io/v1";
        kind = "ClusterIssuer";
        inherit name;
      };
      condition = {
        type = "condition";
        condition = "Ready";
        status = "True";
      };
    }) issuers;
  };
}
