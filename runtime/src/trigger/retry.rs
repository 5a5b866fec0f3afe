//! Whether a record that failed is tried again, and when.
//!
//! Pure: time and chance come in as arguments.

use std::time::Duration;

use crate::manifest::RetryPolicy;

/// What becomes of a record that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs again after this time.
    Again { after: Duration },
    /// The policy is at its end.
    Exhausted,
}

/// Judges a record that has now failed `attempts` times, the first time `age` ago. `chance` is a
/// random number in `0.0..1.0`.
pub fn judge(policy: &RetryPolicy, attempts: u32, age: Duration, chance: f64) -> Verdict {
    if attempts >= policy.attempts.get() { Verdict::Exhausted } else { judge_age(policy, attempts, age, chance) }
}

/// As [`judge`], for a time in which attempts do not count.
pub fn judge_age(policy: &RetryPolicy, attempts: u32, age: Duration, chance: f64) -> Verdict {
    let after = backoff(policy, attempts, chance);
    if age + after > policy.max_age { Verdict::Exhausted } else { Verdict::Again { after } }
}

/// Exponential backoff with equal jitter: at least half of the step, so that a retry never comes
/// at once, and at most all of it, so that records which failed together do not return together.
pub fn backoff(policy: &RetryPolicy, attempts: u32, chance: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let step = policy.backoff.saturating_mul(1 << doublings).min(policy.max_backoff);
    step.mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts: NonZeroU32::new(5).expect("not zero"),
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            max_age: Duration::from_secs(3_600),
        }
    }

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        let steps: Vec<u128> = (1..=7).map(|n| backoff(&policy(), n, 1.0).as_millis()).collect();
        assert_eq!(steps, [100, 200, 400, 800, 1_000, 1_000, 1_000]);
        assert_eq!(backoff(&policy(), 1, 0.0).as_millis(), 50);
        assert_eq!(backoff(&policy(), u32::MAX, 1.0).as_millis(), 1_000);
    }

    #[test]
    fn the_last_attempt_exhausts() {
        assert!(matches!(judge(&policy(), 4, Duration::ZERO, 0.5), Verdict::Again { .. }));
        assert_eq!(judge(&policy(), 5, Duration::ZERO, 0.5), Verdict::Exhausted);
    }

    #[test]
    fn a_retry_that_would_come_after_the_age_limit_exhausts() {
        let age = Duration::from_secs(3_600) - Duration::from_millis(10);
        assert_eq!(judge(&policy(), 1, age, 0.5), Verdict::Exhausted);
    }
}
