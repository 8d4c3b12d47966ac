//! Tasks: what a step does without a tool of its own. Each is data with a function beside it that carries it out, in
//! the module of what it is about; here is only the list of them.

use serde::{Deserialize, Serialize};

use crate::base::failure::Result;
use crate::call::{Caller, kluctl, list, nix};
use crate::cluster::capi::{dns, provider_preflight};
use crate::cluster::vm::{image, lima, route, tasks as vm, trust};
use crate::cluster::{capi, embedded};
use crate::command::{Command, Tool};
use crate::golden::{openapi, partial, validity};
use crate::live::{
    closures, compare, definitions, diff, gate, history, identity, lease, listing, project, prune, reset, review,
};
use crate::secrets::{check, operator_key};

/// Makes the enum, so that a task is one line of the list below.
macro_rules! tasks {
    ($($module:ident::$name:ident,)+) => {
        /// One of a closed list of functions; every path in it is relative to the root.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Task {
            $(#[doc = concat!("[`", stringify!($module), "::", stringify!($name), "`]")]
            $name($module::$name),)+
        }

        impl Task {
            /// Carries the task out; what a person should know is said, a no is a failure.
            pub fn run(&self, on: &Caller<'_>) -> Result<()> {
                match self {
                    $(Self::$name(task) => task.run(on),)+
                }
            }
        }

        $(impl From<$module::$name> for Task {
            fn from(task: $module::$name) -> Self {
                Self::$name(task)
            }
        })+
    };
}

tasks! {
    capi::ClusterctlConfiguration,
    capi::DistinctClusters,
    capi::EndpointAddress,
    capi::InMemoryProject,
    capi::LocateObjects,
    capi::MoveDone,
    capi::MoveGraph,
    capi::MovePossible,
    capi::MovePreflight,
    capi::PivotDone,
    capi::ProjectPart,
    capi::ProviderComponents,
    capi::ProviderModule,
    capi::ReadRequirements,
    capi::RecordPivot,
    capi::StageAllowed,
    check::CheckSecrets,
    closures::FindClosures,
    closures::NoClosures,
    compare::Compare,
    compare::DiffUnchanged,
    compare::NoForeignObjects,
    compare::NothingDiffers,
    compare::PartialProject,
    definitions::ShowDowngrades,
    diff::ShowDiff,
    reset::FieldsLeft,
    reset::TakeFieldsBack,
    dns::AskForRecord,
    dns::SetRecord,
    embedded::EmbeddedProject,
    embedded::EndProcesses,
    embedded::DiskRoom,
    embedded::FreePorts,
    embedded::OwnKubeconfig,
    gate::SimulatedGates,
    history::ArchiveProject,
    history::RecordDeployment,
    identity::CheckClusterIdentity,
    image::VmImage,
    image::VmImageIntact,
    kluctl::KluctlResult,
    lease::AimAtDeadLease,
    lease::LeaseAbandoned,
    lease::LeaseHeld,
    lease::LeaseRelease,
    lease::NewLease,
    lima::LimaTemplate,
    list::ListObjects,
    listing::ListableResources,
    nix::NixTests,
    nix::NixpkgsLib,
    openapi::ServerSchemas,
    operator_key::FindOperatorKey,
    operator_key::PutOperatorKey,
    partial::DescribePartial,
    project::CopyProject,
    prune::PruneUnchanged,
    project::DescriptionUnchanged,
    project::EncloseProject,
    review::CleanTree,
    review::Reviewed,
    route::FindRoutes,
    provider_preflight::ProviderPreflight,
    trust::RootCertificate,
    validity::ValidityDefinitions,
    validity::ValidityObjects,
    vm::VmCompare,
    vm::VmDeletion,
    vm::VmFits,
    vm::VmGone,
    vm::VmHome,
    vm::VmKubeconfig,
    vm::VmRecord,
    vm::VmSystem,
    vm::VmSystemFits,
}

impl Task {
    /// Every command that the task may run.
    pub fn commands(&self) -> Vec<&Command> {
        match self {
            Self::ListObjects(task) => vec![&task.proxy],
            Self::FieldsLeft(task) => vec![&task.look],
            Self::TakeFieldsBack(task) => vec![&task.replace],
            Self::FindOperatorKey(task) => vec![&task.read],
            Self::PutOperatorKey(task) => vec![&task.read, &task.put, &task.replace],
            _ => Vec::new(),
        }
    }

    /// Tools that the task may start beside those of its commands.
    pub fn tools(&self) -> &'static [Tool] {
        match self {
            Self::FindOperatorKey(_) | Self::PutOperatorKey(_) => &[operator_key::OperatorKey::TOOL],
            // A token that no variable holds is decrypted.
            Self::SetRecord(_) | Self::ProviderPreflight(_) => &[Tool::Sops, Tool::AgeKeygen],
            _ => &[],
        }
    }
}
