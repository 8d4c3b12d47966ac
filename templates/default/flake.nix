{
  description = "A platform of your own";

  inputs = {
    vanixiets.url = "github:OWNER/vanixiets";
    nixpkgs.follows = "vanixiets/nixpkgs";
    flake-parts.follows = "vanixiets/flake-parts";
  };

  outputs =
    inputs@{ flake-parts, vanixiets, ... }:
    flake-parts.lib.mkFlake { inherit inputs; } {
      imports = [
        vanixiets.flakeModules.default
        # The facts; everything else follows from them.
        { platform = import ./platform.nix; }
      ];
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
    };
}
