//! CPU per record: a node with the identity function beside an ordinary loop in Rust, on the same
//! broker, interleaved.
//!
//! Process CPU, all threads, user and system; wall time says more about the broker, which shares the
//! machine. The start of a node (joining, compiling) is measured with an empty topic and taken off.

use std::time::Duration;

use rdkafka::producer::{BaseRecord, Producer as _};
use tidegate_tests::kafka::{Kafka, Topic};
use tidegate_tests::node::Node;

use super::native::{self, LIMIT, producer, send};
use super::steady::manifest;
use super::{cpu, number};

const ROUNDS: usize = 5;
const PARTITIONS: i32 = 8;
const KEYS: u64 = 5_000;
/// Both sides wait so long for a fuller batch, unless it is said otherwise; the node's default is shorter.
const LINGER_MS: &str = "20";

/// `full [ROUNDS [BYTES [LINGER_MS [NODE_LINGER_MS]]]]`; a size of 0 is all of them.
pub fn main(arguments: &[&str]) {
    let linger = arguments.get(2).copied().unwrap_or(LINGER_MS);
    let lingers = [linger, arguments.get(3).copied().unwrap_or(linger)];
    let (rounds, only) = (number(arguments, 0, ROUNDS), arguments.get(1).map(|_| number(arguments, 1, 0)));
    let kafka = Kafka::start_to_measure();
    println!("CPU per record in ns, {rounds} rounds, interleaved; {PARTITIONS} partitions, {KEYS} keys");
    for (bytes, count) in [(100, 2_000_000), (1_024, 500_000)] {
        if only.is_none_or(|only| only == 0 || only == bytes) {
            compare(&kafka, rounds, bytes, count, lingers);
        }
    }
}

fn compare(kafka: &Kafka, rounds: usize, bytes: usize, count: u64, [of_loop, of_node]: [&str; 2]) {
    let input = kafka.topic("bench-in", PARTITIONS);
    fill(kafka, &input, bytes, count);
    let empty = kafka.topic("bench-empty", PARTITIONS);
    let mut ratios = Vec::new();
    println!("\n{bytes} B, {count} records\n  round   native    tidegate   ratio");
    for round in 1..=rounds {
        let (native, tidegate) = if round % 2 == 1 {
            let native = measure_native(kafka, &input, count, of_loop);
            (native, measure_node(kafka, &input, &empty, count, of_node))
        } else {
            let tidegate = measure_node(kafka, &input, &empty, count, of_node);
            (measure_native(kafka, &input, count, of_loop), tidegate)
        };
        let ratio = tidegate / native;
        println!("  {round:>5} {native:>8.0} {tidegate:>11.0} {ratio:>7.2}");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "  tidegate / native: median {:.2}, from {:.2} to {:.2}",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1]
    );
}

/// The records of a key are in one partition, chosen as neither side chooses those of its output: a
/// side whose input is partitioned as its output writes long runs to one partition, for a fifth less.
fn fill(kafka: &Kafka, topic: &Topic, bytes: usize, count: u64) {
    let producer = producer(kafka.bootstrap(), LINGER_MS);
    let value = vec![b'x'; bytes];
    for number in 0..count {
        let key = number % KEYS;
        let partition = i32::try_from(key % PARTITIONS as u64).expect("few partitions");
        let name = format!("key-{key}");
        send(&producer, BaseRecord::to(topic.name()).partition(partition).key(name.as_bytes()).payload(&value));
    }
    producer.flush(LIMIT).expect("produced");
}

fn measure_native(kafka: &Kafka, input: &Topic, count: u64, linger: &str) -> f64 {
    let output = kafka.topic("bench-native", PARTITIONS);
    let native = native::start(kafka, input, &output, linger, count);
    let ran = native.wait_with_output().expect("the native loop runs");
    let cpu: u64 = String::from_utf8_lossy(&ran.stdout).trim().parse().expect("the native loop prints its CPU");
    cpu as f64 / count as f64
}

fn measure_node(kafka: &Kafka, input: &Topic, empty: &Topic, count: u64, linger: &str) -> f64 {
    let work = node_cpu(kafka, input, count, linger);
    let start = node_cpu(kafka, empty, 0, linger);
    work.saturating_sub(start).as_nanos() as f64 / count as f64
}

fn node_cpu(kafka: &Kafka, input: &Topic, count: u64, linger: &str) -> Duration {
    let output = kafka.topic("bench-out", PARTITIONS);
    let linger = format!("linger.ms={linger}");
    let manifest = manifest(kafka, input, &output, &[&linger], "");
    let mut node = Node::start("bench", &manifest);
    node.wait_for("all records handled", LIMIT, |node| {
        let trigger = node.trigger("echo");
        trigger["partitions"] == PARTITIONS && trigger["counts"]["handled"] == count
    });
    let cpu = cpu::of_process(node.id());
    node.term_cleanly();
    cpu
}
