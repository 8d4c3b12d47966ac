# What is this flake's alone and not the plugin's: its `pkgs`, its tests, and the template of a consumer.
{ inputs, lib, ... }:
{
  perSystem =
    { pkgs, system, ... }:
    let
      # The tests that `cargo xtask ci` runs on `lib` alone, here beside the real easykubenix and terranix.
      tests = import ../tests {
        inherit lib;
        inputs = {
          inherit (inputs) easykubenix terranix;
          inherit pkgs;
        };
      };
      failures = lib.concatMapStrings (test: "- ${test.name}\n") tests.failures;
    in
    {
      # Said outright, because a Nix that does not mark its inputs as flakes gives flake-parts nothing to find it by.
      _module.args.pkgs = inputs.nixpkgs.legacyPackages.${system};

      checks.nix-tests =
        lib.throwIf (tests.failures != [ ])
          "${toString (lib.length tests.failures)} of ${toString tests.count} Nix tests failed:\n${failures}"
          (pkgs.runCommand "check-nix-tests" { } ''echo ${toString tests.count} tests > "$out"'');
    };

  flake.templates.default = {
    path = ../../templates/default;
    description = "A platform of your own on this plugin";
  };
}
