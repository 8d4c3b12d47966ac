//! Fields that should be gone: after a deploy it is looked whether what left the project has left the cluster, too, and
//! what people and tools have of an object becomes kluctl's where a person asks for it, so that a deploy takes it away.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::compare::{Delta, Why};
use super::foreign::{Entry, LAST_APPLIED, LeavingField, at, entries, is_by_hand, is_installer, is_own};
use super::{listing, ownership};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::plural;
use crate::base::ui::Status;
use crate::call::Caller;
use crate::command::Command;
use crate::project::{Identity, ObjectRef, Project};

/// Whether what left the project has left the cluster, too. A field that a person or a tool has beside kluctl stays,
/// and so does what the API server keeps of a Service. What stays and is what a new object would get is a default: the
/// API server is asked, without writing anything, what it would make of the object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FieldsLeft {
    /// The project.
    pub project: Utf8PathBuf,
    /// JSON file of the type [`Delta`], from before the deploy.
    pub before: Utf8PathBuf,
    /// What `ListObjects` wrote after it.
    pub listing: Utf8PathBuf,
    /// Says what the API server would make of the objects that it reads on standard input, and writes none.
    pub look: Command,
    /// The command that takes fields back, without the names of objects.
    pub reset: String,
}

/// A field that is still there.
struct Staying<'a> {
    object: &'a ObjectRef,
    field: &'a LeavingField,
    /// Who has it, a person or a tool; none where no manager has it.
    holder: Option<(String, String)>,
    value: Value,
}

impl FieldsLeft {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let before: Delta = on.read(&self.before)?;
        let left: BTreeMap<Identity, (&ObjectRef, &[LeavingField])> = before
            .differences
            .iter()
            .filter(|one| !one.leaving.is_empty())
            .map(|one| (one.object.identity(), (&one.object, one.leaving.as_slice())))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let mut staying: Vec<Staying<'_>> = Vec::new();
        listing::read_file(on, &self.listing, |live| {
            if let Some((object, fields)) = left.get(&ObjectRef::of(&live).identity()) {
                staying.extend(fields.iter().filter_map(|field| stays(object, field, &live)));
            }
            None
        })?;
        if staying.is_empty() {
            return Ok(());
        }
        let fresh = self.fresh(on, &staying)?;
        staying.retain(|one| !one.is_default(fresh.get(&one.object.identity())));
        let problems: Vec<String> = staying.iter().map(Staying::words).collect();
        if problems.is_empty() {
            return Ok(());
        }
        let mut failure = Failure::many(
            Kind::Step,
            "everything was applied, but fields that the project no longer has stay in the cluster",
            &problems,
        );
        let mut held: Vec<String> = staying
            .iter()
            .filter(|one| one.holder.is_some())
            .map(|one| format!(" --reset {}", one.object))
            .collect();
        held.dedup();
        if !held.is_empty() {
            failure = failure.hinted(format!(
                "`{}{}` takes back what others wrote to them",
                self.reset,
                held.concat()
            ));
        }
        if let Some(one) = staying.iter().find(|one| one.holder.is_none()) {
            failure = failure.hinted(format!(
                "the API server keeps this of {}; only a new object is without it: look what uses it, delete it with `cargo xtask kubectl`, and deploy again",
                one.object
            ));
        }
        Err(failure)
    }

    /// The objects with what stays, as the API server would make them anew; those that it would not are left out.
    fn fresh(&self, on: &Caller<'_>, staying: &[Staying<'_>]) -> Result<BTreeMap<Identity, Value>> {
        let project = Project::read(&on.root.join(&self.project))?;
        let wanted: BTreeMap<Identity, &ObjectRef> =
            staying.iter().map(|one| (one.object.identity(), one.object)).collect();
        let objects = project
            .objects()
            .filter(|(_, object)| wanted.contains_key(&object.reference().identity()));
        let mut fresh = BTreeMap::new();
        for (_, object) in objects {
            let mut new = object.value.clone();
            if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
                // Another name: the one it has is taken.
                metadata.remove("name");
                metadata.insert("generateName".to_owned(), json!("xtask-look-"));
            }
            let text = serde_json::to_vec(&new).map_err(|_| Failure::unexpected("cannot write the object"))?;
            // A definition's name is fixed, and an admission may object: what is not known is not taken for a default.
            if let Ok(answer) = on.feed(&self.look, &text, &[])?
                && let Ok(made) = serde_json::from_slice(&answer)
            {
                fresh.insert(object.reference().identity(), made);
            }
        }
        Ok(fresh)
    }
}

/// What of a field that left the project is still there, unless a controller has taken it over or kluctl still has it.
fn stays<'a>(object: &'a ObjectRef, field: &'a LeavingField, live: &Value) -> Option<Staying<'a>> {
    let value = at(live, &field.keys).filter(|value| !ownership::is_empty(value))?;
    let holders: Vec<Entry<'_>> = entries(live)
        .into_iter()
        .filter(|entry| entry.has(&field.keys))
        .collect();
    let by_hand = holders
        .iter()
        .find(|entry| is_by_hand(entry.manager) || is_installer(entry.manager));
    if by_hand.is_none() && !holders.is_empty() {
        return None;
    }
    Some(Staying {
        object,
        field,
        holder: by_hand.map(|entry| (entry.manager.to_owned(), entry.time.to_owned())),
        value: value.clone(),
    })
}

impl Staying<'_> {
    /// Whether a new object would have the same, or another value that the API server chooses for it.
    fn is_default(&self, fresh: Option<&Value>) -> bool {
        let Some(fresh) = fresh else {
            return self.holder.is_none();
        };
        match at(fresh, &self.field.keys) {
            Some(value) if *value == self.value => true,
            // Addresses and ports that were handed out stay; that a Service is headless was asked for.
            Some(_) => self.holder.is_none() && !self.is_headless() && self.is_handed_out(),
            None => false,
        }
    }

    fn is_headless(&self) -> bool {
        self.value == "None" || self.value == json!(["None"])
    }

    fn is_handed_out(&self) -> bool {
        let last = self.field.keys.last().map(String::as_str);
        self.object.kind == "Service"
            && matches!(
                last,
                Some("f:clusterIP" | "f:clusterIPs" | "f:nodePort" | "f:healthCheckNodePort")
            )
    }

    fn words(&self) -> String {
        let who = match &self.holder {
            Some((manager, time)) if time.is_empty() => format!("`{manager}` has it, too"),
            Some((manager, time)) => format!("`{manager}` has it, too, since {time}"),
            None => "no manager has it, the API server keeps it".to_owned(),
        };
        format!("{}: {}: {who}", self.object, self.field.path)
    }
}

/// Makes kluctl the only manager of what people and tools have of the objects that are reset, so that the deploy that
/// follows takes away what the project does not have. The objects themselves are not changed by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TakeFieldsBack {
    /// JSON file of the type [`Delta`].
    pub delta: Utf8PathBuf,
    /// What `ListObjects` wrote.
    pub listing: Utf8PathBuf,
    /// Replaces the object that it reads on standard input, unless it was changed since.
    pub replace: Command,
}

impl TakeFieldsBack {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let delta: Delta = on.read(&self.delta)?;
        let reset: BTreeMap<Identity, &ObjectRef> = delta
            .differences
            .iter()
            .filter(|one| matches!(one.why, Why::Reset { .. }))
            .map(|one| (one.object.identity(), &one.object))
            .collect();
        let listing = listing::read_file(on, &self.listing, |live| {
            reset.contains_key(&ObjectRef::of(&live).identity()).then_some(live)
        })?;
        let mut count = 0;
        for live in listing.get("items").and_then(Value::as_array).into_iter().flatten() {
            let text =
                serde_json::to_vec(&taken_back(live)).map_err(|_| Failure::unexpected("cannot write the object"))?;
            on.feed(&self.replace, &text, &[])?.map_err(|lines| {
                Failure::new(
                    Kind::Step,
                    format!("{} cannot be taken back: {}", ObjectRef::of(live), lines.join("\n")),
                )
                .hinted("run the same command again: it shows what differs now")
            })?;
            count += 1;
        }
        on.ui.status(
            Status::Done,
            format!("{} belong to the project alone now", plural(count, "object")),
        );
        Ok(())
    }
}

/// A live object whose fields of people and tools are kluctl's.
fn taken_back(live: &Value) -> Value {
    let mut object = live.clone();
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        // It says what kubectl may take away at its next `apply`, which would be ours.
        annotations.remove(LAST_APPLIED);
    }
    let Some(list) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) else {
        return object;
    };
    let Some(own) = list.iter().position(is_own) else {
        return object;
    };
    let version = list[own]["apiVersion"].clone();
    let goes = |entry: &Value| {
        let manager = entry["manager"].as_str().unwrap_or_default();
        (is_by_hand(manager) || is_installer(manager))
            && entry["subresource"] != "status"
            // Paths of another version may be other paths.
            && entry["apiVersion"] == version
    };
    let mut fields = list[own]["fieldsV1"].clone();
    for entry in list.iter().filter(|entry| goes(entry)) {
        join_sets(&mut fields, &entry["fieldsV1"]);
    }
    if let Some(annotations) = fields.pointer_mut("/f:metadata/f:annotations") {
        annotations
            .as_object_mut()
            .and_then(|set| set.remove(&format!("f:{LAST_APPLIED}")));
    }
    list[own]["fieldsV1"] = fields;
    list.retain(|entry| is_own(entry) || !goes(entry));
    object
}

/// Adds a set of fields to another.
fn join_sets(into: &mut Value, other: &Value) {
    if let (Some(into), Some(other)) = (into.as_object_mut(), other.as_object()) {
        for (key, value) in other {
            join_sets(into.entry(key.clone()).or_insert_with(|| json!({})), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::foreign::applied;
    use super::super::foreign::tests::{live, other, own};
    use super::*;

    #[test]
    fn a_field_stays_when_a_person_has_it_or_the_server_keeps_it_and_not_when_a_controller_took_it() {
        let object = ObjectRef::of(&json!({"kind": "Service", "metadata": {"name": "s", "namespace": "n"}}));
        let field = LeavingField {
            path: "spec.clusterIP".to_owned(),
            keys: vec!["f:spec".to_owned(), "f:clusterIP".to_owned()],
        };
        let with = |value: &str, entries: Value| live(json!({"spec": {"clusterIP": value}}), entries);
        let set = json!({"f:spec": {"f:clusterIP": {}}});
        let fresh = json!({"spec": {"clusterIP": "10.0.0.9"}});
        let kept = with("None", json!([]));
        let kept = stays(&object, &field, &kept).unwrap();
        assert!(!kept.is_default(Some(&fresh)), "{}", kept.words());
        let given = with("10.0.0.7", json!([]));
        assert!(
            stays(&object, &field, &given).unwrap().is_default(Some(&fresh)),
            "an address that was handed out"
        );
        let held = with("10.0.0.7", json!([other("kubectl-create", set.clone())]));
        let held = stays(&object, &field, &held).unwrap();
        assert!(!held.is_default(Some(&fresh)));
        assert!(
            held.words().contains("`kubectl-create` has it, too, since T"),
            "{}",
            held.words()
        );
        let taken = with("10.0.0.7", json!([other("some-operator", set)]));
        assert!(stays(&object, &field, &taken).is_none());
        assert!(stays(&object, &field, &live(json!({"spec": {}}), json!([]))).is_none());
    }

    #[test]
    fn taking_back_makes_one_owner_and_leaves_controllers_alone() {
        let before = live(
            json!({"metadata": {"resourceVersion": "7", "annotations": {LAST_APPLIED: "{}"}}, "data": {"a": "1", "b": "2"}}),
            json!([
                own(json!({"f:data": {"f:a": {}}})),
                other(
                    "kubectl-client-side-apply",
                    json!({"f:metadata": {"f:annotations": {format!("f:{LAST_APPLIED}"): {}}}, "f:data": {"f:b": {}}})
                ),
                other("some-operator", json!({"f:data": {"f:c": {}}})),
            ]),
        );
        let after = taken_back(&before);
        assert_eq!(
            after["metadata"]["resourceVersion"], "7",
            "what was changed since is not overwritten"
        );
        assert_eq!(after["metadata"]["annotations"], json!({}));
        let managers: Vec<&str> = after["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["manager"].as_str().unwrap())
            .collect();
        assert_eq!(managers, ["kluctl", "some-operator"]);
        assert_eq!(applied(&after).unwrap()["f:data"], json!({"f:a": {}, "f:b": {}}));
        assert_eq!(after["data"], before["data"]);
    }
}
