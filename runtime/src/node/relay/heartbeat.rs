//! When a node writes its status. Pure: time is an argument.

use std::time::{Duration, Instant};

use serde_json::Value;

/// How often a status is written that does not change.
const PERIOD: Duration = Duration::from_secs(10);
/// How often a status is written at most.
const SHORTEST: Duration = Duration::from_secs(1);

/// The newest status, and when it is written.
#[derive(Debug, Default)]
pub struct Heartbeat {
    status: Option<Value>,
    changed: bool,
    last: Option<Instant>,
}

impl Heartbeat {
    /// Replaces the status.
    pub fn set(&mut self, status: Value) {
        if self.status.as_ref() != Some(&status) {
            (self.status, self.changed) = (Some(status), true);
        }
    }

    /// The newest status.
    pub fn status(&self) -> Option<&Value> {
        self.status.as_ref()
    }

    /// When the status is to be written next. `None`: there is none yet.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        self.status.as_ref()?;
        let pause = if self.changed { SHORTEST } else { PERIOD };
        Some(self.last.map_or(now, |last| last + pause))
    }

    /// The status, if it is to be written now.
    pub fn beat(&mut self, now: Instant) -> Option<Value> {
        if self.next_due(now)? > now {
            return None;
        }
        (self.changed, self.last) = (false, Some(now));
        self.status.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_when_it_changes_and_every_ten_seconds() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut heartbeat = Heartbeat::default();
        assert_eq!((heartbeat.beat(now), heartbeat.next_due(now)), (None, None));
        heartbeat.set(1.into());
        assert_eq!(heartbeat.beat(now), Some(1.into()));
        assert_eq!(heartbeat.next_due(now), Some(at(10_000)));
        heartbeat.set(1.into());
        assert_eq!(heartbeat.beat(at(5_000)), None, "it is the same");
        heartbeat.set(2.into());
        assert_eq!(heartbeat.beat(at(5_000)), Some(2.into()));
        heartbeat.set(3.into());
        assert_eq!(heartbeat.beat(at(5_999)), None, "too soon");
        heartbeat.set(4.into());
        assert_eq!(heartbeat.beat(at(6_000)), Some(4.into()));
        assert_eq!(heartbeat.beat(at(15_999)), None);
        assert_eq!(heartbeat.beat(at(16_000)), Some(4.into()));
    }
}
