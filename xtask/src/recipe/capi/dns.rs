//! The record of the control-plane endpoint: which address, who sets it, and that it leads there.
//! No address is chosen here: it is known only while a plan runs.

use super::{Bootstrap, CONTROL_PLANE, Dns, Side};
use crate::cluster::capi::EndpointAddress;
use crate::cluster::capi::dns::{AskForRecord, Record, SetRecord};
use crate::plan::{Action, Effect, Probe, Section, Step};

/// Seconds that others may keep the record of the endpoint.
const TTL: u32 = 60;

impl Bootstrap<'_> {
    /// Sets the record of the endpoint, or has a person set it, and waits until it leads there.
    pub(super) fn dns_section(&self, dns: &Dns, side: &Side<'_>) -> Section {
        let machines = self.work("control-plane.json");
        let address = self.work("address.json");
        let record = Record {
            name: dns.name.clone(),
            address: address.clone(),
            ttl: TTL,
        };
        let set = match &dns.cloudflare {
            Some(at) => Step::new(
                "record.set",
                format!("Set the record of `{}` in zone `{}`", dns.name, at.zone),
                "The first machine has an address, and only this step can know it.",
                Effect::Remote,
                Action::task(SetRecord {
                    record: record.clone(),
                    at: at.clone(),
                }),
            ),
            None => Step::new(
                "record.tell",
                format!("Say which record `{}` needs", dns.name),
                "A person sets it, as the platform config has it.",
                Effect::Read,
                Action::task(AskForRecord { record: record.clone() }),
            ),
        };
        let steps = [
            Step::new(
                "address.list",
                "List the control-plane machines",
                "The record leads to the first that has an address.",
                Effect::Read,
                Action::Run(self.list(&side.access).to_file(&machines)),
            ),
            Step::new(
                "address.choose",
                "Choose the address of the endpoint",
                "The external one; machines elsewhere have to reach it.",
                Effect::Read,
                Action::task(EndpointAddress { machines, to: address }),
            ),
            set,
            Step::new(
                "record.resolve",
                format!("Wait until `{}` leads there", dns.name),
                "An old address may be kept by others for as long as its TTL; joining machines would ask it.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Resolves(record),
                    // A person needs longer than an interface.
                    deadline: if dns.cloudflare.is_some() { 900 } else { 3600 },
                    every: 5,
                },
            ),
            Step::new(
                "endpoint.answer",
                format!("Wait until port {} answers there", dns.port),
                "The name leads to a machine that may still boot.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Listens {
                        at: format!("{}:{}", dns.name, dns.port),
                    },
                    deadline: CONTROL_PLANE,
                    every: 5,
                },
            ),
        ];
        Section::new(
            "dns",
            format!("Set the record of `{}`", dns.name),
            "The other machines join by the name of the endpoint, which has to lead there.",
        )
        .with_all(steps)
    }
}
