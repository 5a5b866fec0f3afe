use std::time::Duration;

use super::*;
use crate::record::Record as _;
use crate::record::outcome::{Cause, Timestamp};
use crate::trigger::tests::fakes::{self, Verdict, World, judge, values};

/// What is kept of a message: its value, and whether it is dated.
type Kept = (String, Timestamp);

/// A trigger without a broker, whose function is the test.
struct Bench {
    offline: Offline<Kept>,
    /// The values of each call.
    calls: Vec<Vec<String>>,
    attempts: Vec<Vec<u32>>,
    answers: Vec<Answer<Kept>>,
    next_offset: i64,
}

impl Bench {
    /// `settings` are lines of the trigger's table.
    fn new(settings: &str) -> Self {
        let (trigger, topics) = trigger(&fakes::trigger(settings), &[]);
        let note = |message: &crate::record::Message<'_>, _: &[crate::record::Header<'_>]| {
            (String::from_utf8_lossy(message.value.unwrap_or(b"null")).into_owned(), message.timestamp)
        };
        let offline = Offline::new(Arc::new(trigger), Arc::new(topics), Box::new(note));
        Self { offline, calls: Vec::new(), attempts: Vec::new(), answers: Vec::new(), next_offset: 0 }
    }

    fn give(&mut self, topic: &str, partition: i32, key: Option<&str>, value: &str) {
        self.give_at(topic, partition, key, value, 1);
    }

    fn give_at(&mut self, topic: &str, partition: i32, key: Option<&str>, value: &str, attempt: u32) {
        let record = OwnedRecord {
            offset: self.next_offset,
            key: key.map(|key| key.as_bytes().to_vec()),
            value: Some(value.as_bytes().to_vec()),
            ..OwnedRecord::default()
        };
        self.next_offset += 1;
        self.offline.give(&topic.into(), partition, record, attempt);
    }

    /// Makes one call. Returns whether there was one to make.
    fn call(&mut self, verdict: impl Fn(&str, u32) -> Verdict) -> bool {
        let Some(call) = self.offline.next_call().expect("it is not stuck") else { return false };
        self.calls.push(values(&call));
        self.attempts.push(call.batch.attempts().to_vec());
        let mut outcome_bytes = 0;
        let result = judge(&call, verdict, &mut outcome_bytes);
        self.offline.complete(Completion {
            id: call.id,
            batch: Some(call.batch),
            result,
            started: None,
            // However long it takes.
            elapsed: Duration::from_secs(3),
            outcome_bytes,
        });
        self.answers.extend(self.offline.answers());
        true
    }

    fn run(&mut self, verdict: impl Fn(&str, u32) -> Verdict) {
        while self.call(&verdict) {}
    }

    /// What became of each record: its message, or the cause of its failure.
    fn told(&self) -> Vec<String> {
        let told = |answer: &Answer<Kept>| match &answer.result {
            Ok(messages) => messages.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("+"),
            Err(fault) => format!("{}: {}", fault.cause, fault.reason),
        };
        self.answers.iter().map(told).collect()
    }

    fn sizes(&self) -> Vec<usize> {
        self.calls.iter().map(Vec::len).collect()
    }
}

fn ok(_: &str, _: u32) -> Verdict {
    Verdict::Handle
}

/// What records come to whose values say so.
fn obey(value: &str, _: u32) -> Verdict {
    match value.split(' ').next() {
        Some("trap") => Verdict::Fault(Cause::Trap),
        Some("reject") => Verdict::Reject,
        Some("retry") => Verdict::Retry,
        Some("silent") => Verdict::Take,
        _ => Verdict::Handle,
    }
}

/// The calls of a flow with one instance that takes the same records, its messages, and its dead letters. The flow
/// is held in hand: no driver, no desk.
fn in_a_node(settings: &str, records: &[(String, String)]) -> (Vec<Vec<String>>, Vec<String>, Vec<String>) {
    let settings = format!("instances = {{ max = 1 }}\nretry = {{ attempts = 1 }}\n{settings}");
    let mut world = World::steady(&settings);
    records.iter().for_each(|(key, value)| world.admit(key, value));
    let mut calls = Vec::new();
    loop {
        calls.extend(world.dispatch());
        if world.invoker.calls().is_empty() {
            return (calls, world.sent(0), world.sent(1));
        }
        world.finish(obey);
    }
}

#[track_caller]
fn check_as_in_a_node(settings: &str, records: &[(String, String)]) {
    let (calls, messages, dead) = in_a_node(settings, records);
    let mut bench = Bench::new(settings);
    records.iter().for_each(|(key, value)| bench.give("orders", 0, Some(key), value));
    bench.run(obey);
    assert_eq!(bench.calls, calls, "{settings}: {records:?}");
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    let is_good = |answer: &&Answer<Kept>| answer.result.is_ok();
    let good = bench.answers.iter().filter(is_good).flat_map(|answer| answer.result.clone().unwrap_or_default());
    assert_eq!(sorted(good.map(|(text, _)| text).collect()), sorted(messages), "{settings}: {records:?}");
    let failed = bench.answers.iter().filter(|answer| answer.result.is_err());
    let failed: Vec<String> = failed.map(|answer| records[answer.offset as usize].1.clone()).collect();
    assert_eq!(failed, sorted_by_offset(records, &dead), "{settings}: {records:?}");
    assert_eq!(bench.answers.len(), records.len());
}

/// Dead letters in the order of their records, whose values differ.
fn sorted_by_offset(records: &[(String, String)], dead: &[String]) -> Vec<String> {
    records.iter().map(|(_, value)| value.clone()).filter(|value| dead.contains(value)).collect()
}

#[test]
fn a_failing_batch_makes_the_calls_of_a_node() {
    let mut records: Vec<(String, String)> = (0..40).map(|n| (format!("k{}", n % 4), format!("v{n}"))).collect();
    records[13].1 = "trap 13".to_owned();
    records[14].1 = "reject 14".to_owned();
    records[31].1 = "trap 31".to_owned();
    check_as_in_a_node("", &records);
    let (calls, _, dead) = in_a_node("", &records);
    assert_eq!(dead, ["trap 13", "reject 14", "trap 31"]);
    let sizes: Vec<usize> = calls.iter().map(Vec::len).collect();
    assert_eq!(sizes[..4], [40, 5, 5, 5], "the records are split by eight: {sizes:?}");
}

#[test]
fn whatever_records_come_to_they_make_the_calls_of_a_node() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        let settings = ["", "ordering = \"none\"", "ordering = \"partition\"", "batch = { records = 7 }"];
        let settings = settings[chance.usize(..settings.len())];
        let keys = chance.usize(1..9);
        let mut record = |n: usize| {
            let fate = ["", "", "", "", "", "trap ", "reject ", "retry ", "silent "][chance.usize(..9)];
            (format!("k{}", chance.usize(..keys)), format!("{fate}{n}"))
        };
        let records: Vec<(String, String)> = (0..45).map(&mut record).collect();
        check_as_in_a_node(settings, &records);
    }
}

#[test]
fn records_are_answered_in_their_order_with_messages_of_their_own() {
    let mut bench = Bench::new("");
    for (topic, partition, key, value) in [
        ("orders", 0, Some("a"), "1"),
        ("orders", 7, Some("a"), "trap 2"),
        ("elsewhere", 0, None, "silent 3"),
        ("orders", 0, Some("a"), "reject 4"),
        ("elsewhere", 0, None, "5"),
        ("orders", 7, Some("a"), "6"),
        ("orders", 0, Some("a"), "7"),
    ] {
        bench.give(topic, partition, key, value);
    }
    bench.run(obey);
    assert_eq!(bench.told(), ["1!", "trap: broken", "", "reject: never", "5!", "6!", "7!"]);
    let places: Vec<(&str, i32, i64)> =
        bench.answers.iter().map(|answer| (&*answer.topic, answer.partition, answer.offset)).collect();
    assert_eq!(places[..3], [("orders", 0, 0), ("orders", 7, 1), ("elsewhere", 0, 2)]);
    assert_eq!(bench.calls[0], ["1", "reject 4", "7"], "a call has records of one partition");
    assert_eq!(bench.calls[3..], [["7"], ["trap 2"], ["6"]], "what follows a failed record of its key runs after it");
    let undated = bench.answers[0].result.as_ref().map(|messages| messages[0].1);
    assert_eq!(undated, Ok(Timestamp::AsInSource), "the record has no timestamp, and the function gave none");
}

#[test]
fn calls_are_as_large_as_they_may_be_whatever_they_take() {
    let sizes = |settings: &str, partitions: i32| {
        let mut bench = Bench::new(settings);
        for n in 0..1_700 {
            while bench.offline.is_full() {
                assert!(bench.call(ok));
            }
            bench.give("orders", n % partitions, None, "v");
        }
        bench.run(ok);
        let offsets = bench.answers.iter().map(|answer| answer.offset);
        assert!(offsets.eq(0..1_700), "{settings}");
        bench.sizes()
    };
    assert_eq!(sizes("", 1), [500, 500, 500, 200]);
    assert_eq!(sizes("batch = { records = 600 }", 2), [600, 600, 250, 250]);
    assert_eq!(sizes("batch = { records = 1 }", 1), [1; 1_700]);
}

#[test]
fn an_outage_is_not_waited_out() {
    let mut bench = Bench::new("");
    (0..1_000).for_each(|n| bench.give("orders", 0, None, &format!("reject {n}")));
    bench.run(obey);
    assert_eq!((bench.sizes(), bench.answers.len()), (vec![500, 500], 1_000));
}

#[test]
fn a_record_is_at_the_try_that_it_is_given_with() {
    let mut bench = Bench::new("");
    for (value, attempt) in [("a", 1), ("trap", 7), ("b", 2)] {
        bench.give_at("orders", 0, None, value, attempt);
    }
    bench.run(obey);
    assert_eq!(bench.attempts, [vec![1, 7, 2], vec![1], vec![7], vec![2]]);
    assert_eq!(bench.told(), ["a!", "trap: broken", "b!"]);
}

#[test]
fn what_is_given_and_not_answered_is_bounded() {
    let mut single = Bench::new("batch = { records = 1 }");
    single.give("orders", 0, None, "v");
    assert!(single.offline.is_full(), "calls of one record wait for no other");
    single.run(ok);
    assert!(!single.offline.is_full());

    let mut large = Bench::new("");
    let record = |offset| OwnedRecord { offset, value: Some(vec![0; 20 << 20]), ..OwnedRecord::default() };
    assert!(record(0).bytes() < MOST_BYTES);
    let given = (0..9).take_while(|offset| {
        let has_room = !large.offline.is_full();
        large.offline.give(&"orders".into(), 0, record(*offset), 1);
        has_room
    });
    assert_eq!(given.count(), 4);
}

#[test]
fn a_long_list_of_failing_calls_comes_to_its_end() {
    let mut bench = Bench::new("batch = { records = 20 }\nwindow = { records = 50 }");
    for n in 0..3_000 {
        while bench.offline.is_full() {
            assert!(bench.call(obey));
        }
        let value = if n % 37 == 0 { format!("trap {n}") } else { format!("{n}") };
        bench.give("orders", n % 9, Some(&format!("k{}", n % 5)), &value);
    }
    bench.run(obey);
    let expected: Vec<String> =
        (0..3_000).map(|n| if n % 37 == 0 { "trap: broken".to_owned() } else { format!("{n}!") }).collect();
    assert_eq!(bench.told(), expected);
}
