# What the cluster's nodes run: a VM is its host's architecture unless the profile says otherwise, and Rosetta runs the other one.
{
  lib,
  platform,
  # What the platform config says of the cluster.
  facts,
}:
if facts.profile != null then
  let
    profile = platform.profiles.${facts.profile};
  in
  lib.optional (profile.arch != "aarch64" || profile.rosetta) "linux/amd64"
  ++ lib.optional (profile.arch != "x86_64" && !profile.rosetta) "linux/arm64"
else if facts.machine != null then
  [
    (
      if platform.machines.${facts.machine}.system == "aarch64-linux" then
        "linux/arm64"
      else
        "linux/amd64"
    )
  ]
else
  [ "linux/amd64" ]
