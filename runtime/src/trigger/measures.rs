//! What is measured of a trigger for the metrics of its node, beside its status.
//!
//! The loop of the trigger writes and never waits: a call costs some relaxed additions, and the rest is written when
//! the status is published. Whoever reads the metrics takes a lock that the loop takes only then, too. Bounded:
//! [`KEPT`] revisions and the partitions that the trigger owns.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::clock::Now;
use super::counts::Counts;
use crate::histogram::Histogram;
use crate::record::batch::Batch;

/// How many revisions are shown: the last ones that were adopted.
const KEPT: usize = 3;
/// How often lags are looked up at most.
const LAGS: Duration = Duration::from_secs(1);

/// The measures of one trigger. Clones are the same measures.
#[derive(Clone, Debug, Default)]
pub struct Measures(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// The newest one last.
    revisions: Mutex<VecDeque<Arc<Revision>>>,
    lags: Mutex<Vec<Lag>>,
    buffered_bytes: AtomicU64,
}

/// What one revision of the trigger's function did.
#[derive(Debug)]
pub struct Revision {
    /// SHA-256 of the component.
    pub name: Arc<str>,
    pub call_time: Histogram,
    /// From the timestamp of the oldest record of a call to the end of the call.
    pub age: Histogram,
    pub call_records: Histogram,
    pub calls: AtomicU64,
    /// Instances that were started for a call.
    pub started: AtomicU64,
    pub handled: AtomicU64,
    pub split: AtomicU64,
    /// Instances that exist now, and those of them that run calls.
    pub instances: AtomicU64,
    pub busy: AtomicU64,
}

/// How far a partition is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Offsets from the first record that is not done to the end of the partition.
    pub records: u64,
}

/// Two handles are equal if they are those of one trigger: what is measured is no part of a status that changes.
impl PartialEq for Measures {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Measures {}

impl Measures {
    /// Where a lane of this revision records. Revisions that were adopted before the last ones are forgotten.
    pub fn recorder(&self, name: &Arc<str>) -> Recorder {
        let mut revisions = lock(&self.0.revisions);
        let known = revisions.iter().position(|revision| revision.name == *name).and_then(|at| revisions.remove(at));
        let revision = known.unwrap_or_else(|| Arc::new(Revision::new(name)));
        revisions.push_back(revision.clone());
        if revisions.len() > KEPT {
            revisions.pop_front();
        }
        Recorder { revision, counted: Cell::default() }
    }

    /// The revisions that were adopted last.
    pub fn revisions(&self) -> Vec<Arc<Revision>> {
        lock(&self.0.revisions).iter().cloned().collect()
    }

    /// What the windows of the trigger, its client and its outputs hold.
    pub fn hold(&self, bytes: u64) {
        self.0.buffered_bytes.store(bytes, Ordering::Relaxed);
    }

    pub fn buffered_bytes(&self) -> u64 {
        self.0.buffered_bytes.load(Ordering::Relaxed)
    }

    /// Replaces the lags.
    pub fn set_lags(&self, lags: impl Iterator<Item = Lag>) {
        let mut known = lock(&self.0.lags);
        known.clear();
        known.extend(lags);
    }

    /// Of the partitions of which it is known.
    pub fn lags(&self) -> Vec<Lag> {
        lock(&self.0.lags).clone()
    }
}

impl Revision {
    fn new(name: &Arc<str>) -> Self {
        Self {
            name: name.clone(),
            call_time: Histogram::of_times(),
            age: Histogram::of_times(),
            call_records: Histogram::of_sizes(),
            calls: AtomicU64::new(0),
            started: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            split: AtomicU64::new(0),
            instances: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        }
    }
}

/// Records what a lane does.
#[derive(Debug)]
pub struct Recorder {
    revision: Arc<Revision>,
    /// What was added to the counts of the revision.
    counted: Cell<Counts>,
}

impl Recorder {
    /// A call of these records ended, however it ended.
    pub fn call(&self, batch: &Batch, elapsed: Duration, now: Now) {
        self.revision.call_time.time(elapsed);
        self.revision.call_records.record(batch.len() as u64);
        // Records without a timestamp have a negative one.
        let oldest = batch.timestamps().iter().copied().filter(|&time| time >= 0).min();
        if let Some(oldest) = oldest.and_then(|oldest| u64::try_from(oldest).ok()) {
            // A clock ahead of this one makes records that come from the future.
            self.revision.age.time(now.unix.saturating_sub(Duration::from_millis(oldest)));
        }
    }

    /// What the lane counted so far, its instances, and its running calls. One instance runs one call.
    pub fn show(&self, counts: Counts, instances: usize, running: usize) {
        let (revision, before) = (&self.revision, self.counted.replace(counts));
        revision.calls.fetch_add(counts.calls - before.calls, Ordering::Relaxed);
        revision.started.fetch_add(counts.instances - before.instances, Ordering::Relaxed);
        revision.handled.fetch_add(counts.handled - before.handled, Ordering::Relaxed);
        revision.split.fetch_add(counts.split - before.split, Ordering::Relaxed);
        revision.instances.store(instances as u64, Ordering::Relaxed);
        revision.busy.store(running as u64, Ordering::Relaxed);
    }
}

/// When lags are looked up.
#[derive(Debug)]
pub struct LagClock(Instant);

impl LagClock {
    pub fn new(now: Instant) -> Self {
        Self(now)
    }

    /// Whether it is time, at most once a second.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.0;
        if is_due {
            self.0 = now + LAGS;
        }
        is_due
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(measures: &Measures) -> Vec<String> {
        measures.revisions().iter().map(|revision| revision.name.to_string()).collect()
    }

    #[test]
    fn the_last_three_revisions_are_kept() {
        let measures = Measures::default();
        for (name, expected) in [("a", "a"), ("b", "a b"), ("a", "b a"), ("c", "b a c"), ("d", "a c d")] {
            measures.recorder(&name.into());
            assert_eq!(names(&measures).join(" "), expected);
        }
    }

    #[test]
    fn counts_of_two_lanes_of_one_revision_are_added() {
        let measures = Measures::default();
        let counts = |handled| Counts { handled, ..Counts::default() };
        let (one, two) = (measures.recorder(&"a".into()), measures.recorder(&"a".into()));
        one.show(counts(3), 1, 0);
        one.show(counts(5), 1, 0);
        two.show(counts(1), 2, 1);
        let revision = &measures.revisions()[0];
        let numbers = [&revision.handled, &revision.instances, &revision.busy];
        assert_eq!(numbers.map(|number| number.load(Ordering::Relaxed)), [6, 2, 1]);
    }

    #[test]
    fn lags_are_due_once_a_second() {
        let now = Instant::now();
        let mut clock = LagClock::new(now);
        let due = [0, 999, 1_000, 1_500].map(|ms| clock.is_due(now + Duration::from_millis(ms)));
        assert_eq!(due, [true, false, true, false]);
    }
}
