//! A restart with retries pending: the node does not wait for them, and their attempts go on
//! where they were.

use std::time::Duration;

use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::model::Model;
use tidegate_tests::node::Node;

use crate::pipe::{PATIENCE, Pipe, READY, SHORT_SESSIONS, cluster, component};

const ATTEMPTS: u32 = 5;

fn letter_count(pipe: &Pipe) -> usize {
    pipe.dead.read_all().len()
}

/// The attempts that the function was told, as far as it has complained about them: `hostile`
/// names the attempt when it traps, and what it prints is in the node's log. Each may be there
/// twice, as its own line and as the reason of the failure.
fn attempts_told(log: &str) -> Vec<u32> {
    const WORDS: &str = "told to trap at attempt ";
    let numbers = log.split(WORDS).skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().expect("the attempt is a number")
    });
    let mut told: Vec<u32> = numbers.collect();
    told.dedup();
    told
}

/// The node is restarted whenever an attempt was written down, so if a life began to count anew,
/// the function would be told so.
#[test]
fn attempts_are_counted_across_restarts() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "pending", 1);
    let retry = format!("retry = {{ attempts = {ATTEMPTS}, backoff = \"1s\", max-backoff = \"1s\" }}");
    let mut node = Node::start("pending", &pipe.manifest(kafka, "hostile", &retry));

    let mut records = vec![Record::of("trap:99;x").key("fails"), Record::of("ok;behind").key("fails")];
    records.extend((0..200).map(|n| Record::of(format!("ok;{n}")).key(format!("k{}", n % 20))));
    let sent = pipe.source.produce(records);
    pipe.output.reader().count(200, READY);

    let group = kafka.group(&pipe.group);
    let committed = || group.committed(&pipe.source).swap_remove(0);
    let mut lives = 1;
    while letter_count(&pipe) == 0 {
        assert!(lives <= 2 * ATTEMPTS, "the record is given up after {ATTEMPTS} attempts in all");
        let before = committed();
        assert!(before.offset.unwrap_or(0) == 0, "progress does not pass a record that waits: {before:?}");
        // An attempt more is written down, or it was the last one.
        node.wait_for("an attempt is committed", PATIENCE, |_| committed() != before || letter_count(&pipe) > 0);
        node.term_cleanly();
        node.start_again();
        node.wait_ready(READY);
        lives += 1;
    }
    println!("given up in life {lives}");
    assert!(lives > 1, "a restart came between the attempts");
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();

    // What ran ahead of it is not repeated by any of the restarts.
    pipe.check(&Model { attempts: ATTEMPTS, ..Model::default() }, &sent).assert_exact();
    let letters = pipe.dead.read_all();
    assert_eq!(letters[0].record.header_text("tidegate-attempts"), Some(ATTEMPTS.to_string()));
    assert_eq!(attempts_told(&node.logs()), (1..=ATTEMPTS).collect::<Vec<_>>());
}

#[test]
fn shutdown_does_not_wait_for_a_retry() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "patient", 1);
    let retry = "retry = { backoff = \"1m\", max-backoff = \"1m\" }\ndrain = \"50s\"";
    let mut node = Node::start("patient", &pipe.manifest(kafka, "hostile", retry));
    node.wait_ready(READY);
    pipe.source.produce([Record::of("retry:2;x").key("fails")]);
    let group = kafka.group(&pipe.group);
    node.wait_for("the failure is committed", PATIENCE, |_| !group.committed(&pipe.source)[0].metadata.is_empty());
    let exit = node.term();
    assert_eq!(exit.code, Some(0));
    assert!(
        exit.took < Duration::from_secs(20),
        "it took {:?}, and the next attempt is due in 30 s or more",
        exit.took
    );
}

/// What is done ahead of a waiting record is in the commit's metadata, and a killed node's heir
/// reads it there.
#[test]
fn what_ran_ahead_of_a_waiting_record_survives_a_kill() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "ahead", 1);
    // The record waits until the test is over.
    let retry = "retry = { attempts = 9, backoff = \"1m\", max-backoff = \"1m\" }";
    let manifest = [cluster(kafka, SHORT_SESSIONS), component("hostile", ""), pipe.table("hostile", retry)];
    let mut node = Node::start("ahead", &manifest.concat());
    pipe.source.produce([Record::of("retry:99;x").key("waits")]);
    let mut sent = pipe.source.produce((0..300).map(|n| Record::of(format!("ok;{n}")).key(format!("k{}", n % 20))));
    pipe.output.reader().count(300, READY);

    // All of it is written down when it stays the same over some commit intervals.
    let group = kafka.group(&pipe.group);
    let mut seen = Vec::new();
    node.wait_for("progress is complete", PATIENCE, |_| {
        seen.push(group.committed(&pipe.source).swap_remove(0));
        seen.iter().rev().take_while(|progress| *progress == &seen[seen.len() - 1]).count() > 50
            && seen.last().is_some_and(|progress| !progress.metadata.is_empty())
    });
    let progress = seen.last().expect("looked at");
    assert!(progress.offset == Some(0) && progress.metadata.len() <= 4_000, "{progress:?}");
    node.kill();
    node.start_again();
    node.wait_ready(READY);

    sent.extend(pipe.source.produce([Record::of("ok;afterwards").key("k0")]));
    pipe.output.reader().count(301, PATIENCE);
    node.term_cleanly();
    pipe.check(&Model::default(), &sent).assert_exact();
}
