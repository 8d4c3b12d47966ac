# Output `stages.<cluster>-<stage>`: what a stage consists of, as plain data that needs no build.
_:
{ evaluated, lib, ... }:
{
  config.flake.stages = lib.mapAttrs (_: stage: stage.spec.stage) evaluated.stages;
}
