//! Secrets: rules of `.sops.yaml`, encrypted files, identities, the local certificate authority.
//! No value is ever printed, logged, journalled or put into an argument; sops and age do all cryptography of files.

pub mod check;
pub mod document;
pub mod edit;
pub mod file;
pub mod identity;
pub mod init;
pub mod list;
pub mod operator_key;
pub mod pki;
pub mod rotate;
pub mod rules;
pub mod scan;
pub mod set;
pub mod sops;
pub mod ssh;
pub mod token;
pub mod value;

/// The file whose rules choose the recipients of an encrypted file.
pub const RULES: &str = ".sops.yaml";

/// Folder of all encrypted files.
pub const FOLDER: &str = "k8s/secrets";

/// Name of the component, of the namespace and of the Deployment that decrypts SopsSecrets inside a cluster.
pub const OPERATOR: &str = "sops-secrets-operator";

/// The Secret, as the operator mounts it.
pub const SECRET: &str = "sops-age-key-file";

/// The key inside the Secret.
pub const KEY: &str = "key";

/// Annotation of a Secret whose key was exchanged and whose operator still has the old one.
pub const PENDING: &str = "vanixiets.dev/restart-operator";
