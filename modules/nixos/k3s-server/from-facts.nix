# The platform config of one cluster as defaults of `k3s-server`: `cluster` is an entry of the platform's clusters, `versions` its versions.
# Which node is the first server, and how the others join it, is no fact of the cluster: the machine states that.
{ cluster, versions }:
{ config, lib, ... }:
let
  isServer = config.k3s-server.role == "server";
in
{
  config.k3s-server = {
    kubernetesMinor = lib.mkDefault versions.kubernetes;
    apiPort = lib.mkDefault cluster.apiPort;
    clusterCidr = lib.mkDefault cluster.podCidr;
    serviceCidr = lib.mkDefault cluster.serviceCidr;
    clusterDns = lib.mkDefault cluster.dnsAddress;
    clusterDomain = lib.mkDefault cluster.clusterDomain;
    # The name under which nodes and people reach the API must stand in its certificate.
    tlsSans = lib.mkIf isServer (lib.mkDefault [ cluster.apiHost ]);
  };
}
