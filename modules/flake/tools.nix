# The tools that xtask wraps, as nixpkgs has them. Those that a system does not have are left out.
{ lib, pkgs }:
let
  inherit (pkgs.stdenv.hostPlatform) isLinux;
in
[
  pkgs.age
  pkgs.clusterctl
  pkgs.git
  pkgs.jq
  pkgs.kluctl
  pkgs.kubectl
  pkgs.kubernetes-helm
  pkgs.opentofu
  pkgs.sops
  pkgs.yq
  (import ../k8s/python.nix { inherit pkgs; })
]
++ lib.filter (tool: tool != null) [
  (pkgs.colima or null)
  (pkgs.lima or null)
  (pkgs.kubeconform or null)
  (pkgs.kwok or null)
]
# The embedded backend's control plane; nixpkgs builds it for Linux.
++ lib.optionals isLinux (
  lib.filter (tool: tool != null) [
    (pkgs.etcd or null)
    (pkgs.kubernetes or null)
  ]
)
