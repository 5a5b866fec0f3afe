//! What is wrong with a trigger, as conditions with stable codes.
//!
//! A condition stays until whoever set it clears it, or for a while if nothing tells when it is over.
//! One that lasts is logged once when it begins and once when it ends. Pure: time is an argument, and
//! the lines to log are handed out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a condition that nothing ends is shown after it was last seen.
pub const SHOWN: Duration = Duration::from_secs(10);
/// A condition is logged when it has lasted so long, and ended when it was away for as long. A client
/// that connects anew to a broker is no news.
const SETTLED: Duration = Duration::from_secs(2);

/// What can be wrong. The codes are what operators and alerts go by, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// The clients broke, and are made anew.
    Restarting,
    /// No broker answers.
    BrokersUnreachable,
    /// The client reports an error that nothing above explains.
    Client,
    /// The group does not take this node as a member.
    GroupRefused,
    /// The group has told nothing for long: neither partitions nor that there are none.
    NoAssignment,
    /// A topic is missing, or must not be used.
    Topic,
    /// A partition has no leader.
    NoLeader,
    /// The group's progress cannot be read, so its partitions cannot begin.
    ProgressUnreadable,
    /// Progress cannot be committed.
    CommitFailing,
    /// The broker takes less commit metadata than progress needs.
    MetadataCut,
    /// Records cannot be fetched.
    FetchFailing,
    /// Committed offsets that the log no longer has, or never had.
    OffsetsGone,
    /// Messages are not acknowledged.
    OutputsStalled,
    /// The producer was given up, and another one takes over.
    OutputsFailing,
    /// No instance of the function can be started.
    NoInstance,
    /// Most records fail, so single ones probe whether it is over.
    MostFail,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Restarting,
        Self::BrokersUnreachable,
        Self::Client,
        Self::GroupRefused,
        Self::NoAssignment,
        Self::Topic,
        Self::NoLeader,
        Self::ProgressUnreadable,
        Self::CommitFailing,
        Self::MetadataCut,
        Self::FetchFailing,
        Self::OffsetsGone,
        Self::OutputsStalled,
        Self::OutputsFailing,
        Self::NoInstance,
        Self::MostFail,
    ];

    /// Whether it keeps the trigger from working. Others are told and change nothing.
    fn degrades(self) -> bool {
        !matches!(self, Self::MetadataCut | Self::OffsetsGone)
    }

    /// Its stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Restarting => "restarting",
            Self::BrokersUnreachable => "brokers-unreachable",
            Self::Client => "client-error",
            Self::GroupRefused => "group-refused",
            Self::NoAssignment => "no-assignment",
            Self::Topic => "topic-unusable",
            Self::NoLeader => "no-leader",
            Self::ProgressUnreadable => "progress-unreadable",
            Self::CommitFailing => "commit-failing",
            Self::MetadataCut => "metadata-cut",
            Self::FetchFailing => "fetch-failing",
            Self::OffsetsGone => "offsets-gone",
            Self::OutputsStalled => "outputs-stalled",
            Self::OutputsFailing => "outputs-failing",
            Self::NoInstance => "no-instance",
            Self::MostFail => "most-fail",
        }
    }
}

/// A condition that holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reported {
    /// See [`Condition::code`].
    pub code: &'static str,
    /// For people: what is wrong, where, and what to do if that is known.
    pub reason: String,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Began { condition: Condition, reason: String },
    Ended { condition: Condition, lasted: Duration },
}

#[derive(Debug)]
struct Entry {
    reason: String,
    since: Instant,
    /// When it is over unless it is seen again.
    until: Option<Instant>,
    /// It was cleared then, and is not shown any more.
    cleared: Option<Instant>,
    logged: bool,
}

/// The conditions of one trigger.
#[derive(Debug, Default)]
pub struct Health {
    entries: BTreeMap<Condition, Entry>,
}

impl Health {
    /// The condition holds until it is cleared.
    pub fn set(&mut self, condition: Condition, reason: impl Into<String>, now: Instant) {
        self.enter(condition, reason.into(), now, None);
    }

    /// The condition was seen, and nothing will tell when it is over.
    pub fn seen(&mut self, condition: Condition, reason: impl Into<String>, now: Instant) {
        self.enter(condition, reason.into(), now, Some(now + SHOWN));
    }

    /// Sets or clears a condition.
    pub fn put(&mut self, condition: Condition, reason: Option<String>, now: Instant) {
        match reason {
            Some(reason) => self.set(condition, reason, now),
            None => self.clear(condition, now),
        }
    }

    fn enter(&mut self, condition: Condition, reason: String, now: Instant, until: Option<Instant>) {
        let entry = self.entries.entry(condition).or_insert(Entry {
            reason: String::new(),
            since: now,
            until: None,
            cleared: None,
            logged: false,
        });
        (entry.reason, entry.until, entry.cleared) = (reason, until, None);
    }

    pub fn clear(&mut self, condition: Condition, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&condition) {
            entry.cleared.get_or_insert(now);
        }
    }

    #[cfg(test)]
    pub fn holds(&self, condition: Condition) -> bool {
        self.entries.get(&condition).is_some_and(|entry| entry.cleared.is_none())
    }

    /// Whether nothing keeps the trigger from working.
    pub fn is_good(&self) -> bool {
        self.entries.iter().all(|(condition, entry)| entry.cleared.is_some() || !condition.degrades())
    }

    /// What holds, the most telling first.
    pub fn report(&self) -> Vec<Reported> {
        let holding = self.entries.iter().filter(|(_, entry)| entry.cleared.is_none());
        holding.map(|(condition, entry)| Reported { code: condition.code(), reason: entry.reason.clone() }).collect()
    }

    /// Ends what was not seen for long, and hands out what is worth a line.
    pub fn pass_time(&mut self, now: Instant, mut each: impl FnMut(News)) {
        if self.entries.is_empty() {
            return;
        }
        self.entries.retain(|&condition, entry| {
            if entry.until.is_some_and(|until| until <= now) {
                entry.cleared.get_or_insert(now);
            }
            match entry.cleared {
                None => {
                    if !entry.logged && now.saturating_duration_since(entry.since) >= SETTLED {
                        entry.logged = true;
                        each(News::Began { condition, reason: entry.reason.clone() });
                    }
                    true
                }
                Some(cleared) if entry.logged && now.saturating_duration_since(cleared) < SETTLED => true,
                Some(cleared) => {
                    if entry.logged {
                        let lasted = cleared.saturating_duration_since(entry.since);
                        each(News::Ended { condition, lasted });
                    }
                    false
                }
            }
        });
    }

    /// When [`Health::pass_time`] has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let due = |entry: &Entry| match entry.cleared {
            Some(cleared) => Some(if entry.logged { cleared + SETTLED } else { cleared }),
            None => {
                let logged = (!entry.logged).then(|| entry.since + SETTLED);
                logged.into_iter().chain(entry.until).min()
            }
        };
        self.entries.values().filter_map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(health: &mut Health, now: Instant) -> Vec<News> {
        let mut all = Vec::new();
        health.pass_time(now, |news| all.push(news));
        all
    }

    #[test]
    fn a_condition_that_lasts_is_one_line_at_its_begin_and_one_at_its_end() {
        let (mut health, start) = (Health::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        health.set(Condition::Topic, "topic a is missing", at(0));
        assert!(health.holds(Condition::Topic) && !health.is_good());
        assert_eq!(news(&mut health, at(1)), []);
        assert_eq!(health.next_due(), Some(at(2)));
        let began = News::Began { condition: Condition::Topic, reason: "topic a is missing".to_owned() };
        assert_eq!(news(&mut health, at(2)), [began]);
        health.set(Condition::Topic, "topic a is missing", at(3));
        assert_eq!(news(&mut health, at(3)), []);
        health.clear(Condition::Topic, at(4));
        assert!(health.is_good() && health.report().is_empty());
        assert_eq!(news(&mut health, at(5)), []);
        let ended = News::Ended { condition: Condition::Topic, lasted: Duration::from_secs(4) };
        assert_eq!(news(&mut health, at(6)), [ended]);
        assert_eq!(health.next_due(), None);
    }

    #[test]
    fn a_condition_that_flickers_stays_one_line() {
        let (mut health, start) = (Health::default(), Instant::now());
        let mut lines = Vec::new();
        for second in 0..20 {
            let now = start + Duration::from_secs(second);
            health.set(Condition::Client, "disconnected", now);
            health.pass_time(now, |news| lines.push(news));
            health.clear(Condition::Client, now + Duration::from_millis(500));
            health.pass_time(now + Duration::from_millis(500), |news| lines.push(news));
        }
        assert_eq!(lines.len(), 0, "it never lasted");
    }

    #[test]
    fn what_nothing_ends_is_over_when_it_is_not_seen_any_more() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.seen(Condition::FetchFailing, "a bad record", start);
        news(&mut health, start + SETTLED);
        assert_eq!(health.report()[0].code, "fetch-failing");
        assert_eq!(health.next_due(), Some(start + SHOWN));
        news(&mut health, start + SHOWN);
        assert!(health.is_good());
    }
}
