//! Carries out derivations: reads the files they name, calls the pure function, writes what it found.

use std::collections::BTreeSet;

use camino::Utf8Path;
use serde::Serialize;
use serde_json::Value;

use super::Runner;
use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::files::write;
use crate::base::text::plural;
use crate::base::ui::Word;
use crate::call::kluctl;
use crate::live::compare::Comparison;
use crate::live::{Delta, Why, closures, definitions, diff, history, identity, lease, listing, review};
use crate::plan::{Choose, Derivation};
use crate::project::resources;
use crate::project::{ObjectRef, Project};

/// Lines of a difference that a run shows; `diff` shows all.
const SHOWN_LINES: usize = 60;

/// Orphans that every comparison of a run names.
const SHOWN_ORPHANS: usize = 5;

impl Runner<'_> {
    /// Carries out a derivation; what a person should know is said, a no is a failure.
    pub(super) fn derive(&self, derivation: &Derivation) -> Result<()> {
        let root = self.root;
        match derivation {
            Derivation::FreePorts { content, to } => {
                let text = crate::cluster::embedded::with_free_ports(content)?;
                write(&root.join(to), text.as_bytes(), 0o600)
            }
            Derivation::OwnKubeconfig {
                kubeconfig,
                context,
                own,
                cluster,
            } => crate::cluster::embedded::check_kubeconfig(root, kubeconfig, context, own, cluster),
            Derivation::EmbeddedProject {
                from,
                served,
                to,
                left_out,
            } => {
                let adapted =
                    crate::cluster::embedded::copy_project(&root.join(from), &root.join(served), &root.join(to))?;
                for note in adapted.notes {
                    self.ui.status(Word::Skipped, note);
                }
                write_json(root, left_out, &adapted.left_out)
            }
            Derivation::CopyProject { from, served, to } => {
                let served = resources::parse(&read(root, served)?)?;
                let project = Project::read(&root.join(from))?;
                crate::live::check_project(&root.join(from), &project, &served)?;
                crate::project::copy_enclosed(&root.join(from), &root.join(to))
            }
            Derivation::NoClosures { project, cluster } => closures::check_none(&root.join(project), cluster),
            Derivation::Closures { project, phases, to } => {
                let found = closures::named(&Project::read(&root.join(project))?, Some(phases));
                let paths: Vec<&String> = found.keys().collect();
                write_json(root, to, &serde_json::json!({"paths": paths}))
            }
            Derivation::Resources {
                served,
                project,
                kept,
                choose,
                to,
            } => {
                let mut resources = resources::parse(&read(root, served)?)?;
                let project = Project::read(&root.join(project))?;
                let mut objects: Vec<ObjectRef> = project.objects().map(|(_, object)| object.reference()).collect();
                if *choose == Choose::Own {
                    resources.retain(|resource| objects.iter().any(|object| resource.serves(object)));
                }
                // What an earlier deployment brought may be orphaned now, and has to be seen.
                if let Some(earlier) = crate::live::history::newest_kept(&root.join(kept))? {
                    let earlier = Project::read(&earlier)?;
                    objects.extend(earlier.objects().map(|(_, object)| object.reference()));
                }
                write_json(
                    root,
                    to,
                    &serde_json::json!({
                        "resources": resources::listable(&resources),
                        "lists": resources::lists(&resources, &objects),
                    }),
                )
            }
            Derivation::Compare {
                project,
                left_out,
                only,
                listing,
                groups,
                to,
            } => {
                let left_out: Vec<ObjectRef> = match left_out {
                    Some(file) => typed(root, file)?,
                    None => Vec::new(),
                };
                let left_out = left_out.iter().map(ObjectRef::identity).collect();
                let folder = project;
                let project = Project::read(&root.join(folder))?;
                project.refuse_empty()?;
                let rules = optional(root, &folder.join("deployment.yaml"))?
                    .and_then(|text| crate::base::formats::yaml::read_one(&text).ok())
                    .map_or_else(Vec::new, |deployment| crate::live::conflicts::Rule::of(&deployment));
                let mut comparison = Comparison::of(&project).with_rules(rules);
                read_listing(root, listing, |object| {
                    comparison.see(&object);
                    None
                })?;
                let delta = comparison.conclude(&left_out, only.as_ref(), groups);
                self.say_delta(&delta);
                write_json(root, to, &delta)
            }
            Derivation::Due {
                project,
                delta,
                phases,
                to,
            } => {
                let from = root.join(project);
                let due = typed::<Delta>(root, delta)?.due(Project::read(&from)?, phases);
                crate::project::replace(&root.join(to), |beside| {
                    due.write(&from, beside)?;
                    crate::project::enclose(beside)
                })
            }
            Derivation::Show {
                project,
                listing,
                delta,
            } => {
                let project = Project::read(&root.join(project))?;
                let delta: Delta = typed(root, delta)?;
                let differs: BTreeSet<_> = delta.differences.iter().map(|one| one.object.identity()).collect();
                let listing = read_listing(root, listing, |object| {
                    differs.contains(&ObjectRef::of(&object).identity()).then_some(object)
                })?;
                let report = diff::report(&project, &listing, &delta);
                self.ui.text(report.text(SHOWN_LINES));
                Ok(())
            }
            Derivation::NobodyElses { delta, taken_from } => {
                let delta: Delta = typed(root, delta)?;
                let others: Vec<String> = delta
                    .of_others(taken_from.as_deref())
                    .map(|difference| format!("{} {}", difference.object, difference.why))
                    .collect();
                if others.is_empty() {
                    return Ok(());
                }
                Err(Failure::many(
                    Kind::Refused,
                    "the project has objects that belong to another stage of this cluster; nothing was changed",
                    &others,
                )
                .hinted(
                    "two stages that share an object take it from each other at every deploy: leave it to one of them",
                )
                .hinted(
                    "if it moved here, or the discriminator was renamed on purpose: `--take-from DISCRIMINATOR`, once",
                ))
            }
            Derivation::SameDelta { shown, now } => {
                let shown: Delta = typed(root, shown)?;
                let now: Delta = typed(root, now)?;
                if shown.asks_the_same(&now) {
                    return Ok(());
                }
                Err(
                    Failure::refused("the cluster changed between what was shown and the Lease; nothing was changed")
                        .hinted("run the same command again: it shows what differs now"),
                )
            }
            Derivation::Reviewed {
                project,
                golden,
                stale,
                to,
            } => {
                let review = review::review(root, project, golden, *stale)?;
                if review.reviewed {
                    self.ui.status(Word::Checked, "the project is what was reviewed");
                } else {
                    for problem in review.problems.iter().take(10) {
                        self.ui.status(Word::Stale, problem);
                    }
                    self.ui.status(
                        Word::Stale,
                        format!(
                            "{} from what was reviewed; the ledger will say so",
                            plural(review.problems.len(), "difference")
                        ),
                    );
                }
                write_json(root, to, &review)
            }
            Derivation::Described { project, digest } => {
                let found = crate::project::StageDescription::read(&root.join(project))?;
                if found.digest() == *digest {
                    return Ok(());
                }
                Err(Failure::refused(format!(
                    "`{project}` is not described as it was when this was planned; nothing was changed"
                ))
                .hinted("plan again: run the same command without `--resume` and `--plan`"))
            }
            Derivation::CleanTree { status } => review::check_clean(&fs_err::read(root.join(status))?),
            Derivation::Keep { project, to } => {
                history::keep(&root.join(project), &root.join(to))?;
                Ok(())
            }
            Derivation::Downgrades {
                project,
                listing,
                delta,
            } => {
                let project = Project::read(&root.join(project))?;
                let listing = read_listing(root, listing, |object| {
                    (ObjectRef::of(&object).kind == "CustomResourceDefinition").then_some(object)
                })?;
                for note in definitions::downgrades(&project, &listing, &typed(root, delta)?) {
                    self.ui.status(Word::Warning, note);
                }
                Ok(())
            }
            Derivation::Take { project, to } => crate::project::replace(&root.join(to), |beside| {
                crate::project::copy(&root.join(project), beside)
            }),
            Derivation::LeaseAbandoned { lease, nonce } => {
                let holder = lease::check_abandoned(&read(root, lease)?, nonce)?;
                self.ui.status(Word::Checked, format!("the lock was held by {holder}"));
                Ok(())
            }
            Derivation::NothingDiffers { delta } => {
                let delta: Delta = typed(root, delta)?;
                let problems: Vec<String> = delta
                    .differences
                    .iter()
                    .map(|difference| format!("{} {}", difference.object, difference.why))
                    .collect();
                if problems.is_empty() {
                    return Ok(());
                }
                // What is being deleted comes to rest by itself, or somebody has to look why not.
                let only_going = delta
                    .differences
                    .iter()
                    .all(|difference| matches!(difference.why, Why::Terminating { .. }));
                let kind = if only_going { Kind::Timeout } else { Kind::Step };
                let failure = Failure::many(kind, "the cluster does not hold what was deployed", &problems);
                Err(if only_going {
                    failure.hinted("a finalizer holds them: `kubectl get … --output=yaml` names it; then deploy again")
                } else {
                    failure
                })
            }
            Derivation::Fence {
                namespace,
                expected,
                cluster,
            } => {
                let note = identity::check(root, namespace, expected, cluster)?;
                self.ui.status(Word::Checked, note);
                Ok(())
            }
            Derivation::KluctlResult { result, warnings } => {
                let text = read(root, result)?;
                let value = crate::base::formats::yaml::read_one(&text).or_fail(
                    Kind::Step,
                    "kluctl's result cannot be read, so nothing is known of what it did",
                )?;
                let notes = kluctl::judge(&value, *warnings)?;
                for note in &notes {
                    self.ui.status(Word::Warning, note);
                }
                if !notes.is_empty() {
                    let count = plural(notes.len(), "warning");
                    self.ui.status(
                        Word::Warning,
                        format!("{count} of the API server; everything was applied"),
                    );
                }
                self.ui.status(Word::Checked, plural(kluctl::applied(&value), "object"));
                Ok(())
            }
            Derivation::Lease { content, to } => write_json(root, to, &lease::object(content)),
            Derivation::LeaseHeld { lease, nonce } => lease::check_held(&read(root, lease)?, nonce),
            Derivation::LeaseRelease { lease, to } => {
                write_json(root, to, &lease::delete_options(&read_json(root, lease)?))
            }
            Derivation::Ledger {
                current,
                project,
                delta,
                revision,
                review,
                entry,
                to,
            } => {
                let current = read(root, current)?;
                let observed = history::Observed {
                    revision: optional(root, revision)?.map(|text| text.trim().to_owned()),
                    reviewed: optional(root, review)?
                        .and_then(|text| serde_json::from_str::<review::Review>(&text).ok())
                        .map(|review| review.reviewed),
                    lock: optional(root, Utf8Path::new("flake.lock"))?.map(crate::base::formats::json::sha256),
                    tools: self
                        .tools
                        .iter()
                        .filter_map(|(tool, found)| {
                            Some((tool.program().to_owned(), found.version.as_ref()?.to_string()))
                        })
                        .collect(),
                };
                let object = history::append(
                    &current,
                    &root.join(project),
                    &typed::<Delta>(root, delta)?,
                    entry,
                    observed,
                )?;
                write_json(root, to, &object)
            }
            Derivation::ValidityDefinitions { project, to } => {
                let project = Project::read(&root.join(project))?;
                write_json(root, to, &crate::golden::validity::definitions(&project))
            }
            Derivation::ValidityObjects {
                project: project_folder,
                served,
                to,
            } => {
                let project = Project::read(&root.join(project_folder))?;
                let served = resources::parse(&read(root, served)?)?;
                crate::live::check_project(&root.join(project_folder), &project, &served)?;
                let left_out = crate::golden::validity::objects(&project, &served, &root.join(to))?;
                for object in left_out {
                    self.ui.status(
                        Word::Skipped,
                        format!("{object}: no definition of its kind is in the golden or the server"),
                    );
                }
                Ok(())
            }
            Derivation::Schemas { openapi, to } => {
                let schemas = crate::golden::openapi::schemas(&read_json(root, openapi)?);
                for (path, schema) in schemas {
                    write_json(root, &to.join(path), &schema)?;
                }
                Ok(())
            }
            Derivation::NixpkgsLib { metadata, to } => {
                crate::call::nix::place_library(&read(root, metadata)?, &root.join(to))
            }
            Derivation::NixTests { result } => {
                let (passed, not_run) = crate::call::nix::judge_tests(&read_json(root, result)?)?;
                self.ui.status(Word::Checked, format!("{passed} Nix tests"));
                for name in not_run {
                    self.ui.status(Word::Skipped, name);
                }
                Ok(())
            }
            Derivation::Capi(capi) => {
                for note in crate::cluster::capi::carry_out(root, capi)? {
                    self.ui.status(Word::Checked, note);
                }
                Ok(())
            }
            Derivation::GuestHome { .. }
            | Derivation::GuestImage { .. }
            | Derivation::GuestImageIntact { .. }
            | Derivation::GuestCompare { .. }
            | Derivation::GuestFits { .. }
            | Derivation::GuestDoomed { .. }
            | Derivation::GuestGone { .. }
            | Derivation::GuestRecord { .. }
            | Derivation::LimaTemplate { .. }
            | Derivation::Kubeconfig { .. }
            | Derivation::GuestSystem { .. }
            | Derivation::SystemFits { .. }
            | Derivation::Routes { .. }
            | Derivation::RootCertificate { .. } => self.derive_guest(derivation),
            Derivation::Secrets { cluster, project } => {
                let platform = crate::platform::facts(root)?;
                let mut problems = crate::secrets::check::problems(root, &platform)?;
                problems.extend(crate::secrets::check::project_problems(&root.join(project), project)?);
                crate::secrets::check::judge(&problems, cluster.as_deref())
            }
            Derivation::Simulated { gates } => {
                for gate in gates {
                    self.ui.status(
                        Word::Skipped,
                        format!(
                            "gate `{}`: not checked: its controller does not run on the embedded backend",
                            gate.id
                        ),
                    );
                }
                Ok(())
            }
        }
    }

    fn say_delta(&self, delta: &Delta) {
        let objects = plural(delta.objects, "object");
        let differ = delta.differences.len();
        let missing = delta.differences.iter().filter(|one| one.why == Why::Missing).count();
        if delta.fresh {
            self.ui.status(Word::Fresh, format!("{objects} are as they should be"));
        } else if missing == differ {
            self.ui
                .status(Word::Stale, format!("{} to create", plural(missing, "object")));
        } else {
            self.ui.status(Word::Stale, format!("{differ} of {objects} differ"));
        }
        for orphan in delta.left().take(SHOWN_ORPHANS) {
            self.ui.status(
                Word::Warning,
                format!(
                    "{} is no longer in the project (`prune` shows and removes)",
                    orphan.object
                ),
            );
        }
        let more = delta.left().count().saturating_sub(SHOWN_ORPHANS);
        if more > 0 {
            self.ui.status(
                Word::Warning,
                format!("and {} more are no longer in the project", plural(more, "object")),
            );
        }
    }
}

pub(super) fn read(root: &Utf8Path, path: &Utf8Path) -> Result<String> {
    Ok(fs_err::read_to_string(root.join(path))?)
}

/// The text of a file that need not be there.
fn optional(root: &Utf8Path, path: &Utf8Path) -> Result<Option<String>> {
    match fs_err::read_to_string(root.join(path)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn read_json(root: &Utf8Path, path: &Utf8Path) -> Result<Value> {
    typed(root, path)
}

fn read_listing(root: &Utf8Path, path: &Utf8Path, keep: impl FnMut(Value) -> Option<Value>) -> Result<Value> {
    listing::read(&read(root, path)?, keep).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Utf8Path, error: &serde_json::Error) -> Failure {
    Failure::unexpected(format!("`{path}`, written by an earlier step, cannot be read: {error}"))
}

fn typed<T: serde::de::DeserializeOwned>(root: &Utf8Path, path: &Utf8Path) -> Result<T> {
    serde_json::from_str(&read(root, path)?).map_err(|error| unreadable(path, &error))
}

pub(super) fn write_json(root: &Utf8Path, path: &Utf8Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::unexpected(format!("cannot write `{path}`: {error}")))?;
    write(&root.join(path), text.as_bytes(), 0o600)
}
