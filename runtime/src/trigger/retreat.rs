//! How work is given up in order, when partitions go or the trigger leaves its group.
//!
//! Nobody may find a message of ours behind those of the next owner, and nothing that is done should be
//! done again. So calls end or are dropped, messages are acknowledged or given up, a commit that is
//! under way ends, and then progress is committed for the last time. Each step has a limit.
//!
//! Pure: it says what is to be done and is told what is under way.

use std::time::{Duration, Instant};

/// How long requests that are written to a socket may take after everything else was given up.
const PURGE_LIMIT: Duration = Duration::from_secs(1);
/// How long each of two commits may take: one that is under way, and the last one.
const COMMIT_LIMIT: Duration = Duration::from_secs(2);

/// How long what is under way may go on, from the beginning of the retreat.
#[derive(Clone, Copy, Debug)]
pub struct Drains {
    pub calls: Duration,
    pub messages: Duration,
}

/// What is under way, of the partitions that are given up.
#[derive(Clone, Copy, Debug)]
pub struct UnderWay {
    /// Calls that run, or their records.
    pub running: usize,
    /// Messages that are not acknowledged, or their records.
    pub sent: usize,
    /// The producer is being given up: requests of it may still be answered.
    pub purging: bool,
    /// A commit is under way.
    pub committing: bool,
    /// The number of the last commit that ended.
    pub committed: u64,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Drop the calls: their outcomes come too late.
    DropCalls,
    /// Give up the messages.
    Purge,
    /// Commit all progress, and tell the number of that commit.
    Commit,
    /// Nothing is left to be given up.
    Done {
        /// The last commit ended, or there was nothing to commit.
        committed: bool,
    },
}

/// How far work is given up.
#[derive(Clone, Copy, Debug)]
pub struct Retreat {
    messages_until: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Calls may end until then.
    Calls(Instant),
    /// Messages may be acknowledged until then.
    Messages(Instant),
    /// What is written to a socket may be answered until then.
    Purged(Instant),
    /// A commit that is under way may end until then: it may hold older progress.
    Earlier(Instant),
    /// The last commit bears this number.
    Committing {
        number: u64,
        until: Instant,
    },
    Over,
}

impl Retreat {
    pub fn new(drains: Drains, now: Instant) -> Self {
        Self { messages_until: now + drains.messages, stage: Stage::Calls(now + drains.calls) }
    }

    /// The last commit began with this number, or there was nothing to commit.
    pub fn commits(&mut self, number: Option<u64>, now: Instant) {
        self.stage = match number {
            Some(number) => Stage::Committing { number, until: now + COMMIT_LIMIT },
            None => Stage::Over,
        };
    }

    /// When a limit is over.
    pub fn next_due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Calls(until) | Stage::Messages(until) | Stage::Purged(until) | Stage::Earlier(until) => Some(until),
            Stage::Committing { until, .. } => Some(until),
            Stage::Over => None,
        }
    }

    /// The next thing to do, if there is one now.
    pub fn next(&mut self, work: &UnderWay, now: Instant) -> Option<Step> {
        let late = |until: Instant| now >= until;
        loop {
            match self.stage {
                Stage::Calls(until) if work.running > 0 => {
                    if !late(until) {
                        return None;
                    }
                    self.stage = Stage::Messages(self.messages_until);
                    return Some(Step::DropCalls);
                }
                Stage::Calls(_) => self.stage = Stage::Messages(self.messages_until),
                Stage::Messages(until) if work.sent > 0 => {
                    if !late(until) {
                        return None;
                    }
                    self.stage = Stage::Purged(now + PURGE_LIMIT);
                    return Some(Step::Purge);
                }
                Stage::Messages(_) => self.stage = Stage::Earlier(now + COMMIT_LIMIT),
                Stage::Purged(until) if work.purging && !late(until) => return None,
                Stage::Purged(_) => self.stage = Stage::Earlier(now + COMMIT_LIMIT),
                Stage::Earlier(until) if work.committing && !late(until) => return None,
                Stage::Earlier(_) => return Some(Step::Commit),
                Stage::Committing { number, until } if work.committed < number => {
                    return late(until).then_some(Step::Done { committed: false });
                }
                Stage::Committing { .. } | Stage::Over => return Some(Step::Done { committed: true }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAINS: Drains = Drains { calls: Duration::from_millis(100), messages: Duration::from_secs(30) };
    const IDLE: UnderWay = UnderWay { running: 0, sent: 0, purging: false, committing: false, committed: 0 };

    fn retreat() -> (Retreat, Instant) {
        let now = Instant::now();
        (Retreat::new(DRAINS, now), now)
    }

    #[test]
    fn calls_may_end_for_a_short_while() {
        let (mut retreat, now) = retreat();
        let running = UnderWay { running: 1, ..IDLE };
        assert_eq!(retreat.next(&running, now), None);
        assert_eq!(retreat.next_due(), Some(now + DRAINS.calls));
        assert_eq!(retreat.next(&running, now + DRAINS.calls), Some(Step::DropCalls));
        assert_eq!(retreat.next(&IDLE, now + DRAINS.calls), Some(Step::Commit));
        retreat.commits(Some(7), now);
        assert_eq!(retreat.next(&UnderWay { committing: true, committed: 6, ..IDLE }, now), None);
        assert_eq!(retreat.next(&UnderWay { committed: 7, ..IDLE }, now), Some(Step::Done { committed: true }));
    }

    #[test]
    fn messages_have_a_time_of_their_own_and_are_given_up_then() {
        let (mut retreat, now) = retreat();
        let sent = UnderWay { sent: 3, ..IDLE };
        assert_eq!(retreat.next(&sent, now), None);
        assert_eq!(retreat.next(&sent, now + DRAINS.calls), None);
        assert_eq!(retreat.next(&sent, now + DRAINS.messages), Some(Step::Purge));
        let purging = UnderWay { sent: 3, purging: true, ..IDLE };
        assert_eq!(retreat.next(&purging, now + DRAINS.messages), None);
        assert_eq!(retreat.next(&purging, now + DRAINS.messages + PURGE_LIMIT), Some(Step::Commit));
        retreat.commits(None, now);
        assert_eq!(retreat.next(&purging, now), Some(Step::Done { committed: true }));
    }

    #[test]
    fn an_earlier_commit_is_waited_for_and_not_taken_for_the_last_one() {
        let (mut retreat, now) = retreat();
        let earlier = UnderWay { committing: true, committed: 4, ..IDLE };
        assert_eq!(retreat.next(&earlier, now), None);
        assert_eq!(retreat.next(&earlier, now + COMMIT_LIMIT), Some(Step::Commit));
        retreat.commits(Some(6), now);
        assert_eq!(retreat.next(&UnderWay { committed: 5, ..earlier }, now), None);
        assert_eq!(retreat.next(&UnderWay { committed: 6, ..IDLE }, now), Some(Step::Done { committed: true }));
    }

    #[test]
    fn a_commit_that_does_not_end_holds_nobody_up_for_long() {
        let (mut retreat, now) = retreat();
        assert_eq!(retreat.next(&IDLE, now), Some(Step::Commit));
        retreat.commits(Some(1), now);
        let stuck = UnderWay { committing: true, ..IDLE };
        assert_eq!(retreat.next(&stuck, now), None);
        assert_eq!(retreat.next(&stuck, now + COMMIT_LIMIT), Some(Step::Done { committed: false }));
    }
}
