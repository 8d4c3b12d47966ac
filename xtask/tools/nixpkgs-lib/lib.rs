//! Nothing: the package only names where nixpkgs' `lib` comes from.
