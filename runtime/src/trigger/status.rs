//! How a trigger does, for health, logs and people.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a trigger is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has not joined its group yet.
    #[default]
    Starting,
    /// It takes records, or waits for some.
    Running,
    /// Something keeps it from working; it goes on trying.
    Degraded,
    /// A record is exhausted and the manifest says `on-exhausted = "pause"`.
    Paused,
    /// It leaves its group.
    Stopped,
}

/// What happened to records since the trigger started on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Records fetched, done ones that were skipped included.
    pub taken: u64,
    /// Calls that were started. `handled` by `calls` is the size of a batch.
    pub calls: u64,
    /// Instances that were started for a call, beyond those that the pool began with.
    pub instances: u64,
    /// Records handled by the function.
    pub handled: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that are to be repeated.
    pub retried: u64,
    pub dead_letters: u64,
    /// Records given up on without a dead letter, as the manifest says.
    pub skipped: u64,
    /// Calls that failed and were split to find the records at fault.
    pub split: u64,
}

/// A trigger as the outside sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    pub state: State,
    /// Why it is degraded or paused.
    pub reason: Option<String>,
    pub function: String,
    /// SHA-256 of the component that serves.
    pub revision: Option<String>,
    /// Partitions that this node owns.
    pub partitions: usize,
    pub counts: Counts,
}

/// What is wrong, by kind. A problem stays until it is solved, or for a while if nothing tells when
/// it is.
#[derive(Debug, Default)]
pub struct Problems {
    list: BTreeMap<&'static str, (String, Option<Instant>)>,
}

impl Problems {
    pub fn set(&mut self, kind: &'static str, reason: impl Into<String>) {
        self.list.insert(kind, (reason.into(), None));
    }

    pub fn set_for(&mut self, kind: &'static str, reason: impl Into<String>, now: Instant, time: Duration) {
        self.list.insert(kind, (reason.into(), Some(now + time)));
    }

    pub fn clear(&mut self, kind: &'static str) {
        self.list.remove(kind);
    }

    pub fn expire(&mut self, now: Instant) {
        self.list.retain(|_, (_, end)| end.is_none_or(|end| now < end));
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn reason(&self) -> Option<String> {
        let reasons: Vec<_> = self.list.values().map(|(reason, _)| reason.as_str()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}
