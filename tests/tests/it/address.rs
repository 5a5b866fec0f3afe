//! Where a function sends its messages: to other topics and to partitions, as far as it may.

use std::collections::BTreeSet;

use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::model::Model;
use tidegate_tests::node::Node;

use crate::pipe::{PATIENCE, Pipe, READY};

fn texts(topic: &tidegate_tests::kafka::Topic) -> Vec<(i32, String)> {
    let mut texts: Vec<(i32, String)> =
        topic.read_all().iter().map(|stored| (stored.partition, stored.record.text())).collect();
    texts.sort();
    texts
}

#[test]
fn a_function_chooses_topic_and_partition() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "choosing", 1);
    let (audit, wide) = (kafka.topic("audit", 1), kafka.topic("wide", 4));
    let settings = format!("allow-topics = [\"{audit}\"]\nretry = {{ attempts = 1 }}");
    let pipe = Pipe { output: wide, ..pipe };
    let mut node = Node::start("choosing", &pipe.manifest(kafka, "hostile", &settings));
    node.wait_ready(READY);
    let mut records: Vec<Record> = (0..4).map(|n| Record::of(format!("part:{n};p{n}")).key("k")).collect();
    records.push(Record::of(format!("to:{audit};a")).key("k"));
    records.push(Record::of(format!("to:{};o", pipe.output)).key("k"));
    pipe.source.produce(records);
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();

    assert_eq!(texts(&audit), [(0, "a".to_owned())]);
    let output = texts(&pipe.output);
    for n in 0..4 {
        assert!(output.contains(&(n, format!("p{n}"))), "{output:?}");
    }
    assert_eq!(output.len(), 5);
    assert_eq!(pipe.dead.read_all(), []);
}

/// What the broker refuses for good, or the manifest does not grant, fails its record. The call of a
/// refused message runs again, so that what else came of it may be there twice.
#[test]
fn a_message_that_cannot_be_delivered_fails_its_record() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "refused", 1);
    let secret = kafka.topic("not-granted", 1);
    let mut node = Node::start("refused", &pipe.manifest(kafka, "hostile", "retry = { attempts = 1 }"));
    node.wait_ready(READY);
    let refused = [
        ("big:3000000".to_owned(), "output"),
        ("part:99;x".to_owned(), "output"),
        (format!("to:{secret};x"), "bad-outcome"),
    ];
    let mut records = Vec::new();
    for (value, _) in &refused {
        records.push(Record::of(value.as_str()).key("k"));
        records.push(Record::of(format!("ok;{value}")).key("k"));
    }
    pipe.source.produce(records);
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();

    assert_eq!(secret.read_all(), []);
    let mut letters: Vec<(String, Option<String>)> =
        pipe.dead.read_all().iter().map(|s| (s.record.text(), s.record.header_text("tidegate-cause"))).collect();
    letters.sort();
    letters.dedup();
    let mut expected: Vec<(String, Option<String>)> =
        refused.iter().map(|(value, cause)| (value.clone(), Some((*cause).to_owned()))).collect();
    expected.sort();
    assert_eq!(letters, expected);
    let outputs: BTreeSet<String> = pipe.output.read_all().iter().map(|stored| stored.record.text()).collect();
    let behind: BTreeSet<String> = refused.iter().map(|(value, _)| format!("done:{value}")).collect();
    assert_eq!(outputs, behind, "the records behind them are handled");
}

/// The broker refuses a whole batch for one record that it does not like, here for a date in the
/// far future. Only that one is at fault; what was accepted before it may be there twice, as the call of
/// a refused message runs again.
#[test]
fn a_message_that_the_broker_refuses_takes_none_of_its_neighbours_along() {
    const FAR: i64 = 4_102_444_800_000;
    let kafka = Kafka::shared();
    let any_time = [("message.timestamp.after.max.ms", "9223372036854775807")];
    let mut pipe = Pipe::with_settings(kafka, "neighbours", 1, &any_time);
    pipe.output = kafka.topic("strict", 1);
    let sent = pipe.source.produce((0..500).map(|n| {
        let record = Record::of(format!("ok;{n}")).key(format!("k{}", n % 50));
        if n == 250 { record.timestamp(FAR) } else { record }
    }));
    // All of them are there when the node starts, so they share calls and batches.
    let mut node = Node::start("neighbours", &pipe.manifest(kafka, "hostile", "retry = { attempts = 1 }"));
    node.wait_ready(READY);
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();

    let letters = pipe.dead.read_all();
    let causes: BTreeSet<_> =
        letters.iter().map(|s| (s.record.text(), s.record.header_text("tidegate-cause"))).collect();
    assert_eq!(causes, BTreeSet::from([("ok;250".to_owned(), Some("output".to_owned()))]));
    let others: Vec<_> = sent.into_iter().filter(|stored| stored.record.timestamp != Some(FAR)).collect();
    Model::default().expect(&others).check(&pipe.output.read_all(), &[]).assert_at_least_once();
}
