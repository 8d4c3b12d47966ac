# What is this flake's alone and not the plugin's: the template of a consumer.
{
  flake.templates.default = {
    path = ../../templates/default;
    description = "A platform of your own on this plugin";
  };
}
