//! The harness itself against the real broker: a test that uses it proves no more than it does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_tests::kafka::{Kafka, Record, Stored};
use tidegate_tests::load::Load;
use tidegate_tests::model::Model;
use tidegate_tests::{chance, wait};

use crate::pipe::PATIENCE;

fn numbered(count: u32) -> impl Iterator<Item = Record> {
    (0..count).map(|n| Record::of(n.to_string()).key(format!("k{}", n % 7)))
}

fn in_order(mut records: Vec<Stored>) -> Vec<Stored> {
    records.sort_by_key(|stored| (stored.partition, stored.offset));
    records
}

#[test]
fn a_broker_that_stops_or_is_killed_comes_back_with_its_records() {
    let mut kafka = Kafka::start();
    let topic = kafka.topic("kept", 3);
    let mut sent = topic.produce(numbered(100));
    assert_eq!(in_order(topic.read_all()), in_order(sent.clone()));

    kafka.stop();
    kafka.start_again();
    assert_eq!(in_order(topic.read_all()), in_order(sent.clone()));

    sent.extend(topic.produce(numbered(100)));
    kafka.kill();
    kafka.start_again();
    assert_eq!(in_order(topic.read_all()), in_order(sent));
}

#[test]
fn a_load_goes_on_through_an_outage() {
    let mut kafka = Kafka::start();
    let topic = kafka.topic("steady", 2);
    let load = Load::start(&topic, 500, |n| Record::of(n.to_string()).key(format!("k{}", n % 5)));
    wait::until("the load begins", PATIENCE, || load.sent() >= 200);
    kafka.stop();
    let during = load.sent();
    wait::until("the load goes on", PATIENCE, || load.sent() >= during + 200);
    kafka.start_again();
    // Not `stop`, which insists on acknowledgements: see `cut`.
    load.cut();
    let mut of_key: BTreeMap<Option<Vec<u8>>, Vec<u64>> = BTreeMap::new();
    for stored in in_order(topic.read_all()) {
        of_key.entry(stored.record.key.clone()).or_default().push(stored.record.text().parse().expect("a number"));
    }
    let went_through = of_key.values().filter(|numbers| numbers.iter().any(|&number| number > during + 100)).count();
    assert!(went_through > 0, "records of after the outage are there: {of_key:?}");
    assert!(of_key.values().all(|numbers| numbers.is_sorted_by(|one, other| other - one == 5)), "{of_key:?}");
}

#[test]
fn records_are_written_and_read_byte_for_byte() {
    let topic = Kafka::shared().topic("bytes", 1);
    let every_byte: Vec<u8> = (0..=255).collect();
    let records = [
        Record::null(),
        Record::of(""),
        Record::null().key(""),
        Record::of("").key(""),
        Record::of(every_byte.clone()).key(every_byte.clone()),
        Record::of("v").timestamp(1_234_567_890_123),
        Record::of("v").header("h", "").null_header("h").header("h", "again").header("", "no name"),
        Record::of("v").header(*b"not \xff UTF-8 \xc3", every_byte).null_header(*b"\x80"),
    ];
    let sent = topic.produce(records.clone());
    let read = topic.read_all();
    assert_eq!(read, sent);
    for (read, record) in read.into_iter().zip(records) {
        assert!(read.record.timestamp.is_some(), "{record:?}");
        let timestamp = record.timestamp.or(read.record.timestamp);
        assert_eq!(read.record, Record { timestamp, ..record });
    }
}

#[test]
fn the_java_consumer_reads_what_we_wrote() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("java", 3);
    let mut rng = chance::seeded();
    let sent = topic.produce((0..1000).map(|n| match n % 10 {
        0 => Record::null().key("null"),
        1 => Record::of("").key("empty"),
        _ => Record::of(vec![rng.u8(..); rng.usize(..300)]).key(n.to_string()),
    }));
    let bytes: usize = sent.iter().filter_map(|stored| stored.record.value.as_ref()).map(Vec::len).sum();
    assert_eq!(kafka.java_consume(&topic, sent.len()), bytes);
}

#[test]
fn a_reader_waits_for_what_comes_later() {
    let topic = Kafka::shared().topic("later", 2);
    let mut reader = topic.reader();
    topic.produce(numbered(10));
    assert_eq!(reader.count(10, PATIENCE).len(), 10);
    topic.produce(numbered(5));
    assert_eq!(reader.count(15, PATIENCE).len(), 15);
    let read = topic.read_until("a 4", PATIENCE, |records| records.iter().any(|s| s.record.text() == "4"));
    assert!(!read.is_empty());
}

#[test]
fn a_missing_topic_can_be_created_later() {
    let topic = Kafka::shared().missing_topic("late", 1);
    let mut reader = topic.reader();
    topic.create();
    topic.produce(numbered(3));
    assert_eq!(reader.count(3, PATIENCE).len(), 3);
}

#[test]
fn a_group_without_commits_lags_by_the_whole_topic() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("lag", 2);
    let group = kafka.group(&format!("lag-{}", chance::suffix()));
    topic.produce(numbered(20));
    assert_eq!(group.lag(&topic), 20);
    let committed = group.committed(&topic);
    assert!(committed.iter().all(|partition| partition.offset.is_none() && partition.metadata.is_empty()));
    assert_eq!(group.members(), Vec::<String>::new());
}

#[test]
fn a_load_keeps_its_rate() {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let topic = Kafka::shared().topic("rate", 1);
    let start = std::time::Instant::now();
    let load = Load::start(&topic, 1000, |n| {
        MADE.fetch_add(1, Ordering::Relaxed);
        Record::of(n.to_string())
    });
    wait::until("a thousand records", PATIENCE, || load.sent() >= 1000);
    assert!(start.elapsed() >= Duration::from_millis(999), "not faster than asked");
    let sent = load.stop();
    assert_eq!(sent.len() as u64, MADE.load(Ordering::Relaxed));
    assert!((0..).zip(&sent).all(|(n, stored)| stored.record.text() == format!("{n}") && stored.offset == n));
}

/// The oracle, the load and the readers together, with the simplest of all functions: the test
/// itself copies records from one topic to another.
#[test]
fn the_oracle_accepts_a_faithful_copy_and_refuses_a_careless_one() {
    let kafka = Kafka::shared();
    let (source, output, dead) = (kafka.topic("from", 4), kafka.topic("to", 4), kafka.topic("to-dead", 4));
    let sent =
        source.produce((0..500).map(|n| Record::of(format!("copy;{n}")).key(format!("k{}", n % 13)).timestamp(n + 1)));
    let due = Model::default().expect(&sent);
    output.produce(source.read_all().into_iter().map(|stored| stored.record));
    due.check(&output.read_all(), &dead.read_all()).assert_exact();

    output.produce(sent.iter().take(3).map(|stored| stored.record.clone()));
    let verdict = due.check(&output.read_all(), &dead.read_all());
    assert_eq!((verdict.repeated.count, verdict.lost.count), (3, 0), "{verdict}");
    verdict.assert_at_least_once();
}
