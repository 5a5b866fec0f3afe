//! How a whole fleet does: nodes, triggers, functions, and what is wrong. Pure: time is an argument.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::member::{Member, Standing, members};
use super::report::{ConditionReport, Counts};
use super::table::span;
use crate::node::relay::fleet::View;
use crate::node::relay::steering::under_way;

/// The state of a fleet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    pub fleet: String,
    /// Whether nothing is wrong that this summary knows of.
    pub is_well: bool,
    pub nodes: Vec<NodeRow>,
    pub triggers: BTreeMap<String, TriggerRow>,
    pub functions: BTreeMap<String, FunctionRow>,
    /// What is wrong, with stable codes.
    pub problems: Vec<Problem>,
}

/// A node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeRow {
    pub name: String,
    /// The version of Tidegate.
    pub version: String,
    pub presence: Standing,
    /// How old its last status is.
    pub status_age_ms: i64,
    /// `ok`, `starting`, `degraded` or `stopping`, as it says itself.
    pub status: Option<String>,
    /// The whole status as it was written.
    pub report: Value,
}

/// A trigger over all live nodes.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TriggerRow {
    pub function: Option<String>,
    /// The worst state that a live node says.
    pub state: String,
    /// How many live nodes run it.
    pub nodes: usize,
    /// Partitions that the nodes own.
    pub partitions: u64,
    pub counts: Counts,
    /// Records that are behind, if a node says so.
    pub lag: Option<u64>,
    /// Why an operator paused it. [`None`]: nobody did.
    pub paused: Option<Paused>,
}

/// An operator's pause.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Paused {
    pub by: String,
    pub reason: String,
    pub since_ms: i64,
}

/// A function over all live nodes.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FunctionRow {
    /// The revision that most live nodes serve. SHA-256 of its component.
    pub revision: Option<String>,
    /// Which publication that is.
    pub origin: Option<String>,
    /// How many live nodes serve it.
    pub serving: usize,
    /// How many live nodes know the function.
    pub nodes: usize,
    /// The revisions of the other nodes.
    pub others: BTreeMap<String, Option<String>>,
    /// The rollout that is under way.
    pub rollout: Option<RolloutRow>,
}

/// A rollout.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutRow {
    pub revision: String,
    /// From 0.
    pub stage: u32,
    pub started_ms: i64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// A stable name: those of a trigger's conditions, and `node-gone`, `no-node`, `manifest-refused`, `revision-refused`,
    /// `source-away`, `revision-skew`, `degraded`, `paused-by-record`.
    pub code: String,
    pub node: Option<String>,
    pub trigger: Option<String>,
    pub function: Option<String>,
    pub reason: String,
}

impl Summary {
    /// What the relay says of a fleet. `now_ms` is the time in milliseconds since 1970.
    pub fn of(fleet: &str, view: &View, now_ms: i64) -> Self {
        let members = members(view, now_ms);
        let live: Vec<&Member> = members.iter().filter(|member| member.is_live()).collect();
        let functions = functions(view, &live);
        let mut problems = about_nodes(&members);
        for member in &live {
            problems.extend(about_node(member, view));
        }
        problems.extend(skew(&functions, view));
        Self {
            fleet: fleet.to_owned(),
            is_well: problems.is_empty(),
            nodes: members.iter().map(node).collect(),
            triggers: triggers(view, &live),
            functions,
            problems,
        }
    }
}

fn node(member: &Member) -> NodeRow {
    NodeRow {
        name: member.name.clone(),
        version: member.status.version.clone(),
        presence: member.standing,
        status_age_ms: member.age_ms,
        status: member.report.status.clone(),
        report: member.status.status.clone(),
    }
}

fn triggers(view: &View, live: &[&Member]) -> BTreeMap<String, TriggerRow> {
    let mut rows: BTreeMap<String, TriggerRow> = BTreeMap::new();
    for (name, trigger) in live.iter().flat_map(|member| &member.report.triggers) {
        let row = rows.entry(name.clone()).or_default();
        row.function.clone_from(&trigger.function);
        if row.nodes == 0 || badness(&trigger.state) > badness(&row.state) {
            row.state.clone_from(&trigger.state);
        }
        row.nodes += 1;
        row.partitions += trigger.partitions;
        row.counts += trigger.counts;
        if let Some(lag) = trigger.lag {
            *row.lag.get_or_insert(0) += lag;
        }
    }
    for (name, pause) in &view.pauses {
        let row = rows.entry(name.to_string()).or_default();
        row.paused = Some(Paused { by: pause.from.clone(), reason: pause.reason.clone(), since_ms: pause.at_ms });
    }
    rows
}

/// How bad a state of a trigger is.
fn badness(state: &str) -> u8 {
    match state {
        "running" => 0,
        "starting" => 1,
        "stopped" => 2,
        "paused" => 3,
        _ => 4,
    }
}

fn functions(view: &View, live: &[&Member]) -> BTreeMap<String, FunctionRow> {
    let mut names: Vec<&String> = live.iter().flat_map(|member| member.report.functions.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let row = |name: &String| {
        let reports: Vec<_> =
            live.iter().filter_map(|member| Some((member, member.report.functions.get(name)?))).collect();
        let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
        for revision in reports.iter().filter_map(|(_, report)| report.revision.as_ref()) {
            *counts.entry(revision).or_default() += 1;
        }
        let revision = counts.iter().max_by_key(|(_, count)| **count).map(|(revision, _)| (*revision).clone());
        let others = reports.iter().filter(|(_, report)| report.revision != revision);
        let others: BTreeMap<_, _> =
            others.map(|(member, report)| (member.name.clone(), report.revision.clone())).collect();
        let serves = reports.iter().find(|(_, report)| report.revision == revision);
        let declared = view.rollouts.get_key_value(name.as_str());
        let rollout = declared.and_then(|(declared, _)| under_way(view, declared)).map(|rollout| RolloutRow {
            revision: rollout.digest.to_string(),
            stage: rollout.stage,
            started_ms: rollout.started_ms,
        });
        let serving = if revision.is_some() { reports.len() - others.len() } else { 0 };
        let origin = serves.and_then(|(_, report)| report.origin.clone());
        FunctionRow { revision, origin, serving, nodes: reports.len(), others, rollout }
    };
    names.into_iter().map(|name| (name.clone(), row(name))).collect()
}

fn problem(code: &str, reason: impl Into<String>) -> Problem {
    Problem { code: code.to_owned(), node: None, trigger: None, function: None, reason: reason.into() }
}

fn about_nodes(members: &[Member]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !members.iter().any(Member::is_live) {
        problems.push(problem("no-node", "no node of the fleet is live"));
    }
    for member in members.iter().filter(|member| member.standing == Standing::Gone) {
        let reason = format!("nothing was heard of it for {}", span(member.age_ms));
        problems.push(Problem { node: Some(member.name.clone()), ..problem("node-gone", reason) });
    }
    problems
}

fn about_node(member: &Member, view: &View) -> Vec<Problem> {
    let of = |found: Problem| Problem { node: Some(member.name.clone()), ..found };
    let mut problems = Vec::new();
    problems.extend(member.report.manifest_error.iter().map(|error| of(problem("manifest-refused", error))));
    for (name, function) in &member.report.functions {
        let about = |code: &str, reason: &String| Problem { function: Some(name.clone()), ..of(problem(code, reason)) };
        problems.extend(function.error.iter().map(|error| about("revision-refused", error)));
        problems.extend(function.away.iter().map(|away| about("source-away", away)));
    }
    for (name, trigger) in &member.report.triggers {
        let about = |code: &str, reason: &str| Problem { trigger: Some(name.clone()), ..of(problem(code, reason)) };
        let condition = |it: &ConditionReport| about(&it.code, &it.reason);
        problems.extend(trigger.conditions.iter().map(condition));
        let reason = trigger.reason.as_deref().unwrap_or("it does not say why");
        match trigger.state.as_str() {
            "degraded" if trigger.conditions.is_empty() => problems.push(about("degraded", reason)),
            // What an operator paused is as it should be.
            "paused" if !view.pauses.contains_key(name.as_str()) => {
                problems.push(about("paused-by-record", reason));
            }
            _ => {}
        }
    }
    problems
}

/// Functions of which nodes serve different revisions. During a rollout they may.
fn skew(functions: &BTreeMap<String, FunctionRow>, view: &View) -> Vec<Problem> {
    let in_rollout =
        |name: &str| view.rollouts.get_key_value(name).is_some_and(|(key, _)| under_way(view, key).is_some());
    let skewed = functions.iter().filter(|(name, row)| !row.others.is_empty() && !in_rollout(name));
    let found = skewed.map(|(name, row)| {
        let nodes: Vec<&str> = row.others.keys().map(String::as_str).collect();
        let revision = row.revision.as_deref().map_or("none", |revision| revision.get(..12).unwrap_or(revision));
        let reason = format!("most nodes serve {revision}, but not {}", nodes.join(", "));
        Problem { function: Some(name.clone()), ..problem("revision-skew", reason) }
    });
    found.collect()
}

impl Summary {
    /// The document of `tidegate status --json`.
    pub fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|error| json!({ "error": error.to_string() }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::member::testing::{fleet, say};
    use super::*;
    use crate::manifest::Name;
    use crate::node::relay::message::Pause;

    fn status(revision: &str, trigger: &Value) -> Value {
        json!({
            "status": "ok",
            "functions": { "f": { "revision": revision, "origin": format!("version {revision}") } },
            "triggers": { "t": trigger },
        })
    }

    fn running() -> Value {
        json!({ "function": "f", "state": "running", "partitions": 2, "lag": 3, "counts": { "handled": 5 } })
    }

    fn codes(summary: &Summary) -> Vec<&str> {
        summary.problems.iter().map(|problem| problem.code.as_str()).collect()
    }

    #[test]
    fn a_fleet_is_well_if_all_nodes_do_the_same() {
        let mut fleet = fleet();
        say(&mut fleet, "a", 9_000, false, status("r1", &running()));
        say(&mut fleet, "b", 9_000, false, status("r1", &running()));
        say(&mut fleet, "c", 9_000, true, status("r0", &running()));
        let summary = Summary::of("default", fleet.view(), 10_000);
        assert!(summary.is_well, "{:?}", summary.problems);
        let trigger = &summary.triggers["t"];
        assert_eq!((trigger.nodes, trigger.partitions, trigger.lag, trigger.counts.handled), (2, 4, Some(6), 10));
        let function = &summary.functions["f"];
        assert_eq!((function.serving, function.nodes, function.others.len()), (2, 2, 0));
        assert_eq!(summary.json()["nodes"][0]["presence"], "live");
    }

    #[test]
    fn what_is_wrong_has_a_code() {
        let mut fleet = fleet();
        assert_eq!(codes(&Summary::of("default", fleet.view(), 0)), ["no-node"]);
        let conditions = json!([{ "code": "no-leader", "reason": "partition 1" }]);
        let degraded = json!({ "function": "f", "state": "degraded", "conditions": conditions });
        say(&mut fleet, "a", 9_000, false, status("r1", &running()));
        say(&mut fleet, "b", 9_000, false, status("r1", &degraded));
        say(&mut fleet, "c", 9_000, false, status("r0", &json!({ "function": "f", "state": "paused" })));
        let summary = Summary::of("default", fleet.view(), 10_000);
        assert_eq!(codes(&summary), ["no-leader", "paused-by-record", "revision-skew"]);
        assert_eq!(summary.triggers["t"].state, "degraded");
        let mut view = fleet.view().clone();
        let pause = Pause { at_ms: 1, from: "ann".to_owned(), reason: "upgrade".to_owned() };
        view.pauses.insert(Name::new("t").expect("a name"), pause);
        let summary = Summary::of("default", &view, 10_000);
        assert_eq!(codes(&summary), ["no-leader", "revision-skew"], "the operator paused it");
        assert_eq!(summary.triggers["t"].paused.as_ref().map(|paused| paused.by.as_str()), Some("ann"));
    }
}
