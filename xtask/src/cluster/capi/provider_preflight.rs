//! Looks at everything that a bootstrap needs outside of its clusters, and reports all that is missing at once.
//! It asks and changes nothing.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dns::{self, Cloudflare};
use super::requirements::{Machine, Requirements};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::http::{Api, query};
use crate::base::process::Interrupt;
use crate::base::ui::Status;
use crate::call::Caller;

/// Looks at what has to be there outside of every cluster; everything that is missing is one failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProviderPreflight {
    /// JSON file of the type [`Requirements`]: what the stage will ask the provider for.
    pub requirements: Utf8PathBuf,
    /// The provider of the machines.
    pub hetzner: Hetzner,
    /// The zone of the endpoint's record; none where a person sets it.
    pub zone: Option<Zone>,
}

impl ProviderPreflight {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let requirements: Requirements = on.read(&self.requirements)?;
        let mut found = Found::default();
        match on.secret(&self.hetzner.token) {
            Ok(token) => found = hetzner(&self.hetzner, &token, &requirements, on.interrupt)?,
            Err(failure) => found.problems.extend(one_line(&failure)),
        }
        if let Some(zone) = &self.zone {
            match on.secret(&zone.at.token) {
                Ok(token) => found.problems.extend(as_problems_of(dns::obstacles(
                    &zone.at,
                    &token,
                    &zone.name,
                    on.interrupt,
                ))?),
                Err(failure) => found.problems.extend(one_line(&failure)),
            }
        }
        judge(&requirements, &found)?;
        on.ui.status(
            Status::Checked,
            format!(
                "token, server types, images, SSH keys, regions and zone of `{}`",
                requirements.cluster
            ),
        );
        Ok(())
    }
}

/// Hetzner Cloud's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Hetzner {
    /// Base address of the interface.
    pub api: String,
    /// Variable that holds the token.
    pub token: String,
    /// Seconds for all tries together.
    pub deadline: u64,
}

/// The zone in which a record will be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Zone {
    /// Where it stands.
    pub at: Cloudflare,
    /// Name of the record.
    pub name: String,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// What is missing, a sentence each.
    problems: Vec<String>,
    /// Servers that are there already, by name.
    servers: Vec<String>,
}

/// Servers of the cluster are a guard's business, unless something is missing anyway.
fn judge(requirements: &Requirements, found: &Found) -> Result<()> {
    let mut problems = found.problems.clone();
    if !found.servers.is_empty() {
        problems.push(format!(
            "the provider has servers of a cluster `{}` already, which no cluster here accounts for: {}",
            requirements.cluster,
            found.servers.join(", ")
        ));
    }
    if problems.is_empty() {
        return Ok(());
    }
    let kind = if found.problems.is_empty() {
        Kind::Refused
    } else {
        Kind::Preflight
    };
    let failure = Failure::many(
        kind,
        format!("`{}` cannot be made; nothing was created", requirements.cluster),
        &problems,
    );
    Err(if found.servers.is_empty() {
        failure
    } else {
        failure
            .hinted("made a second time, it would be a second cluster under the same name and record")
            .hinted("if the cluster lives: put its kubeconfig into place and run `cargo xtask capi status`")
            .hinted("if they are orphans: delete them at the provider, then run again")
    })
}

/// Asks Hetzner for everything; a token that is refused is one problem, and not one a question.
fn hetzner(to: &Hetzner, token: &str, requirements: &Requirements, interrupt: &Interrupt) -> Result<Found> {
    let rights = format!("the token in `{}` needs Read & Write on the project", to.token);
    let api = Api::new(&to.api, token, rights, to.deadline, interrupt);
    let mut found = Found::default();
    let regions = match list(&api, "/locations", "locations") {
        Ok(regions) => names(&regions),
        Err(failure) => {
            found.problems = as_problems(Err(failure))?;
            return Ok(found);
        }
    };
    for region in requirements.regions.iter().filter(|region| !regions.contains(*region)) {
        found.problems.push(format!("Hetzner has no region `{region}`"));
    }
    for machine in &requirements.machines {
        let looked = look_at_machine(&api, machine, requirements);
        found.problems.extend(as_problems_of(looked)?);
    }
    for key in &requirements.ssh_keys {
        match list(&api, &format!("/ssh_keys?name={}", query(key)), "ssh_keys") {
            Ok(keys) if keys.is_empty() => found.problems.push(format!(
                "the project has no SSH key `{key}`: without one Hetzner mails a root password"
            )),
            Ok(_) => {}
            Err(failure) => found.problems.extend(as_problems(Err(failure))?),
        }
    }
    let label = query(&format!("caph-cluster-{}==owned", requirements.cluster));
    match list(&api, &format!("/servers?label_selector={label}&per_page=50"), "servers") {
        Ok(servers) => found.servers = names(&servers),
        Err(failure) => found.problems.extend(as_problems(Err(failure))?),
    }
    Ok(found)
}

/// Problems of a server type and its image. The provider of the machines takes exactly one image of the type's
/// architecture, by label or by name.
fn look_at_machine(api: &Api<'_>, machine: &Machine, requirements: &Requirements) -> Result<Vec<String>> {
    let Machine { server_type, image } = machine;
    let types = list(
        api,
        &format!("/server_types?name={}", query(server_type)),
        "server_types",
    )?;
    let Some(kind) = types.first() else {
        return Ok(vec![format!("Hetzner has no server type `{server_type}`")]);
    };
    let mut problems = Vec::new();
    let offered = kind.get("locations").and_then(Value::as_array).map(|all| names(all));
    for region in &requirements.regions {
        if offered.as_ref().is_some_and(|offered| !offered.contains(region)) {
            problems.push(format!(
                "server type `{server_type}` is not offered in region `{region}`"
            ));
        }
    }
    let architecture = kind.get("architecture").and_then(Value::as_str).unwrap_or("x86");
    let label = query(&format!("caph-image-name=={image}"));
    let mut images = list(
        api,
        &format!("/images?label_selector={label}&architecture={architecture}"),
        "images",
    )?;
    images.extend(list(
        api,
        &format!("/images?name={}&architecture={architecture}", query(image)),
        "images",
    )?);
    match images.len() {
        1 => {}
        0 => problems.push(format!(
            "no image for `{server_type}` ({architecture}) is labelled `caph-image-name={image}`, nor called so"
        )),
        several => problems.push(format!(
            "{several} images for `{server_type}` ({architecture}) are labelled `caph-image-name={image}` or called so, and none of several is taken"
        )),
    }
    Ok(problems)
}

fn list(api: &Api<'_>, path: &str, key: &str) -> Result<Vec<Value>> {
    let answer = api.ask("GET", path, None)?;
    Ok(answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default())
}

fn names(all: &[Value]) -> Vec<String> {
    all.iter()
        .filter_map(|one| one.get("name")?.as_str())
        .map(ToOwned::to_owned)
        .collect()
}

/// What a look found, a failure being one problem more; only an interrupt ends it.
fn as_problems_of(looked: Result<Vec<String>>) -> Result<Vec<String>> {
    match looked {
        Ok(problems) => Ok(problems),
        Err(failure) => as_problems(Err(failure)),
    }
}

/// A failed look as a problem, with what would mend it.
fn as_problems(looked: Result<()>) -> Result<Vec<String>> {
    match looked {
        Ok(()) => Ok(Vec::new()),
        Err(failure) if failure.kind == Kind::Interrupted => Err(failure),
        Err(failure) => Ok(one_line(&failure)),
    }
}

fn one_line(failure: &Failure) -> Vec<String> {
    let said = failure.chain().replace("\n  - ", ": ").replace('\n', " ");
    vec![match failure.hints.first() {
        Some(hint) => format!("{said}; {hint}"),
        None => said,
    }]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::http::server::{Answer, Server, TOKEN, serve};

    fn requirements() -> Requirements {
        Requirements {
            cluster: "c".into(),
            regions: ["hel1".into()].into(),
            ssh_keys: ["key".into()].into(),
            machines: [Machine {
                server_type: "cx23".into(),
                image: "node".into(),
            }]
            .into(),
        }
    }

    /// A provider that has everything, but for what `other` answers in its place.
    fn provider(other: impl Fn(&str) -> Option<Answer> + Send + 'static) -> Server {
        serve(move |request, _| {
            if let Some(answer) = other(request) {
                return answer;
            }
            let path = request.trim_start_matches("GET ");
            let body = match path.split('?').next().unwrap() {
                "/locations" => json!({"locations": [{"name": "hel1"}, {"name": "fsn1"}]}),
                "/server_types" => json!({"server_types": [{"name": "cx23", "architecture": "x86",
                    "locations": [{"name": "hel1"}]}]}),
                "/images" if path.contains("label_selector") => json!({"images": [{"id": 1}]}),
                "/images" => json!({"images": []}),
                "/ssh_keys" => json!({"ssh_keys": [{"name": "key"}]}),
                "/servers" => json!({"servers": []}),
                _ => return (404, "", "{}".into()),
            };
            (200, "", body.to_string())
        })
    }

    fn found(server: &Server, deadline: u64) -> Found {
        let to = Hetzner {
            api: server.api.clone(),
            token: "HCLOUD_TOKEN".into(),
            deadline,
        };
        hetzner(&to, TOKEN, &requirements(), &Interrupt::default()).unwrap()
    }

    #[test]
    fn a_provider_that_has_everything_is_asked_for_exactly_that() {
        let server = provider(|_| None);
        assert_eq!(found(&server, 10), Found::default());
        assert_eq!(
            server.asked(),
            [
                "GET /locations ",
                "GET /server_types?name=cx23 ",
                "GET /images?label_selector=caph-image-name%3D%3Dnode&architecture=x86 ",
                "GET /images?name=node&architecture=x86 ",
                "GET /ssh_keys?name=key ",
                "GET /servers?label_selector=caph-cluster-c%3D%3Downed&per_page=50 ",
            ]
        );
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let server = provider(|request| {
            let key = request.trim_start_matches("GET /").split('?').next()?.to_owned();
            let empty = ["locations", "images", "ssh_keys"].contains(&key.as_str());
            empty.then(|| (200, "", json!({key: []}).to_string()))
        });
        let problems = found(&server, 10).problems;
        assert_eq!(
            problems,
            [
                "Hetzner has no region `hel1`",
                "no image for `cx23` (x86) is labelled `caph-image-name=node`, nor called so",
                "the project has no SSH key `key`: without one Hetzner mails a root password",
            ]
        );
        let failure = judge(
            &requirements(),
            &Found {
                problems,
                servers: Vec::new(),
            },
        )
        .unwrap_err();
        assert_eq!(failure.kind, Kind::Preflight);
        assert!(failure.chain().contains("nothing was created"), "{}", failure.chain());
    }

    #[test]
    fn two_images_with_the_label_are_as_bad_as_none() {
        let server = provider(|request| {
            let two = json!({"images": [{"id": 1}, {"id": 2}]}).to_string();
            request.contains("label_selector=caph-image").then_some((200, "", two))
        });
        assert!(found(&server, 10).problems[0].starts_with("2 images for `cx23`"));
    }

    #[test]
    fn a_server_type_that_is_sold_out_of_the_region_or_unknown_is_named() {
        let elsewhere = json!({"server_types": [{"name": "cx23", "locations": [{"name": "fsn1"}]}]}).to_string();
        for (types, problem) in [
            (elsewhere, "server type `cx23` is not offered in region `hel1`"),
            (
                json!({"server_types": []}).to_string(),
                "Hetzner has no server type `cx23`",
            ),
        ] {
            let server = provider(move |request| request.contains("/server_types").then(|| (200, "", types.clone())));
            assert_eq!(found(&server, 10).problems, [problem]);
        }
    }

    #[test]
    fn a_token_that_is_refused_is_one_problem_and_not_six() {
        let server = provider(|_| Some((403, "", r#"{"error":{"message":"insufficient permissions"}}"#.into())));
        let problems = found(&server, 10).problems;
        assert_eq!(
            problems,
            [
                "`GET /locations` was answered 403: insufficient permissions; the token in `HCLOUD_TOKEN` needs Read & Write on the project"
            ]
        );
        assert_eq!(server.asked().len(), 1);
    }

    #[test]
    fn an_overloaded_provider_is_asked_again_when_it_says_and_given_up_at_the_deadline() {
        let first = std::sync::atomic::AtomicBool::new(true);
        let server = provider(move |_| {
            first
                .swap(false, std::sync::atomic::Ordering::Relaxed)
                .then(|| (429, "retry-after: 1\r\n", "{}".into()))
        });
        assert_eq!(found(&server, 10), Found::default());
        let server = provider(|_| Some((429, "retry-after: 600\r\n", "{}".into())));
        let problems = found(&server, 10).problems;
        assert!(problems[0].contains("answered 429"), "{problems:?}");
    }

    #[test]
    fn servers_of_the_cluster_that_nobody_accounts_for_are_refused_by_name() {
        let orphans = json!({"servers": [{"name": "c-control-plane-x"}]}).to_string();
        let server = provider(move |request| request.contains("/servers?").then(|| (200, "", orphans.clone())));
        let failure = judge(&requirements(), &found(&server, 10)).unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        assert!(failure.chain().contains("c-control-plane-x"), "{}", failure.chain());
    }
}
