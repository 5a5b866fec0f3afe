//! Numbered records of `tidegate produce`, and what `tidegate consume --verify` finds in them.

use std::process::Stdio;

use serde_json::Value;
use tidegate_tests::kafka::{Kafka, Record, Topic};
use tidegate_tests::load::Load;
use tidegate_tests::node::{self, Node};
use tidegate_tests::process::Process;

use crate::pipe::{PATIENCE, Pipe, READY};
use crate::traffic::{ends, records, run, run_name, run_with, succeeds, text};

fn topic_of_nothing() -> Topic {
    Kafka::shared().topic("traffic-nothing", 1)
}

/// The records of a topic in a new one of as many partitions, after a change.
fn changed(topic: &Topic, change: impl FnOnce(&mut Vec<Record>)) -> Topic {
    changed_with(&[], topic, change)
}

/// As [`changed`], and the new topic has settings.
fn changed_with(settings: &[(&str, &str)], topic: &Topic, change: impl FnOnce(&mut Vec<Record>)) -> Topic {
    let copy = Kafka::shared().topic_with("traffic-changed", topic.partitions(), settings);
    let mut all = records(&topic.read_all());
    change(&mut all);
    copy.produce(all);
    copy
}

/// The place of the record of a key that is the n-th of it.
fn nth(records: &[Record], key: &str, n: usize) -> usize {
    let of_key = records.iter().enumerate().filter(|(_, record)| record.key.as_deref() == Some(key.as_bytes()));
    of_key.map(|(at, _)| at).nth(n).expect("it was produced")
}

#[test]
fn numbered_records_are_checked_for_loss_repeats_and_order() {
    let topic = Kafka::shared().topic("traffic", 4);
    let name = topic.name();
    let produced = run(&["produce", name, "--count", "20000", "--keys", "100", "--size", "100B..200B"]);
    ends(&produced, 0, &["produced 20000 records", "tidegate consume", "--expect 20000"]);
    let run_name = run_name(&produced);
    let keys: std::collections::BTreeSet<_> = topic.read_all().into_iter().map(|stored| stored.record.key).collect();
    assert_eq!(keys.len(), 100);

    let table = succeeds(&["consume", name, "--verify", "--to-end"]);
    for line in ["records       20000", "lost          0", "repeated      0", "out of order  0", "unknown       0"] {
        assert!(table.contains(line), "{table}");
    }
    // Ends by itself, and with a part of the partitions or records nothing is missing.
    succeeds(&["consume", name, "--verify", "--run", &run_name, "--expect", "20000"]);
    succeeds(&["consume", name, "--verify", "--to-end", "--partition", "2"]);
    succeeds(&["consume", name, "--verify", "--to-end", "--from", "-700"]);
    let named = ["consume", name, "--verify", "--run", &run_name];
    let more = run(&[&named[..], &["--to-end", "--expect", "20010"]].concat());
    let table = ends(&more, 1, &["10 lost, 0 repeated, 0 out of order, 0 unknown"]);
    assert!(table.contains("and all that follow it"), "{table}");
    // More might still have come, so nothing is lost, but it is not what was wanted.
    let late = run(&[&named[..], &["--expect", "20010", "--timeout", "1s"]].concat());
    let table = ends(&late, 1, &["20000 of 20010 records came in time"]);
    assert!(table.contains("lost          0"), "{table}");
    // Each topic is read once.
    succeeds(&[&named[..], &["--to-end", name]].concat());
    let other = topic_of_nothing();
    succeeds(&["consume", name, other.name(), name, "--verify", "--to-end", "--timeout", "30s"]);
    // An older run says nothing about the one that is looked for.
    let absent = run(&["consume", name, "--verify", "--to-end", "--run", "absent00", "--expect", "20000"]);
    ends(&absent, 1, &["0 lost", "missing, place unknown: 20000"]);
    // What retention deleted cannot be placed, but is missed.
    let cut = changed(&topic, |_| ());
    cut.delete_before(0, 100);
    let of_cut = ["consume", cut.name(), "--verify", "--run", &run_name, "--to-end", "--expect", "20000"];
    let short = run(&of_cut);
    let named = format!("note: {}/0 begins at offset 100: what was deleted before cannot be told", cut.name());
    ends(&short, 1, &[&named, "0 lost, 0 repeated, 0 out of order, 0 unknown; missing, place unknown: 100"]);

    let check = |topic: &Topic, named: &str, example: &str| {
        let output = run(&["consume", topic.name(), "--verify", "--to-end"]);
        let table = ends(&output, 1, &[named]);
        assert!(table.contains(example), "{table}");
        let output = run(&["consume", topic.name(), "--verify", "--to-end", "--json"]);
        let summary: Value = serde_json::from_str(&ends(&output, 1, &[named])).expect("JSON");
        assert!(summary["records"].as_u64().is_some_and(|records| records >= 19_999), "{summary}");
    };
    let missing = changed(&topic, |records| drop(records.remove(nth(records, "key-7", 50))));
    check(&missing, "1 lost, 0 repeated, 0 out of order, 0 unknown", "number 5107, expected 5007");
    let twice = changed(&topic, |records| records.push(records[nth(records, "key-7", 50)].clone()));
    check(&twice, "0 lost, 1 repeated, 0 out of order, 0 unknown", "number 5007 again");
    let swapped = changed(&topic, |records| {
        let (one, other) = (nth(records, "key-7", 50), nth(records, "key-7", 51));
        records.swap(one, other);
    });
    check(&swapped, "0 lost, 0 repeated, 1 out of order, 0 unknown", "number 5007 after 5107");
    let foreign = changed(&topic, |records| records.push(Record::of("hello").key("key-7")));
    check(&foreign, "0 lost, 0 repeated, 0 out of order, 1 unknown", "has no number");
}

#[test]
fn gaps_of_a_compacted_topic_are_no_loss() {
    let topic = Kafka::shared().topic("traffic-whole", 2);
    let produced = run(&["produce", topic.name(), "--count", "2000", "--keys", "50"]);
    ends(&produced, 0, &["produced 2000 records"]);
    let run_name = run_name(&produced);
    let policies = ["compact", "delete,compact"].map(|policy| [("cleanup.policy", policy)]);
    // What compaction leaves: of each key the last record, and others.
    let few = |records: &mut Vec<Record>| records.retain(|record| record.key.as_deref() != Some(b"key-7"));
    for policy in &policies {
        let gappy = changed_with(policy, &topic, few);
        let note = format!("note: {} is compacted, which leaves gaps", gappy.name());
        let named = ["consume", gappy.name(), "--verify", "--run", &run_name, "--expect", "2000"];
        for end in [&["--to-end"][..], &["--timeout", "1s"]] {
            let table = ends(&run(&[&named[..], end].concat()), 0, &[&note]);
            assert!(
                table.contains("records       1960\n") && table.contains("lost          cannot be told"),
                "{table}"
            );
        }
    }
    let worse = changed_with(&policies[0], &topic, |records| {
        few(records);
        records.push(records[nth(records, "key-8", 20)].clone());
        let (one, other) = (nth(records, "key-9", 30), nth(records, "key-9", 31));
        records.swap(one, other);
    });
    // Beside a topic that is not compacted.
    let both = run(&["consume", topic.name(), worse.name(), "--verify", "--to-end", "--run", &run_name, "--json"]);
    let summary = ends(&both, 1, &[worse.name(), "not as it was produced: 1961 repeated, 0 out of order"]);
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!((&summary["lost"], &summary["missing"]), (&Value::Null, &Value::Null), "{summary}");
    let alone = run(&["consume", worse.name(), "--verify", "--to-end"]);
    ends(&alone, 1, &["not as it was produced: 1 repeated, 1 out of order, 0 unknown"]);
    let plain = run(&["consume", topic.name(), "--verify", "--to-end"]);
    ends(&plain, 0, &[]);
    assert!(!text(&plain.stderr).contains("note"), "{}", text(&plain.stderr));
}

#[test]
fn numbered_records_are_checked_behind_a_function() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "traffic-function", 4);
    let mut node = Node::start("traffic", &pipe.manifest(kafka, "hostile", ""));
    node.wait_ready(READY);
    // The cluster is that of the manifest.
    let manifest = node.manifest_path();
    let manifest = manifest.to_str().expect("text");
    let source = pipe.source.name();
    let produced = run_with(b"", &["produce", source, "--count", "5000", "--rate", "20000", "--manifest", manifest]);
    ends(&produced, 0, &["produced 5000 records"]);
    let run_name = run_name(&produced);
    let arguments =
        ["consume", pipe.output.name(), "--verify", "--run", &run_name, "--expect", "5000", "--timeout", "60s"];
    let checked = run_with(b"", &[&arguments[..], &["--manifest", manifest, "--cluster", "main"]].concat());
    assert!(ends(&checked, 0, &[]).contains("records       5000"));
    node.term_cleanly();
}

#[test]
fn records_that_a_filter_rejects_do_not_put_off_the_end_of_the_wait() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("traffic-rejected", 1);
    let load = Load::start(&topic, 200, |n| Record::of(format!("{n}")).key("other"));
    topic.reader().count(100, PATIENCE);
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = node::command();
    command.args(["consume", topic.name(), "--key", "wanted", "--timeout", "2s", "--brokers", kafka.bootstrap()]);
    command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::spawn(&mut command, folder.path()).expect("tidegate starts");
    let status = process.wait(PATIENCE).expect("it ends while the load goes on");
    load.cut();
    assert!(status.success(), "{status}");
}
