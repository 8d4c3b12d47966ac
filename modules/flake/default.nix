# The plugin, as flake modules: `default` is all of it, the others are parts for those who want less.
# Every module closes over our inputs, so that a consumer needs no input but this flake (and nixpkgs for its own `pkgs`).
{ flake-parts-lib, inputs }:
let
  # The key makes importing two parts that share a file the same as importing it once.
  part =
    file:
    let
      path = ./. + "/${file}.nix";
    in
    {
      key = "vanixiets#${file}";
      _file = path;
      imports = [ (flake-parts-lib.importApply path { inherit inputs; }) ];
    };
  bundle = files: { imports = map part files; };

  manifests = [
    "facts"
    "stages"
    "manifests"
    "platform-json"
  ];
  hosts = [
    "facts"
    "image"
    "machines"
    "nixos-modules"
    "terraform"
  ];
in
{
  default = bundle (
    manifests
    ++ hosts
    ++ [
      "applications"
      "providers"
      "xtask"
      "shell"
      "checks"
    ]
  );
  # Facts to manifests, without hosts.
  k8s = bundle manifests;
  # Images, machines and servers, without manifests.
  hosts = bundle hosts;
}
