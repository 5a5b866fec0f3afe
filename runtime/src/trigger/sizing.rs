//! How many records ride in one call.
//!
//! Batches size themselves: a cheap function gets large ones, and a function that waits gets one
//! record per instance and as many instances as it may have. No call waits to fill.

use std::time::Duration;

use super::sequencer::Share;
use crate::manifest::BatchLimits;

/// How long a call should take. Longer batches would gain nothing and delay what waits behind.
const TARGET: Duration = Duration::from_millis(5);
/// Work worth a call of its own: less is not spread over idle instances.
const WORTH_A_CALL: Duration = Duration::from_micros(250);
/// The cost of a record as long as none was seen: the first calls are small.
const FIRST_GUESS: Duration = Duration::from_micros(100);

/// What a record of the serving revision costs, as observed.
#[derive(Debug)]
pub struct Sizing {
    limits: BatchLimits,
    nanoseconds_per_record: f64,
}

impl Sizing {
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, nanoseconds_per_record: FIRST_GUESS.as_nanos() as f64 }
    }

    /// Records cost nothing as far as is known: calls are as large as the limits allow.
    pub fn full(limits: BatchLimits) -> Self {
        Self { limits, nanoseconds_per_record: 0.0 }
    }

    /// What the next call may take of a partition with `ready` records, while `free` calls could
    /// start.
    pub fn share(&self, ready: usize, free: usize) -> Share {
        let worth = |time: Duration| (time.as_nanos() as f64 / self.nanoseconds_per_record) as usize;
        let fair = ready.div_ceil(free.max(1)).max(worth(WORTH_A_CALL));
        let most = (self.limits.records.get() as usize).min(worth(TARGET));
        Share { records: fair.min(most).max(1), bytes: usize::try_from(self.limits.bytes).unwrap_or(usize::MAX) }
    }

    /// How long a call of so many records will take.
    pub fn expected(&self, records: usize) -> Duration {
        Duration::from_nanos((self.nanoseconds_per_record * records as f64) as u64)
    }

    /// A call of so many records took so long. The mean moves by a fifth, so that one slow call
    /// does not make the next ones small.
    pub fn observe(&mut self, records: usize, elapsed: Duration) {
        let observed = elapsed.as_nanos() as f64 / records.max(1) as f64;
        self.nanoseconds_per_record += (observed.max(1.0) - self.nanoseconds_per_record) / 5.0;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn sizing(microseconds_per_record: u64) -> Sizing {
        let records = NonZeroU32::new(500).expect("not zero");
        let mut sizing = Sizing::new(BatchLimits { records, bytes: 1_000 });
        for _ in 0..100 {
            sizing.observe(10, Duration::from_micros(10 * microseconds_per_record));
        }
        sizing
    }

    #[test]
    fn a_cheap_function_gets_large_batches_even_with_idle_instances() {
        assert_eq!(sizing(0).share(10_000, 8).records, 500);
        assert_eq!(sizing(1).share(400, 8).records, 249, "a quarter of a millisecond is worth a call");
    }

    #[test]
    fn a_slow_function_gets_one_record_per_instance() {
        assert_eq!(sizing(10_000).share(10_000, 8).records, 1);
        assert_eq!(sizing(1_000).share(16, 8).records, 2);
    }

    #[test]
    fn the_first_call_is_small() {
        let records = NonZeroU32::new(500).expect("not zero");
        let sizing = Sizing::new(BatchLimits { records, bytes: 1_000 });
        assert!(sizing.share(10_000, 1).records <= 50);
    }
}
