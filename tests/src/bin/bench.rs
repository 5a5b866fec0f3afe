//! CPU per record: a node with the identity function beside an ordinary loop in Rust, on the same
//! broker, interleaved.
//!
//! Process CPU, all threads, user and system; wall time says more about the broker, which shares the
//! machine. The start of a node (joining, compiling) is measured with an empty topic and taken off.
//! `bench [ROUNDS [BYTES]]` measures less; `bench native …` is the loop itself, in a process of its own.

use std::iter;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _};
use tidegate_tests::functions;
use tidegate_tests::kafka::{Kafka, Topic};
use tidegate_tests::node::Node;

const ROUNDS: usize = 5;
const PARTITIONS: i32 = 8;
const KEYS: u64 = 5_000;
const LIMIT: Duration = Duration::from_secs(300);
/// Both sides wait so long for a fuller batch; the node's default is shorter.
const LINGER_MS: &str = "20";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, brokers, input, output, count] = &arguments[..]
        && mode == "native"
    {
        native(brokers, input, output, count.parse().expect("a count"));
        return;
    }
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<usize>().expect("bench [ROUNDS [BYTES]]"));
    let (rounds, only) = (number(0).unwrap_or(ROUNDS), number(1));
    let kafka = Kafka::start_to_measure();
    println!("CPU per record in ns, {rounds} rounds, interleaved; {PARTITIONS} partitions, {KEYS} keys");
    for (bytes, count) in [(100, 2_000_000), (1_024, 500_000)] {
        if only.is_none_or(|only| only == bytes) {
            compare(&kafka, rounds, bytes, count);
        }
    }
}

fn compare(kafka: &Kafka, rounds: usize, bytes: usize, count: u64) {
    let input = kafka.topic("bench-in", PARTITIONS);
    fill(kafka, &input, bytes, count);
    let empty = kafka.topic("bench-empty", PARTITIONS);
    let mut ratios = Vec::new();
    println!("\n{bytes} B, {count} records\n  round   native    tidegate   ratio");
    for round in 1..=rounds {
        let (native, tidegate) = if round % 2 == 1 {
            let native = measure_native(kafka, &input, count);
            (native, measure_node(kafka, &input, &empty, count))
        } else {
            let tidegate = measure_node(kafka, &input, &empty, count);
            (measure_native(kafka, &input, count), tidegate)
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
    let producer: BaseProducer = client(kafka.bootstrap()).create().expect("a producer");
    let value = vec![b'x'; bytes];
    for number in 0..count {
        let key = number % KEYS;
        let partition = i32::try_from(key % PARTITIONS as u64).expect("few partitions");
        let name = format!("key-{key}");
        send(&producer, BaseRecord::to(topic.name()).partition(partition).key(name.as_bytes()).payload(&value));
    }
    producer.flush(LIMIT).expect("produced");
}

fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("linger.ms", LINGER_MS).set("enable.idempotence", "true");
    client
}

fn send(producer: &BaseProducer, mut record: BaseRecord<'_, [u8], [u8]>) {
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                producer.poll(Duration::from_millis(1));
                record = same;
            }
            Err((error, _)) => panic!("cannot produce: {error}"),
        }
    }
}

/// What an engineer writes by hand: poll, produce, commit once a second.
fn native(brokers: &str, input: &str, output: &str, count: u64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("native-{output}"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[input]).expect("subscribed");
    let producer: BaseProducer = client(brokers).create().expect("a producer");
    let mut start = None;
    let mut committed = Instant::now();
    for _ in 0..count {
        // A poll also ends, with nothing, when it took part in a rebalance.
        let message = iter::repeat_with(|| consumer.poll(LIMIT)).flatten().next().expect("records").expect("a record");
        start.get_or_insert_with(|| cpu_ns(std::process::id()));
        let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
        send(&producer, BaseRecord::to(output).key(key).payload(value));
        producer.poll(Duration::ZERO);
        if committed.elapsed() > Duration::from_secs(1) {
            producer.flush(LIMIT).expect("produced");
            consumer.commit_consumer_state(CommitMode::Async).expect("committed");
            committed = Instant::now();
        }
    }
    producer.flush(LIMIT).expect("produced");
    println!("{}", cpu_ns(std::process::id()) - start.unwrap_or(0));
}

fn measure_native(kafka: &Kafka, input: &Topic, count: u64) -> f64 {
    let output = kafka.topic("bench-native", PARTITIONS);
    let program = std::env::current_exe().expect("this program");
    let ran = Command::new(program)
        .args(["native", kafka.bootstrap(), input.name(), output.name(), &count.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("the native loop runs");
    let cpu: u64 = String::from_utf8_lossy(&ran.stdout).trim().parse().expect("the native loop prints its CPU");
    cpu as f64 / count as f64
}

fn measure_node(kafka: &Kafka, input: &Topic, empty: &Topic, count: u64) -> f64 {
    let work = node_cpu(kafka, input, count);
    let start = node_cpu(kafka, empty, 0);
    work.saturating_sub(start) as f64 / count as f64
}

fn node_cpu(kafka: &Kafka, input: &Topic, count: u64) -> u64 {
    let output = kafka.topic("bench-out", PARTITIONS);
    let manifest = format!(
        "[cluster.main]\nbrokers = \"{}\"\nproperties = {{ \"linger.ms\" = \"{LINGER_MS}\" }}\n\
         [function.echo]\ncomponent = \"{}\"\n[trigger.bench]\nfunction = \"echo\"\ntopics = [\"{}\"]\n\
         output = \"{}\"\ngroup = \"{}\"\non-exhausted = \"skip\"\n",
        kafka.bootstrap(),
        functions::component("echo").display(),
        input.name(),
        output.name(),
        output.name(),
    );
    let mut node = Node::start("bench", &manifest);
    node.wait_for("all records handled", LIMIT, |node| {
        let trigger = node.trigger("bench");
        trigger["partitions"] == PARTITIONS && trigger["counts"]["handled"] == count
    });
    let cpu = cpu_ns(node.id());
    node.term_cleanly();
    cpu
}

/// What a process has used so far, all threads, in steps of 10 ms.
fn cpu_ns(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process lives");
    let fields = stat.rsplit_once(')').expect("a name in parentheses").1;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse().expect("ticks")).collect();
    ticks.iter().sum::<u64>() * 10_000_000
}
