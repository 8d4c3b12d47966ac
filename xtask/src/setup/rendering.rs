//! A stage rendered outside Nix for the run that deploys it: evaluated on nixpkgs' own `lib`, rendered, completed from
//! the golden where sources cannot be had, and kept by what it was made from, so that the next run with the same modules
//! renders nothing. It writes below the checkout's own state only.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::base::failure::{Failure, Kind, Result};
use crate::base::formats::json;
use crate::command::Tool;
use crate::context::{Checkout, Context};
use crate::golden::folder;
use crate::golden::partial::{Completion, Partial};
use crate::golden::provenance::Record;
use crate::plan::Step;
use crate::platform::Stage;
use crate::project::StageDescription;
use crate::recipe::nix::{self, Charts};
use crate::run::exec::Runner;
use crate::run::nonce;
use crate::tool::Outcome;

/// What was made.
pub struct Made {
    /// The project.
    pub project: Utf8PathBuf,
    /// What was rendered; the same folder where nothing was missing.
    pub rendering: Utf8PathBuf,
    /// The project's description.
    pub description: StageDescription,
    /// Components with objects of the golden.
    pub components: Vec<String>,
    /// What of the golden's objects is certainly not today's, a sentence each.
    pub changed: Vec<String>,
}

/// Renderings of a pair that are kept: the last, and those that a run beside this one may still read.
const KEPT: usize = 4;

/// Names in the folder of one rendering.
const SPEC: &str = "spec.json";
const RENDERING: &str = "rendering";
const PROJECT: &str = "project";

/// Why nothing can be rendered here; none when it can.
pub fn why_not(context: &Context, checkout: &Checkout) -> Option<String> {
    if let Some(entry) = nix::ENTRIES.iter().find(|entry| !checkout.path(entry).is_file()) {
        return Some(format!("for the checkout has no `{entry}`"));
    }
    let missing: Vec<&str> = context
        .toolbox("")
        .look(&nix::TOOLS)
        .into_iter()
        .filter(|lookup| !matches!(lookup.outcome, Outcome::Found(_)))
        .map(|lookup| lookup.tool.program())
        .collect();
    (!missing.is_empty()).then(|| format!("for lack of {}", missing.join(" and ")))
}

/// Renders a stage, unless it was rendered from the same already.
pub fn make(context: &Context, checkout: &Checkout, cluster: &str, stage: Stage, golden: &Utf8Path) -> Result<Made> {
    if let Some(entry) = nix::ENTRIES.iter().find(|entry| !checkout.path(entry).is_file()) {
        return Err(
            Failure::preflight(format!("nothing can be rendered here: the checkout has no `{entry}`"))
                .hinted("leave `--source render` out, or give a project that was rendered elsewhere (`--source DIR`)"),
        );
    }
    let home = nix::kept_path(cluster, stage);
    let folder = home.join(key(checkout, golden)?);
    let rendering = folder.join(RENDERING);
    let golden = checkout.path(golden);
    if !checkout.path(&folder).is_dir() {
        let part = home.join(format!("{}.new", nonce()));
        let rendered = render(context, checkout, cluster, stage, &part)
            .and_then(|()| complete(&checkout.path(&part), &golden).map(drop));
        if let Err(failure) = rendered {
            // What it was rendered from lies in the checkout, what was said in the log.
            drop(fs_err::remove_dir_all(checkout.path(&part)));
            return Err(failure);
        }
        settle(&checkout.path(&part), &checkout.path(&folder))?;
        sweep(&checkout.path(&home))?;
    }
    let (components, changed, project) = match Partial::read(&checkout.path(&rendering))? {
        None => (Vec::new(), Vec::new(), rendering.clone()),
        Some(partial) => {
            let completion = Completion::of(&partial, &checkout.path(&rendering), &golden)?;
            let components = partial.components().into_iter().map(str::to_owned).collect();
            (components, completion.changed().collect(), folder.join(PROJECT))
        }
    };
    Ok(Made {
        description: StageDescription::read(&checkout.path(&project))?,
        project,
        rendering,
        components,
        changed,
    })
}

/// Renders a stage once more, to be compared with what was rendered before.
pub fn again(context: &Context, checkout: &Checkout, cluster: &str, stage: Stage) -> Result<Utf8PathBuf> {
    let folder = nix::kept_path(cluster, stage).join(format!("{}.again", nonce()));
    render(context, checkout, cluster, stage, &folder)?;
    Ok(folder.join(RENDERING))
}

/// Evaluates and renders to a folder.
fn render(context: &Context, checkout: &Checkout, cluster: &str, stage: Stage, to: &Utf8Path) -> Result<()> {
    let log = nix::kept_path(cluster, stage).join("log");
    // A log is appended to, and an earlier error explains nothing.
    let _absent = fs_err::remove_file(checkout.path(&log));
    fs_err::create_dir_all(checkout.path(to))?;
    let spec = to.join(SPEC);
    let evaluate = nix::evaluate_one(cluster, stage, &spec);
    act(context, checkout, &evaluate, &nix::TOOLS, &log)?;
    let mut tools = nix::TOOLS.to_vec();
    let charts = charts(&fs_err::read_to_string(checkout.path(&spec))?)?;
    if charts == Charts::Here {
        tools.push(Tool::Helm);
    }
    let render = nix::render_one(cluster, stage, &spec, &to.join(RENDERING), charts);
    act(context, checkout, &render, &tools, &log)
}

fn act(context: &Context, checkout: &Checkout, steps: &[Step], tools: &[Tool], log: &Utf8Path) -> Result<()> {
    let tools = context.toolbox("").ensure(tools)?;
    let runner = Runner::new(&checkout.root, &context.ui, &tools, &context.interrupt);
    for step in steps {
        context.ui.progress(&step.title);
        runner.act(step, &checkout.path(log)).map_err(|mut failure| {
            // Nothing was begun that could be taken up: what the modules say makes no sense.
            if failure.kind == Kind::Step {
                failure.kind = Kind::Config;
            }
            failure
                .context("today's modules cannot be rendered; nothing was changed")
                .hinted(format!("the whole log: {log}"))
        })?;
    }
    context.ui.clear_progress();
    Ok(())
}

/// Whether a spec has a chart whose source can be had.
fn charts(spec: &str) -> Result<Charts> {
    let spec: Value = serde_json::from_str(spec)
        .map_err(|error| Failure::new(Kind::Config, format!("the spec of a stage is no JSON: {error}")))?;
    let charts = spec.get("charts").and_then(Value::as_array);
    let is_here = |chart: &Value| {
        let path = chart.pointer("/source/path").and_then(Value::as_str);
        path.is_some_and(|path| Utf8Path::new(path).exists())
    };
    Ok(if charts.into_iter().flatten().any(is_here) {
        Charts::Here
    } else {
        Charts::Missing
    })
}

/// Completes what was rendered in a folder; what is complete stays alone.
fn complete(folder: &Utf8Path, golden: &Utf8Path) -> Result<()> {
    let rendering = folder.join(RENDERING);
    let Some(partial) = Partial::read(&rendering)? else {
        return Ok(());
    };
    Completion::of(&partial, &rendering, golden)?.write(&rendering, golden, &folder.join(PROJECT))
}

/// Puts a folder in its place; where a run beside this one was quicker, that one's is as good.
fn settle(part: &Utf8Path, folder: &Utf8Path) -> Result<()> {
    match fs_err::rename(part, folder) {
        Err(_) if folder.is_dir() => Ok(fs_err::remove_dir_all(part)?),
        other => Ok(other?),
    }
}

/// Removes all but the newest renderings of a pair.
fn sweep(home: &Utf8Path) -> Result<()> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(home)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    found.sort();
    for (_, folder) in found.iter().rev().skip(KEPT) {
        // A run beside this one may have been quicker.
        drop(fs_err::remove_dir_all(folder));
    }
    Ok(())
}

/// What a rendering is made from: modules, secrets, locks, and the golden that completes it.
fn key(checkout: &Checkout, golden: &Utf8Path) -> Result<String> {
    use std::fmt::Write as _;

    let mut text = Record::of(&checkout.root)?.text();
    let mut add = |path: &Utf8Path| -> Result<()> {
        let digest = json::sha256(fs_err::read(checkout.path(path))?);
        writeln!(text, "{path} {digest}").expect("a string takes everything");
        Ok(())
    };
    for entry in nix::ENTRIES {
        add(Utf8Path::new(entry))?;
    }
    for file in folder::scan(&checkout.path(golden))? {
        if file.form == folder::Form::Plain {
            add(&golden.join(file.path))?;
        }
    }
    Ok(json::sha256(text)[..16].to_owned())
}
