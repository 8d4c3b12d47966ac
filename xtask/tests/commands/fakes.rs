//! A checkout whose tools are all the one fake, and whose PATH has nothing else.

use std::process::Command;

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use crate::support::{Checkout, Ran, XTASK, finish, tiny_objects, until, write};

/// What a run starts and leaves running.
const SERVERS: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

/// A checkout with fake tools and the script that they answer from.
pub(crate) struct Fakes {
    pub(crate) checkout: Checkout,
}

impl Fakes {
    /// The tools of an embedded cluster, answering as one that is empty until kluctl was called.
    pub(crate) fn new() -> Self {
        let mut checkout = Checkout::tiny();
        let config = checkout.root.join("platform.json");
        let mut platform: Value = serde_json::from_str(&fs_err::read_to_string(&config).unwrap()).unwrap();
        for cluster in ["k3s-dev", "k3s-capi"] {
            // The tiny stage has no operator, and so nobody who needs an identity.
            let components = platform["clusters"][cluster]["components"].as_array_mut().unwrap();
            components.retain(|component| component != xtask::secrets::OPERATOR);
        }
        fs_err::write(config, platform.to_string()).unwrap();
        let bin = checkout.base().join("bin");
        fs_err::create_dir_all(&bin).unwrap();
        let fake = Utf8PathBuf::from(XTASK).with_file_name("examples").join("fake-tool");
        assert!(
            fake.exists(),
            "`{fake}` is missing: `cargo build --examples`, or `cargo test` without `--test`"
        );
        for tool in [
            "kluctl",
            "kubectl",
            "kwokctl",
            "kwok",
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "git",
            "age-keygen",
        ] {
            fs_err::os::unix::fs::symlink(&fake, bin.join(tool)).unwrap();
        }
        fs_err::os::unix::fs::symlink(XTASK, bin.join("xtask")).unwrap();
        let base = checkout.base();
        let set = |name: &str, value: &Utf8PathBuf| (name.to_owned(), value.to_string());
        checkout.variables.extend([
            set("PATH", &bin),
            set("FAKE_LOG", &base.join("calls")),
            set("FAKE_SCRIPT", &base.join("script")),
            set("XTASK_TOOL_CACHE", &base.join("no-tools")),
        ]);
        checkout
            .variables
            .insert("XTASK_PASS_ENV".into(), "FAKE_LOG,FAKE_SCRIPT,FAKE_KLUCTL".into());
        write(&base.join("namespace.json"), r#"{"metadata":{"uid":"1234"}}"#);
        write(&base.join("served.txt"), &served());
        write(&base.join("listing.json"), &listing(&checkout).to_string());
        let fakes = Self { checkout };
        fakes.answers(&[]);
        fakes
    }

    /// Puts one more tool on the PATH.
    pub(crate) fn with(self, tool: &str) -> Self {
        let bin = self.checkout.base().join("bin");
        fs_err::os::unix::fs::symlink(bin.join("kubectl"), bin.join(tool)).unwrap();
        self
    }

    /// Sets what is answered; these lines come before the usual ones.
    pub(crate) fn answers(&self, first: &[&str]) {
        let base = self.checkout.base();
        let usual = [
            "kubectl *get --raw=/readyz => 0 ok".to_owned(),
            "kubectl * config * => 0 ok".to_owned(),
            "kubectl *get node => 0 ok".to_owned(),
            "kubectl *get serviceaccount => 0 ok".to_owned(),
            "kubectl *get namespaces,configmaps,leases => 0 {\"items\":[]}".to_owned(),
            format!("kubectl *get namespace kube-system => 0 @{base}/namespace.json"),
            format!("kubectl *api-resources => 0 @{base}/served.txt"),
            "once kubectl *proxy --unix-socket= => serve {\"items\":[]}".to_owned(),
            "once kubectl *proxy --unix-socket= => serve {\"items\":[]}".to_owned(),
            format!("kubectl *proxy --unix-socket= => serve @{base}/listing.json"),
            format!("kubectl *get --all-namespaces --output=json --ignore-not-found => 0 @{base}/listing.json"),
            // Held, by the nonce that the run wrote.
            format!("kubectl *get lease => 0 @{base}/checkout/.xtask/clusters/k3s-dev/lease-wanted.json"),
            "kubectl *create --filename => 0 created".to_owned(),
            "kubectl *get configmap => 0".to_owned(),
            "kubectl *get namespace sops-secrets-operator => 0 namespace/sops-secrets-operator".to_owned(),
            "kubectl *get secret => 0".to_owned(),
            format!("age-keygen -y => 0 age1{}", "q".repeat(58)),
            format!("age-keygen => 0 AGE-SECRET-{}1{}", "KEY-", "Q".repeat(58)),
            "kubectl *apply --server-side => 0 applied".to_owned(),
            "kubectl *delete => 0 deleted".to_owned(),
            "kwokctl => 0 done".to_owned(),
            "kube-controller-manager => stay".to_owned(),
            "kube-scheduler => stay".to_owned(),
            "kluctl *deploy => 0 deployed".to_owned(),
            "git => 0 0000000000000000000000000000000000000000".to_owned(),
        ];
        let lines: Vec<String> = first.iter().map(|line| (*line).to_owned()).chain(usual).collect();
        write(&base.join("script"), &lines.join("\n"));
        for name in ["calls", "calls.used"] {
            let _absent = fs_err::remove_file(base.join(name));
        }
    }

    /// Writes what kwokctl would have: the control plane's own kubeconfig, and the one that everything uses.
    pub(crate) fn made(&self) {
        let config = |context: &str| {
            json!({
                "current-context": context,
                "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            })
            .to_string()
        };
        let state = self.checkout.root.join(".xtask");
        write(
            &state.join("clusters/k3s-dev/home/.kwok/clusters/embedded/kubeconfig.yaml"),
            &config("kwok-embedded"),
        );
        let kubeconfig = state.join("kubeconfigs/k3s-dev.yaml");
        write(&kubeconfig, &config("k3s-dev"));
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs_err::set_permissions(kubeconfig, private).unwrap();
    }

    /// Calls since the answers were set, with this test's folder left out.
    pub(crate) fn calls(&self) -> Vec<String> {
        let base = self.checkout.base();
        fs_err::read_to_string(base.join("calls"))
            .unwrap_or_default()
            .lines()
            .map(|line| line.replace(base.as_str(), ""))
            .collect()
    }

    /// The calls of the servers, which a run that started them does not wait for, by their names; and all others in
    /// their order.
    pub(crate) fn settled(&self) -> (Vec<String>, Vec<String>) {
        let is_served = |call: &String| SERVERS.iter().any(|server| call.starts_with(server));
        until("the servers are called", || {
            self.calls().iter().filter(|call| is_served(call)).count() == SERVERS.len()
        });
        let (mut served, others): (Vec<String>, Vec<String>) = self.calls().into_iter().partition(is_served);
        served.sort();
        (served, others)
    }

    /// Processes that are there still, but for the controllers, which are meant to outlive a run.
    pub(crate) fn left(&self) -> Vec<(i32, String)> {
        let mut left = self.checkout.processes();
        left.retain(|(_, line)| {
            let program = line.split(' ').next().unwrap_or_default();
            !SERVERS.iter().any(|server| program.ends_with(server))
        });
        left
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.checkout.run(arguments)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.checkout.command(arguments)
    }

    pub(crate) fn finish(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        finish(command.spawn().unwrap())
    }
}

fn served() -> String {
    [
        "configmaps cm v1 true ConfigMap create,delete,get,list,patch,update,watch",
        "namespaces ns v1 false Namespace create,delete,get,list,patch,update,watch",
        "serviceaccounts sa v1 true ServiceAccount create,delete,get,list,patch,update,watch",
        "services svc v1 true Service create,delete,get,list,patch,update,watch",
        "deployments deploy apps/v1 true Deployment create,delete,get,list,patch,update,watch",
    ]
    .join("\n")
}

/// The stage as an API server would list it after kluctl has applied it.
fn listing(checkout: &Checkout) -> Value {
    let mut items = Vec::new();
    for (index, (item, ..)) in tiny_objects().iter().enumerate() {
        let path = checkout.golden("k3s-dev").join(item).join(format!("{index:02}.yaml"));
        let mut object: Value = serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
        // An ancestor that is a leaf owns everything below it.
        let fields = json!({"f:metadata": {"f:annotations": {}, "f:labels": {}}, "f:spec": {}, "f:data": {}});
        object["metadata"]["managedFields"] =
            json!([{"manager": "kluctl", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
        object["metadata"]["labels"]["kluctl.io/discriminator"] = "vanixiets-k3s-dev-local".into();
        object["metadata"]["generation"] = 1.into();
        object["status"] = json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        items.push(object);
    }
    json!({"items": items})
}
