//! Keeps a flood out of the log.

use std::time::{Duration, Instant};

/// Lets some lines a second through and counts the others.
#[derive(Debug)]
pub struct Throttle {
    per_second: u32,
    second: Instant,
    passed: u32,
    dropped: u64,
}

impl Throttle {
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, second: now, passed: 0, dropped: 0 }
    }

    /// Whether a line may pass, and if so how many were dropped since the last one that did.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.passed) = (now, 0);
        }
        if self.passed == self.per_second {
            self.dropped += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_passes_a_few_lines_a_second_and_is_counted() {
        let start = Instant::now();
        let mut throttle = Throttle::new(2, start);
        let passed: Vec<_> = (0..5).map(|_| throttle.pass(start)).collect();
        assert_eq!(passed, [Some(0), Some(0), None, None, None]);
        assert_eq!(throttle.pass(start + Duration::from_secs(1)), Some(3));
    }
}
