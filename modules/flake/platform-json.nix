# Package `platform`: the evaluated platform config as `platform.json`, which is committed and compared with this.
_:
{ evaluated, ... }:
{
  config.perSystem =
    { pkgs, ... }:
    {
      packages.platform =
        pkgs.runCommand "platform.json"
          {
            nativeBuildInputs = [ pkgs.jq ];
            json = builtins.toJSON evaluated.json;
            passAsFile = [ "json" ];
          }
          ''
            jq -S . "$jsonPath" > "$out"
          '';
    };
}
