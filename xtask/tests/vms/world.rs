//! A checkout, a home and a PATH of their own, with fake tools that start VMs; and a real control plane that
//! stands behind the VMs' ports.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: &std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks the exit code and shows everything when it is another.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n{}\n---\n{}", self.stdout, self.stderr);
        self
    }

    /// Checks what was said to people.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "no `{words}` in:\n{}", self.stderr);
        self
    }
}

pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) host: Value,
    pub(crate) fake: Value,
    pub(crate) platform: Value,
    /// Folders after the fakes' own on PATH.
    path: &'static str,
    pub(crate) max_wait: &'static str,
    /// Folder of all VMs, instead of the one below the home.
    pub(crate) vm_home: Option<String>,
}

/// The first of two ports of loopback that follow each other and are free.
fn free_ports() -> u16 {
    let bind = |port: u16| TcpListener::bind(("127.0.0.1", port));
    loop {
        let first = bind(0).unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && bind(port + 1).is_ok() {
            return port;
        }
    }
}

const GIB: u64 = 1 << 30;

impl World {
    /// A Linux workstation with every tool.
    pub(crate) fn linux() -> Self {
        Self::new(json!({
            "system": "linux", "arch": "x86_64", "cores": 8, "memory": 32 * GIB, "freeDisk": 500 * GIB,
            "kvm": true, "qemu": true, "lowPorts": true, "rosetta": false, "root": false,
        }))
    }

    /// A Mac with Apple Silicon.
    pub(crate) fn mac() -> Self {
        Self::new(json!({
            "system": {"macos": {"major": 15, "minor": 5}}, "arch": "aarch64", "cores": 12, "memory": 48 * GIB,
            "freeDisk": 500 * GIB, "kvm": false, "qemu": false, "lowPorts": true, "rosetta": true, "root": false,
        }))
    }

    /// Lets xtask see a Mac with an Intel processor, so that it asks for vz.
    pub(crate) fn tell_mac(&mut self) {
        self.host["system"] = json!({"macos": {"major": 15, "minor": 5}});
        self.fake["os"] = json!("macos");
        self.run(&["image", "use", self.image().as_str(), "--arch", "x86_64"])
            .ends(0);
    }

    /// A file that has the head of an image.
    pub(crate) fn image(&self) -> Utf8PathBuf {
        let mut image = b"QFI\xfb\0\0\0\x03".to_vec();
        image.resize(24, 0);
        image.extend((4 * GIB).to_be_bytes());
        let path = self.path("checkout/nixos.qcow2");
        fs_err::write(&path, image).unwrap();
        path
    }

    fn new(host: Value) -> Self {
        // Short, for the paths of sockets.
        let folder = tempfile::Builder::new().prefix("g").tempdir_in("/tmp").unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        for name in ["bin", "home", "checkout"] {
            fs_err::create_dir(root.join(name)).unwrap();
        }
        let fake = Utf8Path::new(env!("CARGO_BIN_EXE_xtask"))
            .parent()
            .unwrap()
            .join("examples/fake-vm");
        assert!(fake.is_file(), "no `{fake}`: `cargo build --example fake-vm`");
        for name in ["colima", "limactl", "lima", "nix", "sudo", "security"] {
            symlink(&fake, root.join("bin").join(name)).unwrap();
        }
        // Every run asks the revision of its checkout.
        let path = std::env::var_os("PATH").unwrap();
        let git = std::env::split_paths(&path)
            .map(|folder| folder.join("git"))
            .find(|git| git.is_file());
        symlink(git.expect("tests need git"), root.join("bin/git")).unwrap();
        let manifest = crate::support::repository();
        // Every deploy checks the secrets of its checkout.
        let checkout = root.join("checkout");
        xtask::base::state::check(&checkout).unwrap();
        fs_err::copy(manifest.join(".sops.yaml"), checkout.join(".sops.yaml")).unwrap();
        crate::support::copy_folder(&manifest.join("k8s/secrets"), &checkout.join("k8s/secrets"));
        let mut platform: Value =
            serde_json::from_str(&fs_err::read_to_string(manifest.join("platform.json")).unwrap()).unwrap();
        // Side by side, as in the platform config.
        let first = free_ports();
        for (name, port) in [("k3s-dev", first), ("k3s-capi", first + 1)] {
            platform["clusters"][name]["apiPort"] = json!(port);
            platform["profiles"][name]["apiPort"] = json!(port);
            let on = &mut platform["clusters"][name]["stages"]["local"];
            on["discriminator"] = json!(format!("test-{name}-vm"));
            on["phases"] = json!(["base"]);
            // The stage of these tests has no operator that would need an identity.
            let components = platform["clusters"][name]["components"].as_array_mut().unwrap();
            components.retain(|component| component != "sops-secrets-operator");
        }
        let mac = host["system"] != "linux";
        let fake = json!({
            "log": root.join("calls.log"), "os": if mac { "macos" } else { "linux" }, "arch": host["arch"],
            "colima": "0.10.3", "lima": "2.2.0", "kubeconfig": {}, "listens": {}, "projects": {}, "faults": [],
        });
        let world = Self {
            folder,
            host,
            fake,
            platform,
            path: "",
            max_wait: "3",
            vm_home: None,
        };
        for cluster in ["k3s-dev", "k3s-capi"] {
            world.project(cluster, "vm");
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).unwrap().join(name)
    }

    pub(crate) fn port(&self, profile: &str) -> u16 {
        u16::try_from(self.platform["profiles"][profile]["apiPort"].as_u64().unwrap()).unwrap()
    }

    /// A stage project with one ConfigMap and a Deployment, for a cluster.
    pub(crate) fn project(&self, cluster: &str, name: &str) -> Utf8PathBuf {
        let folder = self.path("checkout").join(format!("projects/{cluster}-{name}"));
        let discriminator = format!("test-{cluster}-{name}");
        let item = folder.join("01-thing");
        fs_err::create_dir_all(&item).unwrap();
        let write = |path: &str, value: &Value| {
            fs_err::write(folder.join(path), serde_json::to_string(value).unwrap()).unwrap();
        };
        write(".kluctl.yaml", &json!({"discriminator": discriminator}));
        fs_err::write(folder.join(".templateignore"), "*\n").unwrap();
        let tags = ["phase-base", "component-thing", "item-01-thing"];
        write(
            "deployment.yaml",
            &json!({"deployments": [{"path": "01-thing", "tags": tags, "waitReadiness": true}]}),
        );
        write(
            "01-thing/16-configmap.default.thing.yaml",
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"said": name}, "metadata": {
                "name": format!("thing-{name}"), "namespace": "default",
                "annotations": {"vanixiets.dev/digest": format!("digest-{name}")},
            }}),
        );
        write(
            "stage.json",
            &json!({
                "schema": 1, "cluster": cluster, "stage": "local", "environment": "local",
                "discriminator": discriminator, "phases": ["base"], "gates": [], "charts": [],
                "items": [{"directory": "01-thing", "component": "thing", "phase": "base",
                    "waitReadiness": true, "barrier": false}],
            }),
        );
        folder
    }

    /// Gives the stage of a cluster a Gateway whose one listener is the VM's API port, and the root that signed
    /// what answers there.
    pub(crate) fn serve(&self, cluster: &str, host: &str, plane: &Plane) {
        let folder = self.path("checkout").join(format!("projects/{cluster}-vm"));
        let definition = |kind: &str, plural: &str| {
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.gateway.networking.k8s.io"), "annotations": {
                    "api-approved.kubernetes.io": "unapproved, a test", "vanixiets.dev/digest": plural,
                }},
                "spec": {
                    "group": "gateway.networking.k8s.io", "scope": "Namespaced",
                    "names": {"kind": kind, "plural": plural, "listKind": format!("{kind}List"), "singular": kind.to_lowercase()},
                    "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    }}}],
                },
            })
        };
        let object = |kind: &str, spec: Value| {
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "spec": spec,
                "metadata": {"name": "main", "namespace": "default", "annotations": {
                    "vanixiets.dev/digest": format!("{kind}-{host}"),
                }},
            })
        };
        let listener = json!({"name": "https-a", "hostname": host, "port": self.port(cluster), "protocol": "HTTPS"});
        let files = [
            (
                "01-thing/24-customresourcedefinition._.gateways.gateway.networking.k8s.io.yaml",
                definition("Gateway", "gateways"),
            ),
            (
                "01-thing/24-customresourcedefinition._.httproutes.gateway.networking.k8s.io.yaml",
                definition("HTTPRoute", "httproutes"),
            ),
            (
                "02-gateway/80-gateway.gateway.networking.k8s.io.default.main.yaml",
                object("Gateway", json!({"listeners": [listener]})),
            ),
            (
                "02-gateway/80-httproute.gateway.networking.k8s.io.default.main.yaml",
                object(
                    "HTTPRoute",
                    json!({"parentRefs": [{"name": "main", "sectionName": "https-a"}]}),
                ),
            ),
        ];
        fs_err::create_dir_all(folder.join("02-gateway")).unwrap();
        for (path, value) in files {
            fs_err::write(folder.join(path), value.to_string()).unwrap();
        }
        self.publish(cluster, &plane.root());
        let item = |directory: &str, component: &str| json!({"directory": directory, "component": component, "phase": "base", "waitReadiness": true, "barrier": true});
        let mut stage: Value =
            serde_json::from_str(&fs_err::read_to_string(folder.join("stage.json")).unwrap()).unwrap();
        stage["items"] = json!([item("01-thing", "thing"), item("02-gateway", "gateway")]);
        stage["items"][1]["waitReadiness"] = json!(false);
        stage["gates"] = json!([{
            "id": "gateway", "component": "gateway", "phase": "base", "needs": "controller", "timeoutSeconds": 30,
            "object": {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "namespace": "default", "name": "main"},
            "condition": {"type": "exists"},
        }]);
        fs_err::write(folder.join("stage.json"), stage.to_string()).unwrap();
        let deployment = |directory: &str, component: &str| json!({"path": directory, "tags": ["phase-base", format!("component-{component}"), format!("item-{directory}")]});
        let mut deployments = json!({"deployments": [
            deployment("01-thing", "thing"), {"barrier": true}, deployment("02-gateway", "gateway"),
        ]});
        deployments["deployments"][0]["waitReadiness"] = json!(true);
        fs_err::write(folder.join("deployment.yaml"), deployments.to_string()).unwrap();
    }

    /// Another root than the one that signed what answers.
    pub(crate) fn publish_another_root(&self, cluster: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        self.publish(cluster, &parameters.self_signed(&key).unwrap().pem());
    }

    fn publish(&self, cluster: &str, root: &str) {
        let path = format!("checkout/projects/{cluster}-vm/01-thing/16-configmap.default.root.yaml");
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"root_ca.crt": root},
            "metadata": {"name": "root", "namespace": "default", "annotations": {
                "vanixiets.dev/digest": format!("{:x}", Sha256::digest(root)),
            }},
        });
        fs_err::write(self.path(&path), object.to_string()).unwrap();
    }

    /// Makes the folder of VMs, with one VM of Colima's in a state.
    pub(crate) fn vm_in(&self, state: Option<&str>) {
        fs_err::create_dir_all(self.path("home/.xtask-vm/played/_lima")).unwrap();
        let Some(state) = state else { return };
        let image = self.image();
        let created = self.fake_call(&format!(
            "colima start -p k3s-dev --arch {} --cpus 4 --memory 8 --disk 60 --root-disk 60 --runtime none --mount none --mount-type 9p --disk-image {image} --force-disk-image",
            self.fake["arch"].as_str().unwrap()
        ));
        assert_eq!(created.code, 0, "{}", created.stderr);
        self.tamper("colima-k3s-dev", "status", json!(state));
    }

    /// What state that VM is in.
    pub(crate) fn state(&self) -> Option<String> {
        let instance = self.instance("colima-k3s-dev")?;
        Some(instance["status"].as_str().unwrap().to_owned())
    }

    /// Calls a fake itself, as a person would.
    pub(crate) fn fake_call(&self, line: &str) -> Run {
        self.write_files();
        let words = shell_words::split(line).unwrap();
        let home = self.vms();
        #[expect(clippy::disallowed_methods, reason = "the fake itself is what is tried")]
        let mut command = std::process::Command::new(self.path("bin").join(&words[0]));
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("FAKE_VM", self.path("fake.json"))
            .env("COLIMA_HOME", &home)
            .stdin(std::process::Stdio::null());
        if words[0] == "limactl" {
            command.env("LIMA_HOME", home.join("_lima"));
        }
        Run::of(&command.output().unwrap())
    }

    fn write_files(&self) {
        let write = |name: &str, value: &Value| {
            fs_err::write(self.path(name), serde_json::to_string_pretty(value).unwrap()).unwrap();
        };
        write("checkout/platform.json", &self.platform);
        write("host.json", &self.host);
        write("fake.json", &self.fake);
    }

    /// Runs xtask in this world, which has no terminal.
    pub(crate) fn run(&self, words: &[&str]) -> Run {
        let output = self.command(words).output().unwrap();
        Run::of(&output)
    }

    /// Brings a cluster up, and presses Ctrl-C once the fakes were called with these words.
    pub(crate) fn interrupt_when_called(&self, call: &str, cluster: &str, backend: &str) -> Run {
        let project = format!("projects/{cluster}-vm");
        let mut child = self
            .command(&[
                "local-up",
                "--cluster",
                cluster,
                "--backend",
                backend,
                "--source",
                &project,
            ])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let called = || fs_err::read_to_string(self.path("calls.log")).is_ok_and(|log| log.contains(call));
        while !called() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before `{call}`");
            std::thread::yield_now();
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        Run::of(&child.wait_with_output().unwrap())
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        self.write_files();
        let real_home = std::env::var("HOME").unwrap_or_default();
        let cache =
            std::env::var("XTASK_TOOL_CACHE").unwrap_or_else(|_| format!("{real_home}/.cache/vanixiets-xtask/tools"));
        #[expect(clippy::disallowed_methods, reason = "the binary itself is what is tried")]
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(words)
            .current_dir(self.path("checkout"))
            .env_clear()
            .env("PATH", format!("{}{}", self.path("bin"), self.path))
            .env("HOME", self.path("home"))
            .env("PWD", self.path("checkout"))
            .env("CI", "true")
            .env("XTASK_TOOL_CACHE", cache)
            .env("XTASK_HOST", self.path("host.json"))
            .env("XTASK_MAX_WAIT", self.max_wait)
            .env("FAKE_VM", self.path("fake.json"))
            .env("XTASK_PASS_ENV", "FAKE_VM")
            .stdin(std::process::Stdio::null());
        if let Some(home) = &self.vm_home {
            command.env("XTASK_VM_HOME", home);
        }
        command
    }

    /// `local-up` of a cluster with the project that stands for what Nix renders.
    pub(crate) fn up(&self, cluster: &str, backend: &str, more: &[&str]) -> Run {
        let project = format!("projects/{cluster}-vm");
        let mut words = vec![
            "local-up",
            "--cluster",
            cluster,
            "--backend",
            backend,
            "--source",
            &project,
        ];
        words.extend(more);
        self.run(&words)
    }

    /// What the fakes were called with since the last time, except for questions.
    pub(crate) fn calls(&self) -> Vec<String> {
        let log = self.path("calls.log");
        let text = fs_err::read_to_string(&log).unwrap_or_default();
        let _absent_is_fine = fs_err::remove_file(&log);
        text.lines()
            .filter(|line| !line.starts_with("limactl list") && !line.starts_with("limactl shell"))
            .map(|line| line.replace(self.path("").as_str(), "W/"))
            .collect()
    }

    /// The folder of the checkout's VMs.
    pub(crate) fn vms(&self) -> Utf8PathBuf {
        let mut found = fs_err::read_dir(self.path("home/.xtask-vm")).unwrap();
        Utf8PathBuf::from_path_buf(found.next().unwrap().unwrap().path()).unwrap()
    }

    fn state_path(&self, instance: &str) -> Utf8PathBuf {
        self.vms().join("_lima").join(instance).join("fake.json")
    }

    /// The instance as the fake keeps it.
    pub(crate) fn instance(&self, instance: &str) -> Option<Value> {
        let text = fs_err::read_to_string(self.state_path(instance)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Changes an instance behind everybody's back.
    pub(crate) fn tamper(&self, instance: &str, field: &str, value: Value) {
        let mut state = self.instance(instance).unwrap();
        state[field] = value;
        fs_err::write(self.state_path(instance), state.to_string()).unwrap();
    }

    /// The host reboots: whatever ran is gone, and nobody was told.
    pub(crate) fn reboot(&self) {
        for entry in fs_err::read_dir(self.vms().join("_lima")).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            if let Some(state) = self.instance(&name) {
                end(&state["pid"]);
                self.tamper(&name, "pid", Value::Null);
                self.tamper(&name, "status", json!("Stopped"));
            }
        }
    }

    /// Lets the VM of a cluster have the control plane behind it.
    pub(crate) fn behind(&mut self, cluster: &str, instance: &str, plane: &Plane) {
        plane.forget();
        let file = self.path(&format!("{instance}.k3s.yaml"));
        fs_err::write(&file, plane.k3s_yaml()).unwrap();
        self.fake["kubeconfig"][instance] = json!(file);
        let port = self.port(cluster);
        // k3s listens on every address, and keeps the API server itself on loopback, at the next port.
        self.fake["listens"][instance] = json!([
            ["::", port, plane.address],
            ["127.0.0.1", port + 1, plane.address],
            ["::", 10250, plane.address],
        ]);
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        fs_err::metadata(self.path("checkout").join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A control plane that came up before its test failed has nobody else to end it.
        if self.path("checkout/.xtask/clusters/k3s-dev/home/.kwok").is_dir() {
            self.run(&["local-down"]);
        }
        if self.path("home/.xtask-vm").is_dir() {
            self.reboot();
        }
    }
}

fn end(pid: &Value) {
    let pid = pid.as_u64().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        let _gone_already = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// A real control plane.
pub(crate) struct Plane {
    world: World,
    address: String,
    authority: String,
    certificate: String,
    key: String,
}

impl Plane {
    pub(crate) fn start() -> Self {
        let mut world = World::linux();
        world.path = ":/usr/bin:/bin";
        world.max_wait = "120";
        world.project("k3s-dev", "behind");
        world.platform["clusters"]["k3s-dev"]["stages"]["local"]["discriminator"] = json!("test-k3s-dev-behind");
        world
            .run(&[
                "local-up",
                "--backend",
                "embedded",
                "--source",
                "projects/k3s-dev-behind",
            ])
            .ends(0);
        let view = world
            .run(&["kubectl", "--", "config", "view", "--raw", "--flatten", "--output=json"])
            .ends(0);
        let view: Value = serde_json::from_str(&view.stdout).unwrap();
        let text = |pointer: &str| view.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        Self {
            address: text("/clusters/0/cluster/server")
                .trim_start_matches("https://")
                .to_owned(),
            authority: text("/clusters/0/cluster/certificate-authority-data"),
            certificate: text("/users/0/user/client-certificate-data"),
            key: text("/users/0/user/client-key-data"),
            world,
        }
    }

    /// The certificate of its authority.
    fn root(&self) -> String {
        let words = [
            "get",
            "configmap",
            "kube-root-ca.crt",
            "--output=jsonpath={.data.ca\\.crt}",
        ];
        let run = self.world.run(&[["kubectl", "--"].as_slice(), &words].concat()).ends(0);
        assert!(run.stdout.contains("BEGIN CERTIFICATE"), "{}", run.stdout);
        run.stdout
    }

    /// Takes away what earlier runs have left of themselves: a VM that was just made has none of it.
    fn forget(&self) {
        let history = [
            "delete",
            "configmap",
            "xtask-k3s-dev",
            "xtask-k3s-capi",
            "--ignore-not-found",
        ];
        let labels = ["label", "namespaces", "--all", "kluctl.io/discriminator-"];
        for words in [
            [history.as_slice(), &["--namespace=kube-system"]].concat(),
            labels.to_vec(),
        ] {
            self.world.run(&[["kubectl", "--"].as_slice(), &words].concat()).ends(0);
        }
    }

    /// The kubeconfig as k3s writes it.
    fn k3s_yaml(&self) -> String {
        format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://127.0.0.1:6443\n  name: default\ncontexts:\n- context:\n    cluster: default\n    user: default\n  name: default\ncurrent-context: default\nkind: Config\npreferences: {{}}\nusers:\n- name: default\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
            self.authority, self.certificate, self.key
        )
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let run = self.world.run(&["local-down"]);
        if !std::thread::panicking() {
            run.ends(0);
        }
    }
}
