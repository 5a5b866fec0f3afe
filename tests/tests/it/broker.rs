//! The broker goes away and comes back, or is not there, or lacks a topic: the trigger is degraded,
//! says why, and recovers alone.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::Instant;

use tidegate_tests::kafka::{Kafka, Record, Topic};
use tidegate_tests::load::Load;
use tidegate_tests::model::Model;
use tidegate_tests::node::{self, Node};
use tidegate_tests::process::Process;
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

/// `produce` has no end of its own here, and a broker that does not come back gives it one: it does
/// not go on for ever with records that nobody takes.
#[test]
fn producing_gives_up_on_a_broker_that_stays_away() {
    let mut kafka = Kafka::start();
    let topic = kafka.topic("away", 2);
    let folder = tempfile::tempdir().expect("a folder");
    let errors = folder.path().join("stderr");
    let mut command = node::command();
    command.current_dir(folder.path()).args(["produce", topic.name(), "--rate", "2000", "--log", "off"]);
    command.args(["--brokers", kafka.bootstrap(), "--property", "message.timeout.ms=1000"]);
    command.stdout(Stdio::null()).stderr(File::create(&errors).expect("a file"));
    let mut process = Process::spawn(&mut command, folder.path()).expect("tidegate starts");
    topic.reader().count(1_000, PATIENCE);
    kafka.kill();

    let status = process.wait(PATIENCE).expect("it ends");
    let said = fs::read_to_string(&errors).expect("text");
    assert_eq!(status.code(), Some(1), "{said}");
    let number_after = |words: &str| {
        let (_, rest) = said.split_once(words).unwrap_or_else(|| panic!("{words:?}: {said}"));
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().expect("a number")
    };
    let refused: u64 = said
        .lines()
        .filter(|line| line.contains(" refused, the first one is record "))
        .map(|line| line.split(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a count"))
        .sum();
    assert!(said.contains("error: gave up after 1,000 refused in a row, at record "), "{said}");
    assert_eq!(number_after("--expect "), number_after("produced ") + refused, "each is accounted for: {said}");
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
