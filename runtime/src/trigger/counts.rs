//! What happened to the records of a trigger, as numbers.

use serde::Serialize;

/// What happened to records since the trigger started on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self { taken, calls, instances, handled, failed, retried, dead_letters, skipped, split } = other;
        self.taken += taken;
        self.calls += calls;
        self.instances += instances;
        self.handled += handled;
        self.failed += failed;
        self.retried += retried;
        self.dead_letters += dead_letters;
        self.skipped += skipped;
        self.split += split;
    }
}
