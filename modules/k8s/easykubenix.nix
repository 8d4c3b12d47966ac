# Native objects through easykubenix: one evaluation a stage, of which only `kubernetes.generated` is used.
# Everything else of it renders during evaluation, or applies an order of its own.
{
  # The source of easykubenix, a plain path.
  source,
  pkgs,
}:
objects:
(import source {
  inherit pkgs;
  modules = [ { kubernetes = { inherit objects; }; } ];
}).eval.config.kubernetes.generated
