# Runs render.sh on the spec of a stage, in a derivation. Sources are fetched by hash when it is built, never in order to evaluate.
{
  pkgs,
  name,
  # `stages.nix`' spec of one pair.
  spec,
  # The checkout, for the encrypted files that the spec names.
  root,
}:
let
  # A source as data to a path in the store.
  fetch =
    source:
    {
      url = pkgs.fetchurl { inherit (source) url hash; };
      github = pkgs.fetchFromGitHub {
        inherit (source)
          owner
          repo
          rev
          hash
          ;
      };
      local = source.folder;
    }
    .${source.type};
  withPath =
    entry:
    entry
    // {
      source = entry.source // {
        path = "${fetch entry.source}";
      };
    };

  complete = spec // {
    charts = map withPath spec.charts;
    manifests = map withPath spec.manifests;
    # Copied as they are, still encrypted; the evaluator never reads them.
    secrets = map (
      secret:
      let
        path = root + "/${secret.file}";
      in
      secret
      // {
        # The file alone: the project must not depend on everything else in the checkout.
        source.path =
          if secret.asked && !builtins.pathExists path then
            null
          else
            builtins.path {
              inherit path;
              name = baseNameOf secret.file;
            };
      }
    ) spec.secrets;
  };
in
pkgs.runCommand name
  {
    # coreutils and findutils are part of stdenv.
    nativeBuildInputs = [
      pkgs.jq
      pkgs.kubernetes-helm
      (import ./python.nix { inherit pkgs; })
    ];
    DOCUMENTS = ./documents.py;
    spec = builtins.toJSON complete;
    passAsFile = [ "spec" ];
  }
  ''
    bash ${./render.sh} "$specPath" "$out"
  ''
