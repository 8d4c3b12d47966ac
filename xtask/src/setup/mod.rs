//! What several verbs find out before they can make a plan: the cluster and its stage, the virtual machine, a revision.
//! It chooses and refuses; it changes nothing but what killed rehearsals have left.

pub mod rehearsals;
pub mod rendering;
pub mod revision;
pub mod source;
pub mod target;
pub mod vm;
