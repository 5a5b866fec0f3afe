//! What an outcome may take of the node's memory.
//!
//! A call reserves what its outcome will probably take before it starts: twice the largest one of late.
//! More than that, and more than [`LEAST`], does not cross to the host, and the records run again with
//! a larger grant. So what running calls may bring is in the node's budget, save [`LEAST`] for each of
//! them, and a function with small outcomes still runs in hundreds of instances.

use crate::engine::MAX_OUTCOME_BYTES;

/// What each call may take without having reserved it. The limit of the engine is one for all that
/// crosses to the host at once, such as parts of a request's body, so it cannot be small.
const LEAST: usize = 1 << 20;
/// As long as nothing was seen.
const FIRST_GUESS: usize = 64 << 10;
/// By how much more is granted to a call that was granted too little.
const GROWTH: usize = 8;
/// How slowly a large outcome is forgotten: this part of it at each call.
const DECAY: usize = 64;
/// After a call wanted more than it was granted, nothing is forgotten for so many calls. Otherwise small outcomes
/// of other calls could lower the grant each time before the records that need it run again.
const REMEMBERED: u32 = 1_000;

/// What the outcomes of a revision take, as observed.
#[derive(Debug)]
pub struct Grant {
    largest: usize,
    /// For how many calls nothing is forgotten.
    remembered: u32,
}

/// For one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What its outcome may take.
    pub bytes: usize,
    /// What is in the budget for it.
    pub reserved: usize,
}

impl Grant {
    pub fn new() -> Self {
        Self { largest: FIRST_GUESS, remembered: 0 }
    }

    /// Every call may have the largest outcome.
    pub fn full() -> Self {
        Self { largest: MAX_OUTCOME_BYTES / 2, remembered: 0 }
    }

    /// For the next call.
    pub fn next(&self) -> Granted {
        let reserved = (2 * self.largest).min(MAX_OUTCOME_BYTES);
        Granted { bytes: reserved.max(LEAST), reserved }
    }

    /// An outcome took so much.
    pub fn observe(&mut self, took: usize) {
        let forgotten = if self.remembered == 0 { self.largest / DECAY } else { 0 };
        self.remembered = self.remembered.saturating_sub(1);
        self.largest = took.max(self.largest - forgotten);
    }

    /// A call wanted more than it was granted.
    pub fn was_too_small(&mut self, granted: usize) {
        self.largest = self.largest.max((granted * GROWTH / 2).min(MAX_OUTCOME_BYTES / 2));
        self.remembered = REMEMBERED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_reserves_twice_the_largest_outcome_of_late() {
        let mut grant = Grant::new();
        grant.observe(3 << 20);
        assert_eq!(grant.next(), Granted { bytes: 6 << 20, reserved: 6 << 20 });
        (0..1_000).for_each(|_| grant.observe(1_000));
        assert_eq!(grant.next(), Granted { bytes: LEAST, reserved: 2_000 });
    }

    #[test]
    fn small_outcomes_do_not_lower_a_grant_before_the_call_that_needs_it_runs_again() {
        let mut grant = Grant::new();
        grant.was_too_small(8 << 20);
        (0..REMEMBERED).for_each(|_| grant.observe(0));
        assert_eq!(grant.next().bytes, MAX_OUTCOME_BYTES);
        (0..1_000).for_each(|_| grant.observe(0));
        assert_eq!(grant.next().bytes, LEAST);
    }

    #[test]
    fn a_grant_that_was_too_small_grows_to_the_maximum() {
        let mut grant = Grant::new();
        let mut tries = Vec::new();
        while grant.next().bytes < MAX_OUTCOME_BYTES {
            tries.push(grant.next().bytes);
            grant.was_too_small(grant.next().bytes);
        }
        assert_eq!(tries, [1 << 20, 8 << 20]);
        grant.observe(MAX_OUTCOME_BYTES);
        assert_eq!(grant.next().bytes, MAX_OUTCOME_BYTES);
    }
}
