# The type of anything that ends in a manifest or in chart values.
# Attribute sets merge key by key, so that a single leaf can be changed from outside; a list is one leaf and is set in one place.
# Unlike nixpkgs' `formats.json` it needs no `pkgs`, and unlike `types.anything` it refuses functions, paths and derivations.
{ lib }:
let
  value =
    with lib.types;
    nullOr (oneOf [
      bool
      int
      float
      str
      (attrsOf value)
      (listOf value)
    ])
    // {
      description = "JSON value";
      emptyValue.value = { };
    };
in
value
