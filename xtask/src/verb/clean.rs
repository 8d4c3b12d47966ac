//! `clean`: removes what xtask keeps, after showing how large it is.
//! Clusters are taken down by `local-down`, never here.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use crate::base::failure::{Failure, Kind, Result};
use crate::base::root::STATE;
use crate::base::text::{bytes, plural};
use crate::base::ui::{Answer, Status};
use crate::context::{Checkout, Context};
use crate::run::journal::Journal;
use crate::setup::rehearsals::{self, Which};

/// Show what is kept, and remove runs, rehearsals or built tools
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask clean
  cargo xtask clean --runs --rehearsals")]
pub struct Arguments {
    /// Remove the records of past runs, and what failed rehearsals and benchmarks left to look at
    #[arg(long)]
    pub runs: bool,
    /// End and remove clusters of rehearsals that were killed or asked to stay
    #[arg(long)]
    pub rehearsals: bool,
    /// Remove built tools
    #[arg(long)]
    pub tools: bool,
    /// Remove without asking
    #[arg(long)]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Runs,
    Rehearsals,
    Tools,
}

impl What {
    const ALL: [Self; 3] = [Self::Runs, Self::Rehearsals, Self::Tools];

    fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Rehearsals => "rehearsals",
            Self::Tools => "tools",
        }
    }

    fn is_chosen(self, arguments: &Arguments) -> bool {
        match self {
            Self::Runs => arguments.runs,
            Self::Rehearsals => arguments.rehearsals,
            Self::Tools => arguments.tools,
        }
    }
}

/// Something that is kept.
struct Kept {
    what: What,
    /// The first is the one that is shown.
    folders: Vec<Utf8PathBuf>,
    size: u64,
}

fn kept(context: &Context, checkout: &Checkout, what: What) -> Result<Kept> {
    let state = checkout.path(STATE);
    let folders = match what {
        What::Runs => ["runs", "failed", "bench"]
            .iter()
            .map(|name| state.join(name))
            .collect(),
        What::Rehearsals => vec![checkout.path(rehearsals::folder())],
        What::Tools => vec![context.toolbox("").cache_folder()?],
    };
    let size = match what {
        // The folder may be one that others keep things in, too.
        What::Tools => context.toolbox("").kept()?.iter().map(|(_, size)| size).sum(),
        What::Runs | What::Rehearsals => folders.iter().map(|folder| size(folder)).sum::<Result<u64>>()?,
    };
    Ok(Kept { what, folders, size })
}

/// Runs the verb. Without a flag it only shows.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let all = What::ALL
        .into_iter()
        .map(|what| kept(context, &checkout, what))
        .collect::<Result<Vec<_>>>()?;
    let ui = &context.ui;
    if arguments.json {
        let rows: Vec<_> = all
            .iter()
            .map(|kept| json!({"what": kept.what.name(), "path": kept.folders[0], "bytes": kept.size}))
            .collect();
        ui.json(1, &json!({"kept": rows}))?;
    } else {
        for kept in &all {
            let name = kept.what.name();
            ui.data(format!(
                "{name:<10} {:>10}  {}  (--{name})",
                bytes(kept.size),
                kept.folders[0]
            ))?;
        }
    }
    let chosen: Vec<&Kept> = all
        .iter()
        .filter(|kept| kept.what.is_chosen(arguments) && kept.size > 0)
        .collect();
    if chosen.is_empty() {
        return Ok(());
    }
    if !arguments.yes {
        if !ui.can_ask() {
            return Err(Failure::refused("there is no terminal to ask on").hinted("`--yes` removes without asking"));
        }
        let names: Vec<&str> = chosen.iter().map(|kept| kept.what.name()).collect();
        if ui.ask(&format!("Remove {}?", names.join(" and ")))? != Answer::Yes {
            return Err(Failure::new(Kind::Refused, "you answered no; nothing was removed"));
        }
    }
    for kept in chosen {
        remove(context, &checkout, kept)?;
    }
    Ok(())
}

fn remove(context: &Context, checkout: &Checkout, kept: &Kept) -> Result<()> {
    let ui = &context.ui;
    match kept.what {
        What::Tools => {
            context.toolbox("").forget()?;
            ui.status(Status::Removed, format!("{} ({})", kept.folders[0], bytes(kept.size)));
        }
        What::Rehearsals => {
            for folder in rehearsals::sweep(context, checkout, Which::Idle)? {
                ui.status(Status::Removed, folder);
            }
        }
        What::Runs => {
            let runs = Journal::forget(&checkout.root)?;
            for folder in kept.folders.iter().skip(1).filter(|folder| folder.exists()) {
                fs_err::remove_dir_all(folder)?;
            }
            ui.status(
                Status::Removed,
                format!("{} ({})", plural(runs, "ended run"), bytes(kept.size)),
            );
        }
    }
    Ok(())
}

/// Bytes of all files below a folder; a folder that is not there has none.
fn size(folder: &Utf8Path) -> Result<u64> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut total = 0;
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            // A run beside this one removes its own.
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(Failure::unexpected(format!("cannot look into `{folder}`: {error}"))),
        };
        if entry.file_type().is_file() {
            total += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(total)
}

fn is_gone(error: &walkdir::Error) -> bool {
    error
        .io_error()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
