//! Saved plans: a plan with what it was made from, so that it can be reviewed in one place and applied in another.
//! No path and no secret of the first place is in it. What has moved since makes it stale.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::formats::json::sha256;
use crate::command::Arg;
use crate::live::{compare, history, ownership};
use crate::plan::{Plan, Section};
use crate::project::ObjectRef;
use crate::tool::Tools;

/// The schema version of a saved plan.
const SCHEMA: u32 = 4;

/// What a plan was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Stamp {
    /// SHA-256 of `flake.lock`; empty when there is none.
    pub lock: String,
    /// Digest of the stage's golden; empty when there is none.
    pub golden: String,
    /// SHA-256 of `platform.json`.
    pub config: String,
    /// Digest of the project.
    pub project: String,
    /// Versions of the tools.
    pub tools: BTreeMap<String, String>,
    /// UID of the cluster.
    pub cluster: String,
    /// Of each live object of the stage, a digest of what kluctl manages; never a resourceVersion, for a status
    /// moves that all the time.
    pub live: BTreeMap<String, String>,
}

/// Where a stamp is read from.
pub struct Inputs<'a> {
    /// The checkout.
    pub root: &'a Utf8Path,
    /// The golden's folder, relative to the root.
    pub golden: &'a Utf8Path,
    /// The project, relative to the root.
    pub project: &'a Utf8Path,
    /// The `kube-system` object.
    pub namespace: &'a Utf8Path,
    /// The listing of every stage.
    pub listing: &'a Utf8Path,
    /// The stage's own discriminator.
    pub discriminator: &'a str,
    /// Tools of the plan.
    pub tools: &'a Tools,
}

/// A plan with its stamp, as one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Saved {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// Nonce of the run that made it. Who applies it puts a nonce of his own in its place, so that of two who apply
    /// the same plan at once only one holds the Lease.
    pub nonce: String,
    /// The verb that made it.
    pub verb: String,
    /// The cluster.
    pub cluster: String,
    /// The stage.
    pub stage: String,
    /// Sections that look at the cluster anew, for the stamp.
    pub look: Vec<Section>,
    /// The plan.
    pub plan: Plan,
    /// What it was made from.
    pub stamp: Stamp,
    /// The project, relative to the root.
    pub project: camino::Utf8PathBuf,
}

impl Stamp {
    /// Reads everything a plan was made from.
    pub fn observe(inputs: &Inputs<'_>) -> Result<Self> {
        let file = |path: &str| -> Result<String> {
            match fs_err::read(inputs.root.join(path)) {
                Ok(bytes) => Ok(sha256(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                Err(error) => Err(error.into()),
            }
        };
        let folder = |path: &Utf8Path| -> Result<String> {
            let path = inputs.root.join(path);
            if path.is_dir() {
                history::digest(&path)
            } else {
                Ok(String::new())
            }
        };
        let json = |path: &Utf8Path| -> Result<Value> {
            let text = fs_err::read_to_string(inputs.root.join(path))?;
            serde_json::from_str(&text).or_fail(Kind::Unexpected, format!("`{path}` is no JSON"))
        };
        let uid = json(inputs.namespace)?;
        Ok(Self {
            lock: file("flake.lock")?,
            golden: folder(inputs.golden)?,
            config: file(crate::base::root::PLATFORM_JSON)?,
            project: folder(inputs.project)?,
            tools: inputs
                .tools
                .iter()
                .filter_map(|(tool, found)| Some((tool.program().to_owned(), found.version.as_ref()?.to_string())))
                .collect(),
            cluster: uid
                .pointer("/metadata/uid")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            live: live(&json(inputs.listing)?, inputs.discriminator),
        })
    }

    /// What moved between this stamp and a later one, a sentence each.
    pub fn moved(&self, now: &Self) -> Vec<String> {
        let mut moved = Vec::new();
        let mut one = |what: &str, then: &str, now: &str| {
            if then != now {
                moved.push(format!("{what}: was {}, is {}", short(then), short(now)));
            }
        };
        one("flake.lock", &self.lock, &now.lock);
        one("golden", &self.golden, &now.golden);
        one("platform config (platform.json)", &self.config, &now.config);
        one("project", &self.project, &now.project);
        one("cluster UID", &self.cluster, &now.cluster);
        for (tool, version) in &self.tools {
            one(
                &format!("version of `{tool}`"),
                version,
                now.tools.get(tool).map_or("", String::as_str),
            );
        }
        for (object, digest) in &self.live {
            match now.live.get(object) {
                Some(found) if found == digest => {}
                Some(_) => moved.push(format!("live object {object}: was changed")),
                None => moved.push(format!("live object {object}: is gone")),
            }
        }
        for object in now.live.keys().filter(|object| !self.live.contains_key(*object)) {
            moved.push(format!("live object {object}: is new"));
        }
        moved
    }
}

fn short(digest: &str) -> String {
    match digest.get(..12) {
        _ if digest.is_empty() => "missing".to_owned(),
        Some(start) if digest.len() > 40 => start.to_owned(),
        _ => format!("`{digest}`"),
    }
}

/// Digests of what kluctl manages of every listed object of a stage.
fn live(listing: &Value, discriminator: &str) -> BTreeMap<String, String> {
    let items = listing.get("items").and_then(Value::as_array).into_iter().flatten();
    items
        .filter(|object| compare::discriminator(object) == discriminator)
        .map(|object| {
            let reference = ObjectRef::of(object);
            let group = reference.group().to_owned();
            let name = if group.is_empty() {
                reference.to_string()
            } else {
                format!("{reference} ({group})")
            };
            (name, ownership::state(object))
        })
        .collect()
}

impl Saved {
    /// A plan of a verb with its stamp; refused when a path in it means something on this host alone.
    #[expect(clippy::too_many_arguments, reason = "these are the fields of a saved plan")]
    pub fn new(
        nonce: &str,
        verb: &str,
        cluster: &str,
        stage: &str,
        look: Vec<Section>,
        plan: Plan,
        project: &Utf8Path,
        stamp: Stamp,
    ) -> Result<Self> {
        let absolute = plan
            .commands()
            .into_iter()
            .chain(look.iter().flat_map(Section::commands))
            .flat_map(|command| command.args.iter().chain(command.env.values()))
            .find_map(|arg| match arg {
                Arg::Path(path) | Arg::FlagPath(_, path) if path.is_absolute() => Some(path.clone()),
                _ => None,
            });
        if let Some(path) = absolute.or_else(|| project.is_absolute().then(|| project.to_owned())) {
            return Err(Failure::config(format!(
                "a saved plan is applied elsewhere, and `{path}` is a path of this host"
            ))
            .hinted("put the folder into the checkout, and name it from there"));
        }
        Ok(Self {
            schema: SCHEMA,
            nonce: nonce.to_owned(),
            verb: verb.to_owned(),
            cluster: cluster.to_owned(),
            stage: stage.to_owned(),
            look,
            plan,
            stamp,
            project: project.to_owned(),
        })
    }

    /// Writes it, beside and renamed.
    pub fn write(&self, path: &Utf8Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a plan is plain data");
        crate::base::files::write(path, text.as_bytes(), 0o600)
    }

    /// Reads one: its schema first, then all of it.
    pub fn read(path: &Utf8Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let text = fs_err::read_to_string(path).or_fail(Kind::Config, "the saved plan cannot be read")?;
        let unreadable = |error: serde_json::Error| {
            Failure::config(format!("`{path}` is no saved plan: {error}")).hinted("plan again with `--save-plan`")
        };
        let version: Version = serde_json::from_str(&text).map_err(unreadable)?;
        if version.schema != SCHEMA {
            return Err(Failure::config(format!(
                "`{path}` has schema {}, this xtask reads schema {SCHEMA}",
                version.schema
            ))
            .hinted("use the xtask that wrote it, or plan again"));
        }
        serde_json::from_str(&text).map_err(unreadable)
    }

    /// The same plan under the nonce of the run that applies it. A nonce is 12 hexadecimal digits that stand for
    /// nothing else, so it is exchanged wherever it stands.
    pub fn applied_as(self, nonce: &str) -> Result<Self> {
        if self.nonce.len() != nonce.len() || !self.nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure::config(format!("`{}` is no nonce of a saved plan", self.nonce))
                .hinted("plan again with `--save-plan`"));
        }
        let own = serde_json::to_string(&self).expect("a plan is plain data");
        serde_json::from_str(&own.replace(&self.nonce, nonce)).or_fail(Kind::Unexpected, "cannot take the plan up")
    }

    /// Refuses when anything moved.
    pub fn check(&self, now: &Stamp) -> Result<()> {
        let moved = self.stamp.moved(now);
        if moved.is_empty() {
            return Ok(());
        }
        Err(Failure::many(
            Kind::Refused,
            "the saved plan is stale; nothing was changed. What moved",
            &moved,
        )
        .hinted("plan and review again: `--save-plan`"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            lock: "a".repeat(64),
            golden: "b".repeat(64),
            config: "c".repeat(64),
            project: "d".repeat(64),
            tools: BTreeMap::from([("kluctl".to_owned(), "2.22.1".to_owned())]),
            cluster: "uid".to_owned(),
            live: BTreeMap::from([("ConfigMap/n/x".to_owned(), "e".repeat(64))]),
        }
    }

    #[test]
    fn of_two_who_apply_one_plan_each_has_a_nonce_of_his_own() {
        let mut plan = Plan::new("deploy");
        plan.choices = vec!["a1a1a1a1a1a1 is the run".to_owned()];
        let saved = Saved::new(
            "a1a1a1a1a1a1",
            "deploy",
            "c",
            "local",
            Vec::new(),
            plan,
            "p".into(),
            stamp(),
        )
        .unwrap();
        let applied = saved.clone().applied_as("b2b2b2b2b2b2").unwrap();
        assert_eq!(applied.plan.choices, ["b2b2b2b2b2b2 is the run"]);
        assert_eq!(applied.stamp, saved.stamp);
        let mut edited = saved;
        edited.nonce = "e".to_owned();
        assert_eq!(edited.applied_as("b2b2b2b2b2b2").unwrap_err().kind, Kind::Config);
    }

    #[test]
    fn each_input_that_moves_is_named() {
        type Change = (&'static str, fn(&mut Stamp));
        let changes: [Change; 7] = [
            ("flake.lock", |stamp| stamp.lock.clear()),
            ("golden", |stamp| stamp.golden.clear()),
            ("platform config", |stamp| stamp.config.clear()),
            ("project", |stamp| stamp.project.clear()),
            ("cluster UID", |stamp| stamp.cluster = "other".to_owned()),
            ("version of `kluctl`", |stamp| stamp.tools.clear()),
            ("live object ConfigMap/n/x: is gone", |stamp| stamp.live.clear()),
        ];
        for (name, change) in changes {
            let mut now = stamp();
            change(&mut now);
            let moved = stamp().moved(&now);
            assert_eq!(moved.len(), 1, "{moved:?}");
            assert!(moved[0].starts_with(name), "{moved:?}");
        }
        assert!(stamp().moved(&stamp()).is_empty());
    }

    #[test]
    fn a_status_does_not_move_the_live_digest_and_an_edit_does() {
        let object = |fields: Value, status: &str| {
            json!({"items": [{"kind": "Deployment", "apiVersion": "apps/v1", "status": {"x": status}, "metadata": {
                "name": "x", "namespace": "n", "uid": "u", "resourceVersion": status, "labels": {"kluctl.io/discriminator": "d"},
                "managedFields": [{"manager": "kluctl", "operation": "Apply", "fieldsV1": fields}]}}]})
        };
        let before = live(&object(json!({"f:spec": {"f:a": {}, "f:b": {}}}), "1"), "d");
        assert_eq!(
            before,
            live(&object(json!({"f:spec": {"f:b": {}, "f:a": {}}}), "2"), "d")
        );
        assert_ne!(before, live(&object(json!({"f:spec": {"f:a": {}}}), "1"), "d"));
    }
}
