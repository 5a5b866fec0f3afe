//! The broker goes away and comes back, or is not there, or lacks a topic: the trigger is degraded,
//! says why, and recovers alone.

use std::time::Instant;

use tidegate_tests::kafka::{Kafka, Record, Topic};
use tidegate_tests::load::Load;
use tidegate_tests::model::Model;
use tidegate_tests::node::Node;
use tidegate_tests::wait;

use crate::pipe::{PATIENCE, Pipe, READY};

/// Waits until the node says in every place that the trigger does not work, and why.
#[track_caller]
fn wait_degraded(node: &mut Node, trigger: &str, reason: &str) {
    node.wait_for(&format!("{trigger} is degraded, with {reason:?} in the reason"), PATIENCE, |node| {
        let report = node.trigger(trigger);
        let why = report["reason"].as_str().unwrap_or_default();
        report["state"] == "degraded" && !why.is_empty() && why.contains(reason)
    });
    assert_eq!(node.health()["status"], "degraded");
    assert_eq!(node.get("/readyz").map(|response| response.status), Some(503));
    assert_eq!(node.get("/livez").map(|response| response.status), Some(200));
}

#[track_caller]
fn wait_recovered(node: &mut Node, trigger: &str) {
    node.wait_ready(READY);
    let report = node.trigger(trigger);
    assert_eq!((&report["state"], report["reason"].is_null()), (&"running".into(), true), "{report}");
    assert_eq!(node.health()["status"], "ok");
}

fn steady(n: u64) -> Record {
    Record::of(format!("ok;{n}")).key(format!("k{}", n % 40))
}

/// A load goes through the outage; nothing is lost, and nothing has to be restarted.
fn outage(trigger: &str, end: impl FnOnce(&mut Kafka)) {
    let mut kafka = Kafka::start();
    let pipe = Pipe::new(&kafka, trigger, 4);
    let mut node = Node::start(trigger, &pipe.manifest(&kafka, "hostile", ""));
    node.wait_ready(READY);
    let load = Load::start(&pipe.source, 500, steady);
    pipe.output.reader().count(500, PATIENCE);

    let start = Instant::now();
    end(&mut kafka);
    println!("the broker is gone after {:?}", start.elapsed());
    wait_degraded(&mut node, trigger, "");
    println!("the trigger is degraded after {:?}", start.elapsed());
    kafka.start_again();
    println!("the broker is back after {:?}", start.elapsed());
    wait_recovered(&mut node, trigger);
    println!("the trigger has recovered after {:?}", start.elapsed());

    let so_far = load.sent();
    wait::until("the load goes on", PATIENCE, || load.sent() >= so_far + 500);
    load.cut();
    let sent = pipe.source.read_all();
    // A node whose client leaves a partition behind notices after half a minute.
    pipe.wait_handled(&kafka, &mut node, 2 * PATIENCE);
    node.term_cleanly();
    pipe.check(&Model::default(), &sent).assert_at_least_once();
}

#[test]
fn a_broker_that_stops_under_load_costs_nothing_but_time() {
    outage("stops", Kafka::stop);
}

#[test]
fn a_broker_that_is_killed_under_load_costs_nothing_but_time() {
    outage("killed", Kafka::kill);
}

#[test]
fn a_broker_may_come_after_the_node() {
    let mut kafka = Kafka::start();
    let pipe = Pipe::new(&kafka, "early", 2);
    let sent = pipe.source.produce((0..100).map(steady));
    kafka.stop();

    let mut node = Node::start("early", &pipe.manifest(&kafka, "hostile", ""));
    wait_degraded(&mut node, "early", "");
    kafka.start_again();
    wait_recovered(&mut node, "early");
    pipe.wait_handled(&kafka, &mut node, PATIENCE);
    node.term_cleanly();
    pipe.check(&Model::default(), &sent).assert_exact();
}

/// A node that cannot reach its broker still ends when it is told to.
#[test]
fn a_node_without_a_broker_ends_cleanly() {
    let mut kafka = Kafka::start();
    let pipe = Pipe::new(&kafka, "alone", 1);
    kafka.stop();
    let mut node = Node::start("alone", &pipe.manifest(&kafka, "hostile", ""));
    wait_degraded(&mut node, "alone", "");
    node.term_cleanly();
}

/// Starts a node on a pipe of which one topic is not there yet.
fn missing(trigger: &str, take_away: impl FnOnce(&mut Pipe, Topic) -> Topic) {
    let kafka = Kafka::shared();
    let mut pipe = Pipe::new(kafka, trigger, 2);
    let topic = take_away(&mut pipe, kafka.missing_topic(&format!("{trigger}-late"), 2));
    let mut node = Node::start(trigger, &pipe.manifest(kafka, "hostile", ""));
    wait_degraded(&mut node, trigger, topic.name());

    topic.create();
    wait_recovered(&mut node, trigger);
    let sent = pipe.source.produce((0..100).map(steady));
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    pipe.check(&Model::default(), &sent).assert_exact();
}

#[test]
fn a_source_topic_may_come_after_the_node() {
    missing("late-source", |pipe, topic| {
        pipe.source = topic.clone();
        topic
    });
}

#[test]
fn an_output_topic_may_come_after_the_node() {
    missing("late-output", |pipe, topic| {
        pipe.output = topic.clone();
        topic
    });
}

/// Another trigger of the same node does not notice.
#[test]
fn a_missing_topic_degrades_its_own_trigger_only() {
    let kafka = Kafka::shared();
    let (mut lame, sound) = (Pipe::new(kafka, "lame", 1), Pipe::new(kafka, "sound", 1));
    lame.source = kafka.missing_topic("never", 1);
    let manifest = [sound.manifest(kafka, "hostile", ""), lame.table("hostile", "")].concat();
    let mut node = Node::start("lame", &manifest);
    wait_degraded(&mut node, "lame", lame.source.name());
    node.wait_for("the other trigger runs", READY, |node| node.trigger("sound")["state"] == "running");
    let sent = sound.source.produce((0..100).map(steady));
    sound.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    sound.check(&Model::default(), &sent).assert_exact();
}
