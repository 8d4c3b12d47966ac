//! The canary sweep: every verb runs with canaries in every secret input, and nothing that any of them said, wrote or
//! started holds one, in any form.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;

use super::*;
use cluster::{forms, stage_with_secret};
use support::{XTASK, program};

/// Runs of verbs, by their names, in order. Most end well on a checkout with an embedded cluster; those that need what is
/// not here have to say so without a canary too. Of a verb that is not here, the examples of its help are run, last.
const RUNS: &[(&str, &[&[&str]])] = &[
    ("secrets init", &[&["secrets", "init"]]),
    (
        "secrets check",
        &[
            &["secrets", "check"],
            &["secrets", "check", "--json", "--cluster=hetzner"],
            &["secrets", "check", "--source=k8s/golden/k3s-dev/local"],
        ],
    ),
    ("secrets list", &[&["secrets", "list"], &["secrets", "list", "--json"]]),
    (
        "secrets edit",
        &[
            // The first saves what is no YAML, see `editor`.
            &["secrets", "edit", "argocd-redis-local"],
            &["secrets", "edit", "argocd-redis-local"],
            &["secrets", "edit", "k8s/secrets/local/none.enc.yaml"],
        ],
    ),
    (
        "secrets set",
        &[
            &["secrets", "set", "hetzner"],
            &["secrets", "set", "cert-manager-cloudflare"],
            &["secrets", "set", "tofu-cloudflare"],
            &["secrets", "set", "tofu-state-passphrase", "--regenerate"],
            &["secrets", "set", "step-ca-keys", "--regenerate"],
            &["secrets", "set", "kube-control-age-key", "--regenerate"],
        ],
    ),
    (
        "secrets new",
        &[&["secrets", "new", "k8s/secrets/nowhere/a.enc.yaml", "--key=k"]],
    ),
    (
        "secrets rotate",
        &[
            &["secrets", "rotate", "--data-key"],
            &["secrets", "rotate", "--sync"],
            &["secrets", "rotate", "--remove=admin"],
        ],
    ),
    (
        "secrets resync",
        &[
            &["secrets", "resync", "argocd-redis-local", "--cluster=k3s-dev"],
            &[
                "secrets",
                "resync",
                "argocd-redis-production",
                "--cluster=hetzner",
                "--dry-run=json",
            ],
        ],
    ),
    (
        "local-up",
        &[
            &["local-up", "--dry-run"],
            &["local-up", "--dry-run=json"],
            &["local-up", "--dry-run=shell"],
            &["local-up"],
            &["local-up"],
        ],
    ),
    ("local-status", &[&["local-status"], &["local-status", "--json"]]),
    ("rehearse", &[&["rehearse", "--stage=local", "--cluster=k3s-dev"]]),
    ("build", &[&["build", "--stage=local"]]),
    ("render", &[&["render"]]),
    (
        "deploy",
        &[
            &["deploy", "--stage=local", "--save-plan=plan.saved.json"],
            &["deploy", "--stage=local", "--plan=plan.saved.json"],
            &["deploy", "--stage=local"],
            &["deploy", "--stage=full", "--cluster=hetzner", "--dry-run=json"],
            &["deploy", "--stage=full", "--cluster=hetzner", "--yes"],
        ],
    ),
    (
        "diff",
        &[&["diff", "--stage=local"], &["diff", "--stage=local", "--json"]],
    ),
    ("drift", &[&["drift"], &["drift", "--stage=local", "--json"]]),
    ("prune", &[&["prune", "--stage=local"]]),
    ("rollback", &[&["rollback", "--stage=local"]]),
    ("history", &[&["history", "--stage=local", "--json"]]),
    ("adopt", &[&["adopt", "--cluster=k3s-dev"]]),
    ("unlock", &[&["unlock", "--cluster=k3s-dev", "--id=000000000000"]]),
    ("image build", &[&["image", "build"]]),
    ("image use", &[&["image", "use", "none.qcow2"]]),
    ("image switch", &[&["image", "switch"]]),
    ("image load", &[&["image", "load", "none.tar"]]),
    ("ssh", &[&["ssh", "--", "true"]]),
    ("trust install", &[&["trust", "install", "--dry-run"]]),
    ("trust remove", &[&["trust", "remove", "--dry-run"]]),
    (
        "kubectl",
        &[&["kubectl", "--", "get", "sopssecrets", "-A", "-o", "yaml"]],
    ),
    ("env", &[&["env"], &["env", "--json"]]),
    (
        "golden check",
        &[&["golden", "check"], &["golden", "check", "--alone", "--json"]],
    ),
    ("golden diff", &[&["golden", "diff"]]),
    ("golden bless", &[&["golden", "bless"]]),
    (
        "golden list",
        &[
            &["golden", "list"],
            &["golden", "list", "--json"],
            &["golden", "list", "--images", "--json"],
        ],
    ),
    ("golden validate", &[&["golden", "validate", "--dry-run=json"]]),
    ("tools list", &[&["tools", "list", "--json"]]),
    ("tools build", &[&["tools", "build", "age"]]),
    ("tools path", &[&["tools", "path", "sops"]]),
    ("doctor", &[&["doctor"], &["doctor", "--json"]]),
    ("generate", &[&["generate", "--check"]]),
    ("ci", &[&["ci", "--list"]]),
    (
        "capi bootstrap",
        &[
            &["capi", "bootstrap", "--dry-run=json"],
            &["capi", "bootstrap", "--yes"],
        ],
    ),
    ("capi init", &[&["capi", "init", "--yes"]]),
    (
        "capi apply",
        &[&["capi", "apply", "--dry-run=shell"], &["capi", "apply", "--yes"]],
    ),
    ("capi wait", &[&["capi", "wait", "--yes"]]),
    (
        "capi dns",
        &[&["capi", "dns", "--dry-run=json"], &["capi", "dns", "--yes"]],
    ),
    ("capi kubeconfig", &[&["capi", "kubeconfig", "--yes"]]),
    ("capi move", &[&["capi", "move", "--yes"]]),
    ("capi down", &[&["capi", "down", "--yes"]]),
    ("capi rehearse", &[&["capi", "rehearse", "--dry-run=json"]]),
    ("capi status", &[&["capi", "status"], &["capi", "status", "--json"]]),
    ("local-down", &[&["local-down"]]),
    ("clean", &[&["clean"], &["clean", "--json"]]),
];

/// Values that nothing may hold; each has characters that JSON, URLs and shells write otherwise.
const TYPED: &str = "typed-canary/\"of+the&test=<1234567890>";
const EDITED: &str = "edited-canary/of+the&test=<0123456789>";
const HCLOUD: &str = "hcloud-canary/of+the&test=<9876543210>";
const CLOUDFLARE: &str = "cloudflare-canary/of+the&test=<5432109876>";

/// Codes that the command line documents, less that of a bug.
const CODES: [i32; 9] = [0, 2, 3, 4, 5, 6, 7, 8, 10];

#[test]
fn no_verb_says_writes_or_starts_anything_that_holds_a_secret() {
    let mut verbs = BTreeMap::new();
    leaves(&xtask::cli::Cli::command(), &mut Vec::new(), &mut verbs);
    let mut runs: Vec<(String, Vec<Vec<String>>)> = Vec::new();
    let mut to_print = BTreeSet::new();
    for (verb, of_verb) in RUNS {
        let command = verbs.remove(*verb).unwrap_or_else(|| panic!("`{verb}` is no verb"));
        let of_verb: Vec<Vec<String>> = of_verb.iter().map(|run| words(run)).collect();
        let json = command.get_arguments().any(|argument| argument.get_id() == "json");
        assert!(
            !json || of_verb.iter().any(|run| run.iter().any(|word| word == "--json")),
            "`{verb}` never prints JSON here"
        );
        if json {
            to_print.insert((*verb).to_owned());
        }
        runs.push(((*verb).to_owned(), of_verb));
    }
    runs.extend(verbs.into_iter().map(|(verb, command)| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().filter_map(|line| line.strip_prefix("  cargo xtask "));
        (verb, examples.map(|line| shell_words::split(line).unwrap()).collect())
    }));

    let mut checkout = taken_over();
    let identities = fs_err::read_to_string(keys(&checkout)).unwrap();
    let mut canaries: Vec<&str> = vec![TYPED, EDITED, HCLOUD, CLOUDFLARE];
    canaries.extend(identities.lines().filter(|line| line.starts_with("AGE-SECRET-KEY-")));
    assert_eq!(canaries.len(), 7, "dev, admin and ci were made");

    let calls = checkout.base().join("calls");
    for tool in ["sops", "age-keygen", "kubectl", "kluctl"] {
        let path = checkout.ok(&["tools", "path", tool]).stdout.trim().to_owned();
        let wrapper = checkout.base().join("bin").join(tool);
        write(
            &wrapper,
            &format!("#!/bin/sh\nprintf '%s\\n' \"{tool} $*\" >>'{calls}'\nexec '{path}' \"$@\"\n"),
        );
        fs_err::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let variable = format!("XTASK_{}", tool.replace('-', "_").to_uppercase());
        checkout.variables.insert(variable, wrapper.into_string());
    }
    let edited = EDITED.replace('&', "\\&");
    let editor = editor(
        &checkout,
        &format!(
            "once='{base}/edited'\nif [ -e \"$once\" ]; then sed -i 's|auth: .*|auth: {edited}|' \"$1\"; else touch \"$once\"; echo 'a: [{EDITED}' >\"$1\"; fi",
            base = checkout.base()
        ),
    );
    let temporary = checkout.base().join("tmp");
    fs_err::create_dir_all(&temporary).unwrap();
    for (name, value) in [
        ("EDITOR", editor.as_str()),
        ("TMPDIR", temporary.as_str()),
        ("SOPS_AGE_KEY", identities.as_str()),
        ("HCLOUD_TOKEN", &format!("{HCLOUD}\n")),
        ("CLOUDFLARE_API_TOKEN", &format!("{CLOUDFLARE}\r\n")),
    ] {
        checkout.variables.insert(name.into(), value.into());
    }

    let mut said = Vec::new();
    let mut keep = |ran: &Ran, arguments: &[&str]| {
        let code = ran.code.unwrap_or(-1);
        assert!(
            CODES.contains(&code) && !ran.stderr.contains("panicked"),
            "{arguments:?}: {ran}"
        );
        said.push((arguments.join(" "), format!("{}\n{}", ran.stdout, ran.stderr)));
        code
    };
    let stdin: [(&[&str], &str, i32); 4] = [
        (&["secrets", "set", "argocd-redis-local", "--stdin"], TYPED, 0),
        (
            &["secrets", "set", "argocd-redis-local", "--stdin"],
            &format!("{TYPED}\n{TYPED}\n"),
            2,
        ),
        (&["secrets", "set", "kube-control-age-key", "--stdin"], TYPED, 5),
        (
            &[
                "secrets",
                "new",
                "k8s/secrets/local/extra.enc.yaml",
                "--namespace=argocd",
                "--name=extra",
                "--key=a",
                "--stdin",
            ],
            TYPED,
            0,
        ),
    ];
    for (arguments, input, code) in stdin {
        let ran = fed(&checkout, arguments, input);
        assert_eq!(keep(&ran, arguments), code, "{arguments:?}: {ran}");
    }
    let mut codes = BTreeMap::new();
    let mut printing = BTreeSet::new();
    for (verb, runs) in &runs {
        if verb == "local-up" {
            // What the cluster gets is what the secrets are by now.
            stage_with_secret(&checkout);
        }
        for arguments in runs {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let ran = checkout.run(&arguments);
            let json = arguments
                .iter()
                .any(|word| matches!(*word, "--json" | "--dry-run=json"));
            if json && !ran.stdout.is_empty() {
                let printed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
                assert!(
                    printed["schema"].is_u64(),
                    "what `{arguments:?}` prints has no schema: {ran}"
                );
                printing.insert(verb.clone());
            }
            codes
                .entry(keep(&ran, &arguments))
                .or_insert_with(Vec::new)
                .push(arguments.join(" "));
        }
    }
    let silent: Vec<&String> = to_print.difference(&printing).collect();
    assert!(
        silent.is_empty(),
        "no run of these printed the JSON that it was to print: {silent:?}"
    );
    let well = codes.get(&0).unwrap();
    for verb in [
        "secrets edit",
        "secrets set hetzner",
        "secrets rotate",
        "local-up",
        "deploy --stage=local --plan",
        "diff",
        "history",
        "kubectl",
        "golden list",
    ] {
        assert!(
            well.iter().any(|run| run.starts_with(verb)),
            "`{verb}` never ended well: {codes:#?}"
        );
    }

    let mut artefacts: Vec<(String, Vec<u8>)> = said
        .into_iter()
        .map(|(run, text)| (format!("what `{run}` said"), text.into_bytes()))
        .collect();
    let mut folders = vec![checkout.base()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            let path = entry.into_path();
            let kind = fs_err::symlink_metadata(&path).unwrap();
            // A cluster's own store holds its Secrets, and the file of keys its keys.
            let meant = path.ends_with("etcd") || path == keys(&checkout) || path == checkout.base().join("editor");
            if kind.is_dir() && !meant {
                folders.push(path);
            } else if kind.is_file() && !meant {
                artefacts.push((path.to_string(), fs_err::read(&path).unwrap()));
            }
        }
    }
    let calls = fs_err::read_to_string(calls).unwrap();
    for tool in ["sops", "age-keygen", "kubectl", "kluctl"] {
        assert!(
            calls.lines().any(|call| call.starts_with(tool)),
            "{tool} was never called"
        );
    }
    for part in ["plan.json", "journal.jsonl", ".log", "plan.saved.json", "stage.json"] {
        assert!(
            artefacts.iter().any(|(place, _)| place.ends_with(part)),
            "no {part} was looked at"
        );
    }
    for canary in &canaries {
        for form in forms(canary) {
            for (place, bytes) in &artefacts {
                assert!(
                    !String::from_utf8_lossy(bytes).contains(&form),
                    "{place} holds {}… as {form:.12}…",
                    &canary[..12]
                );
            }
        }
    }
}

#[test]
fn nothing_that_is_started_leaves_a_core_file() {
    let mut checkout = taken_over();
    let seen = checkout.base().join("limit");
    let editor = editor(&checkout, &format!("ulimit -c >'{seen}'"));
    checkout.variables.insert("EDITOR".into(), editor);
    let script = format!("ulimit -c unlimited && exec '{XTASK}' secrets edit argocd-redis-local");
    let mut shell = checkout.command(&[]);
    let environment: Vec<_> = shell
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
        .collect();
    shell = program("/bin/sh");
    shell.args(["-c", &script]).current_dir(&checkout.root).env_clear();
    for (name, value) in environment {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let ran = support::finish(
        shell
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap(),
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(fs_err::read_to_string(seen).unwrap().trim(), "0");
}

fn words(run: &[&str]) -> Vec<String> {
    run.iter().map(ToString::to_string).collect()
}

/// Every verb of the command line, by its name with its parents'. The hidden ones are what plans and sops ask: they are
/// in the runs of others.
fn leaves(command: &clap::Command, above: &mut Vec<String>, into: &mut BTreeMap<String, clap::Command>) {
    if !command.has_subcommands() {
        into.insert(above.join(" "), command.clone());
    }
    for verb in xtask::cli::shown(command) {
        above.push(verb.get_name().to_owned());
        leaves(verb, above, into);
        above.pop();
    }
}
