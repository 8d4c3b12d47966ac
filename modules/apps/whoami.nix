# Answers with the request that it got: shows that name, certificate, gateway and scheduling of a cluster work together.
# The host has its listeners from `components.gateway.hosts.whoami` of the platform config.
{ cluster, ... }:
let
  labels."app.kubernetes.io/name" = "whoami";
  port = 8080;
in
{
  applications.whoami = {
    namespace = "whoami";
    createNamespace = true;

    # Somebody may scale or restart it without ArgoCD taking that back.
    ignoreDifferences.Deployment = {
      group = "apps";
      jsonPointers = [
        "/spec/replicas"
        "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"
      ];
    };

    resources = {
      deployments.whoami = {
        metadata = { inherit labels; };
        spec = {
          replicas = 1;
          revisionHistoryLimit = 3;
          selector.matchLabels = labels;
          template = {
            metadata = { inherit labels; };
            spec = {
              automountServiceAccountToken = false;
              securityContext = {
                runAsNonRoot = true;
                runAsUser = 65532;
                seccompProfile.type = "RuntimeDefault";
              };
              containers.whoami = {
                image = "docker.io/traefik/whoami:v1.11.0";
                # Below 1024 it would need a capability.
                args = [ "--port=${toString port}" ];
                ports.http = {
                  containerPort = port;
                  protocol = "TCP";
                };
                readinessProbe.httpGet = {
                  path = "/health";
                  port = "http";
                };
                resources = {
                  requests = {
                    cpu = "10m";
                    memory = "16Mi";
                  };
                  limits.memory = "64Mi";
                };
                securityContext = {
                  allowPrivilegeEscalation = false;
                  readOnlyRootFilesystem = true;
                  capabilities.drop = [ "ALL" ];
                };
              };
            };
          };
        };
      };
      services.whoami = {
        metadata = { inherit labels; };
        spec = {
          selector = labels;
          ports.http = {
            port = 80;
            targetPort = "http";
            protocol = "TCP";
          };
        };
      };
    };

    # A custom resource: nixidy would have to build its CRD's schema first, during evaluation.
    objects = [
      {
        apiVersion = "gateway.networking.k8s.io/v1";
        kind = "HTTPRoute";
        metadata = {
          name = "whoami";
          namespace = "whoami";
          inherit labels;
        };
        spec = {
          parentRefs = [
            {
              group = "gateway.networking.k8s.io";
              kind = "Gateway";
              name = "main-gateway";
              namespace = "gateway-system";
              sectionName = "https-whoami";
            }
          ];
          hostnames = [ "whoami.${cluster.routeDomain}" ];
          rules = [
            {
              matches = [
                {
                  path = {
                    type = "PathPrefix";
                    value = "/";
                  };
                }
              ];
              backendRefs = [
                {
                  group = "";
                  kind = "Service";
                  name = "whoami";
                  port = 80;
                  weight = 1;
                }
              ];
            }
          ];
        };
      }
    ];
  };
}
