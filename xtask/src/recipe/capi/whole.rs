//! The whole way as one plan, and the parts of it as plans of their own: here is the order, elsewhere what is done.

use super::{Bootstrap, Controllers, Home, Side};
use crate::plan::{Plan, Probe, Section, Target};
use crate::recipe::guard;
use crate::recipe::rehearse::{self, Keep};

impl Bootstrap<'_> {
    /// The plan of a verb: the whole way, or a part of it.
    pub fn part(&self, verb: &str, keep: Keep) -> Plan {
        let choices = vec![
            format!(
                "workload cluster `{}`: {} control plane machines, {} workers, regions {}",
                self.name,
                self.api.control_planes,
                self.api.workers.values().sum::<u32>(),
                self.api.regions.join(", ")
            ),
            format!(
                "bootstrap cluster `{}` on backend {}",
                self.source.access.cluster,
                self.source.backend.name()
            ),
        ];
        let goal = self.goal(verb);
        let mut plan = match verb {
            "bootstrap" => return self.plan(choices),
            "rehearse" => return self.rehearsal(choices, keep),
            _ => self.empty(verb, choices),
        };
        let identity = |prefix: &str, side: &Side<'_>| {
            guard::section(&side.access, side.config).named(&format!("{prefix}-identity"))
        };
        let source = identity("source", &self.source);
        match verb {
            "init" => plan
                .sections
                .extend([source, self.provide(), self.install("source", &self.source)]),
            "apply" => {
                plan.sections.push(source);
                plan.sections.extend(self.provider_preflight());
                let apply = self.apply(&goal);
                plan.sections.push(apply.section);
                plan.finally.push(apply.finally);
            }
            "wait" => plan.sections.extend([source, self.wait()]),
            "dns" => {
                // A machine may have to be replaced at any time, and then its record.
                let home = match self.home {
                    Home::Bootstrap => &self.source,
                    Home::Itself => &self.target,
                };
                plan.sections.push(identity("home", home));
                plan.sections
                    .extend(self.dns.iter().map(|dns| self.dns_section(dns, home)));
            }
            "kubeconfig" => plan.sections.extend([source, self.provide(), self.kubeconfig()]),
            "move" => plan.sections.extend([
                source.unless(self.done()),
                identity("target", &self.target).unless(self.done()),
                self.provide(),
                self.move_section(),
            ]),
            _ => {
                // It may be gone already, and nothing but its end is asked for.
                let gone = Probe::Not(Box::new(Probe::Exists(self.source.access.kubeconfig.clone())));
                plan.sections.extend([source.unless(gone), self.source_down()]);
            }
        }
        plan
    }

    /// The whole way, from nothing to a cluster that manages itself.
    pub fn plan(&self, choices: Vec<String>) -> Plan {
        let goal = self.goal("bootstrap");
        let mut plan = self.empty("bootstrap", choices);
        let source = self.source_up(&goal);
        let apply = self.apply(&goal);
        let base = self.base(&goal);
        let full = self.full(&goal);
        let machines = Section::new(
            "machines",
            format!("Make the machines of `{}`", self.name),
            "ClusterAPI makes them from what stage capi describes.",
        )
        .with(self.provide())
        .with(self.install("source", &self.source))
        .with_all(self.controllers_up("source", &self.source))
        .with(apply.section)
        .with(self.wait())
        .with(self.kubeconfig())
        .unless(self.moving());
        let workload = Section::new(
            "workload",
            format!("Prepare `{}` to manage itself", self.target.access.cluster),
            "A move needs nodes that are Ready and the same providers on both sides.",
        )
        .with(base.section)
        .with(self.heal_step("pause.heal"))
        .with(self.machines_step("machines.run", &self.source, "Wait until every machine is Running"))
        .with(self.install("target", &self.target))
        .unless(self.moving());

        plan.sections.extend(self.tree(&goal));
        plan.sections.extend(self.provider_preflight());
        plan.sections.push(source.section);
        plan.sections.push(machines);
        // A rehearsal's clusters may have to be started again at any time.
        plan.sections.extend(self.target_up());
        plan.sections
            .extend([workload, self.move_section(), self.source_down(), full.section]);
        for finally in [source.finally, apply.finally, base.finally, full.finally] {
            // A Lease is the cluster's, whichever of the deploys has taken it.
            if !plan.finally.contains(&finally) {
                plan.finally.push(finally);
            }
        }
        plan.next = Some(format!("cargo xtask capi status --cluster {}", self.name));
        plan
    }

    /// The whole way, then one worker more, then the end of everything.
    pub fn rehearsal(&self, choices: Vec<String>, keep: Keep) -> Plan {
        let mut plan = self.plan(choices);
        if let Some((deployment, count)) = self.workers.iter().next() {
            plan.sections
                .push(self.scale(&format!("{}-{deployment}", self.name), count + 1));
        }
        match keep {
            Keep::Nothing => plan.finally.extend(self.sweep()),
            Keep::Cluster => plan.finally.push(
                Section::new("keep", "Keep both clusters", "They were asked to stay.").with_all(
                    [("source", &self.source), ("target", &self.target)]
                        .map(|(name, side)| rehearse::note_kept(&side.access).of(name)),
                ),
            ),
        }
        plan.next = None;
        plan
    }

    /// A plan for this workload cluster, without steps.
    pub fn empty(&self, verb: &str, choices: Vec<String>) -> Plan {
        let mut plan = Plan::new(self.goal(verb));
        plan.choices = choices;
        plan.target = Some(Target {
            cluster: self.name.to_owned(),
            production: self.controllers == Controllers::Pods,
        });
        plan
    }
}
