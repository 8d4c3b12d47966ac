//! A rendering that lacks what could not be rendered, because the sources of charts or manifests cannot be had: what is
//! missing, which objects of the golden take its place, and the project that both make.
//! It renders nothing, and what it takes from a golden is a summary: such a project is for embedded clusters only.

use std::collections::BTreeSet;
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::diff;
use super::folder;
use super::normalize::{self, Role};
use super::object::{Identity, SOURCE};
use super::problem::RECORD;
use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::call::Caller;
use crate::project::form::{self, PARTIAL};
use crate::project::sound::SKIPPED;
use crate::project::{self, Chart, StageDescription};

/// `partial.json`: the whole that a rendering is part of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Partial {
    /// The stage as the modules describe it, with items that have no object in the rendering.
    pub stage: StageDescription,
    /// Sources that could not be had.
    pub missing: Vec<Missing>,
}

/// A source that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Missing {
    /// What it is a source of.
    pub kind: Upstream,
    /// Release of the chart, or name of the manifests.
    pub name: String,
    /// Component that states it.
    pub component: String,
}

/// What upstream publishes; its name is that of the annotation on its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Upstream {
    /// A Helm chart.
    Chart,
    /// Plain manifests.
    Manifest,
}

impl Upstream {
    fn annotation(self) -> &'static str {
        match self {
            Self::Chart => "chart",
            Self::Manifest => "manifest",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Upstream::Chart => "chart",
            Upstream::Manifest => "manifests",
        };
        write!(formatter, "{kind} `{}` of component `{}`", self.name, self.component)
    }
}

/// The parts of a renderer's spec that say what is rendered from where; the renderer reads the rest.
#[derive(Debug, Deserialize)]
struct Spec {
    stage: StageDescription,
    charts: Vec<ChartSource>,
    manifests: Vec<ManifestSource>,
}

#[derive(Debug, Deserialize)]
struct ChartSource {
    component: String,
    release: String,
    source: Place,
}

#[derive(Debug, Deserialize)]
struct ManifestSource {
    component: String,
    name: String,
    source: Place,
}

#[derive(Debug, Deserialize)]
struct Place {
    path: Option<Utf8PathBuf>,
}

impl Place {
    fn is_missing(&self) -> bool {
        self.path.as_ref().is_none_or(|path| !path.exists())
    }
}

/// Writes beside a partial rendering what it is part of; to a complete one it adds nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DescribePartial {
    /// What the renderer read.
    pub spec: Utf8PathBuf,
    /// What it wrote.
    pub rendering: Utf8PathBuf,
}

impl DescribePartial {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let spec: Spec = serde_json::from_str(&on.text(&self.spec)?)
            .or_fail(Kind::Config, format!("`{}` is no spec of a stage", self.spec))?;
        match Partial::of(spec) {
            Some(partial) => on.write_json(&self.rendering.join(PARTIAL), &partial),
            None => Ok(()),
        }
    }
}

impl Partial {
    fn of(spec: Spec) -> Option<Self> {
        let charts = spec.charts.into_iter().filter(|chart| chart.source.is_missing());
        let manifests = spec.manifests.into_iter().filter(|one| one.source.is_missing());
        let missing: Vec<Missing> = charts
            .map(|chart| Missing {
                kind: Upstream::Chart,
                name: chart.release,
                component: chart.component,
            })
            .chain(manifests.map(|manifests| Missing {
                kind: Upstream::Manifest,
                name: manifests.name,
                component: manifests.component,
            }))
            .collect();
        (!missing.is_empty()).then_some(Self {
            stage: spec.stage,
            missing,
        })
    }

    /// What a rendering is part of; none of one that is complete, or of which nothing is known.
    pub fn read(rendering: &Utf8Path) -> Result<Option<Self>> {
        let path = rendering.join(PARTIAL);
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| Failure::config(format!("`{path}` cannot be used: {error}")))
    }

    /// The components that lack objects, each once, in their order.
    pub fn components(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for missing in &self.missing {
            if !names.contains(&missing.component.as_str()) {
                names.push(&missing.component);
            }
        }
        names
    }

    /// Whether objects with this annotation are missing of a component.
    fn lacks(&self, component: &str, annotation: &str) -> bool {
        self.missing
            .iter()
            .any(|missing| missing.component == component && missing.kind.annotation() == annotation)
    }

    /// The item that a folder of the golden is now. Its number may have changed, and a component need not have the same
    /// items any more.
    fn item(&self, folder: &str) -> Option<&project::Item> {
        let name = unnumbered(folder);
        let items = &self.stage.items;
        items
            .iter()
            .find(|item| unnumbered(&item.directory) == name)
            .or_else(|| {
                let component = ["-crds", "-custom"].iter().find_map(|end| name.strip_suffix(end));
                let component = component.unwrap_or(name);
                items.iter().find(|item| item.component == component)
            })
    }
}

fn unnumbered(folder: &str) -> &str {
    folder.split_once('-').map_or(folder, |(_, name)| name)
}

/// A partial rendering with what its golden adds.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The stage with the items that have objects now, and of charts that are missing what the golden has of them.
    pub description: StageDescription,
    /// Files of the golden that stay.
    pub kept: Vec<Kept>,
    /// What could not be judged.
    pub unjudged: Vec<Unjudged>,
}

/// A file of a golden that takes the place of what could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its path in the golden.
    pub from: Utf8PathBuf,
    /// Its path in the project of today.
    pub to: Utf8PathBuf,
    /// The objects in it.
    pub objects: Vec<Identity>,
}

/// Something that could not be rendered, and so not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unjudged {
    /// What is missing.
    pub missing: Missing,
    /// Why the golden's objects of it are certainly not today's; none where nothing speaks against them.
    pub changed: Option<String>,
}

impl Completion {
    /// What a golden adds to a rendering.
    pub fn of(partial: &Partial, rendering: &Utf8Path, golden: &Utf8Path) -> Result<Self> {
        let kept = kept(partial, rendering, golden)?;
        // A golden that a merge has broken has no charts that anything could be compared with.
        let recorded = fs_err::read_to_string(golden.join("stage.json"))
            .ok()
            .and_then(|text| StageDescription::parse(&text, "stage.json").ok())
            .map_or_else(Vec::new, |stage| stage.charts);
        let mut description = partial.stage.clone();
        let mut unjudged = Vec::new();
        for missing in &partial.missing {
            let changed = match missing.kind {
                Upstream::Chart => keep_chart(missing, &mut description.charts, &recorded),
                Upstream::Manifest => {
                    let has_some = kept.iter().any(|kept| {
                        let folder = kept.to.components().next().map(|part| part.as_str());
                        description
                            .items
                            .iter()
                            .any(|item| Some(item.directory.as_str()) == folder && item.component == missing.component)
                    });
                    (!has_some).then(|| "the golden has no object of it".to_owned())
                }
            };
            unjudged.push(Unjudged {
                missing: missing.clone(),
                changed,
            });
        }
        let filled: BTreeSet<&str> = kept
            .iter()
            .filter_map(|kept| kept.to.as_str().split('/').next())
            .collect();
        description
            .retain_items(|item| filled.contains(item.directory.as_str()) || rendering.join(&item.directory).is_dir());
        // What has no object is not waited for either, as the renderer has it.
        let StageDescription {
            items, gates, phases, ..
        } = &mut description;
        gates.retain(|gate| items.iter().any(|item| item.component == gate.component));
        phases.retain(|phase| items.iter().any(|item| item.phase == *phase));
        Ok(Self {
            description,
            kept,
            unjudged,
        })
    }

    /// What of the golden is certainly not today's, a sentence each.
    pub fn changed(&self) -> impl Iterator<Item = String> {
        self.unjudged.iter().filter_map(Unjudged::sentence)
    }

    /// The text of a file of the project that describes it; none of any other.
    pub fn text(&self, path: &Utf8Path) -> Option<String> {
        if path == "stage.json" {
            return Some(serde_json::to_string_pretty(&self.description).expect("plain data"));
        }
        let files = form::kluctl_files(&self.description, &[]);
        files.into_iter().find(|(name, _)| path == *name).map(|(_, text)| text)
    }

    /// Writes the project to a folder, which is replaced whole.
    pub fn write(&self, rendering: &Utf8Path, golden: &Utf8Path, to: &Utf8Path) -> Result<()> {
        project::replace(to, |beside| {
            project::copy(rendering, beside)?;
            for name in [PARTIAL, SKIPPED] {
                fs_err::remove_file(beside.join(name))?;
            }
            for kept in &self.kept {
                let path = beside.join(&kept.to);
                fs_err::create_dir_all(path.parent().expect("it is in the folder of an item"))?;
                fs_err::copy(golden.join(&kept.from), path)?;
            }
            let stage = serde_json::to_string_pretty(&self.description).expect("plain data");
            fs_err::write(beside.join("stage.json"), stage)?;
            for (name, text) in form::kluctl_files(&self.description, &[]) {
                fs_err::write(beside.join(name), text)?;
            }
            // By this file a golden is known, and so is what has its objects: it never reaches a real cluster.
            match golden.join(RECORD) {
                record if record.is_file() => fs_err::copy(record, beside.join(RECORD)).map(drop)?,
                _ => fs_err::write(beside.join(RECORD), "{}\n")?,
            }
            Ok(())
        })
    }
}

impl Unjudged {
    /// Why the golden's objects of it are not today's.
    pub fn sentence(&self) -> Option<String> {
        let changed = self.changed.as_ref()?;
        Some(format!("{}: {changed}", self.missing))
    }
}

/// Has the golden's record of a chart in the place of today's, for its objects are the golden's; says how they differ.
fn keep_chart(missing: &Missing, charts: &mut Vec<Chart>, recorded: &[Chart]) -> Option<String> {
    let is_it = |chart: &Chart| chart.component == missing.component && chart.release == missing.name;
    let place = charts.iter().position(is_it)?;
    let Some(old) = recorded.iter().find(|chart| is_it(chart)) else {
        charts.remove(place);
        return Some("the golden has none of it".to_owned());
    };
    let new = std::mem::replace(&mut charts[place], old.clone());
    difference(old, &new)
}

/// Fields of a chart's values that a sentence names.
const FIELDS: usize = 3;

fn difference(old: &Chart, new: &Chart) -> Option<String> {
    let value = |chart: &Chart| serde_json::to_value(chart).expect("plain data");
    let fields: Vec<String> = diff::changes(&value(old), &value(new))
        .into_iter()
        .map(|change| format!("`{}`", change.field))
        .collect();
    if fields.is_empty() {
        return None;
    }
    let more = match fields.len().saturating_sub(FIELDS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown: Vec<&str> = fields.iter().take(FIELDS).map(String::as_str).collect();
    Some(format!("{}{more} changed since the golden was made", shown.join(", ")))
}

/// The files of a golden whose objects could not be rendered. Where a component has two charts and one was rendered,
/// what that one no longer has is kept, too: no object says of which chart it is.
fn kept(partial: &Partial, rendering: &Utf8Path, golden: &Utf8Path) -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for file in folder::scan(golden)? {
        if Role::of(&file.path) != Role::Objects || file.form != folder::Form::Plain {
            continue;
        }
        let Some((folder, name)) = file.path.as_str().split_once('/') else {
            continue;
        };
        let Some(item) = partial.item(folder) else {
            continue;
        };
        let to = Utf8Path::new(&item.directory).join(name);
        if !partial
            .missing
            .iter()
            .any(|missing| missing.component == item.component)
            || rendering.join(&to).exists()
        {
            continue;
        }
        // One that cannot be read is named where goldens are judged.
        let Ok(manifest) = normalize::read(&fs_err::read_to_string(golden.join(&file.path))?) else {
            continue;
        };
        let is_missing = |object: &super::object::Object| {
            object
                .annotation(SOURCE)
                .is_some_and(|source| partial.lacks(&item.component, source))
        };
        if !manifest.objects.is_empty() && manifest.objects.iter().all(is_missing) {
            kept.push(Kept {
                objects: normalize::identities(&manifest.objects),
                from: file.path,
                to,
            });
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::bless::bless;
    use super::super::fixture::{Fixture, small_platform};
    use super::super::problem::Problem;
    use super::super::provenance::Age;
    use super::super::resolve::compare;
    use super::*;
    use crate::project::Project;

    const WORKLOAD: &str = "40-deployment.demo.widgets.yaml";

    /// Has the chart of the small platform in its description.
    fn describe(fixture: &Fixture, values: &Value) -> StageDescription {
        let path = fixture.rendering().join("stage.json");
        let mut stage: Value = serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
        stage["charts"] = json!([{"component": "widgets", "release": "widgets", "namespace": "demo", "version": "1.2.3",
            "source": "https://charts.example/widgets.tgz", "hash": "sha256-x", "values": values}]);
        fs_err::write(path, stage.to_string()).unwrap();
        serde_json::from_value(stage).unwrap()
    }

    /// A blessed golden; then the small platform rendered without its chart, of which the item is another number now and
    /// the settings are edited.
    fn without_chart(values: &Value) -> Fixture {
        let fixture = Fixture::rendered();
        describe(&fixture, &json!({"size": 1}));
        accept(&fixture).unwrap();
        let mut objects = small_platform();
        for (item, ..) in &mut objects {
            if *item == "20-widgets" {
                *item = "21-widgets";
            }
        }
        objects[3].2["data"]["mode"] = json!("0600");
        fixture.project(&objects);
        let partial = Partial {
            stage: describe(&fixture, values),
            missing: vec![Missing {
                kind: Upstream::Chart,
                name: "widgets".to_owned(),
                component: "widgets".to_owned(),
            }],
        };
        for file in [WORKLOAD, "10-customresourcedefinition._.widgets.demo.example.yaml"] {
            fs_err::remove_file(fixture.rendering().join("21-widgets").join(file)).unwrap();
        }
        let skipped: Vec<String> = partial.missing.iter().map(ToString::to_string).collect();
        fixture.write(SKIPPED.into(), &serde_json::to_string(&skipped).unwrap());
        fixture.write(PARTIAL.into(), &serde_json::to_string(&partial).unwrap());
        fs_err::write(fixture.root().join("modules/a.nix"), "{ mode = \"0600\"; }\n").unwrap();
        fixture
    }

    fn accept(fixture: &Fixture) -> Result<super::super::bless::Blessed> {
        let edited = BTreeSet::new();
        bless(
            &fixture.rendering(),
            &fixture.golden(),
            &fixture.record(),
            &edited,
            |_| Ok(()),
        )
    }

    fn golden_of(fixture: &Fixture, path: &str) -> String {
        fs_err::read_to_string(fixture.golden().join(path)).unwrap()
    }

    #[test]
    fn native_objects_are_blessed_and_those_of_a_chart_without_its_source_stay() {
        let fixture = without_chart(&json!({"size": 1}));
        let workload = golden_of(&fixture, &format!("20-widgets/{WORKLOAD}"));
        assert_eq!(Age::of(&fixture.root(), &fixture.golden()).unwrap(), Age::Older);

        let blessed = accept(&fixture).unwrap();

        assert_eq!((blessed.objects, blessed.unverified), (6, 2));
        assert_eq!(blessed.unjudged.len(), 1);
        assert_eq!(golden_of(&fixture, &format!("21-widgets/{WORKLOAD}")), workload);
        assert!(golden_of(&fixture, "21-widgets/30-configmap.demo.settings.yaml").contains("0600"));
        assert!(!fixture.golden().join("20-widgets").exists());
        assert_eq!(Age::of(&fixture.root(), &fixture.golden()).unwrap(), Age::Today);
        let again = compare(&fixture.rendering(), &fixture.golden(), &fixture.record()).unwrap();
        assert_eq!(again.problems, []);
        assert_eq!(again.unverified.len(), 2);
    }

    #[test]
    fn a_chart_whose_values_changed_is_named_and_its_golden_stays_older() {
        let fixture = without_chart(&json!({"size": 2}));
        let comparison = compare(&fixture.rendering(), &fixture.golden(), &fixture.record()).unwrap();
        let changed: Vec<String> = comparison.changed().collect();
        assert_eq!(
            changed,
            ["chart `widgets` of component `widgets`: `values.size` changed since the golden was made"]
        );
        assert!(comparison.fails());

        let blessed = accept(&fixture).unwrap();

        assert_eq!(blessed.unjudged[0].sentence(), Some(changed[0].clone()));
        assert!(golden_of(&fixture, "21-widgets/30-configmap.demo.settings.yaml").contains("0600"));
        let stage = StageDescription::read(&fixture.golden()).unwrap();
        assert_eq!(
            stage.charts[0].values,
            json!({"size": 1}),
            "its objects are of these values"
        );
        assert_eq!(Age::of(&fixture.root(), &fixture.golden()).unwrap(), Age::Older);
        assert!(
            compare(&fixture.rendering(), &fixture.golden(), &fixture.record())
                .unwrap()
                .fails()
        );
    }

    #[test]
    fn what_a_component_no_longer_has_is_removed_also_where_sources_are_missing() {
        let fixture = without_chart(&json!({"size": 1}));
        let mut partial = Partial::read(&fixture.rendering()).unwrap().unwrap();
        partial.missing[0].component = "namespaces".to_owned();
        fixture.write(PARTIAL.into(), &serde_json::to_string(&partial).unwrap());
        let comparison = compare(&fixture.rendering(), &fixture.golden(), &fixture.record()).unwrap();
        assert_eq!(comparison.unverified, []);
        let orphans = comparison
            .problems
            .iter()
            .filter(|problem| matches!(problem, Problem::Orphan { .. }));
        assert_eq!(orphans.count(), 2);
    }

    #[test]
    fn a_project_is_completed_from_the_golden_and_is_marked_as_one() {
        let fixture = without_chart(&json!({"size": 1}));
        let mut partial = Partial::read(&fixture.rendering()).unwrap().unwrap();
        // A component that is new and all of a chart has nothing here, and is not waited for.
        let mut new = partial.stage.items[0].clone();
        new.directory = "40-new".to_owned();
        new.component = "new".to_owned();
        new.phase = "new".to_owned();
        partial.stage.items.push(new);
        partial.stage.phases.push("new".to_owned());
        let to = fixture.root().join("project");
        let completion = Completion::of(&partial, &fixture.rendering(), &fixture.golden()).unwrap();

        completion.write(&fixture.rendering(), &fixture.golden(), &to).unwrap();

        let project = Project::read(&to).unwrap();
        assert_eq!(project.objects().count(), 6);
        assert_eq!(project.description.phases, ["base"]);
        assert!(to.join(RECORD).is_file() && !to.join(PARTIAL).exists());
        let workload = to.join("21-widgets").join(WORKLOAD);
        assert_eq!(
            fs_err::read_to_string(workload).unwrap(),
            golden_of(&fixture, &format!("20-widgets/{WORKLOAD}"))
        );
    }

    #[test]
    fn a_stage_is_described_to_kluctl_as_the_renderer_does_it() {
        let goldens = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/golden");
        let mut judged = 0;
        for entry in walkdir::WalkDir::new(&goldens) {
            let path = Utf8PathBuf::from_path_buf(entry.unwrap().into_path()).unwrap();
            if path.file_name() == Some("deployment.yaml") {
                let folder = path.parent().unwrap();
                let text = fs_err::read_to_string(&path).unwrap();
                let rendered = crate::base::formats::yaml::read_one(&text).unwrap();
                let [(_, deployment), ..] = form::kluctl_files(&StageDescription::read(folder).unwrap(), &[]);
                let deployment: Value = serde_json::from_str(&deployment).unwrap();
                assert_eq!(deployment, rendered, "{path}");
                judged += 1;
            }
        }
        assert!(judged >= 6, "{judged} goldens");
    }
}
