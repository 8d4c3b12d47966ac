//! How long deploys take: ours, kluctl alone, and kubectl, on embedded clusters of their own, in one run.

use std::time::Duration;

use anyhow::Result;
use camino::Utf8PathBuf;
use xshell::{Cmd, cmd};

use crate::measure::{self, Cost, median};
use crate::stage::{self, Stage};
use crate::{Bench, Row, XTASK, copy, of, row};

/// Fresh clusters for each way to deploy the first time; the median is quoted.
const ROUNDS: usize = 3;
/// Runs on one cluster of what is over quickly.
const RUNS: usize = 5;

/// A checkout of its own with a cluster in it, and a stage.
struct Place {
    folder: Utf8PathBuf,
    cluster: String,
    kubeconfig: Utf8PathBuf,
    context: String,
    stage: Stage,
}

/// The tools that are compared with.
struct Peers {
    kubectl: Utf8PathBuf,
    kluctl: Utf8PathBuf,
}

impl Bench {
    /// First deploy, no-op, repair and memory, each against its peers.
    pub(crate) fn deploy(&self) -> Result<Vec<Row>> {
        let peers = Peers {
            kubectl: self.tool("kubectl")?,
            kluctl: self.tool("kluctl")?,
        };
        let (mut ours, mut bare, mut kubectl, mut one_list) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut rows = Vec::new();
        for round in 0..ROUNDS {
            let last = round + 1 == ROUNDS;
            // In turn, so that a host that gets slower is slower for all.
            let mine = self.place("ours")?;
            ours.push(self.ours(&mine)?.took);
            if !last {
                self.end(&mine)?;
            }
            let alone = self.place("kluctl")?;
            bare.push(self.time(self.kluctl(&peers, &alone, &alone.stage.project))?);
            self.end(&alone)?;
            let listed = self.place("one-list")?;
            one_list.push(self.time(self.kluctl(&peers, &listed, &listed.stage.one_list))?);
            self.end(&listed)?;
            let loops = self.place("kubectl")?;
            kubectl.push(self.kubectl_loop(&peers, &loops)?);
            if last {
                rows = self.later(&peers, &mine, &loops)?;
                self.end(&mine)?;
            }
            self.end(&loops)?;
        }
        let ours = median(ours);
        let name = "first deploy, 1,000 objects";
        let mut all = vec![
            row(name, ours, Some(("kluctl alone", median(bare))), "at most 1.15x"),
            row(name, ours, Some(("kubectl's loop", median(kubectl))), "at most 1.3x"),
            row(
                name,
                ours,
                Some(("kluctl on one list", median(one_list))),
                "at most 0.85x",
            ),
        ];
        all.extend(rows);
        Ok(all)
    }

    /// What is measured on clusters that hold the stage.
    fn later(&self, peers: &Peers, mine: &Place, loops: &Place) -> Result<Vec<Row>> {
        let (mut fresh, mut unchanged, mut repair) = (Vec::new(), Vec::new(), Vec::new());
        let (mut peak, mut peers_peak) = (0, 0);
        for run in 0..RUNS {
            let cost = self.ours(mine)?;
            fresh.push(cost.took);
            peak = peak.max(cost.peak);
            let cost = measure::run(self.apply(peers, loops, &loops.folder.join("stage/kubectl")), &[])?;
            unchanged.push(cost.took);
            peers_peak = peers_peak.max(cost.peak);
            let patch = format!(r#"--patch={{"data":{{"a":"edited {run}"}}}}"#);
            let edit = self.kubectl(peers, mine).args([
                "patch",
                "configmap",
                "o0005",
                "--namespace=bench-00",
                "--type=merge",
                "--field-manager=kubectl-edit",
                &patch,
            ]);
            self.time(edit)?;
            let cost = self.ours(mine)?;
            repair.push(cost.took);
            peak = peak.max(cost.peak);
        }
        let peer = Some(("kubectl apply --server-side", median(unchanged)));
        Ok(vec![
            row("deploy with nothing to do", median(fresh), peer, "at most 0.20x"),
            row("repair of one object", median(repair), peer, "at most 0.6x"),
            Row {
                name: format!("peak memory, {} against {} MiB", peak / 1024, peers_peak / 1024),
                milliseconds: None,
                peer: Some("kubectl apply --server-side".to_owned()),
                peer_milliseconds: None,
                ratio: Some(peak as f64 / peers_peak.max(1) as f64),
                bound: "at most 0.5x",
            },
        ])
    }

    /// A checkout with a cluster that holds nothing but a greeting, and a stage to deploy.
    fn place(&self, name: &str) -> Result<Place> {
        let local = xtask::platform::Stage::Local;
        let cluster = self.platform.default_cluster(local).map_err(of)?.to_owned();
        let discriminator = &self.platform.stage(&cluster, local).map_err(of)?.discriminator;
        let config = self.platform.cluster(&cluster).map_err(of)?;
        let folder = self.folder.join(name);
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        fs_err::create_dir_all(&folder)?;
        for file in ["platform.json", ".sops.yaml"] {
            fs_err::copy(self.root.join(file), folder.join(file))?;
        }
        copy(&self.root.join("k8s/secrets"), &folder.join("k8s/secrets"))?;
        let stage = stage::write(&folder.join("stage"), &cluster, discriminator)?;
        let golden = folder.join(format!("k8s/golden/{cluster}/local"));
        stage::write_small(&golden, &cluster, discriminator)?;
        let place = Place {
            kubeconfig: folder.join(&config.kubeconfig),
            context: config.context.clone(),
            folder,
            cluster,
            stage,
        };
        self.xtask(&place, &["local-up", "--backend=embedded"])?;
        Ok(place)
    }

    fn end(&self, place: &Place) -> Result<()> {
        self.xtask(place, &["local-down"]).map(drop)
    }

    /// Our own deploy of the stage.
    fn ours(&self, place: &Place) -> Result<Cost> {
        let project = place.stage.project.as_str();
        self.xtask(place, &["deploy", "--stage=local", "--from-folder", project])
    }

    fn xtask(&self, place: &Place, words: &[&str]) -> Result<Cost> {
        let (shell, Place { folder, cluster, .. }) = (&self.shell, place);
        measure::run(
            cmd!(shell, "{XTASK} --root={folder} {words...} --cluster={cluster}"),
            &[],
        )
    }

    /// kluctl as a person calls it, with the same flags as ours.
    fn kluctl(&self, peers: &Peers, place: &Place, project: &Utf8PathBuf) -> Cmd<'_> {
        let (shell, Peers { kluctl, .. }, Place { context, .. }) = (&self.shell, peers, place);
        cmd!(
            shell,
            "{kluctl} deploy --no-update-check --context={context} --yes --abort-on-error"
        )
        .args([
            "--write-command-result=false",
            "--readiness-timeout=300s",
            "--timeout=900s",
        ])
        .arg(format!("--project-dir={project}"))
        .env("KUBECONFIG", &place.kubeconfig)
        .env("HOME", place.folder.join("home"))
    }

    fn kubectl(&self, peers: &Peers, place: &Place) -> Cmd<'_> {
        let (shell, Peers { kubectl, .. }) = (&self.shell, peers);
        let Place {
            kubeconfig, context, ..
        } = place;
        cmd!(shell, "{kubectl} --kubeconfig={kubeconfig} --context={context}")
            .env("KUBERC", "off")
            .env("HOME", place.folder.join("home"))
    }

    fn apply(&self, peers: &Peers, place: &Place, folder: &Utf8PathBuf) -> Cmd<'_> {
        self.kubectl(peers, place)
            .args(["apply", "--server-side", "--recursive"])
            .arg(format!("--filename={folder}"))
    }

    /// What a person without kluctl does: definitions, wait, the rest.
    fn kubectl_loop(&self, peers: &Peers, place: &Place) -> Result<Duration> {
        let wait = self.kubectl(peers, place);
        let wait = wait.args(["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
        Ok(self.time(self.apply(peers, place, &place.stage.first))?
            + self.time(wait)?
            + self.time(self.apply(peers, place, &place.stage.rest))?)
    }
}
