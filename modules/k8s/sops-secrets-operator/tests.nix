{
  lib,
  stage,
  withComponents,
  ...
}:
let
  local = stage "k3s-dev-local" { };
  production = stage "vanixiets-full" { };
  filesOf = s: {
    inherit (s.components.sops-secrets-operator) optionalSecrets secrets;
  };
  pod = local.objects."sops-secrets-operator/Deployment/sops-secrets-operator".spec.template.spec;
in
{
  "the SopsSecrets of a stage are those that its cluster and its components require" = {
    expr = {
      local = filesOf local;
      production = filesOf production;
    };
    expected = {
      local = {
        optionalSecrets = [ ];
        secrets = [
          "k8s/secrets/local/step-ca-ca-password.enc.yaml"
          "k8s/secrets/local/step-ca-keys.enc.yaml"
          "k8s/secrets/local/argocd-redis.enc.yaml"
        ];
      };
      production = {
        optionalSecrets = [
          "k8s/secrets/production/cert-manager-cloudflare.enc.yaml"
          "k8s/secrets/production/external-dns-cloudflare.enc.yaml"
        ];
        secrets = [
          "k8s/secrets/production/argocd-redis.enc.yaml"
          "k8s/secrets/production/nix-csi-cache-ssh.enc.yaml"
        ];
      };
    };
  };
  "a component that is off takes its secret with it" = {
    expr = filesOf (stage "k3s-dev-local" (withComponents "k3s-dev" { argocd.enable = false; }));
    expected = {
      optionalSecrets = [ ];
      secrets = [
        "k8s/secrets/local/step-ca-ca-password.enc.yaml"
        "k8s/secrets/local/step-ca-keys.enc.yaml"
      ];
    };
  };
  "every decrypted Secret is waited for, also one whose value is not there yet" = {
    expr = lib.filter (lib.hasPrefix "sops-secrets-operator.") (lib.attrNames production.gates);
    expected = [
      "sops-secrets-operator.decrypted"
      "sops-secrets-operator.secret-argocd-argocd-redis"
      "sops-secrets-operator.secret-cert-manager-cloudflare-api-token"
      "sops-secrets-operator.secret-external-dns-cloudflare-api-token"
      "sops-secrets-operator.secret-nix-csi-nix-csi-cache-ssh"
    ];
  };
  "the age key is mounted from a Secret that is not rendered" = {
    expr = {
      mounted = lib.any (volume: volume.secret.secretName or null == "sops-age-key-file") pod.volumes;
      rendered = lib.any (lib.hasInfix "/Secret/") (lib.attrNames local.objects);
    };
    expected = {
      mounted = true;
      rendered = false;
    };
  };
  "the CRD has an item of its own, and the SopsSecrets come after the operator" = {
    expr = map (item: item.directory) (
      lib.filter (item: item.component == "sops-secrets-operator") local.spec.stage.items
    );
    expected = [
      "06-sops-secrets-operator-crds"
      "06-sops-secrets-operator"
      "06-sops-secrets-operator-custom"
    ];
  };
}
