//! How long deploys take: ours, kluctl alone, and kubectl, on embedded clusters of their own, in one run.

use std::time::Duration;

use camino::Utf8PathBuf;

use super::stage::{self, Stage};
use super::{Bench, Row, median, row};
use crate::base::failure::{Failure, Result};
use crate::base::root::STATE;
use crate::cluster::access::Access;
use crate::plan::{Command, Tool};

/// Fresh clusters for each way to deploy the first time; the median is quoted.
const ROUNDS: usize = 3;
/// Runs on one cluster of what is over quickly.
const RUNS: usize = 5;

/// A checkout of its own with a cluster in it, and a stage.
struct Place {
    /// Relative to the checkout's root.
    folder: Utf8PathBuf,
    cluster: String,
    access: Access,
    stage: Stage,
}

impl Bench<'_> {
    /// First deploy, no-op, repair and memory, each against its peers.
    pub(super) fn deploy(&self) -> Result<Vec<Row>> {
        let release = self.release_binary()?;
        let (mut ours, mut bare, mut kubectl, mut one_list) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut rows = Vec::new();
        for round in 0..ROUNDS {
            let last = round + 1 == ROUNDS;
            // In turn, so that a host that gets slower is slower for all.
            let mine = self.place("ours", &release)?;
            ours.push(self.ours(&mine, &release)?.0);
            if !last {
                self.end(&mine, &release)?;
            }
            let alone = self.place("kluctl", &release)?;
            bare.push(self.time(&self.kluctl(&alone, &alone.stage.project))?.0);
            self.end(&alone, &release)?;
            let listed = self.place("one-list", &release)?;
            one_list.push(self.time(&self.kluctl(&listed, &listed.stage.one_list))?.0);
            self.end(&listed, &release)?;
            let loops = self.place("kubectl", &release)?;
            kubectl.push(self.kubectl_loop(&loops)?);
            if last {
                rows = self.later(&mine, &loops, &release)?;
                self.end(&mine, &release)?;
            }
            self.end(&loops, &release)?;
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
    fn later(&self, mine: &Place, loops: &Place, release: &Utf8PathBuf) -> Result<Vec<Row>> {
        let apply = self.apply(loops, &loops.folder.join("stage/kubectl"));
        let (mut fresh, mut unchanged, mut repair) = (Vec::new(), Vec::new(), Vec::new());
        let (mut peak, mut peers_peak) = (0, 0);
        for run in 0..RUNS {
            let (took, memory) = self.ours(mine, release)?;
            fresh.push(took);
            peak = peak.max(memory);
            let (took, memory) = self.time(&apply)?;
            unchanged.push(took);
            peers_peak = peers_peak.max(memory);
            let patch = format!(r#"{{"data":{{"a":"edited {run}"}}}}"#);
            let edit = mine.access.kubectl().args([
                "patch",
                "configmap",
                "o0005",
                "--namespace=bench-00",
                "--type=merge",
                "--field-manager=kubectl-edit",
                "--patch",
                &patch,
            ]);
            self.time(&edit)?;
            let (took, memory) = self.ours(mine, release)?;
            repair.push(took);
            peak = peak.max(memory);
        }
        let unchanged = median(unchanged);
        let peer = Some(("kubectl apply --server-side", unchanged));
        // Kibibytes as milliseconds would be nonsense; the row says mebibytes in its name.
        Ok(vec![
            row("deploy with nothing to do", median(fresh), peer, "at most 0.20x"),
            row("repair of one object", median(repair), peer, "at most 0.6x"),
            Row {
                name: format!("peak memory, {} against {} MiB", peak / 1024, peers_peak / 1024),
                milliseconds: 0.0,
                peer: Some("kubectl apply --server-side".to_owned()),
                peer_milliseconds: None,
                ratio: Some(peak as f64 / peers_peak.max(1) as f64),
                bound: "at most 0.5x",
            },
        ])
    }

    /// A checkout with a cluster that holds nothing but a greeting, and a stage to deploy.
    fn place(&self, name: &str, release: &Utf8PathBuf) -> Result<Place> {
        let platform = &self.checkout.platform;
        let cluster = platform.default_cluster(crate::platform::Stage::Local)?.to_owned();
        let discriminator = &platform.stage(&cluster, crate::platform::Stage::Local)?.discriminator;
        let folder = Utf8PathBuf::from(STATE).join("bench").join(name);
        let root = self.checkout.path(&folder);
        if root.exists() {
            fs_err::remove_dir_all(&root)?;
        }
        fs_err::create_dir_all(&root)?;
        for file in ["platform.json", ".sops.yaml"] {
            fs_err::copy(self.checkout.path(file), root.join(file))?;
        }
        crate::project::copy(&self.checkout.path("k8s/secrets"), &root.join("k8s/secrets"))?;
        let stage = stage::write(&root.join("stage"), &cluster, discriminator)?;
        let golden = root.join(format!("k8s/golden/{cluster}/local"));
        stage::write_small(&golden, &cluster, discriminator)?;
        let facts = platform.cluster(&cluster)?;
        let mut access = Access::of(&cluster, facts);
        access.kubeconfig = folder.join(&access.kubeconfig);
        access.folder = folder.join(&access.folder);
        let place = Place {
            folder,
            cluster,
            access,
            stage,
        };
        self.xtask(&place, release, &["local-up", "--backend=embedded"])?;
        Ok(place)
    }

    fn end(&self, place: &Place, release: &Utf8PathBuf) -> Result<()> {
        self.xtask(place, release, &["local-down"]).map(drop)
    }

    /// Our own deploy of the stage: how long, and its peak memory in KiB.
    fn ours(&self, place: &Place, release: &Utf8PathBuf) -> Result<(Duration, u64)> {
        let folder = place.stage.project.as_str();
        self.xtask(place, release, &["deploy", "--stage=local", "--from-folder", folder])
    }

    fn xtask(&self, place: &Place, release: &Utf8PathBuf, words: &[&str]) -> Result<(Duration, u64)> {
        let command = Command::new(Tool::Xtask)
            .flag_path("--root", &place.folder)
            .args(words.iter().copied())
            .arg(format!("--cluster={}", place.cluster))
            .within(900);
        let tools = self.context.toolbox(self.kubernetes()).ensure(&[])?;
        self.runner(&tools).measure(&command, Some(release))
    }

    /// kluctl as a person calls it, with the same flags as ours.
    fn kluctl(&self, place: &Place, project: &Utf8PathBuf) -> Command {
        as_a_person(place.access.kluctl("deploy"))
            .args(["--yes", "--abort-on-error", "--write-command-result=false"])
            .args(["--readiness-timeout=300s", "--timeout=900s"])
            .flag_path("--project-dir", project)
            .within(900)
    }

    fn apply(&self, place: &Place, folder: &Utf8PathBuf) -> Command {
        as_a_person(place.access.kubectl())
            .args(["apply", "--server-side", "--recursive"])
            .list_path("--filename", folder)
            .within(900)
    }

    /// What a person without kluctl does: definitions, wait, the rest.
    fn kubectl_loop(&self, place: &Place) -> Result<Duration> {
        let wait = as_a_person(place.access.kubectl()).args([
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=60s",
        ]);
        let steps = [
            self.apply(place, &place.stage.first),
            wait,
            self.apply(place, &place.stage.rest),
        ];
        let times = steps
            .iter()
            .map(|command| Ok(self.time(command)?.0))
            .collect::<Result<Vec<_>>>()?;
        Ok(times.iter().sum())
    }

    /// How long a command takes, and its peak memory in KiB.
    fn time(&self, command: &Command) -> Result<(Duration, u64)> {
        let tools = self.context.toolbox(self.kubernetes()).ensure(&[command.tool])?;
        self.runner(&tools)
            .measure(command, None)
            .map_err(|failure: Failure| failure.context(format!("`{}` was to be measured", command.tool.program())))
    }
}

/// A peer without what we tune.
fn as_a_person(mut command: Command) -> Command {
    command.env.remove("GOGC");
    command
}
