# What is this flake's alone and not the plugin's: its `pkgs`, and the template of a consumer.
{ inputs, ... }:
{
  perSystem =
    { system, ... }:
    {
      # Said outright, because a Nix that does not mark its inputs as flakes gives flake-parts nothing to find it by.
      _module.args.pkgs = inputs.nixpkgs.legacyPackages.${system};
    };

  flake.templates.default = {
    path = ../../templates/default;
    description = "A platform of your own on this plugin";
  };
}
