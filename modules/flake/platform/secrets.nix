# Age recipients, the identities that operators hold, and every secret that must exist. Names and places only, never a value.
{ lib, ... }:
let
  inherit (lib) mkOption types;

  keySource = types.submodule {
    options = {
      kind = mkOption {
        type = types.enum [
          "generated"
          "asked"
          "step-ca-root-key"
          "step-ca-intermediate-key"
          "ssh-key"
          "age-identity"
        ];
        description = "How the value comes to be.";
      };
      variable = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "Environment variable that may hold the value when it is asked for.";
        example = "HCLOUD_TOKEN";
      };
      description = mkOption {
        type = types.str;
        description = "What a person is told when asked.";
      };
    };
  };

  required = types.submodule {
    options = {
      id = mkOption {
        type = types.strMatching "[a-z0-9-]+";
        description = "Name that `secrets set` takes, unique.";
      };
      clusters = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Clusters whose stage needs it; empty for a host secret.";
      };
      file = mkOption {
        type = types.str;
        description = "Encrypted file, relative to the checkout's root.";
      };
      namespace = mkOption {
        type = types.str;
        default = "";
        description = "Namespace of the Secret; empty for a host secret.";
      };
      name = mkOption {
        type = types.str;
        description = "Name of the Secret.";
      };
      keys = mkOption {
        type = types.attrsOf keySource;
        description = "Keys inside the Secret and where their values come from.";
      };
      labels = mkOption {
        type = types.attrsOf types.str;
        default = { };
        description = "Labels that the Secret carries.";
      };
      consumers = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Workloads (`kind/namespace/name`) that read it.";
      };
    };
  };
in
{
  options.secrets = {
    recipients = mkOption {
      type = types.attrsOf (types.strMatching "age1[a-z0-9]{58}");
      default = { };
      description = "Age recipients by the name that rules and rotations use.";
    };
    operatorIdentities = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Recipient whose identity the operator of a cluster holds, by cluster.";
    };
    required = mkOption {
      type = types.listOf required;
      default = [ ];
      description = "Every secret that must exist.";
    };
  };
}
