//! The environment a child gets: ours, less everything that could change what it does behind our back.

use std::collections::BTreeMap;

/// Prefixes of variables that no child inherits: cargo's own, and every setting of a wrapped tool.
const SCRUBBED_PREFIXES: [&str; 12] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_CFG_",
    "KLUCTL_",
    "KUBE",
    "KWOK_",
    "HELM_",
    "SOPS_",
    "COLIMA_",
    "LIMA_",
    "CLUSTERCTL_",
    "TF_VAR_",
];

/// Single variables that no child inherits. Tokens reach a child only when its command names them.
const SCRUBBED: [&str; 13] = [
    // A hook of Git's that starts us must not lead our own calls of Git elsewhere.
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "RUSTUP_TOOLCHAIN",
    "XTASK_ROOT",
    "HCLOUD_TOKEN",
    "CF_API_TOKEN",
    "CLOUDFLARE_API_TOKEN",
    "AGE_KEY",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "EXP_CLUSTER_RESOURCE_SET",
    // kluctl brings a Python of its own, which starts four times as slowly where it may not keep its bytecode.
    "PYTHONDONTWRITEBYTECODE",
];

/// The scrubbed environment of a child. Entries that are not UTF-8 are left out: no wrapped tool needs one.
pub(crate) fn scrubbed() -> BTreeMap<String, String> {
    let mut kept: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| is_kept(name))
        .collect();
    for (name, value) in crate::base::offline::variables() {
        kept.insert(name.to_owned(), value);
    }
    kept
}

fn is_kept(name: &str) -> bool {
    !SCRUBBED.contains(&name) && !SCRUBBED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_setting_of_a_wrapped_tool_never_reaches_it() {
        for name in [
            "KLUCTL_TARGET",
            "KUBECONFIG",
            "KUBERC",
            "SOPS_AGE_KEY",
            "HCLOUD_TOKEN",
            "CARGO_PKG_NAME",
            "PYTHONDONTWRITEBYTECODE",
            "HELM_DRIVER",
            "HELM_NAMESPACE",
            "TF_VAR_hcloud_token",
            "GH_TOKEN",
            "GITHUB_TOKEN",
            "CLOUDFLARE_API_TOKEN",
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "CLUSTERCTL_REPOSITORY_PATH",
            "COLIMA_HOME",
            "LIMA_HOME",
            "KWOK_WORKDIR",
            "XTASK_ROOT",
        ] {
            assert!(!is_kept(name), "{name} is kept");
        }
        for name in ["PATH", "HOME", "HTTPS_PROXY", "LANG", "CARGO_HOME", "GOPROXY"] {
            assert!(is_kept(name), "{name} is dropped");
        }
    }
}
