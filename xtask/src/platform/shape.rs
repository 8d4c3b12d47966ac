//! What keeps a text from being facts, all of it at once: serde stops at the first problem.
//! The JSON schema is derived from the same types; it is made only when there is something to report.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::Platform;

/// Everything that has not the shape of [`Platform`], each with its path; nothing when the text is no JSON.
pub(super) fn problems(text: &str) -> Vec<String> {
    let Ok(facts) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let schema = schemars::schema_for!(Platform).to_value();
    let validator = jsonschema::validator_for(&schema).expect("a derived schema is a schema");
    validator
        .iter_errors(&facts)
        .map(|error| problem(&schema, &error))
        .collect()
}

fn problem(schema: &Value, error: &ValidationError<'_>) -> String {
    let path = error.instance_path().as_str().trim_start_matches('/').replace('/', ".");
    let said = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            format!("unknown: {}", unexpected.join(", "))
        }
        ValidationErrorKind::Required { property } => format!("{property} is missing"),
        ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::AnyOf { .. } => {
            let mut words = Vec::new();
            if let Some(part) = schema.pointer(error.schema_path().as_str()) {
                choices(schema, part, &mut words);
            }
            format!("{} is none of {}", error.instance(), words.join(", "))
        }
        _ => error.to_string(),
    };
    if path.is_empty() {
        said
    } else {
        format!("{path}: {said}")
    }
}

/// What may stand in a place that has a choice.
fn choices(schema: &Value, part: &Value, words: &mut Vec<String>) {
    if let Some(all) = part.as_array() {
        for one in all {
            choices(schema, one, words);
        }
        return;
    }
    let target = part
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| schema.pointer(reference.trim_start_matches('#')));
    for part in [target, part.get("oneOf"), part.get("anyOf")].into_iter().flatten() {
        choices(schema, part, words);
    }
    let constant = part.get("const").map(ToString::to_string);
    let kind = part
        .get("type")
        .filter(|kind| *kind == "null")
        .map(|_| "null".to_owned());
    words.extend(constant.or(kind));
    if let Some(all) = part.get("enum").and_then(Value::as_array) {
        words.extend(all.iter().map(ToString::to_string));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Value {
        let root = camino::Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        serde_json::from_str(&fs_err::read_to_string(root.join("platform.json")).unwrap()).unwrap()
    }

    #[test]
    fn the_committed_facts_have_the_shape() {
        assert_eq!(problems(&committed().to_string()), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_path() {
        let mut facts = committed();
        facts["colour"] = "red".into();
        let cluster = &mut facts["clusters"]["k3s-dev"];
        cluster["apiPort"] = 70_000.into();
        cluster["nodes"] = "two".into();
        cluster["environment"] = "staging".into();
        cluster["backends"][0] = "docker".into();
        cluster.as_object_mut().unwrap().remove("issuer");
        facts["profiles"]["k3s-dev"]["arch"] = "riscv".into();
        let said = problems(&facts.to_string()).join("\n");
        for part in [
            "unknown: colour",
            "clusters.k3s-dev.apiPort: 70000 is greater than the maximum of 65535",
            "clusters.k3s-dev.nodes: \"two\" is not of type \"integer\"",
            "clusters.k3s-dev.environment: \"staging\" is none of \"local\", \"production\"",
            "clusters.k3s-dev.backends.0: \"docker\" is none of",
            "clusters.k3s-dev: \"issuer\" is missing",
            "profiles.k3s-dev.arch: \"riscv\" is none of \"aarch64\", \"x86_64\", null",
        ] {
            assert!(said.contains(part), "{part} in:\n{said}");
        }
        assert!(
            Platform::parse(&facts.to_string())
                .unwrap_err()
                .chain()
                .contains("riscv")
        );
    }
}
