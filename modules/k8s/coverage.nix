# Which minors the parts of the platform cover that are no component; components judge their own.
{ lib }:
let
  kubernetes = {
    # nixpkgs 26.05 has k3s_1_33 to k3s_1_36.
    k3s."" = {
      min = "1.33";
      max = "1.36";
    };
  };

  # Minors of ClusterAPI's core that an infrastructure provider works with.
  clusterApi.hetzner = {
    "1.0" = {
      min = "1.8";
      max = "1.10";
    };
    "1.1" = {
      min = "1.10";
      max = "1.13";
    };
  };

  within = range: minor: lib.versionAtLeast minor range.min && lib.versionAtLeast range.max minor;
  title = part: version: if version == "" then part else "${part} ${version}";
  known = table: lib.concatStringsSep ", " (lib.attrNames table);
in
{
  # Messages; `version` is the part's minor.
  problems =
    part: version: minor: here:
    let
      table = kubernetes.${part};
    in
    if !(table ? ${version}) then
      [
        "${here}: nothing is known of ${title part version} (known are ${known table}); add the Kubernetes minors that it supports to modules/k8s/coverage.nix"
      ]
    else
      lib.optional (!within table.${version} minor)
        "${here}: ${title part version} supports Kubernetes ${table.${version}.min} to ${table.${version}.max}, not ${minor}";

  contractProblems =
    provider: version: core: here:
    let
      table = clusterApi.${provider};
    in
    if !(table ? ${version}) then
      [
        "${here}: nothing is known of provider ${title provider version} (known are ${known table}); add the ClusterAPI minors that it works with to modules/k8s/coverage.nix"
      ]
    else
      lib.optional (!within table.${version} core)
        "${here}: provider ${title provider version} works with ClusterAPI ${table.${version}.min} to ${table.${version}.max}, not ${core}";
}
