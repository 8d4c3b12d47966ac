//! Carries out what plans derive for ClusterAPI: reads the files they name, writes what it found.
//! Nothing here speaks to a cluster.

use camino::Utf8Path;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::graph::{Graph, Located, Place, leftovers};
use super::look::text;
use super::{preflight, project};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::files::write;
use crate::live::lease;
use crate::plan::capi::{Capi, Fit, Pivot, PivotState, Provider};

/// Carries out one derivation; returns what a person should know, a sentence each.
pub fn carry_out(root: &Utf8Path, capi: &Capi) -> Result<Vec<String>> {
    match capi {
        Capi::Module { download, sum, link } => module(root, download, sum, link),
        Capi::Components {
            rendered,
            provider,
            fit,
            repository,
        } => components(root, rendered, provider, *fit, repository),
        Capi::Configuration {
            providers,
            repository,
            to,
        } => {
            let text = configuration(providers, &root.join(repository));
            write(&root.join(to), text.as_bytes(), 0o600)?;
            Ok(Vec::new())
        }
        Capi::Wanted { project, to } => {
            write_json(root, to, &super::wanted::of(&root.join(project))?)?;
            Ok(Vec::new())
        }
        Capi::InMemory {
            from,
            control_planes,
            workers,
            to,
        } => project::in_memory(&root.join(from), *control_planes, workers, &root.join(to)),
        Capi::Part { from, phases, to } => project::part(&root.join(from), phases, &root.join(to)).map(|()| Vec::new()),
        Capi::Address { machines, to } => {
            let list = read(root, machines)?;
            let address = super::look::first_address(&list).ok_or_else(|| {
                Failure::new(
                    Kind::Step,
                    "the control-plane machine has lost its address since it was waited for",
                )
            })?;
            write_json(root, to, &json!({"address": address}))?;
            Ok(vec![format!("the endpoint is at {address}")])
        }
        Capi::Tell(record) => {
            let address = read(root, &record.address)?;
            Ok(vec![format!(
                "set this record: {}. {} IN A {}",
                record.name,
                record.ttl,
                text(&address, "/address")
            )])
        }
        Capi::Elsewhere { one, other } => elsewhere(&read(root, one)?, &read(root, other)?),
        Capi::Preflight {
            namespace,
            secrets,
            labelled,
            source,
            target,
            ours,
        } => {
            let ours = root.join(ours).exists();
            let labelled = fs_err::read_to_string(root.join(labelled))?;
            let mut problems = preflight::problems(namespace, &read(root, source)?, &read(root, target)?, ours);
            problems.extend(preflight::left_behind(namespace, secrets, &labelled));
            if problems.is_empty() {
                return Ok(Vec::new());
            }
            Err(Failure::many(
                Kind::Preflight,
                "the move cannot begin, and nothing was paused",
                &problems,
            ))
        }
        Capi::Graph { backup, to } => graph(root, backup, to),
        Capi::Locate {
            graph,
            source,
            target,
            to,
            leftovers: list,
        } => {
            let graph: Graph = typed(root, graph)?;
            let source = read(root, source)?;
            let located = graph.locate(&source, &read(root, target)?);
            write_json(root, list, &leftovers(&located, &source))?;
            write_json(root, to, &located)?;
            Ok(vec![located.reason])
        }
        Capi::Movable { located } => {
            let located: Located = typed(root, located)?;
            match located.place {
                Place::Lost => Err(Failure::many(Kind::Step, located.reason, &located.missing)
                    .hinted("nothing more is deleted; the backup has every object: `clusterctl move --from-directory`")),
                Place::Twice => Err(Failure::refused(located.reason).hinted(
                    "pause the Cluster on the side that is wrong before anything else: `kubectl patch cluster NAME --type=merge -p '{\"spec\":{\"paused\":true}}'`",
                )),
                _ => Ok(Vec::new()),
            }
        }
        Capi::Moved { located } => {
            let located: Located = typed(root, located)?;
            if located.place == Place::Moved && !located.unpause_target {
                return Ok(Vec::new());
            }
            let what = if located.unpause_target {
                "the target's Cluster is still paused".to_owned()
            } else {
                located.reason
            };
            Err(Failure::many(
                Kind::Step,
                format!("the move is not done, whatever clusterctl said: {what}"),
                &located.missing,
            )
            .hinted("`--resume` looks again, and completes it or begins it anew"))
        }
        Capi::Record {
            pivot,
            graph,
            located,
            to,
        } => record(root, pivot, graph, located.as_deref(), to),
        Capi::Pivoted { record } => {
            let state = crate::base::files::later(root, record, "/data/pivotState").unwrap_or_default();
            if state == "done" {
                return Ok(Vec::new());
            }
            Err(Failure::refused(format!(
                "no pivot is recorded as done (its state is {state}): the bootstrap cluster is the only place that has every object"
            ))
            .hinted("`cargo xtask capi status` shows where they are"))
        }
        Capi::Guard {
            cluster,
            describes,
            record,
            here,
            elsewhere,
            run,
        } => {
            let mut records = vec![read(root, record)?];
            for path in [here, elsewhere] {
                records.push(if root.join(path).exists() {
                    read(root, path)?
                } else {
                    Value::Null
                });
            }
            guard(cluster, describes, run, &records[..2], &records[2])
        }
    }
}

fn module(root: &Utf8Path, download: &Utf8Path, sum: &str, link: &Utf8Path) -> Result<Vec<String>> {
    let module = read(root, download)?;
    let found = text(&module, "/Sum");
    if found != sum {
        return Err(Failure::new(
            Kind::Preflight,
            format!(
                "module `{}` {} has sum `{found}`, pinned is `{sum}`",
                text(&module, "/Path"),
                text(&module, "/Version")
            ),
        )
        .hinted("somebody changed it on the way: nothing of it is used; `go clean -modcache` and look at the proxy"));
    }
    let folder = Utf8Path::new(text(&module, "/Dir"));
    if !folder.is_dir() {
        return Err(Failure::preflight(format!(
            "the module's folder `{folder}` is not there"
        )));
    }
    let link = root.join(link);
    if let Some(parent) = link.parent() {
        fs_err::create_dir_all(parent)?;
    }
    if fs_err::symlink_metadata(&link).is_ok() {
        fs_err::remove_file(&link)?;
    }
    fs_err::os::unix::fs::symlink(folder, &link)?;
    Ok(Vec::new())
}

/// The components of a provider as clusterctl reads them, JSON documents one after another, and their metadata.
fn components(
    root: &Utf8Path,
    rendered: &Utf8Path,
    provider: &Provider,
    fit: Fit,
    repository: &Utf8Path,
) -> Result<Vec<String>> {
    let text = fs_err::read_to_string(root.join(rendered))?;
    let documents = crate::base::formats::yaml::read(&text)
        .map_err(|error| Failure::new(Kind::Step, format!("`{rendered}` cannot be read: {error}")))?;
    let mut managers = 0;
    let mut left = Vec::new();
    let mut out = String::new();
    for mut document in documents {
        managers += set_image(&mut document, provider);
        if fit == Fit::Embedded && !fit_embedded(&mut document) {
            left.push(crate::project::ObjectRef::of(&document).to_string());
            continue;
        }
        out.push_str("---\n");
        out.push_str(&document.to_string());
        out.push('\n');
    }
    if managers != 1 {
        return Err(Failure::new(
            Kind::Step,
            format!("`{rendered}` has {managers} containers called `manager`, one is expected"),
        ));
    }
    let folder = root.join(repository).join(provider.label()).join(&provider.version);
    write(
        &folder.join(format!("{}-components.yaml", provider.role.name())),
        out.as_bytes(),
        0o644,
    )?;
    write(&folder.join("metadata.yaml"), metadata(provider).as_bytes(), 0o644)?;
    Ok(if left.is_empty() {
        left
    } else {
        vec![format!("{}: without {}", provider.label(), left.join(", "))]
    })
}

/// Gives the manager the image of the release: a source folder names a build of its own.
fn set_image(document: &mut Value, provider: &Provider) -> usize {
    let Some(containers) = document
        .pointer_mut("/spec/template/spec/containers")
        .and_then(Value::as_array_mut)
    else {
        return 0;
    };
    let mut managers = 0;
    for container in containers {
        if container.get("name").and_then(Value::as_str) == Some("manager") {
            container["image"] = format!("{}:{}", provider.image, provider.version).into();
            container["imagePullPolicy"] = "IfNotPresent".into();
            managers += 1;
        }
    }
    managers
}

/// Takes away what an embedded cluster cannot hold; false when that is all of the object.
fn fit_embedded(document: &mut Value) -> bool {
    let api = text(document, "/apiVersion").to_owned();
    let kind = text(document, "/kind").to_owned();
    if kind.ends_with("WebhookConfiguration") || api.starts_with("cert-manager.io/") {
        return false;
    }
    if kind == "CustomResourceDefinition" && document.pointer("/spec/conversion").is_some() {
        document["spec"]["conversion"] = json!({"strategy": "None"});
    }
    true
}

fn metadata(provider: &Provider) -> String {
    let (major, minor) = provider.series.split_once('.').unwrap_or((&provider.series, "0"));
    format!(
        "apiVersion: clusterctl.cluster.x-k8s.io/v1alpha3\nkind: Metadata\nreleaseSeries:\n- major: {major}\n  minor: {minor}\n  contract: {}\n",
        provider.contract
    )
}

fn configuration(providers: &[Provider], repository: &Utf8Path) -> String {
    let listed: Vec<Value> = providers
        .iter()
        .map(|provider| {
            json!({"name": provider.name, "type": provider.role.kind(), "url": format!(
                "file://{repository}/{}/{}/{}-components.yaml",
                provider.label(), provider.version, provider.role.name()
            )})
        })
        .collect();
    // cert-manager is the stage's own: should it not answer, clusterctl must not fetch another.
    let configuration = json!({
        "providers": listed,
        "cert-manager": {"url": format!("file://{repository}/cert-manager/v0.0.0/cert-manager.yaml"), "version": "v0.0.0", "timeout": "1m"},
    });
    format!("{configuration:#}\n")
}

fn elsewhere(one: &Value, other: &Value) -> Result<Vec<String>> {
    let (here, there) = (text(one, "/metadata/uid"), text(other, "/metadata/uid"));
    if here.is_empty() || there.is_empty() {
        return Err(Failure::refused(
            "a cluster without a UID of `kube-system` is not told from another",
        ));
    }
    if here == there {
        return Err(Failure::refused(format!(
            "the kubeconfig of the workload cluster leads to the bootstrap cluster itself ({here})"
        ))
        .hinted("the endpoint or its DNS record is wrong; nothing was written there"));
    }
    Ok(vec![format!("the workload cluster is another one ({there})")])
}

fn graph(root: &Utf8Path, backup: &Utf8Path, to: &Utf8Path) -> Result<Vec<String>> {
    let mut objects = Vec::new();
    for entry in fs_err::read_dir(root.join(backup))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs_err::read_to_string(&path)?;
        let object = crate::base::formats::yaml::read_one(&text)
            .map_err(|error| Failure::new(Kind::Step, format!("`{}` cannot be read: {error}", path.display())))?;
        objects.push(object);
    }
    let graph = Graph::of(&objects);
    if graph.clusters() != 1 {
        return Err(Failure::new(
            Kind::Step,
            format!(
                "the backup has {} Clusters among {} objects, one is expected",
                graph.clusters(),
                objects.len()
            ),
        )
        .hinted("clusterctl moves nothing and ends 0 in a namespace without a Cluster"));
    }
    write_json(root, to, &graph)?;
    Ok(vec![format!("{} objects have to move", graph.objects.len())])
}

fn record(
    root: &Utf8Path,
    pivot: &Pivot,
    graph: &Utf8Path,
    located: Option<&Utf8Path>,
    to: &Utf8Path,
) -> Result<Vec<String>> {
    let before: Graph = typed(root, graph)?;
    let located: Option<Located> = located.map(|path| typed(root, path)).transpose()?;
    let state = match pivot.state {
        PivotState::Started => "started",
        PivotState::Done => "done",
    };
    let mut data = json!({
        "pivot": serde_json::to_string(pivot).expect("plain data"),
        "pivotState": state,
        "pivotTime": humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
    });
    let mut identities = json!({"before": before.objects});
    if let Some(located) = located {
        identities["source"] = json!(located.source);
        identities["target"] = json!(located.target);
    }
    data["pivotIdentities"] = identities.to_string().into();
    let objects: Vec<Value> = [&pivot.from, &pivot.to]
        .iter()
        .map(|cluster| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": {"name": lease::name(cluster), "namespace": lease::NAMESPACE}})
        })
        .collect();
    // One file for each side, and one for this host that says how far it is.
    for (side, object) in ["source", "target"].iter().zip(&objects) {
        write_json(root, Utf8Path::new(&format!("{to}.{side}")), object)?;
    }
    write_json(root, to, &json!({"data": data}))?;
    Ok(Vec::new())
}

/// `records` are those of the cluster and of this host, `elsewhere` what the workload cluster has.
fn guard(cluster: &str, describes: &str, run: &str, records: &[Value], elsewhere: &Value) -> Result<Vec<String>> {
    let mut pivots = Vec::new();
    for record in records {
        match text(record, "/data/pivot") {
            "" => {}
            text => pivots.push(serde_json::from_str::<Pivot>(text).map_err(|error| {
                Failure::refused(format!("the recorded pivot of `{describes}` cannot be read: {error}"))
            })?),
        }
    }
    pivots.retain(|pivot| pivot.cluster == describes);
    let manages_itself = super::look::items(elsewhere)
        .iter()
        .any(|item| text(item, "/metadata/name") == describes);
    if cluster == describes {
        if manages_itself || pivots.iter().any(|pivot| pivot.state == PivotState::Done) {
            return Ok(Vec::new());
        }
        return Err(Failure::refused(format!(
            "`{describes}` does not manage itself yet: deployed to it, its objects would build a second cluster"
        ))
        .hinted("`cargo xtask capi bootstrap` moves them there")
        .hinted("`cargo xtask capi status` shows where they are"));
    }
    let advice =
        format!("deploy it where the objects are now: `cargo xtask deploy --stage capi --cluster {describes}`");
    for pivot in pivots.iter().filter(|pivot| pivot.from == cluster) {
        match pivot.state {
            PivotState::Done => {
                return Err(Failure::refused(format!(
                    "`{describes}` has been moved from `{cluster}` to `{}`: deployed here again, its objects would build a second cluster",
                    pivot.to
                ))
                .hinted(advice));
            }
            // The run that has begun it is resumed before anything has moved, or does not come here.
            PivotState::Started if pivot.run == run => {}
            PivotState::Started => {
                return Err(Failure::refused(format!(
                    "a move of `{describes}` from `{cluster}` to `{}` has begun and is not recorded as done: what is deployed here now would be built a second time",
                    pivot.to
                ))
                .hinted("go on with what has begun it: `cargo xtask capi bootstrap --resume`, or `cargo xtask capi move --resume`"));
            }
        }
    }
    if manages_itself {
        return Err(Failure::refused(format!(
            "`{describes}` manages itself already: deployed to `{cluster}`, its objects would build a second cluster"
        ))
        .hinted(advice));
    }
    Ok(Vec::new())
}

/// What a file says; nothing when it is empty, as of `kubectl get --ignore-not-found`.
fn read(root: &Utf8Path, path: &Utf8Path) -> Result<Value> {
    let content = fs_err::read_to_string(root.join(path))?;
    if content.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&content)
        .map_err(|error| Failure::unexpected(format!("`{path}`, written by an earlier step, cannot be read: {error}")))
}

fn typed<T: DeserializeOwned>(root: &Utf8Path, path: &Utf8Path) -> Result<T> {
    serde_json::from_value(read(root, path)?)
        .map_err(|error| Failure::unexpected(format!("`{path}`, written by an earlier step, cannot be read: {error}")))
}

fn write_json(root: &Utf8Path, path: &Utf8Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::unexpected(format!("cannot write `{path}`: {error}")))?;
    write(&root.join(path), text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(state: PivotState) -> Value {
        let pivot = Pivot {
            cluster: "w".into(),
            from: "boot".into(),
            to: "w".into(),
            run: "r".into(),
            state,
        };
        json!({"data": {"pivot": serde_json::to_string(&pivot).unwrap()}})
    }

    fn guarded(cluster: &str, record: Value, here: Value, elsewhere: &Value) -> Option<Kind> {
        guard(cluster, "w", "another", &[record, here], elsewhere)
            .err()
            .map(|failure| failure.kind)
    }

    #[test]
    fn the_stage_is_refused_on_the_bootstrap_cluster_once_the_pivot_is_recorded_in_it_or_here() {
        let done = || recorded(PivotState::Done);
        assert_eq!(guarded("boot", done(), Value::Null, &Value::Null), Some(Kind::Refused));
        assert_eq!(
            guarded("boot", Value::Null, done(), &Value::Null),
            Some(Kind::Refused),
            "a bootstrap cluster that was made anew has no record"
        );
        assert_eq!(
            guarded("w", done(), Value::Null, &Value::Null),
            None,
            "it goes to the target"
        );
    }

    #[test]
    fn the_stage_is_refused_while_a_move_of_another_run_is_under_way() {
        let started = || recorded(PivotState::Started);
        assert_eq!(
            guarded("boot", started(), Value::Null, &Value::Null),
            Some(Kind::Refused),
            "what is deleted there would be made again"
        );
        assert!(
            guard("boot", "w", "r", &[started(), Value::Null], &Value::Null).is_ok(),
            "the run that noted it has moved nothing yet"
        );
    }

    #[test]
    fn the_stage_is_refused_when_the_target_has_the_cluster_though_nothing_is_recorded() {
        let clusters = json!({"items": [{"metadata": {"name": "w"}}]});
        assert_eq!(
            guarded("boot", Value::Null, Value::Null, &clusters),
            Some(Kind::Refused)
        );
        assert_eq!(
            guarded("w", Value::Null, Value::Null, &clusters),
            None,
            "it manages itself"
        );
    }

    #[test]
    fn the_stage_is_refused_on_the_workload_cluster_before_it_manages_itself() {
        let started = recorded(PivotState::Started);
        assert_eq!(
            guarded("w", Value::Null, Value::Null, &Value::Null),
            Some(Kind::Refused)
        );
        assert_eq!(guarded("w", started, Value::Null, &Value::Null), Some(Kind::Refused));
    }

    #[test]
    fn a_kubeconfig_that_leads_back_to_the_bootstrap_cluster_is_refused() {
        let one = json!({"metadata": {"uid": "a"}});
        assert_eq!(elsewhere(&one, &one).unwrap_err().kind, Kind::Refused);
        assert!(elsewhere(&one, &json!({"metadata": {"uid": "b"}})).is_ok());
    }

    #[test]
    fn a_manager_gets_the_image_of_the_release_and_an_embedded_cluster_no_webhook() {
        let provider = Provider {
            name: "cluster-api".into(),
            role: crate::plan::capi::Role::Core,
            version: "v1.2.3".into(),
            series: "1.2".into(),
            contract: "v1beta2".into(),
            image: "registry.example/core".into(),
            namespace: "x".into(),
        };
        let mut deployment =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "manager", "image": "main"}]}}}});
        assert_eq!(set_image(&mut deployment, &provider), 1);
        assert_eq!(
            deployment["spec"]["template"]["spec"]["containers"][0]["image"],
            "registry.example/core:v1.2.3"
        );
        assert!(!fit_embedded(&mut json!({"kind": "ValidatingWebhookConfiguration"})));
        let mut crd = json!({"kind": "CustomResourceDefinition", "spec": {"conversion": {"strategy": "Webhook"}}});
        assert!(fit_embedded(&mut crd));
        assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
    }
}
