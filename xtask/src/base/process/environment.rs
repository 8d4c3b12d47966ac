//! The environment a child gets: of ours, what is listed for it. What is not listed could change what it does behind our
//! back, or be a token that is not for it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Names of further variables for every child, with commas between them: for a host whose tools need one that is not
/// listed.
pub(crate) const PASS: &str = "XTASK_PASS_ENV";

/// What every child gets, where it is set: who runs it, where programs are, language, terminal, and the way out.
/// A pattern is a name, or the beginning of one with `*` after it.
const FOR_ALL: [&str; 31] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LOCALE_ARCHIVE",
    "TZ",
    "TZDIR",
    "TERM",
    "TERMINFO",
    "TERMINFO_DIRS",
    "NO_COLOR",
    "XDG_RUNTIME_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NIX_SSL_CERT_FILE",
    // How much of the host Go's programs take.
    "GOMAXPROCS",
    "GOMEMLIMIT",
    // Where a program that was built for another loader finds its own, on NixOS.
    "NIX_LD*",
];

/// The list of a child that is to have all but what [`is_kept`] leaves out: xtask itself, what builds it, and a
/// program of the person's own choice.
pub(crate) const EVERYTHING: &[&str] = &["*"];

/// Prefixes of variables that no child inherits: cargo's own, and every setting of a wrapped tool.
const SCRUBBED_PREFIXES: [&str; 13] = [
    "ETCD_",
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

/// The environment of a child that needs these variables beside those of all. Entries that are not UTF-8 are left
/// out: no wrapped tool needs one.
pub(crate) fn of(needs: &[&str]) -> BTreeMap<String, String> {
    listed(&std::env::vars_os().collect(), needs)
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The same, from an environment that is handed in.
pub(crate) fn listed(ours: &BTreeMap<OsString, OsString>, needs: &[&str]) -> BTreeMap<OsString, OsString> {
    let passed = ours.get(OsStr::new(PASS)).and_then(|names| names.to_str());
    let passed: Vec<&str> = passed.unwrap_or_default().split(',').map(str::trim).collect();
    let mut kept: BTreeMap<OsString, OsString> = ours
        .iter()
        .filter(|(name, _)| {
            name.to_str().is_some_and(|name| {
                is_kept(name) && (matches_any(name, &FOR_ALL) || matches_any(name, needs) || passed.contains(&name))
            })
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in crate::base::offline::variables() {
        kept.insert(name.into(), value.into());
    }
    kept
}

fn matches_any(name: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *pattern,
    })
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
            "ETCD_LISTEN_METRICS_URLS",
        ] {
            assert!(!is_kept(name), "{name} is kept");
        }
        for name in ["PATH", "HOME", "HTTPS_PROXY", "LANG", "CARGO_HOME", "GOPROXY"] {
            assert!(is_kept(name), "{name} is dropped");
        }
    }

    #[test]
    fn a_child_gets_what_is_listed_for_it_and_a_token_never() {
        let ours: BTreeMap<OsString, OsString> = [
            ("PATH", "/bin"),
            ("LC_TIME", "C"),
            ("NIX_PATH", "nixpkgs=/n"),
            ("AWS_SECRET_ACCESS_KEY", "canary"),
            ("SOPS_AGE_KEY", "canary"),
            ("ODD", "of this host"),
            (PASS, "ODD, SOPS_AGE_KEY"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        let names = |needs: &[&str]| -> Vec<String> {
            listed(&ours, needs)
                .into_keys()
                .map(|name| name.into_string().unwrap())
                .collect()
        };
        assert_eq!(names(&[]), ["LC_TIME", "ODD", "PATH"]);
        assert_eq!(names(&["NIX_*"]), ["LC_TIME", "NIX_PATH", "ODD", "PATH"]);
        assert!(names(EVERYTHING).contains(&"AWS_SECRET_ACCESS_KEY".to_owned()));
        assert!(!names(EVERYTHING).contains(&"SOPS_AGE_KEY".to_owned()));
    }
}
