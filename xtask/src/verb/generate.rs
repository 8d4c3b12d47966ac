//! `generate`: makes every committed file that is made from something else; with `--check` it only compares.
//! All of them go through one function: same is quiet, different under check is a failure that names the command.

use camino::Utf8Path;
use serde_json::Value;

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::ui::Status;
use crate::command::Tool;
use crate::context::{Checkout, Context};
use crate::recipe::nix;
use crate::run::exec::Runner;

/// Make the generated files, or check that they are current
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask generate
  cargo xtask generate --check")]
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
    let mut files = vec![("docs/cli.md".to_owned(), crate::reference::page())];
    files.extend(from_modules(context, &checkout)?);
    let mut stale = Vec::new();
    for (path, content) in files {
        if !settle(context, &checkout.root, &path, &content, mode)? {
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

/// The files that the modules make, evaluated on nixpkgs' own lib: the same with every Nix, and without nixpkgs.
fn from_modules(context: &Context, checkout: &Checkout) -> Result<Vec<(String, String)>> {
    let plan = nix::generated();
    let tools = context.toolbox("").ensure(&plan.tools()).map_err(|failure| {
        failure.hinted(format!(
            "{} evaluates the modules; nothing was written",
            Tool::NixInstantiate.program()
        ))
    })?;
    let runner = Runner::new(&checkout.root, &context.ui, &tools, &context.interrupt);
    let log = checkout.path(nix::generated_path()).with_extension("log");
    if let Some(folder) = log.parent() {
        fs_err::create_dir_all(folder)?;
    }
    for step in plan.steps() {
        runner.act(step, &log)?;
    }
    let text = fs_err::read_to_string(checkout.path(nix::generated_path()))?;
    let evaluated: serde_json::Map<String, Value> =
        serde_json::from_str(&text).or_fail(Kind::Unexpected, "cannot read what was evaluated")?;
    let mut files = Vec::new();
    for (path, value) in evaluated {
        let content = match value {
            Value::String(text) => text,
            mut value => {
                value.sort_all_objects();
                format!("{value:#}\n")
            }
        };
        files.push((path, content));
    }
    Ok(files)
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
        context.ui.status(Status::Fresh, path);
        return Ok(true);
    }
    if mode == Mode::Check {
        return Ok(false);
    }
    crate::base::files::write(&file, content.as_bytes(), 0o644)?;
    context.ui.status(Status::Wrote, path);
    Ok(true)
}
