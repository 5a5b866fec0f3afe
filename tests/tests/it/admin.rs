//! The admin listener of a node: its metrics, its API, and what it tells the fleet.

use serde_json::Value;
use tidegate_tests::chance;
use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::node::Node;

use crate::pipe::{PATIENCE, Pipe, READY};

fn document(node: &Node, path: &str) -> Value {
    node.get(path).and_then(|response| serde_json::from_str(&response.body).ok()).unwrap_or_default()
}

/// The value of the only series of a metric.
fn metric(node: &Node, name: &str) -> Option<f64> {
    let text = node.get("/metrics")?.body;
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn a_node_counts_for_prometheus_and_tells_the_fleet_what_it_is_asked() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "asked", 1);
    let control = format!("[control]\ntopic = \"control-{}\"\n", chance::suffix());
    let mut node = Node::start("asked", &(control + &pipe.manifest(kafka, "echo", "")));
    node.wait_ready(READY);
    pipe.source.produce((0..10).map(|n| Record::of(format!("record {n}"))));
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.wait_for("all records are counted", PATIENCE, |node| {
        metric(node, "tidegate_records_handled_total") == Some(10.0)
    });
    node.wait_for("nothing is left", PATIENCE, |node| metric(node, "tidegate_lag_records") == Some(0.0));
    let is_counted = |name| metric(&node, name).is_some_and(|count| count > 0.0);
    assert!(is_counted("tidegate_call_seconds_count") && is_counted("tidegate_age_seconds_count"));

    let path = |verb: &str| format!("/v1/triggers/{}/{verb}", pipe.trigger);
    let asked = node.post(&path("pause"), r#"{"reason": "the database moves"}"#).expect("an answer");
    assert_eq!(asked.status, 202, "{}", asked.body);
    let pause = |node: &Node| document(node, "/v1/status")["fleet"]["pauses"]["asked"].take();
    node.wait_for("the pause is known", PATIENCE, |node| pause(node)["reason"] == "the database moves");
    assert_eq!(pause(&node)["from"], "admin of asked");
    assert_eq!(metric(&node, "tidegate_trigger_paused"), Some(1.0));
    assert_eq!(node.post(&path("resume"), "").expect("an answer").status, 202);
    node.wait_for("it is resumed", PATIENCE, |node| {
        pause(node).is_null() && metric(node, "tidegate_trigger_paused") == Some(0.0)
    });

    node.wait_for("the node sees itself", PATIENCE, |node| {
        document(node, "/v1/status")["fleet"]["nodes"][0]["presence"] == "live"
    });
    let revisions = document(&node, "/v1/functions/echo/revisions");
    assert_eq!(revisions["revisions"][0]["triggers"][0], "asked", "{revisions}");
    let refused = node.post("/v1/functions/echo/rollout/promote", "").expect("an answer");
    assert_eq!(refused.status, 409, "{}", refused.body);
    node.term_cleanly();
}
