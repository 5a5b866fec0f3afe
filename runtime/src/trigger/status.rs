//! How a trigger does, for health, logs and people.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::counts::Counts;
use super::health::Reported;
use super::measures::Measures;

/// What a trigger is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has not joined its group yet.
    #[default]
    Starting,
    /// It takes records, or waits for some.
    Running,
    /// Something keeps it from working; it goes on trying.
    Degraded,
    /// An operator holds it, or a record is exhausted and the manifest says `on-exhausted = "pause"`.
    Paused,
    /// It leaves its group.
    Stopped,
}

/// How one of two revisions does, on this process and since the stage of a rollout began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Tally {
    /// Records that were handled, and attempts that failed.
    pub records: u64,
    /// Attempts of records that failed. Those of a call that broke count only when it is known which record broke it.
    pub failed: u64,
    /// Calls in which the instance was lost: it trapped, exited, or took too long or too much memory. If no instance
    /// starts three times in a row, that counts as one.
    pub traps: u64,
    /// How often most of its recent records had failed, so that single ones probe whether that is over.
    pub stopped: u64,
    /// What all calls took together, in microseconds.
    pub busy_us: u64,
    /// Calls that ended.
    pub calls: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self { records, failed, traps, stopped, busy_us, calls } = other;
        self.records += records;
        self.failed += failed;
        self.traps += traps;
        self.stopped += stopped;
        self.busy_us += busy_us;
        self.calls += calls;
    }
}

/// The first record of a call whose outcome differs between two revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sample {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// What differs first, in one line of at most 200 characters.
    pub difference: String,
}

/// How the outcomes of a shadow compare with those of the revision that serves, record by record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowTally {
    /// Records that both revisions were called with.
    pub compared: u64,
    /// Those of them of which messages or failures differ.
    pub differing: u64,
    /// Those of them that only the shadow failed.
    pub failed_only_here: u64,
    /// Records of calls that the shadow did not get, because it was busy or memory was short, or of which it had no
    /// outcome for another reason than the function's own.
    pub skipped: u64,
    /// The first records that differ, at most five.
    pub samples: Vec<Sample>,
}

/// A revision that is tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CandidateStatus {
    /// SHA-256 of the component.
    pub revision: String,
    /// The stage of the rollout, as the trigger was told.
    pub stage: u32,
    /// `shadow`, or the share of the keys that it gets, such as `5%`.
    pub manner: String,
    /// How it does.
    pub candidate: Tally,
    /// How the revision does that serves meanwhile.
    pub stable: Tally,
    /// While it is a shadow.
    pub shadow: Option<ShadowTally>,
}

/// A trigger as the outside sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    pub state: State,
    /// Why it is degraded or paused: what its conditions say, for people.
    pub reason: Option<String>,
    /// What is wrong, with stable codes, while it is degraded.
    pub conditions: Vec<Reported>,
    pub function: String,
    /// SHA-256 of the component that serves.
    pub revision: Option<String>,
    /// The revision that is tried beside it.
    pub candidate: Option<CandidateStatus>,
    /// Partitions that this node owns.
    pub partitions: usize,
    pub counts: Counts,
    /// What is measured beside it, for the metrics.
    #[serde(skip)]
    pub measures: Measures,
}

/// How often the status is written at most, unless its state changes.
const PUBLISH: Duration = Duration::from_millis(100);

/// Writes the status of a trigger, and not too often.
pub struct Report {
    shown: watch::Sender<Status>,
    next: Instant,
    /// Something may have changed that is not shown yet.
    pending: bool,
}

impl Report {
    pub fn new(shown: watch::Sender<Status>, now: Instant) -> Self {
        Self { shown, next: now, pending: false }
    }

    /// Shows the status if it is time to, or if its state is another one.
    pub fn publish(&mut self, state: State, now: Instant, status: impl FnOnce() -> Status) {
        self.pending = now < self.next && self.shown.borrow().state == state;
        if self.pending {
            return;
        }
        self.next = now + PUBLISH;
        let next = status();
        self.shown.send_if_modified(|shown| {
            let differs = *shown != next;
            *shown = next;
            differs
        });
    }

    /// When the status is to be shown again.
    pub fn next_due(&self) -> Option<Instant> {
        self.pending.then_some(self.next)
    }
}
