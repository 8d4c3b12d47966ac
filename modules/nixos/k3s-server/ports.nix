# The ports of a k3s node with Cilium, stated once: the host's firewall and the provider's are made from this list.
# `reach` says from where a port has to be reached: "clients" (people and controllers outside) or "nodes" (the other nodes);
# `role` is "server" for the ports of the control plane, which agents do not serve.
{
  apiPort,
  tunnelProtocol,
}:
let
  # Cilium's own defaults. A wrong one drops the traffic between nodes and nothing else, which is hard to see.
  tunnelPorts = {
    geneve = 6081;
    vxlan = 8472;
  };
in
[
  {
    from = apiPort;
    to = apiPort;
    protocol = "tcp";
    reach = "clients";
    role = "server";
    description = "Kubernetes API";
  }
  {
    from = 2379;
    to = 2380;
    protocol = "tcp";
    reach = "nodes";
    role = "server";
    description = "etcd";
  }
  {
    from = 4240;
    to = 4240;
    protocol = "tcp";
    reach = "nodes";
    role = "agent";
    description = "Cilium health";
  }
  {
    from = 4244;
    to = 4244;
    protocol = "tcp";
    reach = "nodes";
    role = "agent";
    description = "Hubble";
  }
  {
    from = 10250;
    to = 10250;
    protocol = "tcp";
    reach = "nodes";
    role = "agent";
    description = "kubelet";
  }
  {
    from = tunnelPorts.${tunnelProtocol};
    to = tunnelPorts.${tunnelProtocol};
    protocol = "udp";
    reach = "nodes";
    role = "agent";
    description = "Cilium tunnel (${tunnelProtocol})";
  }
]
