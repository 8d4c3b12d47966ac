{
  description = "A k3s and ClusterAPI platform from nothing to running: NixOS images, manifests, Terraform JSON and machines as a flake plugin, with cargo xtask beside it";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

    flake-parts.url = "github:hercules-ci/flake-parts";
    flake-parts.inputs.nixpkgs-lib.follows = "nixpkgs";

    # The last revision that is only a set of modules; later ones apply by themselves.
    easykubenix.url = "github:Lillecarl/easykubenix/88a025fc04889f25b702f79030c6220c3ec48f9b";
    easykubenix.flake = false;

    terranix.url = "github:terranix/terranix";
    terranix.flake = false;

    nixidy.url = "github:arnarg/nixidy";
    nixidy.flake = false;

    nix-kube-generators.url = "github:farcaller/nix-kube-generators";
    nix-kube-generators.flake = false;

    srvos.url = "github:nix-community/srvos";
    srvos.flake = false;

    # A flake without inputs; it stands in for inputs of clan-core that nothing here evaluates.
    systems.url = "github:nix-systems/default/future-26.11";

    # It closes over its inputs, so it has to stay a flake.
    clan-core.url = "github:clan-lol/clan-core";
    clan-core.inputs.nixpkgs.follows = "nixpkgs";
    clan-core.inputs.flake-parts.follows = "flake-parts";
    clan-core.inputs.systems.follows = "systems";
    # Left out; an empty `follows` would mean the flake itself, which overflows the stack.
    clan-core.inputs.nix-darwin.follows = "systems";
    clan-core.inputs.treefmt-nix.follows = "systems";
  };

  outputs =
    inputs@{ flake-parts, ... }:
    flake-parts.lib.mkFlake { inherit inputs; } (
      { flake-parts-lib, ... }:
      let
        plugin = import ./modules/flake { inherit flake-parts-lib inputs; };
      in
      {
        imports = [
          flake-parts.flakeModules.flakeModules
          plugin.default
          ./modules/flake/own.nix
        ];
        systems = [
          "x86_64-linux"
          "aarch64-linux"
          "aarch64-darwin"
        ];
        platform = import ./modules/platform.nix;
        flake.flakeModules = plugin;
      }
    );
}
