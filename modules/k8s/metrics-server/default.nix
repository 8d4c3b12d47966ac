# Resource metrics of nodes and pods, for `kubectl top` and autoscalers.
# An APIService without a backend blocks the deletion of every namespace, so the phase ends only when it answers.
{
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.metrics-server;
  name = "metrics-server";
  labels.k8s-app = name;
  subject = {
    kind = "ServiceAccount";
    inherit name;
    namespace = "kube-system";
  };
  rbac = "rbac.authorization.k8s.io";
in
{
  options.components.metrics-server = mkComponent {
    replicas = lib.mkOption {
      type = lib.types.ints.positive;
      default = 1;
      description = "Replicas.";
      example = 2;
    };
    resolution = lib.mkOption {
      type = lib.types.str;
      default = "15s";
      description = "How often the kubelets are asked.";
      example = "30s";
    };
  };

  config.components.metrics-server = {
    phase = "metrics-server";
    images.metrics-server = {
      reference = lib.mkDefault "registry.k8s.io/metrics-server/metrics-server:v0.8.1";
      platforms = lib.mkDefault [
        "linux/amd64"
        "linux/arm64"
      ];
    };
    objects = mkDefaults {
      none = {
        ClusterRole = {
          "system:aggregated-metrics-reader" = {
            apiVersion = "${rbac}/v1";
            metadata.labels = labels // {
              "${rbac}/aggregate-to-admin" = "true";
              "${rbac}/aggregate-to-edit" = "true";
              "${rbac}/aggregate-to-view" = "true";
            };
            rules = [
              {
                apiGroups = [ "metrics.k8s.io" ];
                resources = [
                  "nodes"
                  "pods"
                ];
                verbs = [
                  "get"
                  "list"
                  "watch"
                ];
              }
            ];
          };
          "system:metrics-server" = {
            apiVersion = "${rbac}/v1";
            metadata = { inherit labels; };
            rules = [
              {
                apiGroups = [ "" ];
                resources = [ "nodes/metrics" ];
                verbs = [ "get" ];
              }
              {
                apiGroups = [ "" ];
                resources = [
                  "nodes"
                  "pods"
                ];
                verbs = [
                  "get"
                  "list"
                  "watch"
                ];
              }
            ];
          };
        };
        ClusterRoleBinding = {
          "metrics-server:system:auth-delegator" = {
            apiVersion = "${rbac}/v1";
            metadata = { inherit labels; };
            roleRef = {
              apiGroup = rbac;
              kind = "ClusterRole";
              name = "system:auth-delegator";
            };
            subjects = [ subject ];
          };
          "system:metrics-server" = {
            apiVersion = "${rbac}/v1";
            metadata = { inherit labels; };
            roleRef = {
              apiGroup = rbac;
              kind = "ClusterRole";
              name = "system:metrics-server";
            };
            subjects = [ subject ];
          };
        };
        APIService."v1beta1.metrics.k8s.io" = {
          apiVersion = "apiregistration.k8s.io/v1";
          metadata = { inherit labels; };
          spec = {
            group = "metrics.k8s.io";
            version = "v1beta1";
            groupPriorityMinimum = 100;
            versionPriority = 100;
            # The server signs its own certificate at every start.
            insecureSkipTLSVerify = true;
            service = {
              inherit name;
              namespace = "kube-system";
              port = 443;
            };
          };
        };
      };
      kube-system = {
        ServiceAccount.${name} = {
          apiVersion = "v1";
          metadata = { inherit labels; };
        };
        RoleBinding.metrics-server-auth-reader = {
          apiVersion = "${rbac}/v1";
          metadata = { inherit labels; };
          roleRef = {
            apiGroup = rbac;
            kind = "Role";
            name = "extension-apiserver-authentication-reader";
          };
          subjects = [ subject ];
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
                appProtocol = "https";
              }
            ];
          };
        };
        Deployment.${name} = {
          apiVersion = "apps/v1";
          metadata = { inherit labels; };
          spec = {
            replicas = cfg.replicas;
            selector.matchLabels = labels;
            strategy.rollingUpdate.maxUnavailable = 0;
            template = {
              metadata = { inherit labels; };
              spec = {
                serviceAccountName = name;
                priorityClassName = "system-cluster-critical";
                nodeSelector."kubernetes.io/os" = "linux";
                containers = [
                  {
                    inherit name;
                    image = cfg.images.metrics-server.reference;
                    args = [
                      "--cert-dir=/tmp"
                      "--secure-port=10250"
                      "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname"
                      "--kubelet-use-node-status-port"
                      # Neither k3s nor kubeadm signs kubelet certificates with the CA that pods are given.
                      "--kubelet-insecure-tls"
                      "--metric-resolution=${cfg.resolution}"
                    ];
                    ports = [
                      {
                        name = "https";
                        containerPort = 10250;
                        protocol = "TCP";
                      }
                    ];
                    livenessProbe.httpGet = {
                      path = "/livez";
                      port = "https";
                      scheme = "HTTPS";
                    };
                    readinessProbe = {
                      httpGet = {
                        path = "/readyz";
                        port = "https";
                        scheme = "HTTPS";
                      };
                      initialDelaySeconds = 20;
                    };
                    resources.requests = {
                      cpu = "100m";
                      memory = "200Mi";
                    };
                    securityContext = {
                      allowPrivilegeEscalation = false;
                      capabilities.drop = [ "ALL" ];
                      readOnlyRootFilesystem = true;
                      runAsNonRoot = true;
                      runAsUser = 1000;
                      seccompProfile.type = "RuntimeDefault";
                    };
                    volumeMounts = [
                      {
                        name = "tmp";
                        mountPath = "/tmp";
                      }
                    ];
                  }
                ];
                volumes = [
                  {
                    name = "tmp";
                    emptyDir = { };
                  }
                ];
              };
            };
          };
        };
      };
    };
    gates.api = {
      needs = "controller";
      object = {
        apiVersion = "apiregistration.k8s.io/v1";
        kind = "APIService";
        name = "v1beta1.metrics.k8s.io";
      };
      condition = {
        type = "condition";
        condition = "Available";
        status = "True";
      };
    };
  };
}
