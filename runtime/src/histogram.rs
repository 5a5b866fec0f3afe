//! Histograms that any thread may record into: two or three relaxed additions for each value, and no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of times, in nanoseconds: from 100 µs to 60 s.
const TIMES: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];
/// The upper bounds of numbers of records.
const SIZES: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/// Counts values by size. Bounds are fixed.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// How many units of the values are one unit that is shown.
    divisor: f64,
    /// Values up to each bound and above the one before, and last those above all bounds.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// The values of a histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub sum: f64,
    pub count: u64,
    /// For each upper bound, the number of values up to it that are above the bound before. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// The histogram counts times and shows them in seconds.
    pub fn of_times() -> Self {
        Self::new(TIMES, 1e9)
    }

    /// The histogram counts numbers of records.
    pub fn of_sizes() -> Self {
        Self::new(SIZES, 1.0)
    }

    fn new(bounds: &'static [u64], divisor: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, divisor, counts, sum: AtomicU64::new(0) }
    }

    /// Records a time. More than 500 years count as 500 years.
    pub fn time(&self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records a number.
    pub fn record(&self, value: u64) {
        let at = self.bounds.partition_point(|&bound| bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What was recorded until now. Values that come at the same moment may be in only a part of it.
    pub fn snapshot(&self) -> Snapshot {
        let bounds = self.bounds.iter().map(|&bound| bound as f64 / self.divisor).chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        Snapshot {
            sum: self.sum.load(Ordering::Relaxed) as f64 / self.divisor,
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_below_the_first_bound_that_it_does_not_exceed() {
        let times = Histogram::of_times();
        for micros in [0, 100, 101, 60_000_000, 60_000_001] {
            times.time(Duration::from_micros(micros));
        }
        let Snapshot { sum, count, buckets } = times.snapshot();
        assert!((sum - 120.000_202).abs() < 1e-9, "{sum}");
        assert_eq!(count, 5);
        let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.000_1, 2), (0.000_25, 1), (60.0, 1), (f64::INFINITY, 1)]);
    }

    #[test]
    fn sizes_are_whole_numbers() {
        let sizes = Histogram::of_sizes();
        [1, 500, 500].into_iter().for_each(|size| sizes.record(size));
        let Snapshot { sum, count, buckets } = sizes.snapshot();
        assert_eq!((sum, count, buckets[0], buckets[8]), (1_001.0, 3, (1.0, 1), (500.0, 2)));
    }
}
