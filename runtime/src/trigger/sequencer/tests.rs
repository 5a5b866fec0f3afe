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

const LIMITS: Limits = Limits { records: 10_000, bytes: usize::MAX, metadata: MAX_METADATA };

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
    now: Now,
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
        let limits = Limits { records: rng.usize(5..800), bytes: rng.usize(500..100_000), metadata: MAX_METADATA };
        let committed = (log[0].0, String::new());
        let poison = (0..log.len()).filter(|_| rng.u8(..50) == 0).collect();
        let now = Now { instant: Instant::now(), unix: Duration::from_secs(1_800_000_000) };
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
                let time = Duration::from_millis(self.rng.u64(1..50));
                self.pass(time);
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
            let (offset, group) = self.log[self.next];
            self.delivered.push(self.next);
            let bytes = self.rng.usize(0..200);
            if !self.window.admit(offset, group, Route::STABLE, bytes, self.next, self.now) {
                assert!(self.durable.contains(&self.next), "offset {offset} was skipped, but never committed as done");
                self.handled.insert(self.next);
            }
            self.next += 1;
        }
    }

    fn take(&mut self) {
        let share = Share { records: self.rng.usize(1..50), bytes: self.rng.usize(1..5_000) };
        let mut taken = Vec::new();
        if self.rng.u8(..4) == 0 {
            self.window.take_one(Route::STABLE, self.rng.usize(..), |one| taken.push(one));
            assert!(taken.len() <= 1);
        } else {
            self.window.take(Route::STABLE, share, |one| taken.push(one));
        }
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
        let failed = self.window.failed(one.sequence, true, self.now);
        assert_eq!(failed.attempts, one.attempt);
        self.failures.insert(one.record, failed.attempts);
        let after = Duration::from_millis(self.rng.u64(..40));
        self.window.wait(one.sequence, after, self.now, one.record, |_| {});
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
        self.check_keys_of_durable();
        self.durable_failures = read
            .failed
            .iter()
            .map(|failed| {
                (self.log.binary_search_by_key(&failed.offset, |record| record.0).expect("exists"), failed.attempts)
            })
            .collect();
        self.committed = (progress.low, metadata);
    }

    /// What is committed as done follows nothing of its key that would be done again.
    fn check_keys_of_durable(&self) {
        let mut open = BTreeSet::new();
        for (record, (offset, key)) in self.log.iter().enumerate() {
            let Some(key) = key else { continue };
            if !self.durable.contains(&record) {
                open.insert(key);
            } else {
                assert!(!open.contains(key), "the record at {offset} is committed before one ahead of it on its key");
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { instant: self.now.instant + time, unix: self.now.unix + time };
        self.window.wake(self.now.instant);
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
            self.pass(Duration::from_millis(50));
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
        panic!("the window is stuck: {} open, {} ready", self.window.slots.len(), self.window.ready(Route::STABLE));
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
    let mut window = Window::new(resumed, LIMITS);
    assert!(window.admit(0, None, Route::STABLE, 1, 0, now()), "record 0 is another one");
    take(&mut window, 1);
    window.handled(0, 0);
    assert_eq!(window.progress(), Progress::at(1));
}

#[test]
fn how_the_group_began_is_committed_again() {
    let resumed = Progress { low: 5, partitions_at_start: 4, ..Progress::default() };
    let mut window = Window::new(resumed, LIMITS);
    window.admit(5, None, Route::STABLE, 1, 5, now());
    take(&mut window, 1);
    window.handled(0, 0);
    assert_eq!(window.progress(), Progress { low: 6, partitions_at_start: 4, ..Progress::default() });
}

fn window(records: usize) -> Window<i64> {
    let mut window = Window::new(Progress::at(0), LIMITS);
    for offset in 0..records as i64 {
        window.admit(offset, Some(1 + offset as u64 % 3), Route::STABLE, 10, offset, now());
    }
    window
}

fn now() -> Now {
    Now { instant: Instant::now(), unix: Duration::from_secs(1_800_000_000) }
}

fn take<R>(window: &mut Window<R>, records: usize) -> Vec<Sequence> {
    let mut taken = Vec::new();
    window.take(Route::STABLE, Share { records, bytes: usize::MAX }, |one| taken.push(one.sequence));
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
    let now = now();
    window.failed(0, true, now);
    let mut held_up = Vec::new();
    window.wait(0, Duration::ZERO, now, 0, |&mut offset| held_up.push(offset));
    assert_eq!(held_up, [3, 6], "those that may stay for long are told");
    window.handled(1, 0);
    window.handled(2, 0);
    assert_eq!(take(&mut window, 100), [4, 5, 7, 8]);
    window.wake(now.instant);
    assert_eq!(take(&mut window, 100), [0]);
    window.handled(0, 0);
    assert_eq!(take(&mut window, 100), [3, 6]);
}

/// Were the first one handled again after a crash, the second one would have to follow it.
#[test]
fn a_record_is_done_only_if_those_ahead_of_it_on_its_key_are() {
    let mut window = window(9);
    take(&mut window, 3);
    window.handled(0, 1);
    window.handled(1, 0);
    window.handled(2, 0);
    assert_eq!(take(&mut window, 2), [3, 4]);
    window.handled(3, 0);
    window.handled(4, 0);
    assert_eq!(window.progress(), Progress { low: 0, done: vec![1..3, 4..5], ..Progress::default() });
    window.acknowledged(0);
    assert_eq!(window.progress(), Progress::at(5));
}

#[test]
fn a_record_that_failed_under_another_owner_waits_for_its_time_here() {
    let start = now();
    let at = |seconds: u64| Now {
        instant: start.instant + Duration::from_secs(seconds),
        unix: start.unix + Duration::from_secs(seconds),
    };
    let mut window = window(3);
    take(&mut window, 1);
    window.failed(0, true, start);
    window.wait(0, Duration::from_secs(60), start, 0, |_| {});
    let progress = window.progress();
    let read = Progress::decode(progress.low, &progress.encode(MAX_METADATA)).expect("own metadata is readable");
    let mut heir = Window::new(read, LIMITS);
    heir.admit(0, None, Route::STABLE, 10, 0, at(20));
    assert_eq!((take(&mut heir, 9), heir.next_due()), (vec![], Some(at(60).instant)));
    heir.wake(at(60).instant);
    assert_eq!(take(&mut heir, 9), [0]);
    let mut late = Window::new(progress, LIMITS);
    late.admit(0, None, Route::STABLE, 10, 0, at(61));
    assert_eq!(take(&mut late, 9), [0], "its time is over");
}

/// A canary has few of the keys, and gets its records however many others lie before them.
#[test]
fn each_route_has_its_own_records() {
    let mut window = window(0);
    for offset in 0..1_000 {
        let route = if offset % 100 == 99 { Route::CANARY } else { Route::STABLE };
        window.admit(offset, None, route, 10, offset, now());
    }
    assert_eq!((window.ready(Route::STABLE), window.ready(Route::CANARY)), (990, 10));
    let mut taken = Vec::new();
    window.take(Route::CANARY, Share { records: 3, bytes: usize::MAX }, |one| taken.push(one.sequence));
    assert_eq!(taken, [99, 199, 299]);
}

#[test]
fn a_record_that_is_too_old_is_given_up_without_a_call() {
    let (mut window, start) = (window(9), now());
    take(&mut window, 2);
    (0..2).for_each(|sequence| assert_eq!(window.failed(sequence, false, start).attempts, 0));
    window.wait(0, Duration::from_secs(60), start, 0, |_| {});
    assert_eq!(window.take_failed_before(Route::STABLE, start.unix_s() - 1), None, "it is young");
    assert_eq!(window.oldest_failure_unix_s(Route::STABLE), Some(start.unix_s()));
    assert_eq!(window.take_failed_before(Route::STABLE, start.unix_s()), Some((0, 0)));
    assert_eq!(window.take_failed_before(Route::STABLE, start.unix_s()), None, "the other one runs");
    window.handled(0, 0);
    window.wake(start.instant + Duration::from_secs(61));
}

/// However far the offsets are apart, what runs ahead is charged by what it costs.
#[test]
fn a_hole_in_the_offsets_stops_nobody() {
    let mut window = window(1);
    take(&mut window, 1);
    window.failed(0, true, now());
    window.wait(0, Duration::from_secs(60), now(), 0, |_| {});
    for offset in 400_000..401_000 {
        window.admit(offset, None, Route::STABLE, 10, offset, now());
    }
    assert!(window.startable(Route::STABLE) > 400, "{} may start", window.startable(Route::STABLE));
}

#[test]
fn records_that_wait_are_no_work_at_hand() {
    let mut window = window(0);
    for offset in 0..1_000 {
        window.admit(offset, None, Route::STABLE, 10, offset, now());
    }
    // A third fails and waits, the others are done.
    for _ in 0..4 {
        for sequence in take(&mut window, 250) {
            if sequence % 3 == 0 {
                window.failed(sequence, true, now());
                window.wait(sequence, Duration::from_secs(3_600), now(), 0, |_| {});
            } else {
                window.handled(sequence, 0);
            }
        }
    }
    assert!((window.ready(Route::STABLE) > 0), "the size of the progress stops them");
    assert_eq!(window.startable(Route::STABLE), 0);
}

#[test]
fn suspects_ride_among_themselves() {
    let mut window = window(0);
    for offset in 0..20 {
        window.admit(offset, None, Route::STABLE, 10, offset, now());
    }
    for sequence in take(&mut window, 10) {
        window.suspect(sequence, 4);
        window.put_back(sequence, sequence as i64);
    }
    assert_eq!(take(&mut window, 100), [0, 1, 2, 3]);
    assert_eq!(take(&mut window, 100), [4, 5, 6, 7]);
    assert_eq!(take(&mut window, 100), (10..20).collect::<Vec<_>>(), "the kinds take turns");
    assert_eq!(take(&mut window, 100), [8, 9]);
}

#[test]
fn running_ahead_stops_before_progress_outgrows_the_metadata() {
    let mut window = Window::new(Progress::at(0), LIMITS);
    for offset in 0..10_000 {
        window.admit(offset, None, Route::STABLE, 10, offset, now());
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
    let mut window = Window::new(resumed, LIMITS);
    for offset in 10..15 {
        window.admit(offset, None, Route::STABLE, 1, offset, now());
    }
    take(&mut window, 1);
    window.handled(0, 0);
    assert_eq!(window.progress(), Progress { low: 11, done: vec![12..14, 20..30], ..Progress::default() });
}
