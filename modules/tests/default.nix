# Every Nix test, on nixpkgs' `lib` alone:
#   nix-instantiate --eval --strict --json modules/tests -I nixpkgs=DIR --arg inputs '{ }'
# prints {count, failures, notRun}; DIR holds nixpkgs, or just its `lib` folder and a file `.version`.
# A test is `{ name; expr; expected; }`, or `"<name>" = { expr; expected; }` in an attribute set; the files are all `tests.nix` of the checkout, each a function of what it asks for.
{
  lib ? import <nixpkgs/lib>,
  # Sources of inputs by name, for the tests that compare with the real thing; what is missing is named in `notRun`.
  inputs ? { },
}:
let
  root = ../..;

  # What of the checkout may hold tests; the rest is large and not Nix.
  folders = [
    (root + "/images")
    (root + "/modules")
    (root + "/templates")
  ];
  find =
    folder:
    lib.concatLists (
      lib.mapAttrsToList (
        name: type:
        if type == "directory" then
          find (folder + "/${name}")
        else
          lib.optional (name == "tests.nix") (folder + "/${name}")
      ) (builtins.readDir folder)
    );
  files = lib.concatMap find folders;

  arguments = {
    inherit inputs lib;
    inherit (import ../k8s/testing.nix { inherit lib; }) stage withComponents;
    # Whether evaluating a value to its end ends in an error.
    fails = value: !(builtins.tryEval (builtins.deepSeq value null)).success;
    # Our own entry for another platform config: `evaluate { facts = [ … ]; }`.
    evaluate = settings: import ../. ({ inherit lib; } // settings);
  };
  testsOf =
    file:
    let
      function = import file;
      tests = function (builtins.intersectAttrs (builtins.functionArgs function) arguments);
      folder = baseNameOf (dirOf file);
    in
    if lib.isList tests then
      tests
    else
      lib.mapAttrsToList (name: test: test // { name = "${folder}: ${name}"; }) tests;

  all = lib.concatMap testsOf files;
  run = lib.filter (test: !(test ? notRun)) all;
in
{
  count = lib.length run;
  failures = map (test: { inherit (test) expected expr name; }) (
    lib.filter (test: test.expr != test.expected) run
  );
  notRun = map (test: "${test.name}: ${test.notRun}") (lib.filter (test: test ? notRun) all);
}
