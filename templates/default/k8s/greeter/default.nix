# A component of your own: its option, its phase, its objects.
{
  config,
  lib,
  mkComponent,
  mkDefaults,
  ...
}:
let
  cfg = config.components.greeter;
in
{
  options.components.greeter = mkComponent {
    text = lib.mkOption {
      type = lib.types.str;
      description = "What is said.";
      example = "hello";
    };
  };

  config.components.greeter = {
    phase = "apps";
    namespaces = [ "greeter" ];
    objects = mkDefaults {
      greeter.ConfigMap.greeting = {
        apiVersion = "v1";
        data.text = cfg.text;
      };
    };
  };
}
