//! The JSON documents of `/v1`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::manifest::Name;
use crate::node::overview::{FunctionView, Overview};
use crate::node::relay::fleet::{Presence, View};
use crate::node::relay::message::Pause;
use crate::node::relay::steering::under_way;

/// This node as in `/health`, and what it knows of its fleet: null without a relay.
pub fn status(node: &str, overview: &Overview, view: Option<&View>) -> Value {
    json!({ "node": node, "health": overview.to_json(), "fleet": view.map(fleet) })
}

fn fleet(view: &View) -> Value {
    let nodes = view.nodes.iter().map(|(name, node)| {
        let status = &node.status;
        json!({
            "node": name,
            "presence": presence(node.presence),
            "process": status.process,
            "version": status.version,
            "at_ms": status.at_ms,
            "health": status.status,
        })
    });
    let rollouts: BTreeMap<_, _> = view.rollouts.iter().map(|(name, it)| (name.to_string(), it)).collect();
    let aborts: BTreeMap<_, _> = view.aborts.iter().map(|(name, it)| (name.to_string(), it)).collect();
    let pauses: BTreeMap<String, &Pause> = view.pauses.iter().map(|(name, it)| (name.to_string(), it)).collect();
    json!({
        "nodes": nodes.collect::<Vec<_>>(),
        "functions": skew(view),
        "rollouts": rollouts,
        "aborts": aborts,
        "pauses": pauses,
        "twin": view.twin,
    })
}

/// For each function, which of the running nodes say that which revision is their newest good one. More than one
/// revision is a skew.
fn skew(view: &View) -> Value {
    let mut functions: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    let is_running = |presence| matches!(presence, Presence::Live | Presence::Expected);
    for (node, known) in view.nodes.iter().filter(|(_, known)| is_running(known.presence)) {
        // A node may say anything about itself.
        for (function, said) in known.status.status["functions"].as_object().into_iter().flatten() {
            if let Some(revision) = said["revision"].as_str() {
                functions.entry(function).or_default().entry(revision).or_default().insert(node);
            }
        }
    }
    let functions = functions.into_iter().map(|(function, revisions)| {
        let is_skewed = revisions.len() > 1;
        (function.to_owned(), json!({ "skewed": is_skewed, "revisions": revisions }))
    });
    Value::Object(functions.collect())
}

/// The revisions of a function that this node knows. `None`: there is no such function.
pub fn revisions(function: &Name, overview: &Overview, view: Option<&View>) -> Option<Value> {
    let known = overview.functions.get(&**function)?;
    let mut revisions: Vec<Value> = local(function, known, overview);
    if let Some(rollout) = view.and_then(|view| under_way(view, function)) {
        revisions.push(json!({
            "state": "rollout",
            "revision": rollout.digest,
            "origin": rollout.origin.to_string(),
            "published_ms": null,
            "started_ms": rollout.started_ms,
            "stage": rollout.stage,
        }));
    }
    let abort = view.and_then(|view| view.aborts.get(function));
    if let Some(abort) = abort {
        revisions.push(json!({
            "state": "aborted",
            "revision": abort.digest,
            "origin": abort.origin.to_string(),
            "published_ms": null,
            "reason": abort.reason,
        }));
        revisions.extend(abort.earlier.iter().map(|earlier| {
            let origin = earlier.origin.to_string();
            json!({ "state": "aborted", "revision": earlier.digest, "origin": origin, "published_ms": null })
        }));
    }
    Some(json!({ "function": **function, "component": known.component, "revisions": revisions }))
}

/// What this node itself knows: what serves, what is to serve, and what was refused.
fn local(function: &Name, known: &FunctionView, overview: &Overview) -> Vec<Value> {
    let serving = |revision: &str| -> Vec<&str> {
        let triggers = overview.triggers.iter().filter(|(_, status)| {
            let status = status.borrow();
            status.function == **function && status.revision.as_deref() == Some(revision)
        });
        triggers.map(|(name, _)| name.as_str()).collect()
    };
    let good = known.revision.as_deref().map(|revision| {
        json!({
            "state": "good",
            "revision": revision,
            "origin": known.origin,
            "published_ms": known.published_ms,
            "triggers": serving(revision),
        })
    });
    let candidate = known.candidate.as_ref().map(|candidate| {
        json!({
            "state": "candidate",
            "revision": candidate.digest,
            "origin": candidate.origin.to_string(),
            "published_ms": candidate.published_ms,
            "triggers": serving(&candidate.digest.to_string()),
        })
    });
    let refused = known.error.as_deref().map(|reason| {
        json!({ "state": "refused", "revision": null, "origin": null, "published_ms": null, "reason": reason })
    });
    candidate.into_iter().chain(good).chain(refused).collect()
}

fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Live => "live",
        Presence::Expected => "expected",
        Presence::Stopped => "stopped",
        Presence::Gone => "gone",
    }
}
