//! The sequencer and its progress, driven by seeded random histories of one partition through many
//! owners: keys, failures, retries, calls that complete out of order, revocations, crashes, and
//! restarts that read back what was committed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::progress::MAX_METADATA;
use super::*;

/// Steps over all histories of a test run.
const STEPS: usize = 200_000;
const HISTORIES: usize = 100;

struct Call {
    taken: Vec<Taken<usize>>,
}

/// A partition, its committed progress, and the window of its present owner.
struct World {
    rng: fastrand::Rng,
    /// Offset and key of every record; offsets have gaps.
    log: Vec<(i64, Option<u64>)>,
    /// Next record of the log to deliver.
    next: usize,
    window: Window<usize>,
    limits: Limits,
    calls: Vec<Call>,
    /// Sequences with messages under way.
    sent: Vec<Sequence>,
    /// Index in the log of each sequence of this owner.
    delivered: Vec<usize>,
    committed: (i64, String),
    /// Records that were done when progress was committed last.
    durable: BTreeSet<usize>,
    /// Records whose messages the broker has, ever.
    acknowledged: BTreeSet<usize>,
    /// Records handled by this owner or done before it.
    handled: BTreeSet<usize>,
    failures: BTreeMap<usize, u32>,
    durable_failures: BTreeMap<usize, u32>,
    poison: BTreeSet<usize>,
    start: Instant,
    now: Instant,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let keys = rng.u64(1..40);
        let mut offset = rng.i64(0..1_000_000);
        let log: Vec<_> = (0..rng.usize(200..1_500))
            .map(|_| {
                offset += if rng.u8(..10) == 0 { rng.i64(1..300) } else { 1 };
                (offset, (rng.u8(..8) > 0).then(|| rng.u64(..keys)))
            })
            .collect();
        let limits = Limits { records: rng.usize(5..800), bytes: rng.usize(500..100_000) };
        let committed = (log[0].0, String::new());
        let poison = (0..log.len()).filter(|_| rng.u8(..50) == 0).collect();
        let now = Instant::now();
        Self {
            window: Window::new(Progress::at(committed.0), limits),
            rng,
            log,
            next: 0,
            limits,
            calls: Vec::new(),
            sent: Vec::new(),
            delivered: Vec::new(),
            committed,
            durable: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            handled: BTreeSet::new(),
            failures: BTreeMap::new(),
            durable_failures: BTreeMap::new(),
            poison,
            start: now,
            now,
        }
    }

    fn step(&mut self) {
        match self.rng.u32(..1000) {
            0..300 => self.admit(),
            300..500 => self.take(),
            500..700 => self.finish_call(),
            700..900 => self.acknowledge(),
            900..950 => self.commit(),
            950..992 => {
                self.now += Duration::from_millis(self.rng.u64(1..50));
                self.window.wake(self.now);
            }
            992..996 => {
                self.commit();
                self.reassign();
            }
            _ => self.reassign(),
        }
        self.check_bounds();
    }

    fn admit(&mut self) {
        for _ in 0..self.rng.usize(1..60) {
            if self.next == self.log.len() || !self.window.has_room() {
                return;
            }
            let (offset, line) = self.log[self.next];
            self.delivered.push(self.next);
            let bytes = self.rng.usize(0..200);
            if !self.window.admit(offset, line, bytes, self.next) {
                assert!(self.durable.contains(&self.next), "offset {offset} was skipped, but never committed as done");
                self.handled.insert(self.next);
            }
            self.next += 1;
        }
    }

    fn take(&mut self) {
        let share = Share { records: self.rng.usize(1..50), bytes: self.rng.usize(1..5_000) };
        let mut taken = Vec::new();
        self.window.take(share, |one| taken.push(one));
        assert!(taken.len() <= share.records);
        let mut in_this_call = BTreeSet::new();
        for one in &taken {
            let record = self.delivered[one.sequence as usize];
            assert_eq!(record, one.record);
            assert!(!self.durable.contains(&record), "record {record} ran after it was committed as done");
            assert!(!self.handled.contains(&record), "record {record} ran twice for one owner");
            let known = self.durable_failures.get(&record).copied().unwrap_or(0);
            assert!(one.attempt > known, "attempts of record {record} were forgotten");
            assert_eq!(one.attempt, self.failures.get(&record).copied().unwrap_or(0) + 1);
            self.check_order(record, &in_this_call);
            assert!(in_this_call.last().is_none_or(|&last| last < record), "offsets of a call ascend");
            in_this_call.insert(record);
        }
        if !taken.is_empty() {
            self.calls.push(Call { taken });
        }
    }

    /// Everything of its key ahead of a record is handled, or rides in front of it.
    fn check_order(&self, record: usize, in_this_call: &BTreeSet<usize>) {
        let Some(key) = self.log[record].1 else { return };
        for earlier in (0..record).rev() {
            if self.log[earlier].1 == Some(key) {
                assert!(
                    self.handled.contains(&earlier) || in_this_call.contains(&earlier),
                    "record {record} overtook {earlier} of its key"
                );
            }
        }
    }

    fn finish_call(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let call = self.calls.swap_remove(self.rng.usize(..self.calls.len()));
        if call.taken.iter().any(|one| self.poison.contains(&one.record)) {
            self.trap(&call);
            return;
        }
        let unlucky = self.rng.u8(..4) == 0;
        for one in &call.taken {
            if self.window.is_blocked(one.sequence) {
                self.window.put_back(one.sequence, one.record);
            } else if unlucky && self.rng.u8(..5) == 0 {
                self.fail(one);
            } else {
                self.handle(one);
            }
        }
    }

    /// The whole call failed: smaller calls until the poison is alone.
    fn trap(&mut self, call: &Call) {
        if let [one] = &call.taken[..] {
            self.fail(one);
            if self.failures[&one.record] >= 3 {
                self.poison.remove(&one.record);
            }
            return;
        }
        for one in &call.taken {
            self.window.suspect(one.sequence, call.taken.len() / 8);
            self.window.put_back(one.sequence, one.record);
        }
    }

    fn fail(&mut self, one: &Taken<usize>) {
        let unix_s = 1_800_000_000 + (self.now - self.start).as_secs();
        let failed = self.window.count_failure(one.sequence, unix_s);
        assert_eq!(failed.attempts, one.attempt);
        self.failures.insert(one.record, failed.attempts);
        let due = self.now + Duration::from_millis(self.rng.u64(..40));
        self.window.wait(one.sequence, due, one.record, |_| {});
    }

    fn handle(&mut self, one: &Taken<usize>) {
        let messages = self.rng.u32(..3);
        self.handled.insert(one.record);
        if messages == 0 {
            self.acknowledged.insert(one.record);
        }
        self.window.handled(one.sequence, messages);
        self.sent.extend((0..messages).map(|_| one.sequence));
    }

    fn acknowledge(&mut self) {
        for _ in 0..self.rng.usize(1..30) {
            if self.sent.is_empty() {
                return;
            }
            let sequence = self.sent.swap_remove(self.rng.usize(..self.sent.len()));
            if !self.sent.contains(&sequence) {
                self.acknowledged.insert(self.delivered[sequence as usize]);
            }
            self.window.acknowledged(sequence);
        }
    }

    fn commit(&mut self) {
        if !self.window.is_dirty() {
            return;
        }
        let progress = self.window.progress();
        let metadata = progress.encode(MAX_METADATA);
        assert!(metadata.len() <= MAX_METADATA);
        assert!(progress.low >= self.committed.0, "the committed offset went back");
        let read = Progress::decode(progress.low, &metadata).expect("own metadata is readable");
        self.durable = (0..self.log.len())
            .filter(|&record| self.log[record].0 < read.low || read.is_done(self.log[record].0))
            .collect();
        assert!(self.durable.is_subset(&self.acknowledged), "committed as done, but not acknowledged");
        self.durable_failures = read
            .failed
            .iter()
            .map(|failed| {
                (self.log.binary_search_by_key(&failed.offset, |record| record.0).expect("exists"), failed.attempts)
            })
            .collect();
        self.committed = (progress.low, metadata);
    }

    /// Another owner, or the same one after a crash, goes on from what was committed.
    fn reassign(&mut self) {
        let progress = Progress::decode(self.committed.0, &self.committed.1).expect("own metadata is readable");
        self.next = self.log.partition_point(|record| record.0 < progress.low);
        self.window = Window::new(progress, self.limits);
        self.calls.clear();
        self.sent.clear();
        self.delivered.clear();
        self.failures = self.durable_failures.clone();
        self.handled = (0..self.next).collect();
    }

    fn check_bounds(&self) {
        assert!(self.window.slots.len() <= self.limits.records);
        assert!(self.window.bytes() <= self.limits.bytes + 200);
        let running: usize = self.calls.iter().map(|call| call.taken.len()).sum();
        assert_eq!(self.window.running(), running);
    }

    /// Faults stop; everything must come to its end.
    fn settle(&mut self) {
        self.poison.clear();
        for _ in 0..100_000 {
            self.admit();
            self.now += Duration::from_millis(50);
            self.window.wake(self.now);
            self.take();
            self.finish_call();
            self.acknowledge();
            if self.next == self.log.len() && self.window.slots.is_empty() {
                self.commit();
                assert_eq!(self.committed, (self.log[self.log.len() - 1].0 + 1, String::new()));
                assert_eq!(self.acknowledged.len(), self.log.len(), "a record was skipped");
                return;
            }
        }
        panic!("the window is stuck: {} open, {} ready", self.window.slots.len(), self.window.ready());
    }
}

fn seeds() -> impl Iterator<Item = u64> {
    let first = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = first.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("TIDEGATE_TEST_SEED={first}");
    first..first + HISTORIES as u64
}

#[test]
fn random_histories_lose_repeat_and_reorder_nothing() {
    for seed in seeds() {
        let mut world = World::new(seed);
        println!("history {seed}: {} records", world.log.len());
        for _ in 0..STEPS / HISTORIES {
            world.step();
        }
        world.settle();
    }
}

#[test]
fn a_topic_created_anew_starts_at_its_beginning() {
    let resumed = Progress { low: 100, done: vec![101..110], ..Progress::default() };
    let mut window = Window::new(resumed, Limits { records: 100, bytes: usize::MAX });
    assert!(window.admit(0, None, 1, 0), "record 0 is another one");
    take(&mut window, 1);
    window.handled(0, 0);
    assert_eq!(window.progress(), Progress::at(1));
}

#[test]
fn how_the_group_began_is_committed_again() {
    let resumed = Progress { low: 5, partitions_at_start: 4, ..Progress::default() };
    let mut window = Window::new(resumed, Limits { records: 100, bytes: usize::MAX });
    window.admit(5, None, 1, 5);
    take(&mut window, 1);
    window.handled(0, 0);
    assert_eq!(window.progress(), Progress { low: 6, partitions_at_start: 4, ..Progress::default() });
}

fn window(records: usize) -> Window<i64> {
    let mut window = Window::new(Progress::at(0), Limits { records: 10_000, bytes: usize::MAX });
    for offset in 0..records as i64 {
        window.admit(offset, Some(1 + offset as u64 % 3), 10, offset);
    }
    window
}

fn take<R>(window: &mut Window<R>, records: usize) -> Vec<Sequence> {
    let mut taken = Vec::new();
    window.take(Share { records, bytes: usize::MAX }, |one| taken.push(one.sequence));
    taken
}

#[test]
fn records_of_one_key_ride_in_one_call_in_order() {
    let mut window = window(9);
    assert_eq!(take(&mut window, 7), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(take(&mut window, 7), [0; 0], "the rest waits for its keys");
}

#[test]
fn a_record_that_waits_holds_up_its_key_only() {
    let mut window = window(9);
    take(&mut window, 3);
    let due = Instant::now();
    window.count_failure(0, 1);
    let mut held_up = Vec::new();
    window.wait(0, due, 0, |&mut offset| held_up.push(offset));
    assert_eq!(held_up, [3, 6], "those that may stay for long are told");
    window.handled(1, 0);
    window.handled(2, 0);
    assert_eq!(take(&mut window, 100), [4, 5, 7, 8]);
    window.wake(due);
    assert_eq!(take(&mut window, 100), [0, 3, 6]);
}

#[test]
fn suspects_ride_among_themselves() {
    let mut window = window(0);
    for offset in 0..20 {
        window.admit(offset, None, 10, offset);
    }
    for sequence in take(&mut window, 10) {
        window.suspect(sequence, 4);
        window.put_back(sequence, sequence as i64);
    }
    assert_eq!(take(&mut window, 100), [0, 1, 2, 3]);
    assert_eq!(take(&mut window, 100), [4, 5, 6, 7]);
    assert_eq!(take(&mut window, 100), [8, 9]);
    assert_eq!(take(&mut window, 100), (10..20).collect::<Vec<_>>());
}

#[test]
fn running_ahead_stops_before_progress_outgrows_the_metadata() {
    let mut window = Window::new(Progress::at(0), Limits { records: 10_000, bytes: usize::MAX });
    for offset in 0..10_000 {
        window.admit(offset, None, 10, offset);
    }
    let mut open = Vec::new();
    loop {
        let taken = take(&mut window, 500);
        if taken.is_empty() {
            break;
        }
        // Every other one is done at once, the worst case for ranges.
        for sequence in taken {
            if sequence % 2 == 1 { window.handled(sequence, 0) } else { open.push(sequence) }
        }
    }
    let progress = window.progress();
    assert!(progress.encode(MAX_METADATA).len() <= MAX_METADATA);
    assert_eq!(Progress::decode(progress.low, &progress.encode(MAX_METADATA)), Ok(progress), "nothing was cut");
    assert!(open.len() > 500, "and yet {} ran ahead", open.len());
    for sequence in open {
        window.handled(sequence, 0);
    }
    assert_eq!(take(&mut window, 1).len(), 1, "once they are done, it goes on");
}

#[test]
fn what_the_last_owner_did_is_committed_again() {
    let resumed = Progress { low: 10, done: vec![12..14, 20..30], ..Progress::default() };
    let mut window = Window::new(resumed, Limits { records: 100, bytes: usize::MAX });
    for offset in 10..15 {
        window.admit(offset, None, 1, offset);
    }
    take(&mut window, 1);
    window.handled(0, 0);
    assert_eq!(window.progress(), Progress { low: 11, done: vec![12..14, 20..30], ..Progress::default() });
}
