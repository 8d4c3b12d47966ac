# The cluster DNS where the distribution brings none (kubeadm with its addon phase skipped).
# k3s ships its own, and two of them would both claim the Service `kube-dns`.
{
  cluster,
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.coredns;
  # The label that kubeadm, the readiness wait and everybody's network policies know.
  selector.k8s-app = "kube-dns";
in
{
  options.components.coredns = mkComponent {
    replicas = lib.mkOption {
      type = lib.types.ints.positive;
      default = if cluster.nodes > 1 then 2 else 1;
      defaultText = lib.literalExpression "if cluster.nodes > 1 then 2 else 1";
      description = "Replicas; two are spread over nodes.";
      example = 3;
    };
    upstreams = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [
        "1.1.1.1"
        "8.8.8.8"
      ];
      description = "Resolvers that names outside the cluster are forwarded to.";
      example = [ "/etc/resolv.conf" ];
    };
  };

  config.components.coredns = {
    phase = "dns";
    assertions = [
      {
        assertion = cluster.distribution != "k3s";
        message = "k3s ships CoreDNS itself and a second one collides with it; switch `coredns` off on cluster `${cluster.name}` and use `coredns-custom` for additions.";
      }
    ];
    images.coredns = {
      reference = lib.mkDefault "registry.k8s.io/coredns/coredns:v1.13.1";
      platforms = lib.mkDefault [
        "linux/amd64"
        "linux/arm64"
      ];
    };
    objects = mkDefaults {
      none = {
        ClusterRole."system:coredns" = {
          apiVersion = "rbac.authorization.k8s.io/v1";
          rules = [
            {
              apiGroups = [ "" ];
              resources = [
                "namespaces"
                "pods"
                "services"
              ];
              verbs = [
                "list"
                "watch"
              ];
            }
            {
              apiGroups = [ "discovery.k8s.io" ];
              resources = [ "endpointslices" ];
              verbs = [
                "list"
                "watch"
              ];
            }
          ];
        };
        ClusterRoleBinding."system:coredns" = {
          apiVersion = "rbac.authorization.k8s.io/v1";
          roleRef = {
            apiGroup = "rbac.authorization.k8s.io";
            kind = "ClusterRole";
            name = "system:coredns";
          };
          subjects = [
            {
              kind = "ServiceAccount";
              name = "coredns";
              namespace = "kube-system";
            }
          ];
        };
      };
      kube-system = {
        ServiceAccount.coredns.apiVersion = "v1";
        ConfigMap.coredns = {
          apiVersion = "v1";
          data.Corefile = ''
            .:53 {
                errors
                health {
                    lameduck 5s
                }
                ready
                kubernetes ${cluster.clusterDomain} in-addr.arpa ip6.arpa {
                    pods insecure
                    fallthrough in-addr.arpa ip6.arpa
                    ttl 30
                }
                prometheus :9153
                forward . ${lib.concatStringsSep " " cfg.upstreams} {
                    max_concurrent 1000
                }
                cache 30
                loop
                reload
                loadbalance
            }
          '';
        };
        Service.kube-dns = {
          apiVersion = "v1";
          metadata.labels = selector // {
            "kubernetes.io/cluster-service" = "true";
            "kubernetes.io/name" = "CoreDNS";
          };
          spec = {
            # Every kubelet hands this address to its pods, so it is not left to the API server.
            clusterIP = cluster.dnsAddress;
            inherit selector;
            ports = [
              {
                name = "dns";
                port = 53;
                protocol = "UDP";
                targetPort = "dns";
              }
              {
                name = "dns-tcp";
                port = 53;
                protocol = "TCP";
                targetPort = "dns-tcp";
              }
              {
                name = "metrics";
                port = 9153;
                protocol = "TCP";
                targetPort = "metrics";
              }
            ];
          };
        };
        Deployment.coredns = {
          apiVersion = "apps/v1";
          metadata.labels = selector;
          spec = {
            replicas = cfg.replicas;
            selector.matchLabels = selector;
            strategy = {
              type = "RollingUpdate";
              rollingUpdate.maxUnavailable = 1;
            };
            template = {
              metadata.labels = selector;
              spec = {
                serviceAccountName = "coredns";
                priorityClassName = "system-cluster-critical";
                # Not the cluster's DNS, which is this very pod.
                dnsPolicy = "Default";
                nodeSelector."kubernetes.io/os" = "linux";
                tolerations = [
                  {
                    key = "CriticalAddonsOnly";
                    operator = "Exists";
                  }
                  {
                    key = "node-role.kubernetes.io/control-plane";
                    operator = "Exists";
                    effect = "NoSchedule";
                  }
                ];
                topologySpreadConstraints = [
                  {
                    labelSelector.matchLabels = selector;
                    maxSkew = 1;
                    topologyKey = "kubernetes.io/hostname";
                    whenUnsatisfiable = "ScheduleAnyway";
                  }
                ];
                containers = [
                  {
                    name = "coredns";
                    image = cfg.images.coredns.reference;
                    args = [
                      "-conf"
                      "/etc/coredns/Corefile"
                    ];
                    ports = [
                      {
                        name = "dns";
                        containerPort = 53;
                        protocol = "UDP";
                      }
                      {
                        name = "dns-tcp";
                        containerPort = 53;
                        protocol = "TCP";
                      }
                      {
                        name = "metrics";
                        containerPort = 9153;
                        protocol = "TCP";
                      }
                    ];
                    livenessProbe = {
                      httpGet = {
                        path = "/health";
                        port = 8080;
                      };
                      initialDelaySeconds = 60;
                      timeoutSeconds = 5;
                      failureThreshold = 5;
                    };
                    readinessProbe.httpGet = {
                      path = "/ready";
                      port = 8181;
                    };
                    resources = {
                      requests = {
                        cpu = "100m";
                        memory = "70Mi";
                      };
                      limits.memory = "170Mi";
                    };
                    securityContext = {
                      allowPrivilegeEscalation = false;
                      capabilities = {
                        add = [ "NET_BIND_SERVICE" ];
                        drop = [ "ALL" ];
                      };
                      readOnlyRootFilesystem = true;
                    };
                    volumeMounts = [
                      {
                        name = "config";
                        mountPath = "/etc/coredns";
                        readOnly = true;
                      }
                    ];
                  }
                ];
                volumes = [
                  {
                    name = "config";
                    configMap.name = "coredns";
                  }
                ];
              };
            };
          };
        };
      };
    };
    gates.dns = {
      needs = "kubelet";
      object = {
        apiVersion = "v1";
        kind = "Service";
        namespace = "kube-system";
        name = "kube-dns";
      };
      condition.type = "endpointsReady";
    };
  };
}
