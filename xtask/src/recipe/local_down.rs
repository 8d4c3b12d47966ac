//! Takes a local cluster down.

use super::embedded;
use super::vm::Guest;
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

/// What of a guest is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Its disk, and with it the cluster.
    Data,
    /// Nothing.
    Nothing,
}

/// Stops a guest, or deletes it once that was agreed to.
pub fn guest(guest: &Guest<'_>, keep: Keep) -> Plan {
    let cluster = &guest.access.cluster;
    let backend = match guest.wanted.driver {
        Driver::Colima => "colima",
        Driver::Lima => "lima",
    };
    let (goal, section) = match keep {
        Keep::Data => (format!("local-down {cluster}"), guest.down()),
        Keep::Nothing => (format!("local-down --delete {cluster}"), guest.delete()),
    };
    let mut plan = Plan::new(goal);
    plan.choices.push(format!(
        "cluster `{cluster}` on backend {backend}, guest `{}`",
        guest.wanted.instance
    ));
    plan.target = Some(Target {
        cluster: cluster.clone(),
        production: false,
    });
    plan.sections.push(section);
    plan.next = Some(format!("cargo xtask local-up --cluster {cluster}"));
    plan
}
