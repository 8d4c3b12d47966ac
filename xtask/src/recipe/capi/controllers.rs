//! The controllers of a rehearsal, which run as processes of this host; elsewhere they are pods and no step.
//! They listen on every interface, so the plan that has them is for a network with loopback alone.

use super::{Bootstrap, Controllers, Side};
use crate::cluster::embedded::EndProcesses;
use crate::cluster::{capi, embedded as host};
use crate::plan::{Action, Effect, Probe, Section, Step};

impl Bootstrap<'_> {
    /// Starts the controllers of a side as processes; in pods they start themselves.
    pub(super) fn controllers_up(&self, prefix: &str, side: &Side<'_>) -> Option<Section> {
        if self.controllers == Controllers::Pods {
            return None;
        }
        let access = &side.access;
        let folder = capi::controllers(access);
        let mut steps = vec![Step::new(
            &format!("{prefix}-controllers.point"),
            "Give the controllers a kubeconfig of their own",
            "Its path is what tells their processes from others.",
            Effect::Local,
            Action::Run(
                access
                    .kubectl()
                    .args(["config", "view", "--raw", "--minify", "--flatten"])
                    .to_file(capi::controllers_kubeconfig(access)),
            ),
        )];
        let pki = host::folder(access).join("pki");
        let mut answers = Vec::new();
        for (name, port, command) in capi::managers(access, &pki) {
            steps.push(Step::new(
                &format!("{prefix}-{name}.start"),
                format!("Start `{name}` for `{}`", access.cluster),
                "The real controllers; only their machines are in memory.",
                Effect::Local,
                Action::Serve {
                    folder: folder.clone(),
                    name: name.to_owned(),
                    command,
                },
            ));
            answers.push(Probe::Answers {
                address: format!("127.0.0.1:{port}"),
                page: "/readyz".to_owned(),
            });
        }
        answers.push(Probe::Alive(folder));
        steps.push(Step::new(
            &format!("{prefix}-controllers.answer"),
            "Wait until the controllers answer",
            "What is applied before them has no controller.",
            Effect::Read,
            Action::Wait {
                until: Probe::All(answers),
                deadline: 120,
                every: 1,
            },
        ));
        Some(
            Section::new(
                &format!("{prefix}-controllers"),
                format!("Start the controllers for `{}`", access.cluster),
                "The real controllers; only their machines are in memory.",
            )
            .with_all(steps),
        )
    }

    pub(super) fn controllers_down(&self, side: &Side<'_>, id: &str) -> Option<Step> {
        (self.controllers == Controllers::Processes).then(|| {
            Step::new(
                id,
                format!("End the controllers of `{}`", side.access.cluster),
                "The machines in memory are theirs, and so are their ports.",
                Effect::Local,
                Action::task(EndProcesses {
                    folder: capi::controllers(&side.access),
                }),
            )
        })
    }
}
