//! A checkout with clusters of its own: platform config, projects and two embedded control planes on free ports, one of
//! which plays production. It judges nothing.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

/// A checkout in a temporary folder. Its clusters are taken down when it goes.
pub(crate) struct World {
    _folder: tempfile::TempDir,
    pub(crate) root: Utf8PathBuf,
    on: std::cell::Cell<For>,
}

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Fails the test unless the run ended so.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the run said this on standard error.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "no `{words}` in:\n{}", self.stderr);
        self
    }

    /// Fails the test unless the run printed this.
    #[track_caller]
    pub(crate) fn prints(self, words: &str) -> Self {
        assert!(
            self.stdout.contains(words),
            "no `{words}` in:\n{}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in:\n{}\n{}", self.stdout, self.stderr))
    }
}

/// One item of a project.
pub(crate) struct Item {
    pub(crate) name: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) wait: bool,
    pub(crate) objects: Vec<Value>,
}

pub(crate) fn item(name: &'static str, phase: &'static str, objects: Vec<Value>) -> Item {
    Item {
        name,
        phase,
        wait: false,
        objects,
    }
}

impl Item {
    pub(crate) fn waiting(mut self) -> Self {
        self.wait = true;
        self
    }
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": {"kluctl.io/skip-delete": "true"}}})
}

pub(crate) fn config_map(namespace: &str, name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data})
}

/// Which (cluster, stage) a project is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Dev,
    Twin,
    Production,
    /// The control plane behind production, as it was brought up.
    Stand,
}

/// Clusters that are brought up and taken down.
pub(crate) const STANDING: [For; 3] = [For::Dev, For::Twin, For::Stand];

impl For {
    pub(crate) fn cluster(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Twin => "twin",
            Self::Production => "prod",
            Self::Stand => "stand",
        }
    }

    pub(crate) fn stage(self) -> &'static str {
        match self {
            Self::Production => "full",
            _ => "local",
        }
    }

    fn environment(self) -> &'static str {
        match self {
            Self::Production => "production",
            _ => "local",
        }
    }

    pub(crate) fn discriminator(self) -> String {
        format!("t-{}-{}", self.cluster(), self.stage())
    }
}

impl World {
    /// A checkout with its platform config, committed; no cluster runs yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("xtask-cluster-").tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().canonicalize_utf8().unwrap();
        let world = Self {
            _folder: folder,
            root,
            on: std::cell::Cell::new(For::Dev),
        };
        xtask::base::state::check(&world.root).unwrap();
        world.write("platform.json", &config(None).to_string());
        world.write(".gitignore", "/.xtask\n/projects\n");
        world.write("modules/platform.nix", "{ }\n");
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        // A clone of a path: kluctl fails over such an `origin`, if it comes to look at it.
        let origin = world.root.join("elsewhere.git");
        world.git(&["remote", "add", "origin", origin.as_str()]);
        for part in STANDING {
            let golden = world.root.join(format!("k8s/golden/{}/local", part.cluster()));
            write_project(
                &golden,
                part,
                &[item(
                    "base",
                    "base",
                    vec![config_map("default", "greeting", json!({"a": "1"}))],
                )],
                &json!([]),
            );
        }
        world.commit("platform config");
        world
    }

    /// Starts a control plane by `local-up`, and deploys its tiny golden to it.
    pub(crate) fn up(&self, part: For) {
        self.run(&["local-up", "--cluster", part.cluster(), "--backend", "embedded"])
            .ends(0);
    }

    /// Makes the stand the production cluster: its kubeconfig, and its UID in the platform config.
    pub(crate) fn make_production(&self) {
        let kubeconfig = fs_err::read_to_string(self.root.join(".xtask/kubeconfigs/stand.yaml")).unwrap();
        self.write_private(
            ".xtask/kubeconfigs/prod.yaml",
            &rename_context(&kubeconfig, "stand", "prod"),
        );
        let uid = self.kubectl(
            For::Stand,
            &["get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}"],
        );
        self.write("platform.json", &config(Some(&uid)).to_string());
        self.commit("the production cluster's UID");
    }

    pub(crate) fn git(&self, args: &[&str]) {
        let status = child("git")
            .current_dir(&self.root)
            .args([
                "-c",
                "user.name=Test",
                "-c",
                "user.email=test@example.org",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(args)
            .status()
            .unwrap();
        assert!(status.success(), "git {args:?}");
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    pub(crate) fn write_private(&self, path: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;

        self.write(path, text);
        fs_err::set_permissions(self.root.join(path), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes a rendered project and returns its folder, relative to the root.
    pub(crate) fn project(&self, name: &str, part: For, items: &[Item]) -> String {
        self.project_with_gates(name, part, items, &json!([]))
    }

    pub(crate) fn project_with_gates(&self, name: &str, part: For, items: &[Item], gates: &Value) -> String {
        let folder = format!("projects/{name}");
        let path = self.root.join(&folder);
        if path.exists() {
            fs_err::remove_dir_all(&path).unwrap();
        }
        write_project(&path, part, items, gates);
        folder
    }

    /// Makes a project production's reviewed golden, and commits it.
    pub(crate) fn bless(&self, part: For, project: &str) {
        let mut command = self.command();
        command.env_remove("CI");
        command.args([
            "golden",
            "bless",
            "--stage",
            part.stage(),
            "--cluster",
            part.cluster(),
            "--source",
            project,
        ]);
        finish(&mut command).ends(0);
        self.commit("bless");
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = child(env!("CARGO_BIN_EXE_xtask"));
        command
            .current_dir(&self.root)
            .env("XTASK_ROOT", &self.root)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let mut command = self.command();
        command.args(args);
        finish(&mut command)
    }

    /// `deploy`, `diff`, `prune`, … of a project.
    pub(crate) fn verb(&self, verb: &str, part: For, project: &str, more: &[&str]) -> Run {
        let mut args = vec![
            verb,
            "--stage",
            part.stage(),
            "--cluster",
            part.cluster(),
            "--source",
            project,
        ];
        args.extend(more);
        self.run(&args)
    }

    /// Deploys a project; what goes to production is reviewed and committed first.
    pub(crate) fn deploy(&self, part: For, project: &str) -> Run {
        self.deploy_with(part, project, &[])
    }

    pub(crate) fn deploy_with(&self, part: For, project: &str, more: &[&str]) -> Run {
        if part == For::Production {
            self.bless(part, project);
        }
        self.verb("deploy", part, project, &[&["--yes"], more].concat())
    }

    /// The cluster that tests for every cluster are about now.
    pub(crate) fn on(&self) -> For {
        self.on.get()
    }

    pub(crate) fn go_on(&self, part: For) {
        self.on.set(part);
    }

    /// A control-plane object of a cluster, as `versions` names it.
    pub(crate) fn own(&self, kind: &str) -> String {
        format!("{kind}/kube-system/xtask-{}", self.on().cluster())
    }

    /// kubectl's standard output; it must succeed.
    #[track_caller]
    pub(crate) fn kubectl(&self, part: For, args: &[&str]) -> String {
        let run = self.try_kubectl(part, args);
        assert_eq!(run.code, 0, "kubectl {args:?}\n{}{}", run.stdout, run.stderr);
        run.stdout
    }

    /// Where the kubectl is that xtask takes.
    pub(crate) fn path_of_kubectl(&self) -> String {
        let ran = self.run(&["tools", "path", "kubectl"]).ends(0);
        ran.stdout.trim().to_owned()
    }

    pub(crate) fn try_kubectl(&self, part: For, args: &[&str]) -> Run {
        let mut all = vec!["kubectl", "--yes", "--cluster", part.cluster(), "--"];
        all.extend(args);
        self.run(&all)
    }

    /// An object as the API server has it.
    #[track_caller]
    pub(crate) fn object(&self, part: For, kind: &str, namespace: &str, name: &str) -> Value {
        let text = self.kubectl(
            part,
            &[
                "get",
                kind,
                name,
                "--namespace",
                namespace,
                "--output=json",
                "--show-managed-fields",
            ],
        );
        serde_json::from_str(&text).unwrap()
    }

    /// The resourceVersion of everything that somebody could have written; what the control plane itself writes all
    /// the time is left out.
    pub(crate) fn versions(&self, part: For) -> BTreeMap<String, String> {
        let kinds = "configmaps,secrets,namespaces,deployments,services,serviceaccounts,leases,customresourcedefinitions,roles,clusterroles";
        let text = self.kubectl(part, &["get", kinds, "--all-namespaces", "--output=json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| !is_background(item))
            .map(|item| {
                let name = format!(
                    "{}/{}/{}",
                    item["kind"].as_str().unwrap(),
                    item["metadata"]["namespace"].as_str().unwrap_or_default(),
                    item["metadata"]["name"].as_str().unwrap()
                );
                (name, item["metadata"]["resourceVersion"].as_str().unwrap().to_owned())
            })
            .collect()
    }
}

/// Leases of nodes and of the API server itself are renewed all the time.
fn is_background(item: &Value) -> bool {
    item["kind"] == "Lease" && !item["metadata"]["name"].as_str().unwrap().starts_with("xtask-")
}

impl Drop for World {
    fn drop(&mut self) {
        for part in STANDING {
            let run = self.run(&["local-down", "--cluster", part.cluster(), "--yes"]);
            if run.code != 0 {
                report(&format!("local-down {}: {}", part.cluster(), run.stderr));
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test target without libtest tells its own story")]
pub(crate) fn report(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::disallowed_methods, reason = "a test starts the binary as a person does")]
pub(crate) fn child(program: &str) -> Command {
    Command::new(program)
}

pub(crate) fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Renames the context of a kubeconfig with one cluster.
pub(crate) fn rename_context(kubeconfig: &str, from: &str, to: &str) -> String {
    kubeconfig
        .replace(&format!("current-context: {from}"), &format!("current-context: {to}"))
        .replace(&format!("name: {from}\n"), &format!("name: {to}\n"))
}

fn config(uid: Option<&str>) -> Value {
    let cluster = |part: For, backends: &[&str], uid: Option<&str>| {
        let name = part.cluster();
        let mut stages = serde_json::Map::new();
        stages.insert(
            part.stage().to_owned(),
            json!({"discriminator": part.discriminator(), "phases": ["base"], "describes": null, "needsPivot": false}),
        );
        json!({
            "environment": part.environment(), "backends": backends, "distribution": "k3s", "uid": uid,
            "kubeconfig": format!(".xtask/kubeconfigs/{name}.yaml"), "context": name, "kubernetes": "1.35.4",
            "apiHost": "127.0.0.1", "apiPort": match part { For::Dev => 6443, For::Twin => 6444, _ => 6445 }, "clusterDomain": "cluster.local",
            "routeDomain": "example.org", "podCidr": "10.42.0.0/16", "serviceCidr": "10.43.0.0/16",
            "dnsAddress": "10.43.0.10", "nodes": 1, "profile": null, "machine": null, "clusterApi": null, "closureStore": null,
            "issuer": "none", "components": ["base"], "stages": stages,
        })
    };
    json!({
        "schema": 1, "name": "t", "domain": "example.org", "versions": {"kubernetes": "1.35"},
        "defaultClusters": {
            "local": {"cluster": "dev", "afterPivot": null},
            "full": {"cluster": "prod", "afterPivot": null},
        },
        "clusters": {
            "dev": cluster(For::Dev, &["embedded"], None),
            "twin": cluster(For::Twin, &["embedded"], None),
            "stand": cluster(For::Stand, &["embedded"], None),
            "prod": cluster(For::Production, &["remote"], uid),
        },
        "profiles": {}, "machines": {},
        "secrets": {"recipients": {}, "operatorIdentities": {}, "required": []},
        "parity": [],
    })
}

/// Writes a project as the renderer does.
pub(crate) fn write_project(folder: &Utf8Path, part: For, items: &[Item], gates: &Value) {
    fs_err::create_dir_all(folder).unwrap();
    let mut phases: Vec<&str> = items.iter().map(|item| item.phase).collect();
    phases.dedup();
    let mut deployments = Vec::new();
    let mut described = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let directory = format!("{:02}-{}", index + 1, item.name);
        fs_err::create_dir_all(folder.join(&directory)).unwrap();
        for (rank, object) in item.objects.iter().enumerate() {
            let mut object = object.clone();
            object["metadata"]["annotations"]["vanixiets.dev/source"] = json!("native");
            let digest = xtask::golden::object::digest_of(&object);
            object["metadata"]["annotations"]["vanixiets.dev/digest"] = json!(digest);
            let name = format!(
                "{rank:02}-{}.{}.{}.yaml",
                object["kind"].as_str().unwrap().to_lowercase(),
                object["metadata"]["namespace"].as_str().unwrap_or("_"),
                object["metadata"]["name"].as_str().unwrap()
            );
            fs_err::write(folder.join(&directory).join(name), object.to_string()).unwrap();
        }
        let tags = [
            format!("phase-{}", item.phase),
            format!("component-{}", item.name),
            format!("item-{directory}"),
        ];
        deployments.push(json!({"path": directory, "tags": tags, "waitReadiness": item.wait}));
        deployments.push(json!({"barrier": true}));
        described.push(json!({
            "directory": directory, "component": item.name, "phase": item.phase, "waitReadiness": item.wait, "barrier": true,
        }));
    }
    let description = json!({
        "schema": 1, "cluster": part.cluster(), "stage": part.stage(), "environment": part.environment(),
        "discriminator": part.discriminator(), "phases": phases, "items": described, "gates": gates, "charts": [],
    });
    fs_err::write(folder.join("stage.json"), description.to_string()).unwrap();
    fs_err::write(
        folder.join(".kluctl.yaml"),
        json!({"discriminator": part.discriminator()}).to_string(),
    )
    .unwrap();
    fs_err::write(
        folder.join("deployment.yaml"),
        json!({"deployments": deployments}).to_string(),
    )
    .unwrap();
    fs_err::write(folder.join(".templateignore"), "*\n").unwrap();
}
