//! How long a check takes: rendered projects of any size, and the time of checks over them.
//! It makes its objects up and measures; what a time means is the caller's to say.

use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value, json};
use xtask::base::formats::{json as text, yaml};
use xtask::golden::object::{DIGEST, digest_of};
use xtask::golden::problem::RECORD;
use xtask::golden::provenance::Record;
use xtask::golden::{bless, folder, normalize, resolve};

use crate::measure::median_of;
use crate::of;

/// Objects in one item folder: what a large stage has.
const FOLDER: usize = 250;

/// A rendering and its golden, made up.
pub(crate) struct Corpus {
    /// The rendering.
    pub(crate) rendered: Utf8PathBuf,
    /// The golden.
    pub(crate) golden: Utf8PathBuf,
    /// All files of the rendering in normal form, one after the other: what `diff -u` is given.
    pub(crate) rendered_text: Utf8PathBuf,
    /// All files of the golden, one after the other.
    pub(crate) golden_text: Utf8PathBuf,
    record: Record,
}

/// What differs between a rendering and its golden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Nothing,
    /// One field of each hundredth object.
    Hundredth,
    /// The order of the keys of every object; the golden says the same.
    Order,
}

impl Corpus {
    /// Makes a corpus of so many objects in an empty folder, with this difference.
    pub(crate) fn make(folder: &Utf8Path, objects: usize, change: Change) -> Result<Self> {
        let corpus = Self {
            rendered: folder.join("rendered"),
            golden: folder.join("golden"),
            rendered_text: folder.join("rendered.yaml"),
            golden_text: folder.join("golden.yaml"),
            record: Record::of(folder).map_err(of)?,
        };
        corpus.render(objects, |_| Change::Nothing)?;
        bless::bless(
            &corpus.rendered,
            &corpus.golden,
            &corpus.record,
            &std::collections::BTreeSet::new(),
            |_| Ok(()),
        )
        .map_err(of)?;
        match change {
            Change::Nothing => {}
            Change::Hundredth => {
                corpus.render(
                    objects,
                    |index| if is_hundredth(index) { change } else { Change::Nothing },
                )?;
            }
            Change::Order => corpus.shuffle_golden()?,
        }
        corpus.concatenate()?;
        Ok(corpus)
    }

    /// The time of one check, and how many objects it found to differ.
    pub(crate) fn check(&self) -> Result<(Duration, usize)> {
        let started = Instant::now();
        let comparison = resolve::compare(&self.rendered, &self.golden, &self.record).map_err(of)?;
        let elapsed = started.elapsed();
        let differ = comparison.problems.iter().filter(|problem| problem.fails()).count();
        Ok((elapsed, differ))
    }

    /// The median over this many checks.
    pub(crate) fn time(&self, runs: usize) -> Result<Duration> {
        median_of(runs, || Ok(self.check()?.0))
    }

    /// The first objects of both sides, by file, as JSON beside the corpus: for who compares values.
    pub(crate) fn sample(&self, objects: usize) -> Result<[Utf8PathBuf; 2]> {
        let side = |folder: &Utf8Path| -> Result<Utf8PathBuf> {
            let mut all = Map::new();
            for index in 0..objects {
                let name = format!("{}/{index:06}.yaml", item(index / FOLDER));
                let value =
                    yaml::read_one(&fs_err::read_to_string(folder.join(&name))?).with_context(|| name.clone())?;
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
        for file in folder::scan(&self.golden).map_err(of)? {
            let path = self.golden.join(&file.path);
            if normalize::Role::of(&file.path) == normalize::Role::Objects {
                let value = yaml::read_one(&fs_err::read_to_string(&path)?).with_context(|| path.to_string())?;
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
        for file in folder::scan(&self.golden)
            .map_err(of)?
            .into_iter()
            .filter(|file| file.path != RECORD)
        {
            all.push_str(&fs_err::read_to_string(self.golden.join(&file.path))?);
        }
        fs_err::write(&self.golden_text, &all)?;
        all.clear();
        for file in folder::scan(&self.rendered).map_err(of)? {
            let content = fs_err::read_to_string(self.rendered.join(&file.path))?;
            match normalize::Role::of(&file.path) {
                normalize::Role::Objects => {
                    let manifest = normalize::read(&content).map_err(Error::msg)?;
                    all.push_str(&normalize::write(&manifest));
                }
                role => {
                    let value = normalize::read_plain(role, &content).map_err(Error::msg)?;
                    all.push_str(&normalize::write_plain(role, &value));
                }
            }
        }
        fs_err::write(&self.rendered_text, &all)?;
        Ok(())
    }
}

/// Whether an object is one of those that [`Change::Hundredth`] changes.
pub(crate) fn is_hundredth(index: usize) -> bool {
    index % 100 == 7
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
