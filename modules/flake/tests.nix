# flake.lock is consistent with flake.nix where Nix itself does not notice before it evaluates, and old versions of Nix can read it.
{ lib }:
let
  inherit (import ../../flake.nix) inputs;
  lock = lib.importJSON ../../flake.lock;
  nodeOf = name: lock.nodes.${lock.nodes.root.inputs.${name}};

  # `github:owner/repo[/ref or rev]` as the lock's `original` says it.
  parsed =
    url:
    let
      parts = lib.splitString "/" (lib.removePrefix "github:" url);
      last = lib.elemAt parts 2;
    in
    {
      type = "github";
      owner = lib.elemAt parts 0;
      repo = lib.elemAt parts 1;
    }
    // lib.optionalAttrs (lib.length parts == 3) (
      if builtins.match "[0-9a-f]{40}" last != null then { rev = last; } else { ref = last; }
    );

  follows = lib.mapAttrs (
    _: input: lib.mapAttrs (_: inner: lib.splitString "/" inner.follows) (input.inputs or { })
  );
  locked = lib.filterAttrs (name: _: name != "root") lock.nodes;
  reachable =
    let
      from =
        name:
        [ name ]
        ++ lib.concatMap from (lib.filter lib.isString (lib.attrValues (lock.nodes.${name}.inputs or { })));
    in
    lib.unique (from "root");
in
[
  {
    name = "the lock has the inputs of the flake, and nothing else";
    expr = {
      inputs = lib.attrNames lock.nodes.root.inputs;
      nodes = lib.attrNames lock.nodes;
    };
    expected = {
      inputs = lib.attrNames inputs;
      nodes = lib.sort lib.lessThan reachable;
    };
  }
  {
    name = "the lock's inputs are those that the flake names";
    expr = lib.mapAttrs (name: _: (nodeOf name).original) inputs;
    expected = lib.mapAttrs (_: input: parsed input.url) inputs;
  }
  {
    name = "what is no flake for the flake is none for the lock";
    expr = lib.mapAttrs (name: _: (nodeOf name).flake or true) inputs;
    expected = lib.mapAttrs (_: input: input.flake or true) inputs;
  }
  {
    name = "what follows in the flake follows in the lock";
    expr = lib.mapAttrs (name: _: lib.filterAttrs (_: lib.isList) ((nodeOf name).inputs or { })) inputs;
    expected = follows inputs;
  }
  {
    name = "every node is pinned by a hash, and a repository by a commit";
    expr = lib.attrNames (
      lib.filterAttrs (
        _: node:
        builtins.match "sha256-[A-Za-z0-9+/]{43}=" node.locked.narHash == null
        || node.locked.type == "github" && builtins.match "[0-9a-f]{40}" node.locked.rev == null
      ) locked
    );
    expected = [ ];
  }
  {
    name = "a tarball has neither lastModified nor rev, which Nix 2.8 refuses";
    expr = lib.attrNames (
      lib.filterAttrs (
        _: node: node.locked.type == "tarball" && (node.locked ? lastModified || node.locked ? rev)
      ) locked
    );
    expected = [ ];
  }
]
