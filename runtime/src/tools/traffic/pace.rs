//! A steady rate per second.

use std::num::NonZeroU32;
use std::time::Duration;

/// After a pause longer than this the rate continues without a burst that makes up for it.
const MOST_LATE: Duration = Duration::from_millis(50);

/// Says when the next item is due. Time is an argument, counted from any moment.
///
/// ```
/// # use std::{num::NonZeroU32, time::Duration};
/// # use tidegate::tools::traffic::Pace;
/// let mut pace = Pace::new(NonZeroU32::new(10).unwrap(), Duration::ZERO);
/// assert_eq!(pace.take(Duration::ZERO), Ok(()));
/// assert_eq!(pace.take(Duration::from_millis(30)), Err(Duration::from_millis(70)));
/// assert_eq!(pace.take(Duration::from_millis(100)), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct Pace {
    per_second: NonZeroU32,
    /// When number 0 was due. Due times are counted from here, so that rounding does not add up.
    start: Duration,
    next: u64,
}

impl Pace {
    /// The first item is due at `now`.
    pub fn new(per_second: NonZeroU32, now: Duration) -> Self {
        Self { per_second, start: now, next: 0 }
    }

    /// Takes the next item.
    ///
    /// # Errors
    ///
    /// The time until it is due, if it is not due yet.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let due = self.start + self.after(self.next);
        if now < due {
            return Err(due - now);
        }
        if now - due > MOST_LATE {
            (self.start, self.next) = (now, 0);
        }
        self.next += 1;
        Ok(())
    }

    fn after(&self, number: u64) -> Duration {
        let per_second = u64::from(self.per_second.get());
        let part = (number % per_second) * 1_000_000_000 / per_second;
        Duration::from_secs(number / per_second) + Duration::from_nanos(part)
    }
}
