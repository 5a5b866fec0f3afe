//! Virtual time: a clock that only the simulation moves, and what is to happen when.
//!
//! A moment is the time since the beginning of the history. Two things that happen at the same
//! moment happen in the order in which they were planned, so the order never depends on chance
//! that the seed does not decide.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::world::Event;
use crate::trigger::clock::Now;

/// What the wall clock of the simulation says at the beginning of a history.
pub const WALL: Duration = Duration::from_secs(1_800_000_000);

pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub struct Clock {
    /// The driver counts in instants of this machine. Only their distance from here is ever used.
    base: Instant,
    now: Duration,
}

impl Clock {
    pub fn new() -> Self {
        Self { base: Instant::now(), now: Duration::ZERO }
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    /// The moment, as a driver is told it.
    pub fn reading(&self) -> Now {
        Now { instant: self.base + self.now, unix: WALL + self.now }
    }

    /// The moment that a driver means by an instant.
    pub fn moment(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    pub fn timestamp_ms(&self) -> i64 {
        i64::try_from((WALL + self.now).as_millis()).unwrap_or(i64::MAX)
    }
}

/// What is to happen, in order.
#[derive(Default)]
pub struct Agenda {
    entries: BTreeMap<(Duration, u64), Event>,
    next: u64,
}

impl Agenda {
    pub fn add(&mut self, at: Duration, event: Event) {
        self.entries.insert((at, self.next), event);
        self.next += 1;
    }

    /// The next thing to happen; the clock goes to its time.
    pub fn pop(&mut self, clock: &mut Clock) -> Option<Event> {
        let ((at, _), event) = self.entries.pop_first()?;
        clock.now = clock.now.max(at);
        Some(event)
    }
}
