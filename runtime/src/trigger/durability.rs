//! Outputs and progress become durable: which commit is under way, who waits for which, and whether
//! messages may be produced at all.
//!
//! At least once, progress is committed on a timer, after the messages it speaks of were acknowledged.
//! Commits bear numbers, so that whoever waits for one is not answered by an earlier one. When the
//! producer has to be given up, a *gate* closes: nothing is produced until what it had handed to the
//! brokers is answered or given up too, and another producer takes over. What was not acknowledged by
//! then runs again from the progress that stands.
//!
//! Pure: time is an argument.

use std::time::{Duration, Instant};

use super::progress::MAX_METADATA;
use crate::kafka::Batching;

/// How long requests that are written to a socket may take after the producer was given up.
const RETIRE_LIMIT: Duration = Duration::from_secs(10);
/// A producer that worked for so long was well: the next pause is the first one again.
const WELL: Duration = Duration::from_secs(60);
/// Pauses before another producer is made, after one broke or could not be made.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long messages are sent one by one after the broker refused a request for one of them.
const FIRST_SINGLE: Duration = Duration::from_secs(30);
const LONGEST_SINGLE: Duration = Duration::from_secs(16 * 60);
/// How long messages may stay behind while the brokers answer, at first and at most.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_PATIENCE: Duration = Duration::from_secs(16 * 60);
/// After so long without a refusal, or without messages left behind, the next one is the first one again.
const CALM: Duration = Duration::from_secs(10 * 60);

/// Whether messages may be produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// The producer was given up. Requests that it wrote may still be answered until then.
    Retiring {
        until: Instant,
    },
    /// It is gone. Another one is made then.
    Closed {
        retry: Instant,
    },
}

/// The commits and the gate of one trigger.
#[derive(Debug)]
pub struct Durability {
    interval: Duration,
    next_commit: Instant,
    /// Numbers of the commits that began last and ended last.
    begun: u64,
    ended: u64,
    /// Most characters of commit metadata that the brokers take.
    metadata_limit: usize,
    gate: Gate,
    pause: Duration,
    /// When the producer took over, and whether it broke.
    opened: Instant,
    broke: bool,
    single: Single,
    /// How long messages may stay behind, and when they did last.
    patience: Duration,
    left_behind: Option<Instant>,
}

/// Messages are sent one by one for a while, so that the broker refuses none for what is wrong with
/// another one.
#[derive(Clone, Copy, Debug, Default)]
struct Single {
    /// How long it lasted or lasts.
    time: Duration,
    until: Option<Instant>,
    changed: Option<Instant>,
}

impl Durability {
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            next_commit: now + interval,
            begun: 0,
            ended: 0,
            metadata_limit: MAX_METADATA,
            gate: Gate::Closed { retry: now },
            pause: FIRST_PAUSE,
            opened: now,
            broke: false,
            single: Single::default(),
            patience: FIRST_PATIENCE,
            left_behind: None,
        }
    }

    /// Whether a commit is due, should there be anything to commit.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.next_commit && !self.is_committing()
    }

    /// When a commit is due, unless one is under way: its end is an event.
    pub fn next_due(&self) -> Option<Instant> {
        (!self.is_committing()).then_some(self.next_commit)
    }

    pub fn is_committing(&self) -> bool {
        self.ended < self.begun
    }

    /// A commit begins. Returns its number.
    pub fn begin(&mut self, now: Instant) -> u64 {
        self.next_commit = now + self.interval;
        self.begun += 1;
        self.begun
    }

    /// There was nothing to commit.
    pub fn skip(&mut self, now: Instant) {
        self.next_commit = now + self.interval;
    }

    /// The commit of this number ended. Later ones cannot have ended before it.
    pub fn end(&mut self, number: u64) {
        self.ended = self.ended.max(number);
    }

    /// The client is gone, and with it what it was about to commit.
    pub fn forget_commits(&mut self) {
        self.ended = self.begun;
    }

    /// The number of the last commit that ended.
    pub fn committed(&self) -> u64 {
        self.ended
    }

    /// Most characters of commit metadata.
    pub fn metadata_limit(&self) -> usize {
        self.metadata_limit
    }

    /// The brokers take less metadata than was committed. Returns what is tried next.
    pub fn shorten_metadata(&mut self) -> usize {
        self.metadata_limit /= 2;
        if self.metadata_limit < 8 {
            self.metadata_limit = 0;
        }
        self.metadata_limit
    }

    pub fn gate(&self) -> Gate {
        self.gate
    }

    pub fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }

    /// The producer is given up, because it `broke` or for a reason of ours.
    pub fn retire(&mut self, broke: bool, now: Instant) {
        if self.gate == Gate::Open {
            self.broke = broke;
        }
        self.gate = Gate::Retiring { until: now + RETIRE_LIMIT };
    }

    /// Nothing of the given-up producer is under way any more, or it takes too long.
    pub fn close(&mut self, now: Instant) {
        if now.saturating_duration_since(self.opened) > WELL {
            self.pause = FIRST_PAUSE;
        }
        if self.broke {
            self.retry(now);
        } else {
            self.gate = Gate::Closed { retry: now };
        }
    }

    /// Another producer could not be made.
    pub fn retry(&mut self, now: Instant) {
        self.gate = Gate::Closed { retry: now + self.pause };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Another producer took over.
    pub fn open(&mut self, now: Instant) {
        (self.gate, self.opened) = (Gate::Open, now);
    }

    /// How another producer sends.
    pub fn batching(&self) -> Batching {
        if self.single.until.is_some() { Batching::Single } else { Batching::Full }
    }

    /// The broker refused a request for one of its messages: they go one by one for a while. One
    /// refusal now and then is cheap. Of a function that causes many, most time is spent sending
    /// messages one by one, and little on changing over.
    pub fn refused(&mut self, now: Instant) {
        let is_calm = self.single.changed.is_none_or(|changed| now.saturating_duration_since(changed) > CALM);
        let longer = if is_calm { Duration::ZERO } else { self.single.time * 2 };
        self.single.time = longer.clamp(FIRST_SINGLE, LONGEST_SINGLE);
        self.single.until = Some(now + self.single.time);
        self.single.changed = Some(now);
    }

    /// How long messages may stay behind while the brokers answer. A producer that is merely slow, or
    /// throttled, is acknowledged something by then.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Messages stayed behind, and the producer is given up. Should it have been slow after all, the next
    /// one gets more time.
    pub fn leaves_behind(&mut self, now: Instant) {
        let is_calm = self.left_behind.is_none_or(|last| now.saturating_duration_since(last) > CALM + self.patience);
        self.patience = if is_calm { FIRST_PATIENCE } else { self.patience };
        self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
        self.left_behind = Some(now);
    }

    /// Whether messages were sent one by one for long enough.
    pub fn is_single_over(&self, now: Instant) -> bool {
        self.single.until.is_some_and(|until| now >= until)
    }

    /// When [`Durability::is_single_over`] changes.
    pub fn single_until(&self) -> Option<Instant> {
        self.single.until
    }

    /// Requests carry as many messages again as there are.
    pub fn end_single(&mut self, now: Instant) {
        self.single.until = None;
        self.single.changed = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durability() -> (Durability, Instant) {
        let now = Instant::now();
        let mut durability = Durability::new(Duration::from_millis(100), now);
        durability.open(now);
        (durability, now)
    }

    #[test]
    fn commits_bear_numbers_and_follow_each_other() {
        let (mut durability, now) = durability();
        assert!(!durability.is_due(now) && durability.is_due(now + Duration::from_millis(100)));
        let first = durability.begin(now);
        assert!(durability.is_committing() && !durability.is_due(now + Duration::from_secs(1)));
        let second = durability.begin(now);
        durability.end(first);
        assert_eq!((durability.committed(), durability.is_committing()), (first, true));
        durability.end(second);
        assert!(!durability.is_committing());
    }

    #[test]
    fn a_gate_opens_again_with_growing_pauses() {
        let (mut durability, now) = durability();
        durability.retire(false, now);
        assert!(!durability.is_open());
        durability.close(now);
        assert_eq!(durability.gate(), Gate::Closed { retry: now }, "it did not break");
        durability.retry(now);
        assert_eq!(durability.gate(), Gate::Closed { retry: now + FIRST_PAUSE });
        durability.open(now);
        durability.retire(true, now);
        durability.close(now);
        assert_eq!(durability.gate(), Gate::Closed { retry: now + 2 * FIRST_PAUSE });
        durability.open(now);
        let later = now + WELL + Duration::from_secs(1);
        durability.retire(true, later);
        durability.close(later);
        assert_eq!(durability.gate(), Gate::Closed { retry: later + FIRST_PAUSE }, "it was well");
    }

    #[test]
    fn messages_go_one_by_one_for_longer_each_time_and_shortly_after_a_calm() {
        let (mut durability, start) = durability();
        durability.refused(start);
        assert_eq!((durability.batching(), durability.single_until()), (Batching::Single, Some(start + FIRST_SINGLE)));
        let over = start + FIRST_SINGLE;
        assert!(durability.is_single_over(over));
        durability.end_single(over);
        assert_eq!(durability.batching(), Batching::Full);
        durability.refused(over);
        assert_eq!(durability.single_until(), Some(over + 2 * FIRST_SINGLE));
        durability.end_single(over);
        durability.refused(over + CALM + Duration::from_secs(1));
        assert_eq!(durability.single_until(), Some(over + CALM + Duration::from_secs(1) + FIRST_SINGLE));
    }

    #[test]
    fn a_producer_that_seems_to_forget_messages_gets_more_time_each_time() {
        let (mut durability, start) = durability();
        assert_eq!(durability.patience(), FIRST_PATIENCE);
        durability.leaves_behind(start);
        durability.leaves_behind(start + FIRST_PATIENCE);
        assert_eq!(durability.patience(), 4 * FIRST_PATIENCE);
        durability.leaves_behind(start + 2 * CALM);
        assert_eq!(durability.patience(), 2 * FIRST_PATIENCE);
    }

    #[test]
    fn metadata_gets_shorter_until_the_broker_takes_it() {
        let (mut durability, _) = durability();
        let lengths: Vec<_> = (0..12).map(|_| durability.shorten_metadata()).collect();
        assert_eq!(lengths, [2_000, 1_000, 500, 250, 125, 62, 31, 15, 0, 0, 0, 0]);
    }
}
