//! Checkouts for tests: a folder with the real platform config and a tiny stage, and runs of the binary in it.
//! Whatever a test starts there is ended with it, also when the test panics.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

/// Longest that any run of a test may take; a test that hangs must not hang its caller.
const LIMIT: Duration = Duration::from_secs(420);

/// The binary under test.
pub(crate) const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Every step of a plan in JSON with its path, in order, those of `finally` last.
pub(crate) fn steps(plan: &Value) -> Vec<(String, &Value)> {
    fn place<'a>(item: &'a Value, above: &str, into: &mut Vec<(String, &'a Value)>) {
        let path = |value: &Value| format!("{above}{}", value["id"].as_str().unwrap());
        match item.get("step") {
            Some(step) => into.push((path(step), step)),
            None => {
                let section = item.get("section").unwrap_or(item);
                let above = format!("{}/", path(section));
                for item in section["items"].as_array().unwrap() {
                    place(item, &above, into);
                }
            }
        }
    }
    let mut steps = Vec::new();
    for part in ["sections", "finally"] {
        for section in plan[part].as_array().unwrap() {
            place(section, "", &mut steps);
        }
    }
    steps
}

/// Whether a path of a plan is that of a step or section with this id.
pub(crate) fn is(path: &str, id: &str) -> bool {
    path == id || path.ends_with(&format!("/{id}"))
}

/// A temporary checkout.
pub(crate) struct Checkout {
    folder: tempfile::TempDir,
    pub(crate) root: Utf8PathBuf,
    /// Variables that every run gets on top of the harness's own.
    pub(crate) variables: BTreeMap<String, String>,
    kubectl: std::sync::OnceLock<String>,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Checkout {
    /// With the platform config of this checkout and a stage of five objects for both local clusters.
    pub(crate) fn tiny() -> Self {
        Self::named("checkout")
    }

    /// As [`Checkout::tiny`], in a folder of this name.
    pub(crate) fn named(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("xtask-").tempdir().unwrap();
        let base = Utf8PathBuf::from_path_buf(folder.path().canonicalize().unwrap()).unwrap();
        let root = base.join(name);
        let checkout = Self {
            folder,
            root,
            variables: BTreeMap::new(),
            kubectl: std::sync::OnceLock::new(),
        };
        fs_err::create_dir_all(checkout.base().join("home")).unwrap();
        fs_err::create_dir_all(&checkout.root).unwrap();
        // Tests put files of a run there that no run has made.
        xtask::base::state::check(&checkout.root).unwrap();
        fs_err::copy(repository().join("platform.json"), checkout.root.join("platform.json")).unwrap();
        fs_err::copy(repository().join(".sops.yaml"), checkout.root.join(".sops.yaml")).unwrap();
        copy_folder(&repository().join("k8s/secrets"), &checkout.root.join("k8s/secrets"));
        for cluster in ["k3s-dev", "k3s-capi"] {
            checkout.stage(cluster, &tiny_objects());
        }
        checkout
    }

    /// The folder around the checkout, with the home of its runs.
    pub(crate) fn base(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.folder.path().canonicalize().unwrap()).unwrap()
    }

    /// Writes the golden of stage local of a cluster: `(item, phase, object)`.
    pub(crate) fn stage(&self, cluster: &str, objects: &[(&str, &str, Value)]) {
        let golden = self.golden(cluster);
        if golden.exists() {
            fs_err::remove_dir_all(&golden).unwrap();
        }
        let mut items: Vec<(&str, &str)> = objects.iter().map(|(item, phase, _)| (*item, *phase)).collect();
        items.dedup();
        let mut phases: Vec<&str> = items.iter().map(|(_, phase)| *phase).collect();
        phases.dedup();
        let discriminator = format!("vanixiets-{cluster}-local");
        let workload = objects
            .iter()
            .rev()
            .find(|(_, _, object)| object["kind"] == "Deployment");
        let namespace = &workload.unwrap_or(objects.last().unwrap()).2["metadata"]["namespace"];
        let described: Vec<Value> = items
            .iter()
            .map(|(item, phase)| {
                json!({"directory": item, "component": &item[3..], "phase": phase, "waitReadiness": true, "barrier": true})
            })
            .collect();
        let description = json!({
            "schema": 1, "cluster": cluster, "stage": "local", "environment": "local",
            "discriminator": discriminator, "phases": phases, "items": described, "charts": [],
            "gates": [{
                "id": "app.ready", "component": "app", "phase": "apps", "needs": "kubelet",
                "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": namespace, "name": "web"},
                "condition": {"type": "podsReady"}, "timeoutSeconds": 120,
            }],
        });
        let deployments: Vec<Value> = items
            .iter()
            .flat_map(|(item, phase)| {
                [
                    json!({"path": item, "waitReadiness": true,
                        "tags": [format!("phase-{phase}"), format!("component-{}", &item[3..]), format!("item-{item}")]}),
                    json!({"barrier": true, "message": format!("after {item}")}),
                ]
            })
            .collect();
        write(&golden.join("stage.json"), &description.to_string());
        write(
            &golden.join(".kluctl.yaml"),
            &json!({"discriminator": discriminator}).to_string(),
        );
        write(
            &golden.join("deployment.yaml"),
            &json!({"deployments": deployments}).to_string(),
        );
        write(&golden.join(".templateignore"), "*\n");
        for (index, (item, _, object)) in objects.iter().enumerate() {
            let mut object = object.clone();
            let digest = xtask::golden::object::digest_of(&object);
            object["metadata"]["annotations"][xtask::project::DIGEST] = digest.into();
            write(&golden.join(item).join(format!("{index:02}.yaml")), &object.to_string());
        }
    }

    /// The golden of stage local of a cluster.
    pub(crate) fn golden(&self, cluster: &str) -> Utf8PathBuf {
        self.root.join("k8s/golden").join(cluster).join("local")
    }

    /// A run of the binary, not started yet: a clean environment, the built tools, a home of its own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(XTASK);
        command
            .args(arguments)
            .current_dir(&self.root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.base().join("home"))
            .env("XTASK_TOOL_CACHE", tool_cache())
            .env("GOPATH", self.base().join("home/go"))
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments).spawn().unwrap())
    }

    /// Runs the binary, which has to exit with code 0.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran}");
        ran
    }

    /// What kubectl answers about a cluster of the platform config, as JSON.
    pub(crate) fn get(&self, cluster: &str, arguments: &[&str]) -> Value {
        let mut all = vec!["get", "--output=json"];
        all.extend(arguments);
        serde_json::from_str(&self.kubectl(cluster, &all)).unwrap()
    }

    /// Runs kubectl itself on a cluster of the platform config; has to exit with code 0.
    pub(crate) fn kubectl(&self, cluster: &str, arguments: &[&str]) -> String {
        let path = self
            .kubectl
            .get_or_init(|| self.ok(&["tools", "path", "kubectl"]).stdout.trim().to_owned());
        let ran = finish(
            program(path)
                .arg(format!("--kubeconfig={}/.xtask/kubeconfigs/{cluster}.yaml", self.root))
                .arg(format!("--context={cluster}"))
                .args(arguments)
                .env_clear()
                .env("HOME", self.base().join("home"))
                .env("KUBECACHEDIR", self.base().join("kubectl-cache"))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        assert_eq!(ran.code, Some(0), "kubectl {arguments:?}: {ran}");
        ran.stdout
    }

    /// Processes whose command line or environment names this checkout: what a run may not leave behind.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        processes_naming(self.base().as_str())
    }

    /// The newest run folder of a verb.
    pub(crate) fn newest_run(&self, verb: &str) -> Utf8PathBuf {
        let mut runs: Vec<Utf8PathBuf> = self
            .root
            .join(".xtask/runs")
            .read_dir_utf8()
            .unwrap()
            .map(|entry| entry.unwrap().into_path())
            .filter(|path| path.file_name().unwrap().contains(&format!("-{verb}-")))
            .collect();
        runs.sort();
        runs.pop().expect("the verb has run")
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // Whatever is left belongs to this test alone: its command line names the temporary folder.
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for (pid, _) in left {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "code {:?}, signal {:?}, {:?}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.code, self.signal, self.took, self.stdout, self.stderr
        )
    }
}

/// Waits for a started run, reading what it says; fails the test when it does not end.
pub(crate) fn finish(mut child: Child) -> Ran {
    let started = Instant::now();
    let stdout = child.stdout.take().map(read);
    let stderr = child.stderr.take().map(read);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill().unwrap();
            let stderr = stderr.map(|thread| thread.join().unwrap()).unwrap_or_default();
            panic!("did not end within {LIMIT:?}: {stderr}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |thread: Option<std::thread::JoinHandle<String>>| thread.map(|thread| thread.join().unwrap());
    Ran {
        code: status.code(),
        signal: status.signal(),
        stdout: text(stdout).unwrap_or_default(),
        stderr: text(stderr).unwrap_or_default(),
        took: started.elapsed(),
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A program, for tests only: they stand outside of plans.
#[expect(
    clippy::disallowed_methods,
    reason = "a test looks at the binary from outside, where no plan is"
)]
pub(crate) fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(path)
}

/// Has Go build what this host lacks of these tools: for who goes where there is no network.
pub(crate) fn build_tools(names: &[&str]) {
    let built = program(XTASK).args(["tools", "build"]).args(names).status().unwrap();
    assert!(built.success(), "{names:?} cannot be had");
}

/// The checkout that this test was built from.
pub(crate) fn repository() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The cache of built tools that the caller of the tests uses.
pub(crate) fn tool_cache() -> Utf8PathBuf {
    if let Ok(cache) = std::env::var("XTASK_TOOL_CACHE") {
        return cache.into();
    }
    if let Ok(cache) = std::env::var("XDG_CACHE_HOME") {
        return Utf8PathBuf::from(cache).join("vanixiets-xtask/tools");
    }
    let home = Utf8PathBuf::from(std::env::var("HOME").expect("the home of whoever runs the tests is known"));
    if cfg!(target_os = "macos") {
        home.join("Library/Caches/vanixiets-xtask/tools")
    } else {
        home.join(".cache/vanixiets-xtask/tools")
    }
}

/// Live processes whose command line or environment has this text, without this test itself.
pub(crate) fn processes_naming(text: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return found;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if u32::try_from(pid) == Ok(std::process::id()) {
            continue;
        }
        let part = |name: &str| {
            let bytes = fs_err::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let line = part("cmdline");
        // A zombie has no command line and no environment any more.
        if line.contains(text) || part("environ").contains(text) {
            found.push((pid, line));
        }
    }
    found
}

/// Addresses at which a process listens over TCP.
pub(crate) fn listeners_of(pid: i32) -> Vec<std::net::SocketAddr> {
    let sockets: Vec<String> = fs_err::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| Some(fs_err::read_link(entry.path()).ok()?.to_str()?.to_owned()))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = fs_err::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            // State 0A listens; the inode is the tenth word.
            if words[3] == "0A" && sockets.iter().any(|socket| socket == words[9]) {
                found.push(address(words[1]));
            }
        }
    }
    found
}

/// An address as the kernel prints it: words of four bytes in the order of the host, and the port.
fn address(text: &str) -> std::net::SocketAddr {
    let (host, port) = text.split_once(':').unwrap();
    let bytes: Vec<u8> = (0..host.len() / 8)
        .flat_map(|word| u32::from_str_radix(&host[word * 8..][..8], 16).unwrap().to_ne_bytes())
        .collect();
    let host: std::net::IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => four.into(),
        Err(_) => <[u8; 16]>::try_from(bytes.as_slice()).unwrap().into(),
    };
    (host, u16::from_str_radix(port, 16).unwrap()).into()
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_folder(from: &Utf8Path, to: &Utf8Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in from.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_folder(entry.path(), &to.join(entry.file_name()));
        } else {
            fs_err::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Writes a file with the folders above it.
pub(crate) fn write(path: &Utf8Path, content: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, content).unwrap();
}

/// Waits until something is true; fails the test with a sentence when it never is.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Five objects in two phases: enough for order, readiness, a gate and field ownership.
pub(crate) fn tiny_objects() -> Vec<(&'static str, &'static str, Value)> {
    let labels = json!({"app": "web"});
    vec![
        (
            "01-base",
            "base",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tiny"}}),
        ),
        (
            "01-base",
            "base",
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": "tiny"}}),
        ),
        (
            "02-app",
            "apps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "tiny"},
                "data": {"colour": "blue"}}),
        ),
        (
            "02-app",
            "apps",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "tiny"},
                "spec": {"selector": labels, "ports": [{"port": 80}]}}),
        ),
        (
            "02-app",
            "apps",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "tiny"},
                "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"serviceAccountName": "web",
                        "containers": [{"name": "web", "image": "registry.example/web:1.0.0"}]}}}}),
        ),
    ]
}
