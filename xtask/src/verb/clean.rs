//! `clean`: removes what xtask keeps, after showing how large it is.
//! Clusters are taken down by `local-down`, never here.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::root::STATE;
use crate::ui::{Answer, Word, bytes};

/// Show what is kept, and remove runs or built tools
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Remove the records of past runs
    #[arg(long)]
    pub runs: bool,
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

/// Something that is kept.
struct Kept {
    what: &'static str,
    path: Utf8PathBuf,
    size: u64,
    chosen: bool,
    flag: &'static str,
}

/// Runs the verb. Without a flag it only shows.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let state = checkout.path(STATE);
    let toolbox = context.toolbox("");
    let runs = state.join("runs");
    let tools = toolbox.cache_folder()?;
    let kept = [
        Kept {
            what: "runs",
            size: size(&runs)?,
            path: runs,
            chosen: arguments.runs,
            flag: "--runs",
        },
        Kept {
            what: "tools",
            size: toolbox.kept()?.iter().map(|(_, size)| size).sum(),
            path: tools,
            chosen: arguments.tools,
            flag: "--tools",
        },
    ];
    let ui = &context.ui;
    if arguments.json {
        let rows: Vec<_> = kept
            .iter()
            .map(|kept| json!({"what": kept.what, "path": kept.path, "bytes": kept.size}))
            .collect();
        ui.json(&rows)?;
    } else {
        for kept in &kept {
            ui.data(format!(
                "{:<6} {:>10}  {}  ({})",
                kept.what,
                bytes(kept.size),
                kept.path,
                kept.flag
            ))?;
        }
    }
    let chosen: Vec<&Kept> = kept.iter().filter(|kept| kept.chosen && kept.size > 0).collect();
    if chosen.is_empty() {
        return Ok(());
    }
    if !arguments.yes {
        if !ui.can_ask() {
            return Err(Failure::refused("there is no terminal to ask on").hinted("`--yes` removes without asking"));
        }
        let names: Vec<&str> = chosen.iter().map(|kept| kept.what).collect();
        if ui.ask(&format!("Remove {}?", names.join(" and ")))? != Answer::Yes {
            return Err(Failure::new(Kind::Refused, "the answer was no; nothing was removed"));
        }
    }
    for kept in chosen {
        if kept.flag == "--tools" {
            toolbox.forget()?;
        } else {
            fs_err::remove_dir_all(&kept.path)?;
        }
        ui.status(Word::Removed, format!("{} ({})", kept.path, bytes(kept.size)));
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
        let entry = entry.map_err(|error| Failure::unexpected(format!("cannot look into `{folder}`: {error}")))?;
        if entry.file_type().is_file() {
            total += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(total)
}
