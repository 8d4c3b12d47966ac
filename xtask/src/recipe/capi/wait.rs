//! What is waited for until the machines are there: the first address, the control plane, every machine.
//! Nothing is changed here.

use super::{Bootstrap, CONTROL_PLANE, Controllers, MACHINES, Side};
use crate::cluster::access::Access;
use crate::cluster::capi::Want;
use crate::command::Command;
use crate::plan::{Action, Effect, Probe, Section, Step};

impl Bootstrap<'_> {
    /// `kubectl get` of everything of ClusterAPI in the namespace.
    pub(super) fn list(&self, access: &Access) -> Command {
        access
            .kubectl()
            .arg("get")
            .arg("clusters.cluster.x-k8s.io,machines.cluster.x-k8s.io")
            .args(["--output=json", "--ignore-not-found"])
            .arg(format!("--namespace={}", self.api.namespace))
            .within(30)
    }

    /// Waits for the first address, has the record set, waits for the control plane.
    pub(super) fn wait(&self) -> Section {
        let mut section = Section::new(
            "wait",
            format!("Wait for the control plane of `{}`", self.name),
            "There is no kubeconfig and no API before.",
        );
        if let Some(dns) = &self.dns {
            section.push(Step::new(
                "address.wait",
                "Wait until the first control-plane machine has an address",
                "The other machines join by the name of the endpoint, which has to lead there.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Capi {
                        command: self.list(&self.source.access),
                        want: Want::Address,
                    },
                    deadline: CONTROL_PLANE,
                    every: 5,
                },
            ));
            section.push(self.dns_section(dns, &self.source));
        }
        section.push(Step::new(
            "control-plane.wait",
            "Wait until the control plane is initialised",
            "There is no kubeconfig and no API before.",
            Effect::Read,
            Action::Wait {
                until: Probe::Capi {
                    command: self.list(&self.source.access),
                    want: Want::ControlPlane,
                },
                deadline: CONTROL_PLANE,
                every: if self.controllers == Controllers::Processes {
                    1
                } else {
                    5
                },
            },
        ));
        section
    }

    /// Waits until every machine is Running on a side.
    pub(super) fn machines_step(&self, id: &str, side: &Side<'_>, title: &str) -> Step {
        Step::new(
            id,
            format!("{title} on `{}`", side.access.cluster),
            "A move is refused while a machine has no node, and a status never moves along: one that is there was written by the controllers that look at it now.",
            Effect::Read,
            Action::Wait {
                until: Probe::Capi {
                    command: self.list(&side.access),
                    want: Want::Running {
                        machines: self.machines,
                    },
                },
                deadline: if self.controllers == Controllers::Processes {
                    180
                } else {
                    MACHINES
                },
                every: if self.controllers == Controllers::Processes {
                    1
                } else {
                    5
                },
            },
        )
    }
}
