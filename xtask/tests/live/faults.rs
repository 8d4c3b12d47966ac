//! What a bad network and a busy API server do to a deploy, and what a deploy asks of the server at all.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Test;
use crate::proxy::{Fate, Proxy};
use crate::world::{For, Run, World, child, config_map, finish, item, namespace};

pub(crate) const TESTS: &[Test] = &[
    ("a_second_deploy_diff_and_drift_send_no_request_that_writes", only_reads),
    (
        "what_passes_by_itself_is_asked_again_and_the_deploy_ends_well",
        passes_by_itself,
    ),
    ("an_api_server_that_goes_away_and_comes_back_is_waited_for", back_again),
    (
        "an_api_server_that_stays_away_is_a_missed_deadline_and_resume_goes_on",
        stays_away,
    ),
    ("an_object_made_anew_before_its_delete_is_kept", made_anew),
    (
        "what_another_deploy_or_an_edit_changed_before_the_lease_was_ours_stays",
        changed_before_the_lease,
    ),
    ("a_prune_that_is_killed_leaves_its_lock_to_the_next", killed_prune),
    (
        "a_certificate_of_another_authority_an_expired_one_and_a_plain_address_are_told_apart",
        certificates,
    ),
];

fn project(world: &World, name: &'static str, value: &str) -> String {
    let objects = (0..5).map(|index| config_map(name, &format!("c{index}"), json!({"a": value})));
    world.project(
        name,
        For::Twin,
        &[item(
            "base",
            "base",
            std::iter::once(namespace(name)).chain(objects).collect(),
        )],
    )
}

/// Runs with twin's kubeconfig leading through the proxy, and puts it back.
fn through(world: &World, test: impl FnOnce(&Proxy)) {
    let path = ".xtask/kubeconfigs/twin.yaml";
    let own = fs_err::read_to_string(world.root.join(path)).unwrap();
    let proxy = Proxy::before(world, For::Twin);
    world.write_private(path, &proxy.kubeconfig("twin"));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&proxy)));
    world.write_private(path, &own);
    outcome.unwrap();
}

fn only_reads(world: &World) {
    let folder = project(world, "reads", "1");
    world.deploy(For::Twin, &folder).ends(0);
    through(world, |proxy| {
        world
            .deploy(For::Twin, &folder)
            .ends(0)
            .says("6 objects are as they should be");
        world.verb("diff", For::Twin, &folder, &[]).ends(0);
        world.run(&["drift", "--stage", "local", "--cluster", "twin"]).ends(0);
        let asked = proxy.asked();
        assert!(asked.len() > 10, "{asked:?}");
        let writes: Vec<_> = asked.iter().filter(|request| request.writes()).collect();
        assert!(writes.is_empty(), "{writes:?}");
    });
}

fn passes_by_itself(world: &World) {
    through(world, |proxy| {
        for (value, fate, writes) in [
            ("1", Fate::TooMany, true),
            ("2", Fate::Broken, false),
            ("3", Fate::Reset, true),
            ("4", Fate::Lost, true),
            ("5", Fate::Slow, false),
        ] {
            let folder = project(world, "passes", value);
            let mut done = false;
            proxy.judge(move |request| {
                // Of what writes the first object of the project, of what reads the listing.
                let hit = if writes {
                    request.method == "PATCH" && request.path.contains("/configmaps/c")
                } else {
                    request.method == "GET" && request.path.contains("labelSelector=kluctl.io%2Fdiscriminator")
                };
                if hit && !std::mem::replace(&mut done, true) {
                    fate
                } else {
                    Fate::Pass
                }
            });
            world.deploy(For::Twin, &folder).ends(0);
            for name in ["c0", "c4"] {
                assert_eq!(world.object(For::Twin, "configmap", "passes", name)["data"]["a"], value);
            }
            if fate == Fate::TooMany {
                let asked = proxy.asked();
                let refused = asked
                    .iter()
                    .find(|request| request.method == "PATCH" && request.path.contains("/configmaps/c"))
                    .unwrap();
                let again = asked
                    .iter()
                    .find(|request| request.path == refused.path && request.at > refused.at)
                    .unwrap();
                assert!(
                    again.at - refused.at >= Duration::from_secs(1),
                    "Retry-After was not honoured"
                );
            }
        }
    });
}

fn back_again(world: &World) {
    through(world, |proxy| {
        let folder = project(world, "back-again", "1");
        let mut since: Option<Instant> = None;
        proxy.judge(move |request| {
            if since.is_none() && request.method == "PATCH" && request.path.contains("/configmaps/c2") {
                since = Some(Instant::now());
            }
            match since {
                Some(since) if since.elapsed() < Duration::from_secs(5) => Fate::Reset,
                _ => Fate::Pass,
            }
        });
        world
            .deploy(For::Twin, &folder)
            .ends(0)
            .says("`kluctl` is asked again in");
        assert!(!world.versions(For::Twin).contains_key("Lease/kube-system/xtask-twin"));
    });
}

fn deploy_within(world: &World, folder: &str, more: &[&str]) -> Run {
    let mut command = world.command();
    command
        .env("XTASK_MAX_WAIT", "1")
        .args([
            "deploy",
            "--yes",
            "--stage",
            "local",
            "--cluster",
            "twin",
            "--source",
            folder,
        ])
        .args(more);
    finish(&mut command)
}

fn stays_away(world: &World) {
    through(world, |proxy| {
        let folder = project(world, "away", "1");
        let mut away = false;
        proxy.judge(move |request| {
            away |= request.method == "PATCH" && request.path.contains("/configmaps/c2");
            if away { Fate::Reset } else { Fate::Pass }
        });
        deploy_within(world, &folder, &[])
            .ends(7)
            .says("the API server did not answer, asked 6 times")
            .says("--resume");
        proxy.judge(|_| Fate::Pass);
        // Nothing gave the Lease back; the run that goes on has it still.
        deploy_within(world, &folder, &["--resume"])
            .ends(0)
            .says("Resuming the unfinished run");
        assert!(!world.versions(For::Twin).contains_key("Lease/kube-system/xtask-twin"));
        world
            .deploy(For::Twin, &folder)
            .ends(0)
            .says("6 objects are as they should be");
    });
}

fn shrinking(world: &World, name: &'static str, objects: usize) -> String {
    let kept = (0..30).map(|index| config_map(name, &format!("k{index}"), json!({})));
    let going = (0..objects).map(|index| config_map(name, &format!("g{index}"), json!({})));
    world.project(
        name,
        For::Twin,
        &[item(
            "base",
            "base",
            std::iter::once(namespace(name)).chain(kept).chain(going).collect(),
        )],
    )
}

/// Deletes what earlier tests left, so that a prune is of this one's objects alone.
pub(crate) fn alone(world: &World, folder: &str) {
    world.deploy(For::Twin, folder).ends(0);
    world.verb("prune", For::Twin, folder, &["--save-plan", "projects/alone.json"]);
    let path = world.root.join("projects/alone.json");
    if path.exists() {
        world
            .run(&[
                "prune",
                "--stage",
                "local",
                "--cluster",
                "twin",
                "--plan",
                "projects/alone.json",
            ])
            .ends(0);
        fs_err::remove_file(path).unwrap();
    }
}

fn made_anew(world: &World) {
    alone(world, &shrinking(world, "anew", 2));
    let folder = shrinking(world, "anew", 0);
    world.deploy(For::Twin, &folder).ends(0);
    let direct = fs_err::read_to_string(world.root.join(".xtask/kubeconfigs/twin.yaml")).unwrap();
    world.write_private("projects/direct.yaml", &direct);
    let kubectl = world.path_of_kubectl();
    let kubeconfig = world.root.join("projects/direct.yaml");
    through(world, |proxy| {
        let mut done = false;
        proxy.judge(move |request| {
            if request.method == "DELETE"
                && request.path.contains("/configmaps/g0")
                && !std::mem::replace(&mut done, true)
            {
                // At the very last moment somebody makes it anew.
                for args in [
                    &["delete", "configmap", "g0"][..],
                    &["create", "configmap", "g0", "--from-literal=new=1"],
                ] {
                    let status = crate::world::child(&kubectl)
                        .arg(format!("--kubeconfig={kubeconfig}"))
                        .arg("--namespace=anew")
                        .args(args)
                        .stdout(std::process::Stdio::null())
                        .status()
                        .unwrap();
                    assert!(status.success());
                }
            }
            Fate::Pass
        });
        world
            .verb("prune", For::Twin, &folder, &["--yes"])
            .ends(6)
            .says("(Conflict)");
    });
    assert_eq!(world.object(For::Twin, "configmap", "anew", "g0")["data"]["new"], "1");
    // It is nobody's orphan any more; the other one goes.
    world.verb("prune", For::Twin, &folder, &["--yes"]).ends(0);
    world
        .try_kubectl(For::Twin, &["get", "configmap", "g1", "--namespace=anew"])
        .ends(1);
    world.kubectl(For::Twin, &["get", "configmap", "g0", "--namespace=anew"]);
}

fn changed_before_the_lease(world: &World) {
    let with = |name: &str, old: Option<&str>| {
        let kept = (0..40).map(|index| config_map("raced", &format!("m{index}"), json!({"a": "1"})));
        let objects = std::iter::once(namespace("raced"))
            .chain(kept)
            .chain(old.map(|value| config_map("raced", "old", json!({"a": value}))))
            .collect();
        world.project(name, For::Twin, &[item("base", "base", objects)])
    };
    let mine = with("mine", None);
    let theirs = with("theirs", Some("2"));
    alone(world, &with("before", Some("0")));
    let (_folder, other) = crate::guarding::elsewhere(world, For::Twin);
    let direct = fs_err::read_to_string(world.root.join(".xtask/kubeconfigs/twin.yaml")).unwrap();
    world.write_private("projects/direct.yaml", &direct);
    let kubectl = world.path_of_kubectl();
    let kubeconfig = world.root.join("projects/direct.yaml");
    let patch = r#"--patch={"data":{"a":"by hand"}}"#;
    let mut edit = crate::world::child(&kubectl);
    edit.arg(format!("--kubeconfig={kubeconfig}")).args([
        "patch",
        "configmap",
        "old",
        "--namespace=raced",
        "--type=merge",
        patch,
    ]);
    // From another checkout, which the lock of this one does not keep out.
    let mut deploy = world.command();
    deploy.current_dir(&other).env("XTASK_ROOT", &other).args([
        "deploy",
        "--stage=local",
        "--cluster=twin",
        "--source",
        &theirs,
    ]);
    for (round, change) in [edit, deploy].into_iter().enumerate() {
        world
            .deploy(For::Twin, &with("before", Some(&format!("before {round}"))))
            .ends(0);
        world.deploy(For::Twin, &mine).ends(0);
        through(world, |proxy| {
            let mut change = Some(change);
            proxy.judge(move |request| {
                if request.method == "POST"
                    && request.path.contains("/leases")
                    && let Some(mut change) = change.take()
                {
                    let run = finish(&mut change);
                    assert_eq!(run.code, 0, "{}", run.stderr);
                }
                Fate::Pass
            });
            world
                .verb("prune", For::Twin, &mine, &["--yes"])
                .ends(8)
                .says("nothing was deleted")
                .says("ConfigMap/raced/old was changed");
        });
        let old = world.object(For::Twin, "configmap", "raced", "old");
        assert_ne!(old["data"]["a"], format!("before {round}"), "nothing was changed");
    }
    // What is shown now is what is there now.
    world.verb("prune", For::Twin, &mine, &["--yes"]).ends(0);
}

fn killed_prune(world: &World) {
    alone(world, &shrinking(world, "killed", 3));
    let folder = shrinking(world, "killed", 0);
    world.deploy(For::Twin, &folder).ends(0);
    let mut command = world.command();
    command.env("XTASK_CRASH", "acted:object-002.delete").args([
        "prune",
        "--yes",
        "--stage",
        "local",
        "--cluster",
        "twin",
        "--source",
        &folder,
    ]);
    assert_eq!(finish(&mut command).code, -1, "it was to be killed");
    world
        .verb("prune", For::Twin, &folder, &["--yes"])
        .ends(0)
        .says("a dead run of this checkout held the lock, which is taken away");
    world
        .verb("prune", For::Twin, &folder, &["--yes"])
        .ends(0)
        .says("nothing to delete");
    assert!(!world.versions(For::Twin).contains_key("Lease/kube-system/xtask-twin"));
}

fn certificates(world: &World) {
    let folder = project(world, "certs", "1");
    let path = ".xtask/kubeconfigs/twin.yaml";
    let own = fs_err::read_to_string(world.root.join(path)).unwrap();
    let server = own
        .lines()
        .find(|line| line.contains("server: https://"))
        .unwrap()
        .trim()
        .to_owned();
    let made = rcgen::generate_simple_self_signed(vec!["elsewhere".to_owned()]).unwrap();
    world.write("projects/other-ca.pem", &made.cert.pem());
    let with_ca = |server: &str, ca: &str| {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: twin\nclusters:\n- name: twin\n  cluster:\n    \
             certificate-authority: {}/{ca}\n    {server}\ncontexts:\n- name: twin\n  context: \
             {{cluster: twin, user: twin}}\nusers:\n- name: twin\n  user: {{token: x}}\n",
            world.root
        )
    };
    let with = |server: &str| with_ca(server, "projects/other-ca.pem");
    world.write_private(path, &with(&server));
    let run = world.deploy(For::Twin, &folder);
    let (standing, address) = expired(world);
    world.write_private(path, &with_ca(&format!("server: {address}"), ".xtask/expired.pem"));
    let late = world.deploy(For::Twin, &folder);
    drop(standing);
    world.write_private(
        path,
        &with(&server.replace("https://", "http://")).replace("    certificate-authority", "    #"),
    );
    let plain = world.deploy(For::Twin, &folder);
    world.write_private(path, &own);
    run.ends(5)
        .says("is not signed by the CA of the kubeconfig")
        .says("never turn verification off");
    late.ends(5)
        .says("a certificate has expired, or this host's clock is wrong; nothing was changed")
        .says("look at the clock");
    plain.ends(5).says("nothing was changed");
}

/// A server whose certificate is its own authority's and over since 2001, and where it answers. It is etcd, for that is
/// available and speaks TLS; nobody gets as far as to notice.
fn expired(world: &World) -> (Standing, String) {
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    // Where no check of secrets looks: a project must hold no private key.
    world.write(".xtask/expired.pem", &certificate.pem());
    world.write_private(".xtask/expired-key.pem", &key.serialize_pem());
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (client, peer) = (free(), free());
    let etcd = world.run(&["tools", "path", "etcd"]).ends(0).stdout;
    let mut command = child(etcd.trim());
    command
        .current_dir(&world.root)
        .arg("--data-dir=.xtask/expired")
        .arg(format!("--listen-client-urls=https://{client}"))
        .arg(format!("--advertise-client-urls=https://{client}"))
        .arg(format!("--listen-peer-urls=http://{peer}"))
        .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
        .arg(format!("--initial-cluster=default=http://{peer}"))
        .args(["--cert-file=.xtask/expired.pem", "--key-file=.xtask/expired-key.pem"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let standing = Standing(command.spawn().unwrap());
    let end = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(client).is_err() {
        assert!(
            Instant::now() < end,
            "the server with the expired certificate never came"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    (standing, format!("https://{client}"))
}

/// A server that ends with its test.
struct Standing(Child);

impl Drop for Standing {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _its_status = self.0.wait();
    }
}
