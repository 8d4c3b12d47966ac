//! The pivot: the objects of a workload cluster go to that cluster itself, and both sides record how far that is.
//! What it refuses would end with two sets of controllers for the same machines.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::graph::{Graph, Located};
use super::look::text;
use crate::base::failure::{Failure, Result};
use crate::base::ui::Status;
use crate::call::Caller;
use crate::live::lease;

/// A pivot, as both clusters record it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pivot {
    /// The workload cluster.
    pub cluster: String,
    /// Where its objects were.
    pub from: String,
    /// Where they go.
    pub to: String,
    /// Nonce of the run.
    pub run: String,
    /// How far it is.
    pub state: PivotState,
}

/// How far a pivot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PivotState {
    /// The move may have begun.
    Started,
    /// Everything is on the target, and its controllers have looked at it.
    Done,
}

/// Whether two clusters are two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DistinctClusters {
    /// `kube-system` of the one.
    pub one: Utf8PathBuf,
    /// `kube-system` of the other.
    pub other: Utf8PathBuf,
}

impl DistinctClusters {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let note = distinct(&on.read_or_null(&self.one)?, &on.read_or_null(&self.other)?)?;
        on.ui.status(Status::Checked, note);
        Ok(())
    }
}

/// The record of a pivot as a ConfigMap, one for each side, and one for this host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordPivot {
    /// What is recorded.
    pub pivot: Pivot,
    /// What has to move, with the UIDs it has before.
    pub graph: Utf8PathBuf,
    /// What `LocateObjects` wrote, if it has been.
    pub located: Option<Utf8PathBuf>,
    /// JSON file of the object.
    pub to: Utf8PathBuf,
}

impl RecordPivot {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let before: Graph = on.read(&self.graph)?;
        let located: Option<Located> = self.located.as_ref().map(|path| on.read(path)).transpose()?;
        let state = match self.pivot.state {
            PivotState::Started => "started",
            PivotState::Done => "done",
        };
        let mut data = json!({
            "pivot": serde_json::to_string(&self.pivot).expect("plain data"),
            "pivotState": state,
            "pivotTime": humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        });
        let mut identities = json!({"before": before.objects});
        if let Some(located) = located {
            identities["source"] = json!(located.source);
            identities["target"] = json!(located.target);
        }
        data["pivotIdentities"] = identities.to_string().into();
        let objects = [&self.pivot.from, &self.pivot.to].map(|cluster| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": {"name": lease::name(cluster), "namespace": lease::NAMESPACE}})
        });
        for (side, object) in ["source", "target"].iter().zip(&objects) {
            on.write_json(Utf8Path::new(&format!("{}.{side}", self.to)), object)?;
        }
        on.write_json(&self.to, &json!({"data": data}))
    }
}

/// Whether a pivot is done, as this host has recorded it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PivotDone {
    /// The record; missing where no move has begun.
    pub record: Utf8PathBuf,
}

impl PivotDone {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let state = crate::base::files::later(on.root, &self.record, "/data/pivotState").unwrap_or_default();
        if state == "done" {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "no pivot is recorded as done (its state is {state}): the bootstrap cluster is the only place that has every object"
        ))
        .hinted("`cargo xtask capi status` shows where they are"))
    }
}

/// Whether stage capi may go to a cluster: not to the bootstrap cluster once a move of its objects has begun, and not
/// to the workload cluster before they are there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StageAllowed {
    /// The cluster that the stage would go to.
    pub cluster: String,
    /// The cluster it describes.
    pub describes: String,
    /// The ConfigMap of the pivot there; empty where there is none.
    pub record: Utf8PathBuf,
    /// The record on this host; missing where there is none.
    pub here: Utf8PathBuf,
    /// Clusters that the workload cluster has; missing or empty where it cannot be asked.
    pub elsewhere: Utf8PathBuf,
    /// Nonce of the run that asks: a move that it has begun itself, and not carried out, is not another's.
    pub run: String,
}

impl StageAllowed {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let if_any = |path: &Utf8Path| {
            if on.root.join(path).exists() {
                on.read_or_null(path)
            } else {
                Ok(Value::Null)
            }
        };
        let records = [on.read_or_null(&self.record)?, if_any(&self.here)?];
        guard(
            &self.cluster,
            &self.describes,
            &self.run,
            &records,
            &if_any(&self.elsewhere)?,
        )
    }
}

fn distinct(one: &Value, other: &Value) -> Result<String> {
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
    Ok(format!("the workload cluster is another one ({there})"))
}

/// `records` are those of the cluster and of this host, `elsewhere` what the workload cluster has.
fn guard(cluster: &str, describes: &str, run: &str, records: &[Value], elsewhere: &Value) -> Result<()> {
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
            return Ok(());
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Kind;

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
        assert_eq!(distinct(&one, &one).unwrap_err().kind, Kind::Refused);
        assert!(distinct(&one, &json!({"metadata": {"uid": "b"}})).is_ok());
    }
}
