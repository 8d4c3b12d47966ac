//! Files: made, checked, set, edited, rotated.

use std::os::unix::fs::PermissionsExt;

use super::*;

const REDIS: &str = "k8s/secrets/local/argocd-redis.enc.yaml";
const AUTH: &str = "/spec/secretTemplates/0/stringData/auth";

#[test]
fn a_newcomer_gets_an_identity_and_is_told_both_ways_before_anything_is_replaced() {
    let checkout = Checkout::tiny();
    let before = contents(&checkout.root);
    let ran = checkout.run(&["secrets", "init"]);
    assert_eq!(ran.code, Some(8), "{ran}");
    assert!(
        ran.stderr.contains("--take-over") && ran.stderr.contains("secrets rotate --add"),
        "{ran}"
    );
    assert_eq!(before, contents(&checkout.root));
    let mode = fs_err::metadata(keys(&checkout)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let own = identity(&checkout, None);
    assert!(!ran.stderr.contains(&own));

    checkout.ok(&["secrets", "init", "--take-over"]);
    checkout.ok(&["secrets", "check"]);
    // The identity that was there stands for local clusters, and is not made again.
    assert_eq!(own, identity(&checkout, None));
    assert!(decrypted(&checkout, REDIS, &own).is_some());
    assert!(
        decrypted(&checkout, "k8s/secrets/production/argocd-redis.enc.yaml", &own).is_none(),
        "dev reads production"
    );
    let ci = identity(&checkout, Some("ci"));
    for file in [
        REDIS,
        "k8s/secrets/production/argocd-redis.enc.yaml",
        "k8s/secrets/hosts/kube-control/k3s-token.enc.yaml",
    ] {
        assert!(decrypted(&checkout, file, &ci).is_some(), "ci cannot read {file}");
    }
    let made = contents(&checkout.root);
    let again = checkout.ok(&["secrets", "init"]);
    assert!(
        again.stderr.contains("every secret that can be made is there"),
        "{again}"
    );
    assert_eq!(made, contents(&checkout.root));
}

#[test]
fn a_taking_over_that_was_killed_behind_its_marker_is_complete_for_whatever_runs_next() {
    let checkout = taken_over();
    let made = contents(&checkout.root);
    // As it was when the marker was written: every file old, and all that is new beside it.
    let folder = checkout.root.join(".xtask/secrets/transaction");
    let (mut writes, mut removes) = (Vec::new(), Vec::new());
    let old = Checkout::tiny();
    write(
        &old.root.join("modules/platform.nix"),
        &fs_err::read_to_string(repository().join("modules/platform.nix")).unwrap(),
    );
    for (path, content) in contents(&old.root) {
        let path = path.strip_prefix(&old.root).unwrap();
        let own = checkout.root.join(path);
        match made.get(&own) {
            None => removes.push(path.to_owned()),
            Some(new) if *new != content => {
                write(&folder.join("new").join(path), std::str::from_utf8(new).unwrap());
                writes.push(path.to_owned());
            }
            Some(_) => continue,
        }
        write(&own, std::str::from_utf8(&content).unwrap());
    }
    for path in made.keys() {
        let path = path.strip_prefix(&checkout.root).unwrap();
        if !old.root.join(path).exists() {
            let new = fs_err::read_to_string(checkout.root.join(path)).unwrap();
            write(&folder.join("new").join(path), &new);
            writes.push(path.to_owned());
            fs_err::remove_file(checkout.root.join(path)).unwrap();
        }
    }
    assert!(writes.iter().any(|path| path == "platform.json"), "{writes:?}");
    let marker = serde_json::json!({"write": writes, "remove": removes});
    write(&folder.join("commit.json"), &marker.to_string());
    // What a killed write leaves is no file of the secrets.
    write(&checkout.root.join(".xtask/parts/8388607-0"), "half");
    let ran = checkout.ok(&["secrets", "init"]);
    assert!(ran.stderr.contains("it is complete now"), "{ran}");
    assert_eq!(made, contents(&checkout.root));
    checkout.ok(&["secrets", "check"]);
    assert!(!checkout.root.join(".xtask/parts/8388607-0").exists());
}

#[test]
fn identities_are_never_kept_inside_the_checkout() {
    let mut checkout = Checkout::tiny();
    checkout
        .variables
        .insert("SOPS_AGE_KEY_FILE".into(), checkout.root.join("keys.txt").into_string());
    let ran = checkout.run(&["secrets", "init"]);
    assert_eq!(ran.code, Some(8), "{ran}");
    assert!(!checkout.root.join("keys.txt").exists());
}

#[test]
fn check_finds_every_problem_at_once_and_names_what_mends_it() {
    let checkout = taken_over();
    let at = |path: &str| checkout.root.join(path);
    let text = |path: &str| fs_err::read_to_string(at(path)).unwrap();
    // Production encrypted to the developer.
    let local = text(REDIS);
    fs_err::write(at("k8s/secrets/production/argocd-redis.enc.yaml"), &local).unwrap();
    // A value in clear, an empty one, no code.
    let token = text("k8s/secrets/hosts/kube-control/k3s-token.enc.yaml");
    let token: String = token.lines().map(|line| if line.starts_with("token:") { "token: open".into() } else { line.to_owned() } + "\n").collect();
    fs_err::write(at("k8s/secrets/hosts/kube-control/k3s-token.enc.yaml"), token).unwrap();
    let passphrase = text("k8s/secrets/hosts/kube-control/tofu-state-passphrase.enc.yaml");
    let passphrase: String = passphrase
        .lines()
        .filter(|line| !line.contains("mac: "))
        .map(|line| if line.starts_with("passphrase:") { "passphrase: \"\"".into() } else { line.to_owned() } + "\n")
        .collect();
    fs_err::write(
        at("k8s/secrets/hosts/kube-control/tofu-state-passphrase.enc.yaml"),
        passphrase,
    )
    .unwrap();
    // Encrypted to nobody, and a threshold that no group can meet.
    let change = |path: &str, key: &str, value: serde_json::Value| {
        let mut document = xtask::base::formats::yaml::read_one(&text(path)).unwrap();
        document["sops"][key] = value;
        fs_err::write(at(path), document.to_string()).unwrap();
    };
    change(
        "k8s/secrets/local/step-ca-ca-password.enc.yaml",
        "age",
        serde_json::json!([]),
    );
    change(
        "k8s/secrets/production/nix-csi-cache-ssh.enc.yaml",
        "shamir_threshold",
        3.into(),
    );
    // Nobody's folder, a plain file, a rule for nothing, a key and a token in plain text, a lone SopsSecret.
    write(&at("k8s/secrets/stray.enc.yaml"), &local);
    write(&at("k8s/secrets/local/plain.enc.yaml"), "a: b\n");
    fs_err::remove_file(at("k8s/secrets/shared/.gitkeep")).unwrap();
    let dashes = "-----";
    write(
        &at("docs/a.md"),
        &format!("{dashes}BEGIN PRIVATE KEY{dashes}\n{}\n", "MHcCAQEE".repeat(8)),
    );
    write(&at("docs/b.env"), &format!("HCLOUD_TOKEN={}\n", "aBzK9xQ2".repeat(8)));
    write(&at("k8s/golden/k3s-dev/local/01-base/80-sopssecret.yaml"), &local);

    let ran = checkout.run(&["secrets", "check"]);
    assert_eq!(ran.code, Some(4), "{ran}");
    for said in [
        "production/[^/]+[.]enc[.]yaml$` (`.sops.yaml:11`) does not name recipients that can read it: dev",
        "step-ca-ca-password.enc.yaml`: has no recipient",
        "nix-csi-cache-ssh.enc.yaml`: demands 3 of 1 key group",
        "`token` is not encrypted",
        "`passphrase` is empty",
        "has no message authentication code",
        "no rule of `.sops.yaml` matches it",
        "is not encrypted: it has no sops metadata",
        "governs no file",
        "`docs/a.md`: line 1 has a private key",
        "`docs/b.env`: line 1 has a token",
        "80-sopssecret.yaml`: stands alone",
    ] {
        assert!(ran.stderr.contains(said), "not said: {said}\n{ran}");
    }
    assert_eq!(
        ran.stderr.matches("\n  - ").count(),
        ran.stderr.matches("\n    mend: ").count(),
        "{ran}"
    );
    assert!(!ran.stderr.contains("aBzK9xQ2"));
}

#[test]
fn a_rules_file_that_is_wrong_is_said_rule_by_rule() {
    let checkout = taken_over();
    let path = checkout.root.join(".sops.yaml");
    let good = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, "creation_rules: [\n").unwrap();
    let ran = checkout.run(&["secrets", "check"]);
    assert_eq!(ran.code, Some(4), "{ran}");
    assert!(ran.stderr.contains("cannot be used: line"), "{ran}");

    // A catch-all before the others takes everything from them.
    let shadowed = good.replacen(
        "creation_rules:\n",
        "creation_rules:\n- age: ssh-ed25519 AAAA\n  path_regex: .*\n  shamir_threshold: 3\n",
        1,
    );
    fs_err::write(&path, shadowed).unwrap();
    let ran = checkout.run(&["secrets", "check"]);
    for said in [
        "matches every path",
        "is never reached",
        "an SSH key",
        "demands 3 of 1 key group",
    ] {
        assert!(ran.stderr.contains(said), "not said: {said}\n{ran}");
    }
}

#[test]
fn a_token_with_a_newline_is_set_without_it_and_a_generated_value_only_when_asked() {
    let checkout = taken_over();
    let ran = fed(
        &checkout,
        &["secrets", "set", "hetzner", "--stdin"],
        "a-token-of-the-test\n",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let admin = identity(&checkout, Some("admin"));
    let file = "k8s/secrets/production/hetzner.enc.yaml";
    let document = decrypted(&checkout, file, &admin).unwrap();
    assert_eq!(
        document.pointer("/spec/secretTemplates/0/stringData/hcloud").unwrap(),
        "a-token-of-the-test"
    );
    assert!(
        document
            .pointer("/spec/secretTemplates/0/labels")
            .unwrap()
            .to_string()
            .contains("clusterctl")
    );
    let ran = fed(&checkout, &["secrets", "set", "hetzner", "--stdin"], "two\nlines\n");
    assert_eq!(ran.code, Some(2), "{ran}");

    let before = decrypted(&checkout, REDIS, &admin).unwrap();
    let ran = checkout.run(&["secrets", "set", "argocd-redis-local"]);
    assert_eq!(ran.code, Some(8), "{ran}");
    let ran = checkout.ok(&["secrets", "set", "argocd-redis-local", "--regenerate"]);
    assert!(ran.stderr.contains("Deployment/argocd/argocd-server"), "{ran}");
    let after = decrypted(&checkout, REDIS, &admin).unwrap();
    assert_ne!(before.pointer(AUTH), after.pointer(AUTH));
    checkout.ok(&["secrets", "check"]);
    assert!(
        checkout
            .run(&["secrets", "set", "argocd-redis-lokal"])
            .stderr
            .contains("did you mean")
    );
}

#[test]
fn tokens_of_a_new_checkout_come_from_standard_input_and_a_linked_file_of_keys_stays_a_link() {
    let checkout = Checkout::tiny();
    write(
        &checkout.root.join("modules/platform.nix"),
        &fs_err::read_to_string(repository().join("modules/platform.nix")).unwrap(),
    );
    let kept = checkout.base().join("dotfiles/keys.txt");
    write(&kept, "# mine\n");
    fs_err::create_dir_all(keys(&checkout).parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&kept, keys(&checkout)).unwrap();

    let before = contents(&checkout.root);
    let ran = fed(
        &checkout,
        &["secrets", "init", "--take-over", "--stdin"],
        "HCLUOD_TOKEN=a-slip-of-the-test\n",
    );
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(
        ran.stderr.contains("line 1") && ran.stderr.contains("HCLOUD_TOKEN"),
        "{ran}"
    );
    assert!(!ran.stderr.contains("a-slip"), "{ran}");
    assert_eq!(before, contents(&checkout.root));

    let tokens =
        "# of the provider\nexport HCLOUD_TOKEN='hcloud-of-the-test'\r\nCLOUDFLARE_API_TOKEN=cloudflare-of-the-test\n";
    let ran = fed(&checkout, &["secrets", "init", "--take-over", "--stdin"], tokens);
    assert_eq!(ran.code, Some(0), "{ran}");
    checkout.ok(&["secrets", "check", "--cluster=hetzner"]);
    let admin = identity(&checkout, Some("admin"));
    let document = decrypted(&checkout, "k8s/secrets/production/hetzner.enc.yaml", &admin).unwrap();
    assert_eq!(
        document.pointer("/spec/secretTemplates/0/stringData/hcloud").unwrap(),
        "hcloud-of-the-test"
    );
    assert!(fs_err::symlink_metadata(keys(&checkout)).unwrap().is_symlink());
    let mode = fs_err::metadata(&kept).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode, fs_err::read_to_string(&kept).unwrap().starts_with("# mine\n")),
        (0o600, true)
    );
}

#[test]
fn a_file_that_the_config_do_not_know_is_made_listed_and_opened() {
    let checkout = taken_over();
    let file = "k8s/secrets/local/extra.enc.yaml";
    let new = [
        "secrets",
        "new",
        file,
        "--namespace=argocd",
        "--name=extra",
        "--key=a",
        "--stdin",
    ];
    let ran = fed(&checkout, &new, "a-value-of-the-test\n");
    assert_eq!(ran.code, Some(0), "{ran}");
    checkout.ok(&["secrets", "check"]);
    let listed = checkout.ok(&["secrets", "list", "--json"]).stdout;
    assert!(!listed.contains("a-value"), "{listed}");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let row = listed["secrets"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["file"] == file)
        .unwrap();
    assert_eq!(
        (&row["id"], &row["encrypted"], &row["days"]),
        (&serde_json::Value::Null, &true.into(), &0.into())
    );
    let readers: Vec<&str> = row["readers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(readers, ["admin", "ci", "dev"]);
    let table = checkout.ok(&["secrets", "list"]).stdout;
    assert!(
        table.contains("(not in the platform config)") && table.contains("not given"),
        "{table}"
    );
    assert_eq!(fed(&checkout, &new, "again\n").code, Some(8));
    let ran = checkout.run(&["secrets", "edit", "argocd-redis-lokal"]);
    assert!(ran.stderr.contains("did you mean `argocd-redis-local`?"), "{ran}");
}

#[test]
fn a_checkout_that_cannot_be_written_is_read_and_not_changed() {
    let checkout = taken_over();
    // Whoever runs this may be root, whom no mode stops; a file in the way stops everybody.
    fs_err::rename(checkout.root.join(".xtask/locks"), checkout.root.join(".xtask/kept")).unwrap();
    write(&checkout.root.join(".xtask/locks"), "");
    let before = contents(&checkout.root);
    for arguments in [
        &["secrets", "rotate", "--data-key"][..],
        &["secrets", "set", "argocd-redis-local", "--regenerate"],
        &["secrets", "init"],
    ] {
        let ran = checkout.run(arguments);
        assert_eq!(ran.code, Some(5), "{ran}");
        assert!(ran.stderr.contains("the checkout cannot be written"), "{ran}");
    }
    assert_eq!(before, contents(&checkout.root));
    checkout.ok(&["secrets", "check"]);
    checkout.ok(&["secrets", "list"]);
}

#[test]
fn an_editor_that_fails_or_saves_no_yaml_changes_nothing() {
    let mut checkout = taken_over();
    let before = contents(&checkout.root);
    for (script, code) in [("exit 3", 6), ("echo 'a: [' > \"$1\"", 6), ("exit 0", 0)] {
        let editor = editor(&checkout, script);
        checkout.variables.insert("EDITOR".into(), editor);
        let ran = checkout.run(&["secrets", "edit", "argocd-redis-local"]);
        assert_eq!(ran.code, Some(code), "{script}: {ran}");
        assert_eq!(before, contents(&checkout.root), "{script}");
    }
    // By its name, as people call theirs.
    let editor = camino::Utf8PathBuf::from(editor(&checkout, "sed -i 's/auth: .*/auth: by-hand/' \"$1\""));
    let (folder, name) = (editor.parent().unwrap(), editor.file_name().unwrap());
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    checkout
        .variables
        .extend([("PATH".into(), path), ("EDITOR".into(), name.to_owned())]);
    checkout.ok(&["secrets", "edit", REDIS]);
    let document = decrypted(&checkout, REDIS, &identity(&checkout, None)).unwrap();
    assert_eq!(document.pointer(AUTH).unwrap(), "by-hand");
}

#[test]
fn a_rotation_changes_every_file_the_rules_and_the_config_or_nothing() {
    let checkout = taken_over();
    let old = identity(&checkout, Some("ci"));
    let keygen = checkout.ok(&["tools", "path", "age-keygen"]).stdout.trim().to_owned();
    let new = String::from_utf8(support::program(keygen).output().unwrap().stdout).unwrap();
    let recipient = new
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .unwrap()
        .to_owned();
    let add = format!("ci={recipient}");
    let rotate = ["secrets", "rotate", "--remove", "ci", "--add", &add];

    // One file that nobody here can read keeps all of them as they were.
    let last = checkout.root.join("k8s/secrets/production/nix-csi-cache-ssh.enc.yaml");
    let good = fs_err::read_to_string(&last).unwrap();
    let stranger =
        fs_err::read_to_string(repository().join("k8s/secrets/production/nix-csi-cache-ssh.enc.yaml")).unwrap();
    fs_err::write(&last, stranger).unwrap();
    let before = contents(&checkout.root);
    let ran = checkout.run(&rotate);
    assert_eq!(ran.code, Some(5), "{ran}");
    assert_eq!(before, contents(&checkout.root));
    fs_err::write(&last, good).unwrap();

    // Another change of secrets goes on.
    let lock = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(checkout.root.join(".xtask/locks/secrets.lock"))
        .unwrap();
    rustix::fs::flock(lock.file(), rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(checkout.run(&rotate).code, Some(9));
    drop(lock);

    let ran = checkout.ok(&rotate);
    assert!(ran.stderr.contains("still knows every value"), "{ran}");
    checkout.ok(&["secrets", "check"]);
    for path in [
        REDIS,
        "k8s/secrets/production/argocd-redis.enc.yaml",
        "k8s/secrets/hosts/kube-control/k3s-token.enc.yaml",
    ] {
        assert!(decrypted(&checkout, path, &new).is_some(), "{path}");
        assert!(decrypted(&checkout, path, &old).is_none(), "{path}");
    }
    for config in ["platform.json", "modules/platform.nix"] {
        assert!(
            fs_err::read_to_string(checkout.root.join(config))
                .unwrap()
                .contains(&recipient),
            "{config}"
        );
    }

    let before = fs_err::read(checkout.root.join(REDIS)).unwrap();
    checkout.ok(&["secrets", "rotate", "--data-key"]);
    assert_ne!(before, fs_err::read(checkout.root.join(REDIS)).unwrap());
    let add = format!("alice={recipient}");
    assert_eq!(checkout.run(&["secrets", "rotate", "--add", &add]).code, Some(2));
    assert_eq!(
        checkout
            .run(&[
                "secrets",
                "rotate",
                "--remove",
                "admin",
                "--remove",
                "ci",
                "--remove",
                "dev",
                "--remove",
                "kube-control"
            ])
            .code,
        Some(8)
    );
}

#[test]
fn wrong_identities_are_named_by_place_and_never_by_content() {
    let mut checkout = taken_over();
    let windows = fs_err::read_to_string(keys(&checkout)).unwrap().replace('\n', "\r\n");
    let file = checkout.base().join("windows.txt");
    fs_err::write(&file, windows).unwrap();
    checkout.variables.insert("SOPS_AGE_KEY_FILE".into(), file.to_string());
    checkout.ok(&["secrets", "rotate", "--data-key"]);

    fs_err::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n").unwrap();
    let ran = checkout.run(&["secrets", "rotate", "--data-key"]);
    assert_eq!(ran.code, Some(5), "{ran}");
    assert!(ran.stderr.contains("ssh-to-age"), "{ran}");

    // A slip in a whole identity: age itself refuses, and would quote it.
    let slip = identity(&checkout, None).replace("KEY-1", "KEY-1Q");
    fs_err::write(&file, &slip[..slip.len() - 1]).unwrap();
    let ran = checkout.run(&["secrets", "rotate", "--data-key"]);
    assert_eq!(ran.code, Some(5), "{ran}");
    assert!(!ran.stderr.contains(&slip[20..50]), "{ran}");

    // A file that somebody changed after sops wrote it.
    checkout.variables.remove("SOPS_AGE_KEY_FILE");
    let path = checkout.root.join(REDIS);
    let text = fs_err::read_to_string(&path)
        .unwrap()
        .replace("namespace: argocd", "namespace: argocx");
    fs_err::write(&path, text).unwrap();
    let ran = checkout.run(&["secrets", "edit", REDIS]);
    assert!(ran.stderr.contains("authentication code does not fit"), "{ran}");
}

#[test]
fn a_link_where_secrets_stand_is_named_and_nothing_is_rotated_past_it() {
    let checkout = taken_over();
    let elsewhere = checkout.base().join("elsewhere");
    let folder = checkout.root.join("k8s/secrets/local");
    fs_err::rename(&folder, &elsewhere).unwrap();
    fs_err::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
    let ran = checkout.run(&["secrets", "check"]);
    assert_eq!(ran.code, Some(4), "{ran}");
    assert!(ran.stderr.contains("`k8s/secrets/local`: is a link"), "{ran}");
    let before = contents(&elsewhere);
    let ran = checkout.run(&["secrets", "rotate", "--data-key"]);
    assert_eq!(ran.code, Some(3), "{ran}");
    assert!(ran.stderr.contains("`k8s/secrets/local` is a link"), "{ran}");
    assert_eq!(before, contents(&elsewhere));

    // A file alone, too; and without links all is well again.
    fs_err::remove_file(&folder).unwrap();
    fs_err::rename(&elsewhere, &folder).unwrap();
    checkout.ok(&["secrets", "check"]);
    let away = checkout.base().join("away.yaml");
    fs_err::rename(checkout.root.join(REDIS), &away).unwrap();
    fs_err::os::unix::fs::symlink(&away, checkout.root.join(REDIS)).unwrap();
    let ran = checkout.run(&["secrets", "check"]);
    assert!(ran.stderr.contains(&format!("`{REDIS}`: is a link")), "{ran}");
}
