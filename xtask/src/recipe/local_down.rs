//! Takes a local cluster down.

use super::embedded;
use super::vm::Vm;
use crate::cluster::access::Access;
use crate::cluster::vm::Driver;
use crate::plan::{Plan, Target};

/// Ends an embedded cluster and removes its state.
pub fn plan(access: &Access) -> Plan {
    let mut plan = Plan::new(format!("local-down {}", access.cluster));
    plan.choices
        .push(format!("cluster `{}` on backend embedded", access.cluster));
    plan.sections.push(embedded::down(access));
    plan.next = Some(format!("cargo xtask local-up --cluster {}", access.cluster));
    plan
}

/// What of a VM is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Its disk, and with it the cluster.
    Data,
    /// Nothing.
    Nothing,
}

/// Stops a VM, or deletes it once that was agreed to.
pub fn vm(vm: &Vm<'_>, keep: Keep) -> Plan {
    let cluster = &vm.access.cluster;
    let backend = match vm.wanted.driver {
        Driver::Colima => "colima",
        Driver::Lima => "lima",
    };
    let (goal, section) = match keep {
        Keep::Data => (format!("local-down {cluster}"), vm.down()),
        Keep::Nothing => (format!("local-down --delete {cluster}"), vm.delete()),
    };
    let mut plan = Plan::new(goal);
    plan.choices.push(format!(
        "cluster `{cluster}` on backend {backend}, VM `{}`",
        vm.wanted.instance
    ));
    plan.target = Some(Target {
        cluster: cluster.clone(),
        production: false,
    });
    plan.sections.push(section);
    plan.next = Some(format!("cargo xtask local-up --cluster {cluster}"));
    plan
}
