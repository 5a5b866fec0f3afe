//! What a node says about itself in the relay, as far as operators need it. Pure.
//!
//! Nodes of other versions say more or less than this one knows. What is missing or of another form counts as not
//! said.

use std::collections::BTreeMap;

use serde_json::Value;

/// The state of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `ok`, `starting`, `degraded` or `stopping`.
    pub status: Option<String>,
    pub functions: BTreeMap<String, FunctionReport>,
    pub triggers: BTreeMap<String, TriggerReport>,
    /// Why the node does not run the content of its manifest file.
    pub manifest_error: Option<String>,
}

/// A function on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionReport {
    /// SHA-256 of the newest good revision.
    pub revision: Option<String>,
    /// Which publication that is, such as `version ID`.
    pub origin: Option<String>,
    /// Why the source of the component cannot be asked now.
    pub away: Option<String>,
    /// Why the newest content of the component does not serve.
    pub error: Option<String>,
}

/// A trigger on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerReport {
    pub function: Option<String>,
    /// `starting`, `running`, `degraded`, `paused` or `stopped`.
    pub state: String,
    pub reason: Option<String>,
    pub conditions: Vec<ConditionReport>,
    /// SHA-256 of the component that serves.
    pub revision: Option<String>,
    /// How many partitions the node owns.
    pub partitions: u64,
    pub counts: Counts,
    /// How many records are behind, if the node says so.
    pub lag: Option<u64>,
    pub candidate: Option<CandidateReport>,
}

/// What is wrong with a trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ConditionReport {
    pub code: String,
    pub reason: String,
}

/// Records of a trigger since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    pub handled: u64,
    pub failed: u64,
    pub dead_letters: u64,
}

/// A revision that gets some of a trigger's records, or copies of them, before it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CandidateReport {
    /// SHA-256 of its component.
    pub revision: Option<String>,
    /// The stage of its rollout, from 0.
    pub stage: u64,
    /// How it gets records.
    pub manner: Option<String>,
    /// What became of its records.
    pub candidate: Sums,
    /// What became of the records of the revision that serves, in the same time.
    pub stable: Sums,
    pub shadow: Option<ShadowReport>,
}

/// Sums over records and calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sums {
    pub records: u64,
    pub failed: u64,
    pub traps: u64,
    pub busy_us: u64,
    pub calls: u64,
}

/// How the answers of a shadow compare with those of the revision that serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ShadowReport {
    pub compared: u64,
    pub differing: u64,
    pub skipped: u64,
    /// Records whose answers differ, as the node shows them.
    pub samples: Vec<Value>,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self { handled, failed, dead_letters } = other;
        self.handled += handled;
        self.failed += failed;
        self.dead_letters += dead_letters;
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        let Self { records, failed, traps, busy_us, calls } = other;
        self.records += records;
        self.failed += failed;
        self.traps += traps;
        self.busy_us += busy_us;
        self.calls += calls;
    }
}

impl Report {
    /// Reads the document that a node writes.
    pub fn read(document: &Value) -> Self {
        Self {
            status: text(&document["status"]),
            functions: each(&document["functions"], FunctionReport::read),
            triggers: each(&document["triggers"], TriggerReport::read),
            manifest_error: text(&document["manifest"]["error"]),
        }
    }

    /// The candidate of a function in one of its triggers.
    pub fn candidate(&self, function: &str) -> Option<&CandidateReport> {
        let own = self.triggers.values().filter(|trigger| trigger.function.as_deref() == Some(function));
        own.filter_map(|trigger| trigger.candidate.as_ref()).next()
    }
}

impl FunctionReport {
    fn read(value: &Value) -> Self {
        Self {
            revision: text(&value["revision"]),
            origin: text(&value["origin"]),
            away: text(&value["away"]),
            error: text(&value["error"]),
        }
    }
}

impl TriggerReport {
    fn read(value: &Value) -> Self {
        let conditions = value["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let condition = |value: &Value| ConditionReport {
            code: text(&value["code"]).unwrap_or_default(),
            reason: text(&value["reason"]).unwrap_or_default(),
        };
        Self {
            function: text(&value["function"]),
            state: text(&value["state"]).unwrap_or_default(),
            reason: text(&value["reason"]),
            conditions: conditions.iter().map(condition).collect(),
            revision: text(&value["revision"]),
            partitions: number(&value["partitions"]),
            counts: Counts {
                handled: number(&value["counts"]["handled"]),
                failed: number(&value["counts"]["failed"]),
                dead_letters: number(&value["counts"]["dead-letters"]),
            },
            lag: sum(&value["lag"]),
            candidate: value["candidate"].is_object().then(|| CandidateReport::read(&value["candidate"])),
        }
    }
}

impl CandidateReport {
    fn read(value: &Value) -> Self {
        let shadow = &value["shadow"];
        Self {
            revision: text(&value["revision"]),
            stage: number(&value["stage"]),
            manner: text(&value["manner"]),
            candidate: sums(&value["candidate"]),
            stable: sums(&value["stable"]),
            shadow: shadow.is_object().then(|| ShadowReport {
                compared: number(&shadow["compared"]),
                differing: number(&shadow["differing"]),
                skipped: number(&shadow["skipped"]),
                samples: shadow["samples"].as_array().cloned().unwrap_or_default(),
            }),
        }
    }
}

fn sums(value: &Value) -> Sums {
    Sums {
        records: number(&value["records"]),
        failed: number(&value["failed"]),
        traps: number(&value["traps"]),
        busy_us: number(&value["busy-us"]),
        calls: number(&value["calls"]),
    }
}

fn each<T>(value: &Value, read: impl Fn(&Value) -> T) -> BTreeMap<String, T> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), read(value))).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// A number, or the sum of those in a list or object.
fn sum(value: &Value) -> Option<u64> {
    match value {
        Value::Array(all) => Some(all.iter().filter_map(sum).sum()),
        Value::Object(all) => Some(all.values().filter_map(sum).sum()),
        one => one.as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_read_as_far_as_it_goes() {
        let report = Report::read(&json!({
            "status": "ok",
            "functions": { "f": { "revision": "ab", "origin": "version 1", "error": null, "mood": 7 } },
            "triggers": { "t": {
                "function": "f", "state": "running", "partitions": 3, "lag": { "in/0": 5, "in/1": 2 },
                "conditions": [{ "code": "no-leader", "reason": "why" }],
                "counts": { "handled": 9, "dead-letters": 1 },
                "candidate": { "revision": "cd", "stage": 1, "candidate": { "records": 4 }, "shadow": { "differing": 2 } },
            } },
            "manifest": { "error": null },
        }));
        assert_eq!(report.functions["f"].origin.as_deref(), Some("version 1"));
        let trigger = &report.triggers["t"];
        assert_eq!((trigger.partitions, trigger.lag, trigger.counts.dead_letters), (3, Some(7), 1));
        assert_eq!(trigger.conditions[0].code, "no-leader");
        let candidate = report.candidate("f").expect("a candidate");
        assert_eq!((candidate.stage, candidate.candidate.records), (1, 4));
        assert_eq!(candidate.shadow.as_ref().map(|shadow| shadow.differing), Some(2));
        assert_eq!(report.candidate("g"), None);
    }

    #[test]
    fn a_report_of_another_form_says_nothing() {
        for value in [json!(null), json!(7), json!({ "functions": 1, "triggers": [], "manifest": "x" })] {
            assert_eq!(Report::read(&value), Report::default(), "{value}");
        }
        let odd = Report::read(&json!({ "functions": { "f": 1 }, "triggers": { "t": { "partitions": -1 } } }));
        assert_eq!(odd.functions["f"], FunctionReport::default());
        assert_eq!(odd.triggers["t"], TriggerReport::default());
    }
}
