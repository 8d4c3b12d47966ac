//! Takes a local cluster down.

use super::embedded;
use crate::cluster::access::Access;
use crate::plan::Plan;

/// Ends an embedded cluster and removes its state.
pub fn plan(access: &Access) -> Plan {
    let mut plan = Plan::new(format!("local-down {}", access.cluster));
    plan.choices
        .push(format!("cluster `{}` on backend embedded", access.cluster));
    plan.steps = embedded::down(access);
    plan.next = Some(format!("cargo xtask local-up --cluster {}", access.cluster));
    plan
}
