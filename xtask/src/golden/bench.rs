//! How long a check takes: rendered projects of any size, and the time of checks over them.
//! It makes its objects up and measures; what a time means is the caller's to say.

use std::time::{Duration, Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value, json};

use super::memory::Memory;
use super::object::{DIGEST, digest_of};
use super::problem::RECORD;
use super::provenance::Record;
use super::resolve::Names;
use super::{bless, normalize, resolve};
use crate::base::failure::{Failure, Result};
use crate::base::formats::{json as text, yaml};

/// Objects in one item folder: what a large stage has.
const FOLDER: usize = 250;

/// A rendering and its golden, made up.
pub struct Corpus {
    /// The rendering.
    pub rendered: Utf8PathBuf,
    /// The golden.
    pub golden: Utf8PathBuf,
    /// All files of the rendering in normal form, one after the other: what `diff -u` is given.
    pub rendered_text: Utf8PathBuf,
    /// All files of the golden, one after the other.
    pub golden_text: Utf8PathBuf,
    memory: Utf8PathBuf,
    record: Record,
}

/// What a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Every file, as the first check of a checkout does.
    Everything,
    /// What changed since the last check, as every later one does.
    Changes,
}

/// What differs between a rendering and its golden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// One field of each hundredth object.
    Hundredth,
    /// The order of the keys of every object; the golden says the same.
    Order,
}

impl Corpus {
    /// Makes a corpus of so many objects in an empty folder, with this difference.
    pub fn make(folder: &Utf8Path, objects: usize, change: Change) -> Result<Self> {
        let corpus = Self {
            rendered: folder.join("rendered"),
            golden: folder.join("golden"),
            rendered_text: folder.join("rendered.yaml"),
            golden_text: folder.join("golden.yaml"),
            memory: folder.join("memory"),
            record: Record::of(folder)?,
        };
        corpus.render(objects, |_| Change::Nothing)?;
        bless::bless(
            &corpus.rendered,
            &corpus.golden,
            &corpus.record,
            &std::collections::BTreeSet::new(),
        )?;
        // The check before the change: what it found is what later checks remember.
        corpus.check(Reading::Changes)?;
        match change {
            Change::Nothing => {}
            Change::Hundredth => {
                corpus.render(objects, |index| if index % 100 == 7 { change } else { Change::Nothing })?;
            }
            Change::Order => corpus.shuffle_golden()?,
        }
        corpus.concatenate()?;
        Ok(corpus)
    }

    /// The time of one check, and how many objects it found to differ.
    pub fn check(&self, reading: Reading) -> Result<(Duration, usize)> {
        // Whatever was written just now counts as settled here: nothing writes to a corpus while it is measured.
        let now = SystemTime::now() + Duration::from_secs(60);
        let started = Instant::now();
        let comparison = match reading {
            Reading::Everything => resolve::compare(&self.rendered, &self.golden, &self.record)?,
            Reading::Changes => {
                let memory = Memory::new(&self.memory, &self.rendered, &self.golden, now);
                resolve::compare_remembering(&self.rendered, &self.golden, &self.record, &memory, Names::Counted)?
            }
        };
        let elapsed = started.elapsed();
        Ok((
            elapsed,
            comparison.problems.iter().filter(|problem| problem.fails()).count(),
        ))
    }

    /// The first objects of both sides, by file, as JSON beside the corpus: for who compares values.
    pub fn sample(&self, objects: usize) -> Result<[Utf8PathBuf; 2]> {
        let side = |folder: &Utf8Path| -> Result<Utf8PathBuf> {
            let mut all = Map::new();
            for index in 0..objects {
                let name = format!("{}/{index:06}.yaml", item(index / FOLDER));
                let value = yaml::read_one(&fs_err::read_to_string(folder.join(&name))?)
                    .map_err(|error| Failure::unexpected(format!("`{name}`: {error}")))?;
                all.insert(name, value);
            }
            let path = folder.with_extension(format!("{objects}.json"));
            fs_err::write(&path, Value::from(all).to_string())?;
            Ok(path)
        };
        Ok([side(&self.golden)?, side(&self.rendered)?])
    }

    fn render(&self, objects: usize, change: impl Fn(usize) -> Change) -> Result<()> {
        fs_err::create_dir_all(&self.rendered)?;
        let folders = objects.div_ceil(FOLDER);
        let items: Vec<Value> = (0..folders)
            .map(|folder| {
                json!({"directory": item(folder), "component": format!("part-{folder}"), "phase": "base",
                       "waitReadiness": false, "barrier": false})
            })
            .collect();
        let description = json!({
            "schema": 1, "cluster": "bench", "stage": "local", "environment": "local", "discriminator": "bench-local",
            "phases": ["base"], "items": items, "gates": [], "charts": [],
        });
        fs_err::write(self.rendered.join("stage.json"), description.to_string())?;
        fs_err::write(self.rendered.join(".kluctl.yaml"), r#"{"discriminator":"bench-local"}"#)?;
        for index in 0..objects {
            let folder = self.rendered.join(item(index / FOLDER));
            if index % FOLDER == 0 {
                fs_err::create_dir_all(&folder)?;
            }
            let mut object = object(index);
            if change(index) == Change::Hundredth {
                object["metadata"]["labels"]["generation"] = "second".into();
            }
            let digest = digest_of(&object);
            object["metadata"]["annotations"][DIGEST] = digest.into();
            let (path, content) = (folder.join(format!("{index:06}.yaml")), text::canonical(&object));
            // A file that says this already stays as it is, times and all.
            if fs_err::read_to_string(&path).is_ok_and(|old| old == content) {
                continue;
            }
            fs_err::write(path, content)?;
        }
        Ok(())
    }

    fn shuffle_golden(&self) -> Result<()> {
        for file in super::folder::scan(&self.golden)? {
            let path = self.golden.join(&file.path);
            if normalize::Role::of(&file.path) == normalize::Role::Objects {
                let value = yaml::read_one(&fs_err::read_to_string(&path)?)
                    .map_err(|error| Failure::unexpected(format!("`{path}`: {error}")))?;
                // Every key in the opposite order, a line each: the same value in as different a text as there is.
                let text = serde_json::to_string_pretty(&reversed(&value)).expect("a value of JSON is JSON");
                fs_err::write(&path, text)?;
            }
        }
        Ok(())
    }

    fn concatenate(&self) -> Result<()> {
        let mut all = String::new();
        // The record of the sources is the golden's alone, and would make equal texts differ.
        for file in super::folder::scan(&self.golden)?
            .into_iter()
            .filter(|file| file.path != RECORD)
        {
            all.push_str(&fs_err::read_to_string(self.golden.join(&file.path))?);
        }
        fs_err::write(&self.golden_text, &all)?;
        all.clear();
        for file in super::folder::scan(&self.rendered)? {
            let content = fs_err::read_to_string(self.rendered.join(&file.path))?;
            match normalize::Role::of(&file.path) {
                normalize::Role::Objects => {
                    let manifest = normalize::read(&content).map_err(Failure::unexpected)?;
                    all.push_str(&normalize::write(&manifest));
                }
                role => {
                    let value = normalize::read_plain(role, &content).map_err(Failure::unexpected)?;
                    all.push_str(&normalize::write_plain(role, &value));
                }
            }
        }
        fs_err::write(&self.rendered_text, &all)?;
        Ok(())
    }
}

fn item(folder: usize) -> String {
    format!("{folder:03}-part-{folder}")
}

fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .rev()
            .map(|(key, member)| (key.clone(), reversed(member)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(reversed).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// One of the kinds that stages are mostly made of, in their sizes: settings, workloads, rules, services.
fn object(index: usize) -> Value {
    let name = format!("object-{index:06}");
    let metadata = json!({"name": name, "namespace": format!("namespace-{}", index % 40),
        "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "bench"}});
    match index % 4 {
        0 => {
            let data: Map<String, Value> = (0..40)
                .map(|key| {
                    (
                        format!("setting-{key}"),
                        format!("value {}", index * 31 + key * 7).into(),
                    )
                })
                .collect();
            let script: String = (0..30)
                .map(|line| format!("echo \"{index}: step {line} of the script\"\n"))
                .collect();
            let mut data = data;
            data.insert("script.sh".into(), script.into());
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        }
        1 => {
            let container = |which: usize| {
                json!({"name": format!("container-{which}"), "image": format!("registry.example/part/{index}:1.{which}"),
                    "args": (0..12).map(|argument| format!("--argument-{argument}={}", index + argument)).collect::<Vec<_>>(),
                    "env": (0..10).map(|variable| json!({"name": format!("VARIABLE_{variable}"), "value": format!("{}", index * variable)})).collect::<Vec<_>>(),
                    "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                    "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}}})
            };
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
                "replicas": index % 5, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container(0), container(1)]}}}})
        }
        2 => {
            let rule = |which: usize| {
                json!({"apiGroups": [format!("group-{which}.example.org")], "resources": ["widgets", "gadgets", "widgets/status"],
                       "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]})
            };
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
                   "rules": (0..10).map(rule).collect::<Vec<_>>()})
        }
        _ => json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "selector": {"app": name},
            "ports": (0..8).map(|port| json!({"name": format!("port-{port}"), "port": 8000 + port, "targetPort": format!("http-{port}"), "protocol": "TCP"})).collect::<Vec<_>>()}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_differs_where_it_says_and_nowhere_else() {
        for (change, expected) in [(Change::Nothing, 0), (Change::Hundredth, 3), (Change::Order, 0)] {
            let folder = tempfile::Builder::new().prefix("bench-").tempdir().unwrap();
            let corpus = Corpus::make(Utf8Path::from_path(folder.path()).unwrap(), 300, change).unwrap();
            assert_eq!(corpus.check(Reading::Everything).unwrap().1, expected, "{change:?}");
            assert_eq!(
                corpus.check(Reading::Changes).unwrap().1,
                expected,
                "{change:?}, remembering"
            );
            assert_eq!(
                corpus.check(Reading::Changes).unwrap().1,
                expected,
                "{change:?}, once more"
            );
            let texts = [&corpus.golden_text, &corpus.rendered_text].map(|path| fs_err::read(path).unwrap());
            assert_eq!(texts[0] == texts[1], change == Change::Nothing, "{change:?}");
        }
    }
}
