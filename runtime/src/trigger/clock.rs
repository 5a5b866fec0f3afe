//! What time it is, as an argument: nothing below reads a clock by itself.

use std::time::{Duration, Instant, SystemTime};

/// One moment, by the two clocks that matter.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For what lasts: it never goes back, and means nothing on another machine.
    pub instant: Instant,
    /// For what is kept over restarts: since 1970-01-01 UTC.
    pub unix: Duration,
}

impl Now {
    /// The clocks of this machine.
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix }
    }

    /// Whole seconds since 1970-01-01 UTC.
    pub fn unix_s(&self) -> u64 {
        self.unix.as_secs()
    }
}
