//! Where the objects are, and what is recorded of it: in both clusters and on this host.
//! It moves and removes nothing.

use camino::{Utf8Path, Utf8PathBuf};

use super::Bootstrap;
use crate::cluster::capi::{LocateObjects, Pivot, PivotState, RecordPivot};
use crate::plan::{Action, Effect, Step};

impl Bootstrap<'_> {
    /// Looks where every object of the graph is.
    pub(super) fn locate_steps(&self, round: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut files = Vec::new();
        for (name, side) in [("source", &self.source), ("target", &self.target)] {
            let file = self.work(&format!("located-{round}-{name}.json"));
            steps.push(Step::new(
                &format!("{round}-{name}.look"),
                format!("Look which of the objects `{}` has", side.access.cluster),
                "Only the objects say how far a move is.",
                Effect::Read,
                Action::Run(
                    side.access
                        .kubectl()
                        .args(["get", "--output=json", "--ignore-not-found"])
                        .list_path("--filename", self.backup().join("objects"))
                        .to_file(&file)
                        .within(120),
                ),
            ));
            files.push(file);
        }
        steps.push(Step::new(
            &format!("{round}.locate"),
            "Compare the two sides by identity",
            "What is on neither side is lost, what is on both is half-moved.",
            Effect::Read,
            Action::task(LocateObjects {
                graph: self.work("graph.json"),
                source: files[0].clone(),
                target: files[1].clone(),
                to: self.work(&format!("located-{round}.json")),
                remnants: self.work(&format!("remnants-{round}.json")),
            }),
        ));
        steps
    }

    /// Records how far the pivot is: in both clusters, and on this host. `begun` comes first here and last there.
    pub(super) fn record_steps(&self, id: &str, state: PivotState, round: Option<&str>) -> Vec<Step> {
        let file = self.work(&format!("record-{id}.json"));
        let pivot = Pivot {
            cluster: self.name.to_owned(),
            from: self.source.access.cluster.clone(),
            to: self.target.access.cluster.clone(),
            run: self.nonce.to_owned(),
            state,
        };
        let located = round.map(|round| self.work(&format!("located-{round}.json")));
        let record = |id: &str, title: &str, to: &Utf8Path| {
            Step::new(
                id,
                title,
                "A run on another host, or after this one, has to know where the objects are.",
                Effect::Local,
                Action::task(RecordPivot {
                    pivot: pivot.clone(),
                    graph: self.work("graph.json"),
                    located: located.clone(),
                    to: to.to_owned(),
                }),
            )
        };
        let mut steps = vec![record(
            &format!("record-{id}.write"),
            "Write the record of the pivot",
            &file,
        )];
        for (name, side) in [("source", &self.source), ("target", &self.target)] {
            let object = Utf8PathBuf::from(format!("{file}.{name}"));
            steps.push(Step::new(
                &format!("record-{id}-{name}.apply"),
                format!("Record it in `{}`", side.access.cluster),
                "The deployment history of both clusters says where the objects are.",
                Effect::Remote,
                Action::Run(
                    side.access
                        .kubectl()
                        .args([
                            "apply",
                            "--server-side",
                            "--force-conflicts",
                            "--field-manager=xtask-pivot",
                        ])
                        .list_path("--filename", object)
                        .within(30),
                ),
            ));
        }
        steps.push(record(
            &format!("record-{id}.keep"),
            "Keep the record on this host",
            &self.pivot(),
        ));
        steps
    }
}
