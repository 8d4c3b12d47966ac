{ lib, ... }:
let
  toBase64 = import ./base64.nix { inherit lib; };
in
{
  # The vectors of RFC 4648.
  "base64 pads what is not a multiple of three bytes" = {
    expr = map toBase64 [
      ""
      "f"
      "fo"
      "foo"
      "foob"
      "fooba"
      "foobar"
    ];
    expected = [
      ""
      "Zg=="
      "Zm8="
      "Zm9v"
      "Zm9vYg=="
      "Zm9vYmE="
      "Zm9vYmFy"
    ];
  };
  "base64 takes line ends and the whole alphabet" = {
    expr = toBase64 "a\n~?>";
    expected = "YQp+Pz4=";
  };
}
