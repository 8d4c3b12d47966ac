# A certificate authority inside the cluster that speaks ACME, for clusters that no public CA can reach.
# Its certificates are committed beside this file; its keys come encrypted, by the SopsSecret `step-ca-secrets`.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.step-ca;
  namespace = "step-ca";
  # The name that the chart of the same version gives, so that documentation for it holds here too.
  name = "step-ca-step-certificates";
  labels = {
    "app.kubernetes.io/instance" = "step-ca";
    "app.kubernetes.io/name" = "step-certificates";
  };
  home = "/home/step";
  service = "${name}.${namespace}.svc";
  configuration = {
    "ca.json" = builtins.toJSON {
      root = "${home}/certs/root_ca.crt";
      crt = "${home}/certs/intermediate_ca.crt";
      key = "${home}/secrets/intermediate_ca_key";
      address = ":9000";
      dnsNames = [
        service
        "${service}.${cluster.clusterDomain}"
        "127.0.0.1"
      ];
      logger.format = "json";
      db = {
        type = "badgerv2";
        dataSource = "${home}/db";
      };
      authority = {
        enableAdmin = false;
        provisioners = [
          {
            type = "ACME";
            name = cfg.provisioner;
            forceCN = true;
            claims = {
              minTLSCertDuration = "5m";
              defaultTLSCertDuration = cfg.defaultDuration;
              maxTLSCertDuration = cfg.maxDuration;
            };
          }
        ];
      };
      tls = {
        minVersion = 1.2;
        maxVersion = 1.3;
        renegotiation = false;
      };
    };
    "defaults.json" = builtins.toJSON {
      ca-url = "https://${service}.${cluster.clusterDomain}";
      ca-config = "${home}/config/ca.json";
      root = "${home}/certs/root_ca.crt";
    };
  };
  certificates = {
    "root_ca.crt" = cfg.rootCertificate;
    "intermediate_ca.crt" = cfg.intermediateCertificate;
  };
  isCertificate = text: builtins.match ".*-----BEGIN CERTIFICATE-----.*" text != null;
in
{
  options.components.step-ca = mkComponent {
    rootCertificate = lib.mkOption {
      type = lib.types.str;
      default = builtins.readFile ./root_ca.crt;
      defaultText = lib.literalExpression "builtins.readFile ./root_ca.crt";
      description = "PEM certificate of the root: ECDSA P-256, 10 years, path length 1. Its key belongs to the SopsSecret `step-ca-secrets`.";
      example = lib.literalExpression "builtins.readFile ./pki/root_ca.crt";
    };
    intermediateCertificate = lib.mkOption {
      type = lib.types.str;
      default = builtins.readFile ./intermediate_ca.crt;
      defaultText = lib.literalExpression "builtins.readFile ./intermediate_ca.crt";
      description = "PEM certificate of the intermediate that signs: ECDSA P-256, 5 years, path length 0. Its key belongs to the SopsSecret `step-ca-secrets`.";
      example = lib.literalExpression "builtins.readFile ./pki/intermediate_ca.crt";
    };
    provisioner = lib.mkOption {
      type = lib.types.str;
      default = "acme";
      description = "Name of the ACME provisioner; part of the directory's URL.";
      example = "internal";
    };
    defaultDuration = lib.mkOption {
      type = lib.types.str;
      default = "720h";
      description = "Validity of a certificate that asks for none.";
      example = "168h";
    };
    maxDuration = lib.mkOption {
      type = lib.types.str;
      default = "2160h";
      description = "Longest validity.";
      example = "720h";
    };
    storage = lib.mkOption {
      type = lib.types.str;
      default = "1Gi";
      description = "Size of the volume of the database.";
      example = "5Gi";
    };
    directory = lib.mkOption {
      type = lib.types.str;
      readOnly = true;
      default = "https://${service}.${cluster.clusterDomain}/acme/${cfg.provisioner}/directory";
      defaultText = lib.literalMD "from the Service's name and the provisioner";
      description = "ACME directory, as an issuer in this cluster reaches it.";
    };
  };

  config.components.step-ca = {
    phase = "step-ca";
    dependsOn = [
      # The database is on a volume.
      "local-path-provisioner"
      "sops-secrets-operator"
    ];
    namespaces = [ namespace ];
    assertions = lib.mapAttrsToList (file: text: {
      assertion = isCertificate text;
      message = "`${file}` is no PEM certificate; make one with its key and commit only the certificate.";
    }) certificates;
    images.step-ca = {
      reference = lib.mkDefault "cr.smallstep.com/smallstep/step-ca:0.30.0";
      platforms = lib.mkDefault [
        "linux/amd64"
        "linux/arm64"
      ];
    };
    objects.${namespace} = mkDefaults {
      ServiceAccount.${name} = {
        apiVersion = "v1";
        metadata = { inherit labels; };
      };
      ConfigMap = {
        "${name}-certs" = {
          apiVersion = "v1";
          metadata = { inherit labels; };
          data = certificates;
        };
        "${name}-config" = {
          apiVersion = "v1";
          metadata = { inherit labels; };
          data = configuration;
        };
      };
      Service.${name} = {
        apiVersion = "v1";
        metadata = { inherit labels; };
        spec = {
          selector = labels;
          ports = [
            {
              name = "https";
              port = 443;
              protocol = "TCP";
              targetPort = "https";
            }
          ];
        };
      };
      StatefulSet.${name} = {
        apiVersion = "apps/v1";
        metadata = { inherit labels; };
        spec = {
          # Badger has one writer.
          replicas = 1;
          serviceName = name;
          selector.matchLabels = labels;
          template = {
            metadata = {
              inherit labels;
              # step-ca reads its files only at start.
              annotations."checksum/config" = builtins.hashString "sha256" (
                builtins.toJSON { inherit certificates configuration; }
              );
            };
            spec = {
              serviceAccountName = name;
              automountServiceAccountToken = false;
              securityContext = {
                fsGroup = 1000;
                runAsGroup = 1000;
                runAsNonRoot = true;
                runAsUser = 1000;
                seccompProfile.type = "RuntimeDefault";
              };
              containers = [
                {
                  name = "step-ca";
                  image = cfg.images.step-ca.reference;
                  command = [ "/usr/local/bin/step-ca" ];
                  args = [
                    # The file must be there, also when the keys have no password and it is empty.
                    "--password-file"
                    "${home}/secrets/passwords/password"
                    "${home}/config/ca.json"
                  ];
                  workingDir = home;
                  ports = [
                    {
                      name = "https";
                      containerPort = 9000;
                      protocol = "TCP";
                    }
                  ];
                  livenessProbe = {
                    httpGet = {
                      path = "/health";
                      port = "https";
                      scheme = "HTTPS";
                    };
                    initialDelaySeconds = 5;
                  };
                  readinessProbe = {
                    httpGet = {
                      path = "/health";
                      port = "https";
                      scheme = "HTTPS";
                    };
                    initialDelaySeconds = 5;
                  };
                  resources = {
                    requests = {
                      cpu = "100m";
                      memory = "128Mi";
                    };
                    limits = {
                      cpu = "500m";
                      memory = "256Mi";
                    };
                  };
                  securityContext = {
                    allowPrivilegeEscalation = false;
                    # The binary carries NET_BIND_SERVICE as a file capability and cannot start without it.
                    capabilities = {
                      add = [ "NET_BIND_SERVICE" ];
                      drop = [ "ALL" ];
                    };
                    readOnlyRootFilesystem = true;
                  };
                  volumeMounts = [
                    {
                      name = "certs";
                      mountPath = "${home}/certs";
                      readOnly = true;
                    }
                    {
                      name = "config";
                      mountPath = "${home}/config";
                      readOnly = true;
                    }
                    {
                      name = "secrets";
                      mountPath = "${home}/secrets";
                      readOnly = true;
                    }
                    {
                      name = "ca-password";
                      mountPath = "${home}/secrets/passwords";
                      readOnly = true;
                    }
                    {
                      name = "database";
                      mountPath = "${home}/db";
                    }
                  ];
                }
              ];
              volumes = [
                {
                  name = "certs";
                  configMap.name = "${name}-certs";
                }
                {
                  name = "config";
                  configMap.name = "${name}-config";
                }
                {
                  name = "secrets";
                  secret.secretName = "${name}-secrets";
                }
                {
                  name = "ca-password";
                  secret.secretName = "${name}-ca-password";
                }
              ];
            };
          };
          volumeClaimTemplates = [
            {
              # Stated because the API server adds both, and the element is compared as a whole.
              apiVersion = "v1";
              kind = "PersistentVolumeClaim";
              metadata = {
                name = "database";
                inherit labels;
              };
              spec = {
                accessModes = [ "ReadWriteOnce" ];
                resources.requests.storage = cfg.storage;
              };
            }
          ];
        };
      };
    };
    # By name: a selector would also find whatever else carries the labels.
    gates.pod = {
      needs = "kubelet";
      object = {
        apiVersion = "apps/v1";
        kind = "StatefulSet";
        inherit name namespace;
      };
      condition.type = "podsReady";
    };
  };
}
