//! Numbers survive what they should, and a checker finds what is wrong in histories made at random,
//! and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use super::verify::Findings;
use super::*;
use crate::record::OwnedRecord;

const SIZE: Size = Size { min: 128, max: 300 };

fn keys(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("not zero")
}

/// The records of a run as they are read back.
fn run(seed: u64, key_count: u32, size: Size, count: Option<u64>, records: u64) -> Vec<OwnedRecord> {
    let mut numbers = Numbers::new(keys(key_count), size, count, fastrand::Rng::with_seed(seed));
    let mut made = Vec::new();
    while (made.len() as u64) < records
        && let Some(record) = numbers.make()
    {
        made.push(OwnedRecord {
            key: Some(record.key.clone().into_bytes()),
            value: Some(record.value.clone().into_bytes()),
            headers: vec![(HEADER.as_bytes().to_vec(), Some(record.header.clone().into_bytes()))],
            ..OwnedRecord::default()
        });
    }
    made
}

#[test]
fn a_number_is_read_from_the_header_or_the_value() {
    for (at, record) in (0..).zip(run(1, 7, SIZE, Some(20), 30)) {
        let number = Number::of(&record).expect("it is numbered");
        assert_eq!((number.number, number.keys, number.count), (at, 7, Some(20)));
        assert_eq!(record.key, Some(format!("key-{}", number.key()).into_bytes()));
        assert_eq!(number.within_key(), at / 7);
        let upper =
            OwnedRecord { value: record.value.clone().map(|value| value.to_ascii_uppercase()), ..record.clone() };
        assert_eq!(Number::of(&upper), Some(number.clone()), "the header is enough");
        let bare = OwnedRecord { headers: Vec::new(), key: None, ..record };
        assert_eq!(Number::of(&bare), Some(number), "the value is enough");
    }
    assert_eq!(run(1, 7, SIZE, Some(20), 30).len(), 20);
    assert_eq!(Number::of(&run(1, 7, SIZE, None, 1)[0]).and_then(|number| number.count), None);
}

#[test]
fn a_value_has_its_size_and_is_json() {
    for record in run(3, 100, SIZE, Some(MAX_RECORDS), 500) {
        let value = record.value.expect("a value");
        assert!((SIZE.min..=SIZE.max).contains(&value.len()), "{}", value.len());
        serde_json::from_slice::<serde_json::Value>(&value).expect("JSON");
    }
    for size in [0, 1, NUMBERED_BYTES - 1] {
        let record = &run(3, 1, Size { min: size, max: size }, None, 1)[0];
        assert_eq!(record.value.as_ref().map(Vec::len), Some(size));
        assert!(Number::of(record).is_some());
    }
}

#[test]
fn the_longest_number_fits_the_smallest_value() {
    let number = Number {
        run: Run::read("abcdefgh").expect("a run"),
        number: MAX_RECORDS - 1,
        keys: MAX_KEYS,
        count: Some(MAX_RECORDS),
    };
    let Number { run, number: n, keys, count } = &number;
    let value = format!(
        "{{\"run\":\"{run}\",\"number\":{n},\"keys\":{keys},\"count\":{},\"filler\":\"\"}}",
        count.unwrap_or(0)
    );
    assert!(value.len() <= NUMBERED_BYTES, "{}", value.len());
    let record = OwnedRecord { value: Some(value.into_bytes()), ..OwnedRecord::default() };
    assert_eq!(Number::of(&record).as_ref(), Some(&number));
}

#[test]
fn what_is_no_number_is_none() {
    let header = |text: &str| {
        let headers = vec![(HEADER.as_bytes().to_vec(), Some(text.as_bytes().to_vec()))];
        Number::of(&OwnedRecord { headers, ..OwnedRecord::default() })
    };
    assert!(header("run=ABCDEFGH number=5 keys=2").is_some_and(|number| number.run.to_string() == "abcdefgh"));
    for text in [
        "",
        "run=abcdefgh",
        "run=abcdefgh number=5",
        "run=abcdefg number=5 keys=2",
        "run=abcdefg- number=5 keys=2",
        "run=abcdefgh number=-1 keys=2",
        "run=abcdefgh number=5 keys=0",
        "run=abcdefgh number=5 keys=1000001",
        "run=abcdefgh number=281474976710656 keys=2",
        "run=abcdefgh number=5 keys=2 count=5",
        "run=abcdefgh number=5 keys=2 count=9 more",
        "run=abcdefgh number=5 keys=2 total=9",
    ] {
        assert_eq!(header(text), None, "{text}");
    }
    for value in
        [&b"{}"[..], b"[1]", b"\xff", b"{\"run\":\"abcdefgh\",\"number\":1}", b"{\"run\":1,\"number\":1,\"keys\":1}"]
    {
        assert_eq!(Number::of(&OwnedRecord { value: Some(value.to_vec()), ..OwnedRecord::default() }), None);
    }
}

#[test]
fn a_pace_is_even_and_makes_up_for_small_delays_only() {
    let nanos = Duration::from_nanos;
    for per_second in [1, 3, 1_000, 99_999, 1_000_000] {
        let mut pace = Pace::new(keys(per_second), Duration::from_secs(5));
        let mut now = Duration::from_secs(5);
        let mut last = None;
        for _ in 0..2 * per_second.min(5_000) {
            if let Err(wait) = pace.take(now) {
                now += wait;
                assert_eq!(pace.take(now), Ok(()), "it is due when it was said to be");
            }
            if let Some(last) = last {
                let step: Duration = now - last;
                let even = Duration::from_secs(1) / per_second;
                assert!(step + nanos(1) >= even && step <= even + nanos(1), "{per_second}: {step:?}");
            }
            last = Some(now);
        }
    }
    let mut pace = Pace::new(keys(1_000), Duration::ZERO);
    let mut take = |now: u64| std::iter::from_fn(|| pace.take(Duration::from_millis(now)).ok()).count();
    assert_eq!((take(0), take(1), take(11)), (1, 1, 10), "a small delay is made up for");
    assert_eq!(take(5_000), 1, "a pause is not");
    assert_eq!((take(5_001), take(5_010)), (1, 9));
}

/// A history: records in the order in which they are read.
struct History {
    records: Vec<(i32, OwnedRecord)>,
    seed: u64,
}

impl History {
    /// Keys are spread over partitions, whose records are read in turns at random.
    fn new(seed: u64, key_count: u32, partitions: i32, count: Option<u64>, records: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut queues: BTreeMap<i32, std::collections::VecDeque<OwnedRecord>> = BTreeMap::new();
        for record in run(seed, key_count, Size { min: 0, max: 0 }, count, records) {
            let key = Number::of(&record).expect("numbered").key();
            queues.entry(key as i32 % partitions).or_default().push_back(record);
        }
        let mut read = Vec::new();
        while !queues.is_empty() {
            let partition = *rng.choice(queues.keys()).expect("one is left");
            let queue = queues.get_mut(&partition).expect("it is there");
            for record in queue.drain(..rng.usize(1..=5).min(queue.len())) {
                read.push((partition, record));
            }
            if queue.is_empty() {
                queues.remove(&partition);
            }
        }
        Self { records: read, seed }
    }

    fn number(&self, at: usize) -> Number {
        Number::of(&self.records[at].1).expect("numbered")
    }

    fn verifier(&self, scope: Scope, expected: Option<u64>) -> Verifier {
        let mut verifier = Verifier::new(None, expected, scope);
        let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, record) in &self.records {
            let offset = offsets.entry(*partition).or_default();
            let place = Place { topic_index: 0, topic: "t", partition: *partition, offset: *offset };
            *offset += 1;
            verifier.take(place, record.key.as_deref(), Number::of(record)).expect("there is room");
        }
        verifier
    }

    #[track_caller]
    fn check(&self, scope: Scope, to_end: bool, expected: [u64; 4]) -> Summary {
        let summary = self.verifier(scope, None).finish(to_end);
        let Summary { repeated, out_of_order, unknown, .. } = &summary;
        let lost = lost(&summary);
        let found = [lost, repeated, out_of_order, unknown];
        assert_eq!(found.map(|findings| findings.count), expected, "seed {}: {}", self.seed, summary.table());
        // One example of what is lost may stand for all that follows.
        assert_eq!(lost.examples.is_empty(), lost.count == 0, "seed {}: {}", self.seed, summary.table());
        for findings in [repeated, out_of_order, unknown] {
            assert_eq!(
                findings.examples.len() as u64,
                findings.count.min(3),
                "seed {}: {}",
                self.seed,
                summary.table()
            );
        }
        summary
    }
}

const WHOLE: Scope = Scope { from_beginning: true, all_partitions: true, compacted: false };
const PART: Scope = Scope { from_beginning: false, ..WHOLE };

fn lost(summary: &Summary) -> &Findings {
    summary.lost.as_ref().expect("it is judged")
}

fn missing(summary: &Summary) -> &Findings {
    summary.missing.as_ref().expect("it is judged")
}

#[test]
fn a_good_history_has_nothing_wrong_wherever_reading_begins_and_ends() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (key_count, partitions) = (rng.u32(1..50), rng.i32(1..6));
        let mut history = History::new(seed, key_count, partitions, Some(1_000), 1_000);
        history.check(WHOLE, true, [0; 4]);
        history.check(PART, true, [0; 4]);
        // Somebody looks while it is being read.
        history.records.truncate(rng.usize(1..1_000));
        history.check(WHOLE, false, [0; 4]);
        // From somewhere in each partition on.
        let mut history = History::new(seed, key_count, partitions, None, 1_000);
        let mut skip: Vec<usize> = (0..partitions).map(|_| rng.usize(0..100)).collect();
        history.records.retain(|(partition, _)| {
            let left = &mut skip[*partition as usize];
            let skipped = *left > 0;
            *left -= usize::from(skipped);
            !skipped
        });
        history.check(PART, true, [0; 4]);
    }
}

#[test]
fn what_is_wrong_in_a_random_history_is_found_and_counted() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let key_count = rng.u32(1..40);
        let mut history = History::new(seed, key_count, rng.i32(1..5), Some(2_000), 2_000);
        // Neighbours of one key that change places; each record takes part once.
        let mut touched = BTreeSet::new();
        let mut swaps = 0;
        for _ in 0..rng.usize(0..20) {
            let first = rng.usize(..history.records.len());
            let lane = history.number(first).key();
            let next = (first + 1..history.records.len()).find(|at| history.number(*at).key() == lane);
            if let Some(next) = next.filter(|next| !touched.contains(&first) && !touched.contains(next)) {
                let (one, other) = (history.records[first].1.clone(), history.records[next].1.clone());
                (history.records[first].1, history.records[next].1) = (other, one);
                touched.extend([first, next]);
                swaps += 1;
            }
        }
        // Records that come again later, then some that have no number, then some that are gone.
        let originals = history.records.len();
        let mut repeats = Vec::new();
        for _ in 0..rng.usize(0..20) {
            let at = rng.usize(..originals);
            touched.insert(at);
            repeats.push(history.records[at].clone());
        }
        let repeated = repeats.len();
        let unknown = rng.usize(0..5);
        let gone: BTreeSet<usize> =
            (0..rng.usize(0..20)).map(|_| rng.usize(..originals)).filter(|at| !touched.contains(at)).collect();
        let mut at = 0..;
        history.records.retain(|_| at.next().is_some_and(|at| !gone.contains(&at)));
        history.records.extend(repeats);
        for _ in 0..unknown {
            history.records.insert(rng.usize(..history.records.len()), (0, OwnedRecord::default()));
        }
        // A swap counts once, wherever its records' neighbours went.
        let expected = [gone.len(), repeated, swaps, unknown].map(|count| count as u64);
        history.check(WHOLE, true, expected);
    }
}

#[test]
fn the_end_of_a_run_is_missed_if_its_count_is_known() {
    let mut history = History::new(5, 10, 3, Some(100), 100);
    history.records.retain(|(_, record)| Number::of(record).is_some_and(|number| number.number < 95));
    let summary = history.check(WHOLE, true, [5, 0, 0, 0]);
    assert!(lost(&summary).examples.iter().any(|example| example.contains("and all that follow it")), "{summary:?}");
    history.check(WHOLE, false, [0; 4]);
    let endless = History::new(5, 10, 3, None, 95);
    endless.check(WHOLE, true, [0; 4]);
    assert_eq!(lost(&endless.verifier(WHOLE, Some(100)).finish(true)).count, 5);
    assert!(endless.verifier(WHOLE, Some(100)).finish(false).is_good(), "more may come");
    assert!(!endless.verifier(WHOLE, Some(100)).is_complete() && endless.verifier(WHOLE, Some(95)).is_complete());
    // Keys of which nothing came.
    let mut history = History::new(6, 10, 3, Some(100), 100);
    history.records.retain(|(_, record)| Number::of(record).is_some_and(|number| number.key() > 1));
    history.check(WHOLE, true, [20, 0, 0, 0]);
    history.check(Scope { all_partitions: false, ..WHOLE }, true, [0; 4]);
}

#[test]
fn less_than_expected_is_missing_if_its_place_is_unknown() {
    // The first 20 of 100 are gone, as retention deletes them, with whole keys among them.
    let mut history = History::new(11, 10, 3, Some(100), 100);
    history.records.retain(|(_, record)| Number::of(record).is_some_and(|number| number.number >= 20));
    let summary = history.verifier(PART, Some(100)).finish(true);
    assert_eq!((lost(&summary).count, missing(&summary).count, summary.is_good()), (0, 20, false));
    assert!(summary.table().contains("20 of 100, place unknown"), "{}", summary.table());
    history.records.retain(|(_, record)| Number::of(record).is_some_and(|number| number.key() != 4));
    assert_eq!(missing(&history.verifier(PART, Some(100)).finish(true)).count, 28);
    // A run that is not there at all, and what nobody can hold against it.
    let only = Some(history.number(0).run);
    assert_eq!(missing(&Verifier::new(only, Some(7), PART).finish(true)).count, 7);
    assert!(Verifier::new(only, Some(7), PART).finish(false).is_good(), "more may come");
    assert!(history.verifier(PART, Some(100)).finish(false).is_good(), "more may come");
    // What is lost in a known place is not missing too.
    let mut history = History::new(12, 10, 3, Some(100), 100);
    history.records.retain(|(_, record)| Number::of(record).is_some_and(|number| number.number != 50));
    let summary = history.verifier(WHOLE, Some(100)).finish(true);
    assert_eq!((lost(&summary).count, missing(&summary).count), (1, 0));
}

#[test]
fn what_compaction_leaves_is_checked_for_repeats_and_order_only() {
    let compacted = Scope { compacted: true, ..WHOLE };
    let mut history = History::new(13, 10, 3, Some(100), 100);
    let mut rng = fastrand::Rng::with_seed(13);
    history.records.retain(|_| rng.bool());
    let summary = history.verifier(compacted, Some(100)).finish(true);
    assert_eq!((&summary.lost, &summary.missing, summary.is_good()), (&None, &None, true));
    assert!(summary.table().contains("lost          cannot be told"), "{}", summary.table());
    history.records.push(history.records[3].clone());
    let summary = history.verifier(compacted, Some(100)).finish(true);
    assert_eq!((summary.repeated.count, summary.is_good()), (1, false));
}

#[test]
fn a_key_in_several_partitions_is_not_lost_where_nothing_was_read() {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (key_count, partitions) = (rng.u32(1..20), rng.i32(2..5));
        let mut history = History::new(seed, key_count, 1, Some(2_000), 2_000);
        // As a function does that chooses other keys or topics.
        history.records.iter_mut().for_each(|(partition, _)| *partition = rng.i32(0..partitions));
        history.check(WHOLE, true, [0; 4]);
        let mut skip: Vec<usize> = (0..partitions).map(|_| rng.usize(0..300)).collect();
        history.records.retain(|(partition, _)| {
            let left = &mut skip[*partition as usize];
            let skipped = *left > 0;
            *left -= usize::from(skipped);
            !skipped
        });
        history.check(PART, true, [0; 4]);
        // Near the end everything is known.
        let at = history.records.len() - 1 - rng.usize(..50);
        if (at + 1..history.records.len()).any(|later| history.number(later).key() == history.number(at).key()) {
            history.records.remove(at);
            assert_eq!(lost(&history.verifier(PART, None).finish(true)).count, 1, "seed {seed}");
        }
    }
}

#[test]
fn a_gap_says_where_it_is() {
    let mut history = History::new(7, 1, 1, None, 10);
    history.records.remove(4);
    let summary = history.check(WHOLE, true, [1, 0, 0, 0]);
    assert_eq!(lost(&summary).examples, ["key-0: t/0 @4: number 5, expected 4"]);
    history.records.swap(6, 7);
    let summary = history.check(WHOLE, true, [1, 0, 1, 0]);
    assert_eq!(summary.out_of_order.examples, ["key-0: t/0 @7: number 7 after 8"]);
    history.records.push(history.records[2].clone());
    let summary = history.check(WHOLE, true, [1, 1, 1, 0]);
    assert_eq!(summary.repeated.examples, ["key-0: t/0 @9: number 2 again"]);
    assert!(!summary.is_good());
    assert!(summary.table().lines().all(|line| line.chars().count() <= 80), "{}", summary.table());
}

#[test]
fn one_run_can_be_looked_at_among_others() {
    let (one, other) = (History::new(8, 5, 2, None, 50), History::new(9, 5, 2, None, 70));
    let wanted = one.number(0).run;
    let mut verifier = Verifier::new(Some(wanted), None, WHOLE);
    for (partition, record) in one.records.iter().chain(&other.records) {
        let place = Place { topic_index: 0, topic: "t", partition: *partition, offset: 0 };
        verifier.take(place, None, Number::of(record)).expect("there is room");
    }
    let summary = verifier.finish(true);
    assert!(summary.is_good(), "{}", summary.table());
    assert_eq!(summary.runs, BTreeMap::from([(wanted.to_string(), 50)]));
}

#[test]
fn memory_has_a_bound() {
    let number = |number: u64| Number { run: Run::read("abcdefgh").expect("a run"), number, keys: 1, count: None };
    let place = Place { topic_index: 0, topic: "t", partition: 0, offset: 0 };
    let mut verifier = Verifier::new(None, None, WHOLE);
    let spread = (0..).map(|at: u64| verifier.take(place, None, Some(number(at << 16))));
    let taken = spread.take_while(Result::is_ok).count();
    assert_eq!(taken, verify::MAX_PARTS);

    let mut verifier = Verifier::new(None, None, WHOLE);
    let lane = |at: u64| Number { keys: MAX_KEYS, ..number(at) };
    let keys = (0..2).flat_map(|partition| (0..u64::from(MAX_KEYS)).map(move |key| (partition, key)));
    let mut at = 0;
    let refused = keys.map(|(partition, key)| {
        at += 1;
        verifier.take(Place { partition, ..place }, None, Some(lane(u64::from(MAX_KEYS) * partition as u64 + key)))
    });
    assert_eq!(refused.filter_map(Result::err).next(), Some(TooMuch::Keys));
    assert_eq!(at, verify::MAX_LANES + 1);
}
