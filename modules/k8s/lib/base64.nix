# Base64 of a text in pure Nix, for the few fields of the API that want bytes (a `caBundle`).
# `lib` has none, and a builder would mean import-from-derivation.
{ lib }:
let
  alphabet = lib.stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  digit = number: builtins.elemAt alphabet number;
  # Three bytes are four digits; what is missing at the end is counted as zero and printed as `=`.
  group =
    bytes:
    let
      at = index: if index < builtins.length bytes then builtins.elemAt bytes index else 0;
      number = at 0 * 65536 + at 1 * 256 + at 2;
      digits = map (shift: digit (lib.mod (number / shift) 64)) [
        262144
        4096
        64
        1
      ];
    in
    lib.concatStrings (
      lib.take (builtins.length bytes + 1) digits ++ lib.genList (_: "=") (3 - builtins.length bytes)
    );
  chunks = list: if list == [ ] then [ ] else [ (lib.take 3 list) ] ++ chunks (lib.drop 3 list);
in
text: lib.concatMapStrings group (chunks (map lib.strings.charToInt (lib.stringToCharacters text)))
