//! The whole way as one plan, and the parts of it as plans of their own: here is the order, elsewhere what is done.

use super::{Bootstrap, Controllers, Home, Side};
use crate::plan::{Plan, Probe, Step, Target};
use crate::recipe::deploy::Steps;
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
        let fence = |prefix: &str, side: &Side<'_>| {
            guard::steps(&side.access, side.facts)
                .into_iter()
                .map(|step| step.of(prefix))
                .collect::<Vec<_>>()
        };
        plan.steps = fence("source", &self.source);
        match verb {
            "init" => {
                plan.steps.extend(self.provider_steps());
                plan.steps.extend(self.init_steps("source", &self.source));
            }
            "apply" => {
                plan.steps.extend(self.survey_steps());
                let steps = self.apply_steps(&goal);
                plan.steps.extend(steps.steps);
                plan.finally = steps.finally;
            }
            "wait" => plan.steps.extend(self.wait_steps()),
            "dns" => {
                // A machine may have to be replaced at any time, and then its record.
                let home = match self.home {
                    Home::Bootstrap => &self.source,
                    Home::Itself => &self.target,
                };
                plan.steps = fence("home", home);
                plan.steps
                    .extend(self.dns.iter().flat_map(|dns| self.dns_steps(dns, home)));
            }
            "kubeconfig" => {
                plan.steps.extend(self.provider_steps());
                plan.steps.extend(self.kubeconfig_steps());
            }
            "move" => {
                plan.steps.extend(fence("target", &self.target));
                let fences = std::mem::take(&mut plan.steps).into_iter();
                plan.steps = fences.map(|step| step.or_when(self.done())).collect();
                plan.steps.extend(self.provider_steps());
                plan.steps.extend(self.move_steps());
            }
            _ => {
                // It may be gone already, and nothing but its end is asked for.
                let gone = Probe::Not(Box::new(Probe::Exists(self.source.access.kubeconfig.clone())));
                let fence = std::mem::take(&mut plan.steps).into_iter();
                plan.steps = fence.map(|step| step.unless(gone.clone())).collect();
                plan.steps.extend(self.source_down());
            }
        }
        plan
    }

    /// The whole way, from nothing to a cluster that manages itself.
    pub fn plan(&self, choices: Vec<String>) -> Plan {
        let goal = self.goal("bootstrap");
        let mut plan = self.empty("bootstrap", choices);
        let mut finally = Vec::new();
        let mut keep = |prefix: &str, steps: Steps| {
            finally.extend(steps.finally.into_iter().map(|step| step.of(prefix)));
            steps.steps.into_iter().map(|step| step.of(prefix)).collect::<Vec<_>>()
        };

        plan.steps.extend(self.tree_steps(&goal));
        plan.steps.extend(self.survey_steps());
        plan.steps.extend(self.source_up());
        // Until the move begins.
        let mut first = Vec::new();
        first.extend(keep("local", self.deploy(&self.source, &self.local, &goal).steps()));
        first.extend(self.provider_steps());
        first.extend(self.init_steps("source", &self.source));
        first.extend(self.controllers_up("source", &self.source));
        let apply = self.apply_steps(&goal);
        first.extend(keep("capi", apply));
        first.extend(self.wait_steps());
        first.extend(self.kubeconfig_steps());
        let target_up = self.target_up();
        let base = self.base_steps(&goal);
        let mut before: Vec<Step> = first.into_iter().map(|step| step.or_when(self.moving())).collect();
        // A rehearsal's clusters may have to be started again at any time.
        before.extend(target_up);
        let base = keep("base", base);
        before.extend(base.into_iter().map(|step| step.or_when(self.moving())));
        before.push(self.heal_step("pause.heal").or_when(self.moving()));
        before.push(
            self.machines_step("machines.run", &self.source, "Wait until every machine is Running")
                .or_when(self.moving()),
        );
        before.extend(
            self.init_steps("target", &self.target)
                .into_iter()
                .map(|step| step.or_when(self.moving())),
        );
        plan.steps.extend(before);
        plan.steps.extend(self.move_steps());
        plan.steps.extend(self.source_down());
        plan.steps.extend(keep("full", self.full_steps(&goal)));
        plan.finally = finally;
        plan.next = Some(format!("cargo xtask capi status --cluster {}", self.name));
        plan
    }

    /// The whole way, then one worker more, then the end of everything.
    pub fn rehearsal(&self, choices: Vec<String>, keep: Keep) -> Plan {
        let mut plan = self.plan(choices);
        if let Some((deployment, count)) = self.workers.iter().next() {
            plan.steps
                .extend(self.scale_steps(&format!("{}-{deployment}", self.name), count + 1));
        }
        match keep {
            Keep::Nothing => plan.finally.extend(self.sweep_steps()),
            Keep::Cluster => {
                for (name, side) in [("source", &self.source), ("target", &self.target)] {
                    plan.finally.push(rehearse::note_kept(&side.access).of(name));
                }
            }
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
