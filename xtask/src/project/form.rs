//! The closed form of a stage project: the files that it may have, and what may be in those that kluctl would read.
//! kluctl runs templates over its own files, fetches variables and includes, and moves objects to other namespaces, so
//! it never gets these files of a project: they are made anew from `stage.json`, and a project that says more is refused.
//! It reads no object.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value, json};

use super::{Item, ObjectRef, StageDescription, sound};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::formats::yaml;

/// The file with the order in which kluctl applies items.
const DEPLOYMENT: &str = "deployment.yaml";

/// The file that makes a folder a kluctl project.
const PROJECT: &str = ".kluctl.yaml";

/// The file that keeps kluctl's templates away from others.
const TEMPLATE_IGNORE: &str = ".templateignore";

/// What keeps templates away from every file.
const IGNORE_ALL: &str = "*\n";

/// The file beside `skipped.json` that says what a rendering without all sources is part of.
pub const PARTIAL: &str = "partial.json";

/// Files that a project may have beside the folders of its items.
const FILES: [&str; 7] = [
    DEPLOYMENT,
    PROJECT,
    TEMPLATE_IGNORE,
    "stage.json",
    // What a golden was made from.
    "source.json",
    sound::SKIPPED,
    PARTIAL,
];

/// Files that kustomize and kluctl take for something else than objects, without their ending.
const SPECIAL: [&str; 3] = ["kustomization", "helm-chart", "helm-values"];

/// How a Jinja2 expression, statement or comment begins.
const TEMPLATE: [&str; 3] = ["{{", "{%", "{#"];

/// Characters of a name: a folder's name and a label's value hold as many.
const NAME: usize = 63;

/// Something that a project has beside the closed form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FormProblem {
    /// Where it is, relative to the project.
    pub path: Utf8PathBuf,
    /// What it is.
    pub reason: String,
}

impl std::fmt::Display for FormProblem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "`{}`: {}", self.path, self.reason)
    }
}

/// One rule of `conflictResolution` in a project's `deployment.yaml`: which fields of which objects are left to
/// other managers, or taken from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConflictRule {
    group: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    /// Paths of the fields.
    pub paths: Vec<String>,
    /// What is done.
    pub action: ConflictAction,
}

/// What is done where another manager has a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConflictAction {
    /// It is left to that manager.
    #[default]
    Ignore,
    /// It is taken.
    ForceApply,
}

impl ConflictAction {
    /// As kluctl writes it.
    fn name(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::ForceApply => "force-apply",
        }
    }
}

impl ConflictRule {
    /// Reads one rule; a key or a value that is none of it is an error.
    pub fn read(rule: &Value) -> Result<Self, String> {
        let rule = rule.as_object().ok_or("a rule of `conflictResolution` is no object")?;
        let mut read = Self::default();
        for (key, value) in rule {
            let text = || plain(value).ok_or_else(|| format!("`conflictResolution`: `{key}` is not plain text"));
            match key.as_str() {
                "group" => read.group = Some(text()?).filter(|text| !text.is_empty()),
                "kind" => read.kind = Some(text()?).filter(|text| !text.is_empty()),
                "namespace" => read.namespace = Some(text()?).filter(|text| !text.is_empty()),
                "name" => read.name = Some(text()?).filter(|text| !text.is_empty()),
                "action" => {
                    let action = text()?;
                    read.action = [ConflictAction::Ignore, ConflictAction::ForceApply]
                        .into_iter()
                        .find(|known| known.name() == action)
                        .ok_or_else(|| format!("`conflictResolution`: there is no action `{action}`"))?;
                }
                "fieldPath" => {
                    let several = std::slice::from_ref(value);
                    let paths = value.as_array().map_or(several, Vec::as_slice);
                    read.paths = paths
                        .iter()
                        .map(plain)
                        .collect::<Option<_>>()
                        .ok_or("`conflictResolution`: `fieldPath` is not plain text")?;
                }
                _ => {
                    return Err(format!(
                        "`conflictResolution`: there is no `{key}` in the form of a rule"
                    ));
                }
            }
        }
        if rule.contains_key("action") && !read.paths.is_empty() {
            Ok(read)
        } else {
            Err("a rule of `conflictResolution` needs `fieldPath` and `action`".to_owned())
        }
    }

    /// As kluctl reads it.
    fn write(&self) -> Value {
        let mut rule = Map::new();
        for (key, value) in [
            ("group", &self.group),
            ("kind", &self.kind),
            ("namespace", &self.namespace),
            ("name", &self.name),
        ] {
            if let Some(value) = value {
                rule.insert(key.to_owned(), value.as_str().into());
            }
        }
        rule.insert("fieldPath".to_owned(), self.paths.clone().into());
        rule.insert("action".to_owned(), self.action.name().into());
        rule.into()
    }

    /// Whether it is about an object.
    pub fn is_for(&self, object: &ObjectRef) -> bool {
        let fits = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        fits(&self.group, object.group())
            && fits(&self.kind, &object.kind)
            && fits(&self.namespace, &object.namespace)
            && fits(&self.name, &object.name)
    }
}

/// Text that is no template.
fn plain(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (!TEMPLATE.iter().any(|begin| text.contains(begin))).then(|| text.to_owned())
}

/// What is wrong with the names in a description: they become folders, tags, labels and arguments.
pub fn name_problems(description: &StageDescription) -> Vec<String> {
    let mut problems = Vec::new();
    let mut name = |what: &str, name: &str| {
        if !is_name(name) {
            problems.push(format!(
                "{what} `{name}` is no name: letters, digits, `-`, `_` and `.`, a letter or digit first, at most {NAME}"
            ));
        }
    };
    name("the cluster", &description.cluster);
    name("the discriminator", &description.discriminator);
    description.phases.iter().for_each(|phase| name("the phase", phase));
    let mut directories = BTreeSet::new();
    for item in &description.items {
        name("the directory", &item.directory);
        name("the component", &item.component);
        name("the phase", &item.phase);
    }
    for item in &description.items {
        if !directories.insert(&item.directory) {
            problems.push(format!("two items have the directory `{}`", item.directory));
        }
        if !description.phases.contains(&item.phase) {
            problems.push(format!(
                "the item `{}` is of phase `{}`, which the stage has not",
                item.directory, item.phase
            ));
        }
    }
    for gate in &description.gates {
        let object = &gate.object;
        let is_kind = object.kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_version = |part: &str| is_name(part) && !part.contains('_');
        if object.kind.is_empty() || !is_kind || !object.api_version.split('/').all(is_version) {
            problems.push(format!(
                "the gate `{}` is about `{}` of `{}`, which is no kind",
                gate.id, object.kind, object.api_version
            ));
        }
    }
    problems.dedup();
    problems
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.len() <= NAME
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(is_part)
        && !name.contains("..")
}

/// Reads what a project says beside `stage.json` and its objects, and refuses what is not in the closed form.
///
/// # Errors
///
/// Everything that the project has beside it, at once; what reading a file says.
pub fn read(folder: &Utf8Path, description: &StageDescription) -> Result<Vec<ConflictRule>> {
    let (problems, rules) = look(folder, description)?;
    if problems.is_empty() {
        return Ok(rules);
    }
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Failure::many(
        Kind::Config,
        format!("the project `{folder}` has what no stage project has"),
        &problems,
    )
    .hinted(
        "what kluctl reads is made from `stage.json` and the objects, without templates, variables, includes and \
         overrides: take out what is named, or render the project again",
    ))
}

/// Everything that a project has beside the closed form.
///
/// # Errors
///
/// What reading a file says.
pub fn problems(folder: &Utf8Path, description: &StageDescription) -> Result<Vec<FormProblem>> {
    Ok(look(folder, description)?.0)
}

fn look(folder: &Utf8Path, description: &StageDescription) -> Result<(Vec<FormProblem>, Vec<ConflictRule>)> {
    let mut problems = Vec::new();
    let mut rules = Vec::new();
    for (name, kind) in entries(folder)? {
        let mut problem = |reason: String| {
            problems.push(FormProblem {
                path: name.clone().into(),
                reason,
            });
        };
        let is_item = description.items.iter().any(|item| item.directory == name);
        match name.as_str() {
            // The copy that kluctl gets has one of ours; nothing of it is read.
            ".git" => {}
            _ if kind.is_symlink() => problem("is a link, and what it leads to is no part of the project".to_owned()),
            _ if is_item && kind.is_dir() => problems.extend(item_problems(folder, &name)?),
            file if FILES.contains(&file) && kind.is_file() => {
                let path = folder.join(file);
                let found = match file {
                    PROJECT => project_problems(&path, description)?,
                    DEPLOYMENT => match deployment_rules(&path, description)? {
                        Ok(found) => {
                            rules = found;
                            Vec::new()
                        }
                        Err(found) => found,
                    },
                    TEMPLATE_IGNORE if fs_err::read(&path)?.trim_ascii() != IGNORE_ALL.trim().as_bytes() => {
                        vec!["says something else than `*`, which keeps templates away from every file".to_owned()]
                    }
                    _ => Vec::new(),
                };
                found.into_iter().for_each(&mut problem);
            }
            folder if kind.is_dir() => {
                problem(format!(
                    "no item has the folder `{folder}`, so nothing in it would be deployed"
                ));
            }
            _ => problem("is no file of a stage project".to_owned()),
        }
    }
    for item in &description.items {
        if !folder.join(&item.directory).exists() {
            problems.push(FormProblem {
                path: "stage.json".into(),
                reason: format!("the item `{}` has no folder", item.directory),
            });
        }
    }
    problems.sort_unstable();
    Ok((problems, rules))
}

/// Names and types of what is in a folder; links are not followed.
fn entries(folder: &Utf8Path) -> Result<Vec<(String, std::fs::FileType)>> {
    let mut entries = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            Failure::config(format!("a file name in `{folder}` is not UTF-8: `{}`", name.display()))
                .hinted("rename or remove it")
        })?;
        entries.push((name, entry.file_type()?));
    }
    Ok(entries)
}

/// What is in the folder of an item and holds no objects.
fn item_problems(folder: &Utf8Path, item: &str) -> Result<Vec<FormProblem>> {
    let mut problems = Vec::new();
    for (name, kind) in entries(&folder.join(item))? {
        let lower = name.to_ascii_lowercase();
        let stem = lower.strip_suffix(".yaml").or_else(|| lower.strip_suffix(".yml"));
        let reason = match stem {
            _ if kind.is_symlink() => "is a link, and what it leads to is no part of the project",
            Some(stem) if SPECIAL.contains(&stem) => "is no file of objects: kustomize or kluctl would act on it",
            Some(_) if kind.is_file() => continue,
            _ => "is no file of objects: an item has YAML files, and nothing else",
        };
        problems.push(FormProblem {
            path: Utf8Path::new(item).join(name),
            reason: reason.to_owned(),
        });
    }
    Ok(problems)
}

/// The value of one of kluctl's files, or why it cannot be read.
fn kluctl_file(path: &Utf8Path) -> Result<Result<Map<String, Value>, String>> {
    let bytes = fs_err::read(path)?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(Err("is not UTF-8".to_owned()));
    };
    Ok(match yaml::read_one(&text) {
        Ok(Value::Object(value)) => Ok(value),
        Ok(_) => Err("is no object".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    })
}

fn project_problems(path: &Utf8Path, description: &StageDescription) -> Result<Vec<String>> {
    let value = match kluctl_file(path)? {
        Ok(value) => value,
        Err(problem) => return Ok(vec![problem]),
    };
    let mut problems: Vec<String> = value
        .keys()
        .filter(|key| *key != "discriminator")
        .map(|key| format!("there is no `{key}` in its form"))
        .collect();
    if value.get("discriminator").and_then(Value::as_str) != Some(&description.discriminator) {
        problems.push(format!(
            "its discriminator is not `{}`, as `stage.json` says",
            description.discriminator
        ));
    }
    Ok(problems)
}

/// The rules of a `deployment.yaml`, or everything that is wrong with it.
fn deployment_rules(path: &Utf8Path, description: &StageDescription) -> Result<Result<Vec<ConflictRule>, Vec<String>>> {
    let value = match kluctl_file(path)? {
        Ok(value) => value,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    let mut problems = Vec::new();
    let mut rules = Vec::new();
    for (key, value) in &value {
        match (key.as_str(), value) {
            ("deployments", Value::Array(entries)) => problems.extend(entry_problems(entries, description)),
            ("conflictResolution", Value::Array(found)) => {
                for rule in found.iter().map(ConflictRule::read) {
                    match rule {
                        Ok(rule) => rules.push(rule),
                        Err(problem) => problems.push(problem),
                    }
                }
            }
            _ => problems.push(format!("there is no such `{key}` in its form")),
        }
    }
    if !value.contains_key("deployments") {
        problems.push("has no `deployments`".to_owned());
    }
    Ok(if problems.is_empty() { Ok(rules) } else { Err(problems) })
}

/// What the entries of a `deployment.yaml` say beside, or otherwise than, `stage.json`.
fn entry_problems(entries: &[Value], description: &StageDescription) -> Vec<String> {
    let mut problems = Vec::new();
    // What the entries come to: an item, whether it is waited for, whether a barrier follows.
    let mut said: Vec<(&str, bool, bool)> = Vec::new();
    for entry in entries {
        let Some(entry) = entry.as_object() else {
            problems.push("an entry of `deployments` is no object".to_owned());
            continue;
        };
        let path = entry.get("path").and_then(Value::as_str);
        let item = path.and_then(|path| description.items.iter().find(|item| item.directory == path));
        let of = path.map_or_else(|| "an entry".to_owned(), |path| format!("`{path}`"));
        for (key, value) in entry {
            let fits = match (key.as_str(), item) {
                ("path", Some(_)) => true,
                ("tags", Some(item)) => *value == json!(tags(item)),
                ("waitReadiness", Some(_)) => value.is_boolean(),
                ("barrier", None) => path.is_none() && *value == true,
                ("message", None) => path.is_none() && plain(value).is_some(),
                _ => false,
            };
            if !fits {
                problems.push(match (key.as_str(), item) {
                    ("path", None) => format!("{of} is no item of `stage.json`"),
                    _ => format!("{of}: there is no such `{key}` in the form of an entry"),
                });
            }
        }
        match (item, entry.contains_key("barrier")) {
            (Some(item), _) => said.push((
                &item.directory,
                entry.get("waitReadiness") == Some(&Value::Bool(true)),
                false,
            )),
            (None, true) => {
                if let Some(last) = said.last_mut() {
                    last.2 = true;
                }
            }
            // What is wrong with its keys was said.
            (None, false) => {}
        }
    }
    if !problems.is_empty() {
        return problems;
    }
    let mut wanted: Vec<(&str, bool, bool)> = description
        .items
        .iter()
        .map(|item| (item.directory.as_str(), item.wait_readiness, item.barrier))
        .collect();
    // Nothing comes after the last item that a barrier could hold back.
    for entries in [&mut said, &mut wanted] {
        if let Some(last) = entries.last_mut() {
            last.2 = false;
        }
    }
    let order = |entries: &[(&str, bool, bool)]| entries.iter().map(|entry| entry.0.to_owned()).collect::<Vec<_>>();
    if order(&said) != order(&wanted) {
        return vec!["has other items than `stage.json`, or in another order".to_owned()];
    }
    said.iter()
        .zip(&wanted)
        .filter(|(said, wanted)| said != wanted)
        .map(|((item, ..), _)| format!("`{item}`: what is waited for is not what `stage.json` says"))
        .collect()
}

fn tags(item: &Item) -> [String; 3] {
    [
        format!("phase-{}", item.phase),
        format!("component-{}", item.component),
        format!("item-{}", item.directory),
    ]
}

/// What kluctl gets beside the objects: its files by name, made from the description alone.
pub fn kluctl_files(description: &StageDescription, rules: &[ConflictRule]) -> [(&'static str, String); 3] {
    let mut entries = Vec::new();
    for item in &description.items {
        let mut entry = json!({"path": item.directory, "tags": tags(item)});
        if item.wait_readiness {
            entry["waitReadiness"] = true.into();
        }
        entries.push(entry);
        if item.barrier {
            entries.push(json!({"barrier": true, "message": format!("after {}", item.directory)}));
        }
    }
    let mut deployment = json!({"deployments": entries});
    if !rules.is_empty() {
        deployment["conflictResolution"] = rules.iter().map(ConflictRule::write).collect();
    }
    // In lines, so that no two braces stand beside each other: kluctl runs Jinja2 over this file whatever is ignored.
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("plain data");
    [
        (DEPLOYMENT, pretty(&deployment)),
        (PROJECT, pretty(&json!({"discriminator": description.discriminator}))),
        (TEMPLATE_IGNORE, IGNORE_ALL.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        /// A project of two items in the form that the renderer writes, with what kluctl reads beside the objects.
        fn new() -> Self {
            let folder = Self(tempfile::TempDir::new().unwrap());
            for item in ["01-a", "02-b"] {
                fs_err::create_dir(folder.path().join(item)).unwrap();
                folder.write(&format!("{item}/10.yaml"), "{}");
            }
            folder.write("stage.json", &serde_json::to_string(&description()).unwrap());
            for (name, content) in kluctl_files(&description(), &[]) {
                folder.write(name, &content);
            }
            folder
        }

        fn path(&self) -> &Utf8Path {
            Utf8Path::from_path(self.0.path()).unwrap()
        }

        fn write(&self, name: &str, content: &str) {
            fs_err::write(self.path().join(name), content).unwrap();
        }

        fn found(&self) -> Vec<String> {
            let found = problems(self.path(), &description()).unwrap();
            found.iter().map(ToString::to_string).collect()
        }
    }

    fn described() -> Value {
        json!({"schema": 1, "cluster": "c", "stage": "local", "environment": "local", "discriminator": "d",
            "phases": ["base", "apps"], "gates": [], "charts": [], "items": [
            {"directory": "01-a", "component": "a", "phase": "base", "waitReadiness": true, "barrier": true},
            {"directory": "02-b", "component": "b", "phase": "apps", "waitReadiness": false, "barrier": false}]})
    }

    fn description() -> StageDescription {
        serde_json::from_value(described()).unwrap()
    }

    #[test]
    fn what_is_written_for_kluctl_is_in_the_form_and_holds_no_template() {
        let folder = Folder::new();
        assert_eq!(folder.found(), [""; 0]);
        let rules = [json!({"kind": "Deployment", "fieldPath": "spec.replicas", "action": "ignore"})];
        let rules: Vec<ConflictRule> = rules.iter().map(|rule| ConflictRule::read(rule).unwrap()).collect();
        for (name, content) in kluctl_files(&description(), &rules) {
            assert!(!TEMPLATE.iter().any(|begin| content.contains(begin)), "{content}");
            folder.write(name, &content);
        }
        assert_eq!(read(folder.path(), &description()).unwrap(), rules);
        // The files that xtask makes itself may be missing.
        for name in [DEPLOYMENT, PROJECT, TEMPLATE_IGNORE] {
            fs_err::remove_file(folder.path().join(name)).unwrap();
        }
        assert_eq!(folder.found(), [""; 0]);
    }

    #[test]
    fn the_forms_that_the_renderer_and_people_write_are_taken() {
        for deployment in [
            r#"{"deployments":[{"path":"01-a","waitReadiness":true},{"barrier":true},{"path":"02-b"}]}"#,
            "# a comment\ndeployments:\n- path: 01-a\n  tags: [phase-base, component-a, item-01-a]\n  waitReadiness: true\n\
             - barrier: true\n  message: after 01-a\n- path: 02-b\n  waitReadiness: false\n- barrier: true\n",
        ] {
            let folder = Folder::new();
            folder.write(DEPLOYMENT, deployment);
            assert_eq!(folder.found(), [""; 0], "{deployment}");
        }
    }

    #[test]
    fn what_kluctl_would_run_fetch_or_move_is_refused_as_what_it_is() {
        let a = r#"{"path": "01-a", "waitReadiness": true"#;
        let rest = r#"{"barrier": true}, {"path": "02-b"}"#;
        for (file, content, words) in [
            (
                DEPLOYMENT,
                format!(
                    r#"{{"deployments": [{a}}}, {{"barrier": true, "message": "{{{{ 1 }}}}"}}, {{"path": "02-b"}}]}}"#
                ),
                "`message`",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"vars": [{{"http": {{"url": "http://127.0.0.1"}}}}], "deployments": [{a}}}, {rest}]}}"#),
                "`vars`",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"overrideNamespace": "kube-system", "deployments": [{a}}}, {rest}]}}"#),
                "`overrideNamespace`",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"deployments": [{a}, "vars": [{{"git": {{}}}}]}}, {rest}]}}"#),
                "`vars`",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"deployments": [{a}, "deleteObjects": []}}, {rest}]}}"#),
                "`deleteObjects`",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"deployments": [{a}, "onlyRender": true}}, {rest}]}}"#),
                "`onlyRender`",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"deployments": [{a}, "tags": ["x"]}}, {rest}]}}"#),
                "`tags`",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"deployments": [{a}}}, {rest}, {{"include": "../x"}}]}}"#),
                "`include`",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"deployments": [{a}}}, {rest}, {{"path": "../x"}}]}}"#),
                "`../x` is no item",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"deployments": [{a}}}, {{"path": "02-b"}}]}}"#),
                "what is waited for",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"deployments": [{{"path": "01-a"}}, {rest}]}}"#),
                "what is waited for",
            ),
            (
                DEPLOYMENT,
                format!(r#"{{"deployments": [{a}}}, {{"barrier": true}}]}}"#),
                "other items",
            ),
            (
                DEPLOYMENT,
                "{% for a in b %}\n- a\n{% endfor %}".to_owned(),
                "cannot be read",
            ),
            (DEPLOYMENT, "[]".to_owned(), "no object"),
            (
                PROJECT,
                r#"{"discriminator": "{{ 1 }}"}"#.to_owned(),
                "its discriminator is not `d`",
            ),
            (
                PROJECT,
                r#"{"discriminator": "d", "targets": []}"#.to_owned(),
                "`targets`",
            ),
            (TEMPLATE_IGNORE, String::new(), "`*`"),
            (".sops.yaml", String::new(), "no file of a stage project"),
            ("deployment.yml", String::new(), "no file of a stage project"),
            (
                "01-a/Kustomization.yaml",
                String::new(),
                "kustomize or kluctl would act on it",
            ),
            (
                "01-a/helm-chart.yml",
                String::new(),
                "kustomize or kluctl would act on it",
            ),
            ("01-a/run.sh", String::new(), "no file of objects"),
        ] {
            let folder = Folder::new();
            folder.write(file, &content);
            let found = folder.found();
            assert!(
                found.len() == 1 && found[0].starts_with(&format!("`{file}`")) && found[0].contains(words),
                "{content}: {found:?}"
            );
            assert_eq!(read(folder.path(), &description()).unwrap_err().kind, Kind::Config);
        }
    }

    #[test]
    fn links_and_folders_without_an_item_are_refused() {
        let folder = Folder::new();
        let outside = tempfile::TempDir::new().unwrap();
        fs_err::write(outside.path().join("10.yaml"), "{}").unwrap();
        std::os::unix::fs::symlink(outside.path().join("10.yaml"), folder.path().join("01-a/20.yaml")).unwrap();
        fs_err::remove_dir_all(folder.path().join("02-b")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("02-b")).unwrap();
        fs_err::create_dir(folder.path().join("03-c")).unwrap();
        let found = folder.found();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("`01-a/20.yaml`: is a link"), "{found:?}");
        assert!(found[1].contains("`02-b`: is a link"), "{found:?}");
        assert!(found[2].contains("no item has the folder `03-c`"), "{found:?}");
    }

    #[test]
    fn a_rule_for_conflicts_says_only_what_is_in_its_form() {
        for rule in [
            json!({"fieldPath": "a", "action": "ignore", "fieldPathRegex": ".*"}),
            json!({"fieldPath": "{{ a }}", "action": "ignore"}),
            json!({"fieldPath": "a", "action": "delete"}),
            json!({"fieldPath": "a"}),
            json!({"action": "ignore"}),
            json!("x"),
        ] {
            assert!(ConflictRule::read(&rule).is_err(), "{rule}");
        }
    }

    #[test]
    fn names_that_leave_the_folder_or_are_templates_are_refused_where_they_are_read() {
        let parse = |value: &Value| StageDescription::parse(&value.to_string(), "stage.json");
        assert!(parse(&described()).is_ok());
        for (pointer, value) in [
            ("/items/0/directory", "../out"),
            ("/items/0/directory", "/out"),
            ("/items/0/directory", "a/b"),
            ("/items/0/directory", ".git"),
            ("/items/0/directory", ""),
            ("/items/0/directory", "02-b"),
            ("/items/0/component", "{{ a }}"),
            ("/items/0/phase", "other"),
            ("/phases/0", "{% a %}"),
            ("/discriminator", "{{ a }}"),
            ("/discriminator", "d,x=y"),
            ("/cluster", "../../victim"),
        ] {
            let mut changed = described();
            *changed.pointer_mut(pointer).unwrap() = value.into();
            let failure = parse(&changed).unwrap_err();
            assert_eq!(failure.kind, Kind::Config, "{pointer}: {value}");
        }
        let mut changed = described();
        changed["gates"] = json!([{"id": "a.b", "component": "a", "phase": "base", "needs": "api", "timeoutSeconds": 1,
            "condition": {"type": "exists"},
            "object": {"apiVersion": "v1", "kind": "--raw=/x", "namespace": "", "name": "a"}}]);
        assert!(parse(&changed).is_err());
    }
}
