//! Partitions come and go: what is to be done about it, and when.
//!
//! An assignment is answered once the progress of its partitions was read. A revocation is answered
//! after an orderly [retreat](super::retreat) from its partitions; until then the client hands out no
//! record of any partition. For a lost assignment nothing is committed, and nothing is waited for.
//!
//! Pure: it says what is to be done as [`Step`]s and is told what happened.

use std::time::{Duration, Instant};

use super::retreat::{self, Drains, Retreat, UnderWay};
use crate::kafka::Position;

/// How often progress is read in vain before the client is built again. Without an answer it takes
/// part in no rebalance, not even in one that would take the partition away which cannot be read.
const MAX_READINGS: u32 = 10;
/// How long after a failure progress is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the progress of these partitions. The answer comes with this number.
    Read {
        number: u64,
        partitions: Vec<Position>,
    },
    /// As [`retreat::Step`], for the partitions that go.
    DropCalls,
    Purge,
    Commit,
    /// These partitions are others' now: answer the revocation.
    Release {
        partitions: Vec<Position>,
        lost: bool,
    },
    /// The client is of no use any more.
    GiveUp(String),
}

#[derive(Debug)]
struct Reading {
    partitions: Vec<Position>,
    failures: u32,
    /// When it is to be read. `None`: that is under way.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Revoking {
    partitions: Vec<Position>,
    /// `None`: the partitions are lost, and nothing is waited for.
    retreat: Option<Retreat>,
    purged: bool,
}

/// Which rebalance is not answered yet, and how far that is.
#[derive(Debug)]
pub struct Membership {
    drains: Drains,
    /// Number of the last assignment or revocation: an answer for an earlier one comes too late.
    number: u64,
    reading: Option<Reading>,
    revoking: Option<Revoking>,
}

impl Membership {
    pub fn new(drains: Drains) -> Self {
        Self { drains, number: 0, reading: None, revoking: None }
    }

    /// These partitions are ours once they are answered.
    pub fn assigned(&mut self, partitions: Vec<Position>, now: Instant) {
        self.number += 1;
        self.reading = Some(Reading { partitions, failures: 0, due: Some(now) });
    }

    /// These partitions are to go, or are gone.
    pub fn revoked(&mut self, partitions: Vec<Position>, lost: bool, now: Instant) {
        // An assignment that was not answered yet is taken back with it.
        self.number += 1;
        self.reading = None;
        let retreat = (!lost).then(|| Retreat::new(self.drains, now));
        self.revoking = Some(Revoking { partitions, retreat, purged: false });
    }

    /// The progress of an assignment was read. Returns whether that assignment still waits for it.
    pub fn was_read(&mut self, number: u64) -> bool {
        number == self.number && self.reading.take().is_some()
    }

    /// The progress of an assignment could not be read. Returns whether that still matters.
    pub fn was_not_read(&mut self, number: u64, now: Instant) -> bool {
        let Some(reading) = self.reading.as_mut().filter(|_| number == self.number) else { return false };
        reading.failures += 1;
        reading.due = Some(now + READ_AGAIN);
        true
    }

    /// The last commit began with this number, or there was nothing to commit.
    pub fn commits(&mut self, number: Option<u64>, now: Instant) {
        if let Some(retreat) = self.revoking.as_mut().and_then(|revoking| revoking.retreat.as_mut()) {
            retreat.commits(number, now);
        }
    }

    /// The client is gone, and with it what it waited for.
    pub fn reset(&mut self) {
        self.number += 1;
        (self.reading, self.revoking) = (None, None);
    }

    /// The trigger leaves its group and has given up all its work: rebalances are answered at once.
    pub fn hurry(&mut self) {
        self.number += 1;
        self.reading = None;
        self.drains = Drains { calls: Duration::ZERO, messages: Duration::ZERO };
        if let Some(revoking) = &mut self.revoking {
            (revoking.retreat, revoking.purged) = (None, true);
        }
    }

    /// Whether a revocation waits for its answer.
    pub fn is_revoking(&self) -> bool {
        self.revoking.is_some()
    }

    /// When there is something to do without any event.
    pub fn next_due(&self) -> Option<Instant> {
        let reading = self.reading.as_ref().and_then(|reading| reading.due);
        let retreat = self.revoking.as_ref().and_then(|revoking| revoking.retreat.as_ref());
        reading.into_iter().chain(retreat.and_then(Retreat::next_due)).min()
    }

    /// The next thing to do, if there is one now. `is_lost`: the group has given the assignment to
    /// others already.
    pub fn next(&mut self, work: &UnderWay, is_lost: bool, now: Instant) -> Option<Step> {
        if let Some(step) = self.next_reading(now) {
            return Some(step);
        }
        let revoking = self.revoking.as_mut()?;
        if is_lost {
            revoking.retreat = None;
        }
        let Some(retreat) = &mut revoking.retreat else {
            // Others have the partitions already: what lies in our queue must not follow theirs.
            if work.sent > 0 && !std::mem::replace(&mut revoking.purged, true) {
                return Some(Step::Purge);
            }
            return self.release(true);
        };
        match retreat.next(work, now)? {
            retreat::Step::DropCalls => Some(Step::DropCalls),
            retreat::Step::Purge => {
                revoking.purged = true;
                Some(Step::Purge)
            }
            retreat::Step::Commit => Some(Step::Commit),
            retreat::Step::Done { .. } => self.release(false),
        }
    }

    fn next_reading(&mut self, now: Instant) -> Option<Step> {
        let reading = self.reading.as_mut()?;
        if reading.failures >= MAX_READINGS {
            return Some(Step::GiveUp("the group's progress cannot be read".to_owned()));
        }
        reading.due.take_if(|due| *due <= now)?;
        Some(Step::Read { number: self.number, partitions: reading.partitions.clone() })
    }

    fn release(&mut self, lost: bool) -> Option<Step> {
        self.revoking.take().map(|Revoking { partitions, .. }| Step::Release { partitions, lost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: Duration = Duration::from_millis(100);
    const IDLE: UnderWay = UnderWay { running: 0, sent: 0, purging: false, committing: false, committed: 0 };

    fn membership() -> (Membership, Instant) {
        (Membership::new(Drains { calls: CALLS, messages: Duration::from_secs(30) }), Instant::now())
    }

    fn one() -> Vec<Position> {
        vec![Position::of("orders", 0)]
    }

    fn released(lost: bool) -> Option<Step> {
        Some(Step::Release { partitions: one(), lost })
    }

    #[test]
    fn revoke_waits_for_running_calls() {
        let (mut membership, now) = membership();
        membership.revoked(one(), false, now);
        let running = UnderWay { running: 1, ..IDLE };
        assert_eq!(membership.next(&running, false, now), None);
        assert_eq!(membership.next_due(), Some(now + CALLS));
        assert_eq!(membership.next(&running, false, now + CALLS), Some(Step::DropCalls));
        assert_eq!(membership.next(&IDLE, false, now + CALLS), Some(Step::Commit));
        membership.commits(Some(1), now);
        assert_eq!(membership.next(&UnderWay { committed: 1, ..IDLE }, false, now), released(false));
        assert!(!membership.is_revoking());
    }

    #[test]
    fn a_late_commit_does_not_answer_a_revocation() {
        let (mut membership, now) = membership();
        membership.revoked(one(), false, now);
        assert_eq!(membership.next(&IDLE, false, now), Some(Step::Commit));
        membership.commits(Some(6), now);
        assert_eq!(membership.next(&UnderWay { committing: true, committed: 5, ..IDLE }, false, now), None);
        assert_eq!(membership.next(&UnderWay { committed: 6, ..IDLE }, false, now), released(false));
    }

    #[test]
    fn a_lost_assignment_commits_nothing() {
        let (mut lost, now) = membership();
        lost.revoked(one(), true, now);
        let busy = UnderWay { running: 1, sent: 2, ..IDLE };
        assert_eq!(lost.next(&busy, true, now), Some(Step::Purge), "what is queued must not follow the next owner's");
        assert_eq!(lost.next(&busy, true, now), released(true));

        let (mut waiting, now) = membership();
        waiting.revoked(one(), false, now);
        let running = UnderWay { running: 1, ..IDLE };
        assert_eq!(waiting.next(&running, false, now), None);
        assert_eq!(waiting.next(&running, true, now), released(true), "it was lost while it was waited for");
    }

    #[test]
    fn an_overtaken_reading_is_not_answered() {
        let (mut membership, now) = membership();
        membership.assigned(one(), now);
        let Some(Step::Read { number: first, .. }) = membership.next(&IDLE, false, now) else { panic!("it is read") };
        assert_eq!(membership.next(&IDLE, false, now), None, "once");
        membership.assigned(one(), now);
        assert!(!membership.was_read(first));
        let Some(Step::Read { number, .. }) = membership.next(&IDLE, false, now) else { panic!("it is read") };
        assert!(membership.was_read(number));
        assert!(!membership.was_read(number), "it is answered once");
    }

    #[test]
    fn progress_that_cannot_be_read_is_read_again_and_ends_the_client_at_last() {
        let (mut membership, mut now) = membership();
        membership.assigned(one(), now);
        for _ in 0..MAX_READINGS {
            let Some(Step::Read { number, .. }) = membership.next(&IDLE, false, now) else { panic!("it is read") };
            assert!(membership.was_not_read(number, now));
            now += READ_AGAIN;
        }
        assert!(matches!(membership.next(&IDLE, false, now), Some(Step::GiveUp(_))));
    }

    #[test]
    fn a_trigger_that_leaves_answers_at_once() {
        let (mut membership, now) = membership();
        membership.revoked(one(), false, now);
        let busy = UnderWay { running: 1, sent: 2, ..IDLE };
        assert_eq!(membership.next(&busy, false, now), None);
        membership.hurry();
        assert_eq!(membership.next(&busy, false, now), released(true));
    }
}
