//! Who owns which field, from `managedFields`: the one record of what was sent that comes back exact.
//! Values are never compared: quantities, defaults and empty maps come back changed.

use serde_json::Value;

use crate::base::formats::json::{canonical, sha256};
use crate::project::digest_of;

/// The manager under which kluctl applies.
pub const KLUCTL: &str = "kluctl";

/// Kinds that nothing but a deployment or a person writes: whatever moves their resourceVersion is a change.
const STEADY: [&str; 6] = [
    "ConfigMap",
    "Role",
    "RoleBinding",
    "Secret",
    "ServiceAccount",
    "StorageClass",
];

/// The resourceVersion of an object that no controller writes; none where a status moves it all the time.
pub fn steady_version(live: &Value) -> Option<&str> {
    let kind = live.get("kind").and_then(Value::as_str)?;
    let version = live.pointer("/metadata/resourceVersion").and_then(Value::as_str)?;
    STEADY.contains(&kind).then_some(version)
}

/// A digest of what kluctl manages of a live object. It moves with every deployment and every edit of a managed field,
/// and not with a status.
pub fn state(live: &Value) -> String {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let own = entries
        .into_iter()
        .flatten()
        .find(|entry| entry.get("manager").and_then(Value::as_str) == Some(KLUCTL))
        .and_then(|entry| entry.get("fieldsV1"))
        .map(canonical)
        .unwrap_or_default();
    let parts = [
        live.pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        digest_of(live).unwrap_or_default(),
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            "terminating"
        } else {
            ""
        },
        &own,
    ];
    sha256(parts.join("\n"))
}

/// Leaves of a rendered object that kluctl does not own in the live one, as paths for people.
pub fn lost_leaves(rendered: &Value, live: &Value) -> Vec<String> {
    let none = Vec::new();
    let entries = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .unwrap_or(&none);
    let owned = entries.iter().find(|entry| {
        entry.get("manager").and_then(Value::as_str) == Some(KLUCTL)
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
            && entry
                .get("subresource")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .is_empty()
    });
    let Some(fields) = owned.and_then(|entry| entry.get("fieldsV1")) else {
        return vec!["everything".to_owned()];
    };
    let mut lost = Vec::new();
    let Some(object) = rendered.as_object() else {
        return lost;
    };
    for (key, value) in object {
        match key.as_str() {
            // Identity is not a field that anybody owns.
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                let owned = fields.get("f:metadata");
                for part in ["labels", "annotations", "finalizers", "ownerReferences"] {
                    if let Some(value) = value.get(part) {
                        walk(
                            value,
                            owned.and_then(|owned| owned.get(format!("f:{part}"))),
                            &format!("metadata.{part}"),
                            &mut lost,
                        );
                    }
                }
            }
            key => walk(value, fields.get(format!("f:{key}")), key, &mut lost),
        }
    }
    lost
}

/// Every manager and operation that owns a field at or below a path's first part, other than kluctl's apply.
pub fn other_managers(live: &Value) -> Vec<(String, String)> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut managers: Vec<(String, String)> = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").and_then(Value::as_str) != Some("status"))
        .filter_map(|entry| {
            let manager = entry.get("manager")?.as_str()?;
            let time = entry.get("time").and_then(Value::as_str).unwrap_or_default();
            (manager != KLUCTL).then(|| (manager.to_owned(), time.to_owned()))
        })
        .collect();
    managers.sort_unstable();
    managers.dedup();
    managers
}

/// Whether kluctl owns anything of a live object.
pub fn is_managed(live: &Value) -> bool {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .any(|entry| entry.get("manager").and_then(Value::as_str) == Some(KLUCTL))
}

/// Walks a rendered value and the owned set beside it. A set that ends in `{}` owns everything below:
/// atomic lists and maps are one leaf.
fn walk(rendered: &Value, owned: Option<&Value>, path: &str, lost: &mut Vec<String>) {
    let Some(owned) = owned else {
        if !is_empty(rendered) {
            lost.push(path.to_owned());
        }
        return;
    };
    let set = owned.as_object();
    if set.is_none_or(|set| set.keys().all(|key| key == ".")) {
        return;
    }
    let set = set.expect("an empty set has returned");
    match rendered {
        Value::Object(map) => {
            for (key, value) in map {
                walk(value, set.get(&format!("f:{key}")), &format!("{path}.{key}"), lost);
            }
        }
        Value::Array(list) => {
            let keys: Vec<&str> = set.keys().map(String::as_str).collect();
            for (index, (element, key)) in list.iter().zip(assign(list, &keys)).enumerate() {
                let entry = key.and_then(|key| set.get(key));
                walk(element, entry, &format!("{path}[{index}]"), lost);
            }
        }
        _ => {}
    }
}

/// The set key that stands for each element of a rendered list; none where there is none. A key stands for one element.
/// Keys carry the defaults of fields that a rendered element may leave out (a port's protocol, whatever a definition
/// gives a default), so those that say everything choose first, and who leaves a field out takes what is left, the
/// default that everybody knows before others.
pub(super) fn assign<'k>(list: &[Value], keys: &[&'k str]) -> Vec<Option<&'k str>> {
    let mut found: Vec<Option<&'k str>> = vec![None; list.len()];
    let mut taken = std::collections::BTreeSet::new();
    for fits in [says_all, leaves_known_defaults, is_element] {
        for (place, element) in found.iter_mut().zip(list).filter(|(place, _)| place.is_none()) {
            *place = keys
                .iter()
                .copied()
                .find(|key| !taken.contains(key) && fits(key, element));
            taken.extend(*place);
        }
    }
    found
}

/// Whether an element has every field of a key.
fn says_all(key: &str, element: &Value) -> bool {
    is_element(key, element) && fields_left_out(key, element).is_empty()
}

/// Whether what an element leaves out of a key are the defaults of Kubernetes' own types.
fn leaves_known_defaults(key: &str, element: &Value) -> bool {
    is_element(key, element)
        && fields_left_out(key, element)
            .iter()
            .all(|(name, value)| name == "protocol" && value == "TCP")
}

fn fields_left_out(key: &str, element: &Value) -> Vec<(String, Value)> {
    let keys = key
        .strip_prefix("k:")
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(Value::Object(keys)) = keys else {
        return Vec::new();
    };
    keys.into_iter()
        .filter(|(name, _)| element.get(name).is_none())
        .collect()
}

/// Whether a set key (`k:{…}` by keys, `v:…` by value) stands for a rendered list element. Keys carry
/// defaults, so one that is missing in the rendered element matches.
pub(super) fn is_element(key: &str, element: &Value) -> bool {
    if let Some(text) = key.strip_prefix("k:") {
        let Ok(Value::Object(keys)) = serde_json::from_str::<Value>(text) else {
            return false;
        };
        return keys
            .iter()
            .all(|(name, wanted)| element.get(name).is_none_or(|found| found == wanted));
    }
    if let Some(text) = key.strip_prefix("v:") {
        return serde_json::from_str::<Value>(text).is_ok_and(|wanted| wanted == *element);
    }
    false
}

/// Values that the API server leaves out of what it stores.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(fields: Value) -> Value {
        json!({"metadata": {"managedFields": [{"manager": "kluctl", "operation": "Apply", "fieldsV1": fields}]}})
    }

    #[test]
    fn a_defaulted_list_key_still_matches_its_rendered_element() {
        let rendered = json!({"spec": {"ports": [{"containerPort": 80}]}});
        let fields = json!({"f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}});
        assert_eq!(lost_leaves(&rendered, &live(fields)), Vec::<String>::new());
    }

    #[test]
    fn elements_that_differ_in_a_defaulted_key_alone_are_told_apart() {
        let rendered = json!({"spec": {"ports": [{"port": 53, "name": "dns-tcp"}, {"port": 53, "protocol": "UDP", "name": "dns"}]}});
        let tcp = "k:{\"port\":53,\"protocol\":\"TCP\"}";
        let udp = "k:{\"port\":53,\"protocol\":\"UDP\"}";
        let whole = json!({".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}});
        let both = json!({"f:spec": {"f:ports": {tcp: whole, udp: whole}}});
        assert_eq!(lost_leaves(&rendered, &live(both)), Vec::<String>::new());
        let one = json!({"f:spec": {"f:ports": {udp: whole}}});
        assert_eq!(
            lost_leaves(&rendered, &live(one)),
            ["spec.ports[0]"],
            "the one of UDP is no other's"
        );
        let other = json!({"f:spec": {"f:ports": {tcp: whole}}});
        assert_eq!(lost_leaves(&rendered, &live(other)), ["spec.ports[1]"]);
        // A definition's own default, in any order.
        let rendered = json!({"spec": {"rules": [{"name": "a"}, {"name": "a", "mode": "Strict"}]}});
        let fields = json!({"f:spec": {"f:rules": {
            "k:{\"mode\":\"Loose\",\"name\":\"a\"}": {".": {}, "f:name": {}},
            "k:{\"mode\":\"Strict\",\"name\":\"a\"}": {".": {}, "f:name": {}, "f:mode": {}},
        }}});
        assert_eq!(lost_leaves(&rendered, &live(fields)), Vec::<String>::new());
    }

    #[test]
    fn a_leaf_that_somebody_else_took_is_named() {
        let rendered = json!({"data": {"a": "1", "b": "2"}, "metadata": {"labels": {"l": "x"}}});
        let fields = json!({"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {"f:l": {}}}});
        assert_eq!(lost_leaves(&rendered, &live(fields)), ["data.b"]);
    }

    #[test]
    fn an_atomic_list_is_one_leaf() {
        let rendered = json!({"spec": {"versions": [{"name": "v1", "served": true}]}});
        let fields = json!({"f:spec": {"f:versions": {}}});
        assert_eq!(lost_leaves(&rendered, &live(fields)), Vec::<String>::new());
    }

    #[test]
    fn an_object_that_kluctl_never_applied_is_lost_whole() {
        let live =
            json!({"metadata": {"managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": {}}]}});
        assert_eq!(lost_leaves(&json!({"data": {"a": "1"}}), &live), ["everything"]);
    }
}
