{ lib, stage, ... }:
let
  local = stage "k3s-dev-local" { };
  hetzner = stage "hetzner-full" { };
  vanixiets = stage "vanixiets-full" { };
  conf = s: s.objects."nix-csi/ConfigMap/nix-config".data."nix.conf";
  has = object: s: s.objects ? "nix-csi/${object}";
in
{
  "one node shares its store with nobody" = {
    expr = {
      cache = has "StatefulSet/nix-csi-cache" local;
      asked = lib.hasInfix "ssh://" (conf local);
    };
    expected = {
      cache = false;
      asked = false;
    };
  };
  "in production the nodes ask the cache first" = {
    expr = {
      cache = has "StatefulSet/nix-csi-cache" hetzner;
      asked = lib.hasInfix "substituters = ssh://nix-cache?trusted=true https://cache.nixos.org" (
        conf hetzner
      );
    };
    expected = {
      cache = true;
      asked = true;
    };
  };
  "the cache is reached from outside only where something hands out addresses" = {
    expr = map (has "Service/nix-csi-cache-lb") [
      hetzner
      vanixiets
    ];
    expected = [
      false
      true
    ];
  };
  "no key is in its objects" = {
    expr = lib.hasInfix "PRIVATE KEY" (builtins.toJSON vanixiets.objects);
    expected = false;
  };
  "what the driver looks up by name has that name" = {
    expr = lib.all (key: local.objects ? ${key}) [
      "_/CSIDriver/nix.csi.store"
      "nix-csi/ConfigMap/nix-buildscript"
      "nix-csi/ConfigMap/nix-config"
      "nix-csi/DaemonSet/nix-csi-node"
    ];
    expected = true;
  };
}
