# docs/options.md as text: the options of the facts, those that every component shares, and those of each component.
{
  lib,
  # `options` of the facts' evaluation.
  facts,
  # `options` of a stage's evaluation; every component is in it, on or not.
  stage,
}:
let
  # A value that Markdown shows: what the option says of it, else the value itself.
  shown =
    value:
    if value._type or "" == "literalMD" then
      value.text
    else
      let
        text = if value ? text then value.text else lib.generators.toPretty { } value;
      in
      if lib.hasInfix "\n" text then "\n\n```nix\n${lib.removeSuffix "\n" text}\n```" else "`${text}`";

  text = value: lib.removeSuffix "\n" (if lib.isAttrs value then value.text else value);

  entry =
    prefix: option:
    lib.concatStrings [
      "### `${lib.removePrefix prefix option.name}`\n\n"
      "${text (option.description or "")}\n\n"
      "- Type: ${option.type}\n"
      (lib.optionalString (option ? default) "- Default: ${shown option.default}\n")
      (lib.optionalString (option ? example) "- Example: ${shown option.example}\n")
      "\n"
    ];

  listOf =
    options:
    lib.filter (option: option.visible && !option.internal && !(lib.hasInfix "_module" option.name)) (
      lib.optionAttrSetToDocList options
    );
  section = prefix: lib.concatMapStrings (entry prefix);

  components = lib.attrNames stage.components;
  optionsOf = name: listOf { components.${name} = stage.components.${name}; };
  relative = name: option: lib.removePrefix "components.${name}." option.name;

  # A component has nothing to it but what all share, when its own options are left out.
  sharedNames = map (relative "namespaces") (
    lib.filter (
      option:
      !(lib.any (own: relative "namespaces" option == own) [
        "builtIn"
        "labels"
      ])
    ) (optionsOf "namespaces")
  );
  isShared =
    name: option: option.name == "components.${name}" || lib.elem (relative name option) sharedNames;
  shared = lib.filter (
    option:
    lib.elem (relative "namespaces" option) sharedNames && option.name != "components.namespaces"
  ) (optionsOf "namespaces");
in
''
  <!-- Generated: nix-instantiate --eval --strict --json modules -I nixpkgs=DIR -A optionsDoc | jq -j . > docs/options.md -->

  # Options

  A consumer's flake sets `platform` to these; `modules/platform.nix` is ours, `templates/default/platform.nix` a short one.

  ## Facts

  ${section "" (listOf facts)}## Every component

  A cluster's `components.<component>` takes these for each component.
  Names between angle brackets are chosen freely.

  ${section "components.namespaces." shared}${
    lib.concatMapStrings (
      name:
      let
        own = lib.filter (option: !isShared name option) (optionsOf name);
      in
      lib.optionalString (own != [ ]) "## Component `${name}`\n\n${section "components.${name}." own}"
    ) components
  }''
