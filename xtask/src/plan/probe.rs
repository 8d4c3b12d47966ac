//! Probes: questions about the world that only read.
//! `unless` asks one before a step, `Wait` asks one until it holds. A probe is data; `run` asks it.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::cluster::capi::Want;
use crate::cluster::capi::dns::Record;
use crate::command::{Command, Tool};
use crate::project::Gate;

/// A question with yes or no for an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Probe {
    /// A file or folder exists.
    Exists(Utf8PathBuf),
    /// A JSON file has this value at a pointer; false when the file or the pointer is missing.
    Says {
        /// Relative to the root.
        file: Utf8PathBuf,
        /// RFC 6901.
        pointer: String,
        /// Expected value.
        value: serde_json::Value,
    },
    /// A command that only reads exits with code 0.
    Succeeds(Command),
    /// A command that only reads prints a JSON value that has this value at a pointer.
    Prints {
        /// The command.
        command: Command,
        /// RFC 6901.
        pointer: String,
        /// Expected value.
        value: serde_json::Value,
    },
    /// A command that only reads exits with code 0 and prints nothing that has this value at a pointer: the object is gone,
    /// and not only out of reach.
    Gone {
        /// `kubectl get … --ignore-not-found -o json`.
        command: Command,
        /// RFC 6901, to what tells the object from a later one of the same name.
        pointer: String,
        /// What must not be found there.
        value: String,
    },
    /// Every gate holds of the objects that the command lists as JSON.
    Gates {
        /// `kubectl get … -o json`.
        command: Command,
        /// What must hold.
        gates: Vec<Gate>,
    },
    /// What the command lists of ClusterAPI's objects is as wanted.
    Capi {
        /// `kubectl get … -o json`.
        command: Command,
        /// What is wanted.
        want: Want,
    },
    /// A name leads to its address and to no other.
    Resolves(Record),
    /// Something listens at a name.
    Listens {
        /// `host:port`.
        at: String,
    },
    /// An HTTP server on this host's loopback answers 200.
    Answers {
        /// Address and port.
        address: String,
        /// What is asked for.
        page: String,
    },
    /// The processes of an embedded cluster's folder are alive, every one.
    Alive(Utf8PathBuf),
    /// A listing of Lima's says this of a VM. A listing that fails says nothing, and is a failure: a VM is never
    /// taken for gone because nobody could look.
    Vm {
        /// `limactl list --json`.
        list: Command,
        /// Name of the instance.
        instance: String,
        /// What must be so.
        is: VmIs,
    },
    /// Every address in a file of the type `cluster::route::Routes` answers this host, verified.
    Routes(Utf8PathBuf),
    /// A command that only reads prints seconds since 1970 that are near those of this host.
    Clock {
        /// `date +%s`, elsewhere.
        command: Command,
        /// Seconds that they may be apart.
        within: u64,
    },
    /// One of these holds.
    Any(Vec<Self>),
    /// All of these hold.
    All(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
}

/// What a VM is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VmIs {
    /// It exists, whatever its state.
    There,
    /// It does not exist.
    Gone,
    /// It runs.
    Running,
    /// It exists and does not run; a broken one is neither.
    Stopped,
}

impl Probe {
    /// Every command the probe may run.
    pub fn commands(&self) -> Vec<&Command> {
        match self {
            Self::Exists(_)
            | Self::Says { .. }
            | Self::Answers { .. }
            | Self::Resolves(_)
            | Self::Listens { .. }
            | Self::Routes(_)
            | Self::Alive(_) => Vec::new(),
            Self::Succeeds(command)
            | Self::Prints { command, .. }
            | Self::Gone { command, .. }
            | Self::Gates { command, .. }
            | Self::Capi { command, .. }
            | Self::Vm { list: command, .. }
            | Self::Clock { command, .. } => vec![command],
            Self::All(probes) | Self::Any(probes) => probes.iter().flat_map(Self::commands).collect(),
            Self::Not(probe) => probe.commands(),
        }
    }

    /// Every tool that the probe may start.
    pub fn tools(&self) -> Vec<Tool> {
        self.commands().into_iter().flat_map(Command::tools).collect()
    }
}
