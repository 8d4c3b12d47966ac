//! `generate`: makes every committed file that is made from something else; with `--check` it only compares.
//! All of them go through one function: same is quiet, different under check is a failure that names the command.

use camino::Utf8Path;

use crate::context::Context;
use crate::failure::{Failure, Kind, Result};
use crate::ui::Word;

/// Make the generated files, or check that they are current
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Write nothing; end with code 4 when a file is not current
    #[arg(long)]
    pub check: bool,
}

/// Whether files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    Check,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let mode = if arguments.check { Mode::Check } else { Mode::Write };
    let files = [("docs/cli.md", crate::reference::page())];
    let mut stale = Vec::new();
    for (path, content) in files {
        if !settle(context, &checkout.root, path, &content, mode)? {
            stale.push(format!("`{path}` is not current"));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(Failure::many(
        Kind::Stale,
        "generated files differ from what they are made from",
        &stale,
    )
    .hinted("`cargo xtask generate`, review, commit"))
}

/// Brings one file to its content, or tells whether it has it.
fn settle(context: &Context, root: &Utf8Path, path: &str, content: &str, mode: Mode) -> Result<bool> {
    let file = root.join(path);
    let current = if file.exists() {
        fs_err::read_to_string(&file)?
    } else {
        String::new()
    };
    if current == content {
        context.ui.status(Word::Fresh, path);
        return Ok(true);
    }
    if mode == Mode::Check {
        return Ok(false);
    }
    crate::exec::write(&file, content.as_bytes(), 0o644)?;
    context.ui.status(Word::Wrote, path);
    Ok(true)
}
