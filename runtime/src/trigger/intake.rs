//! What is taken from the client, and what is held back.
//!
//! A partition whose window is full is held back: its queue is cut off from the one that all
//! partitions share, which takes effect at once, keeps what was fetched, and is undone in
//! microseconds. But then its queue has a limit of its own, so at most [`MAX_HELD`] partitions are
//! held back in this way; of more, those that were held back first are paused, which gives their
//! memory back and costs fetching again what was fetched.

use std::time::Instant;

use super::budget::MAX_HELD;
use super::partitions::Intake;
use super::session::{SHOWN, Session};
use crate::kafka::{Broker as _, ErrorKind, Partition, Taken};

/// Records taken before the loop looks at everything else again.
pub(super) const TAKE: usize = 500;

impl Session {
    pub(super) fn take(&mut self, now: Instant) -> usize {
        self.starved = !self.flow.may_admit();
        if self.leaving.is_some() || self.flow.paused.is_some() || self.starved || self.flow.is_sated() {
            return 0;
        }
        let (flow, problems, broken) = (&mut self.flow, &mut self.problems, &mut self.broken);
        self.source.take(TAKE, |partition, taken| match taken {
            Taken::Record(record) => flow.admit(partition, record),
            Taken::Failed { error, .. } => {
                let reason = format!("records cannot be fetched: {error}");
                // The client goes on behind a damaged batch: nothing behind it may be committed.
                if error.kind == ErrorKind::Damaged {
                    *broken = Some(reason.clone());
                }
                problems.set_for("fetch", reason, now, SHOWN);
            }
        })
    }

    /// Holds back partitions whose window is full, and lets them flow again when there is room.
    /// `true`: records that were held back may have come, which wakes nobody.
    pub(super) fn hold_back(&mut self) -> bool {
        let (mut released, mut held) = (false, 0);
        for assigned in self.flow.partitions.iter_mut() {
            match assigned.intake {
                Intake::Flows if assigned.window.has_room() => continue,
                Intake::Flows => {
                    if self.source.flow(assigned.partition, false).is_err() {
                        continue;
                    }
                    self.holds += 1;
                    assigned.intake = Intake::Held { number: self.holds };
                }
                held_back if assigned.window.has_ample_room() => {
                    if held_back == Intake::Paused && self.source.pause(assigned.partition, false).is_err() {
                        continue;
                    }
                    if self.source.flow(assigned.partition, true).is_ok() {
                        assigned.intake = Intake::Flows;
                        released = true;
                    }
                }
                Intake::Held { .. } | Intake::Paused => {}
            }
            held += usize::from(matches!(assigned.intake, Intake::Held { .. }));
        }
        (MAX_HELD..held).for_each(|_| self.pause_first());
        released
    }

    /// Undoes a pause: the client would keep it for the time after the partition came back.
    pub(super) fn go_on(&mut self, partition: Partition) {
        let is_paused =
            self.flow.partitions.get_mut(partition).is_some_and(|assigned| assigned.intake == Intake::Paused);
        if is_paused && let Err(error) = self.source.pause(partition, false) {
            tracing::debug!("a partition that goes stays paused: {error}");
        }
    }

    /// Pauses the partition that was held back first.
    fn pause_first(&mut self) {
        let held = self.flow.partitions.iter_mut().filter_map(|assigned| match assigned.intake {
            Intake::Held { number } => Some((number, assigned)),
            Intake::Flows | Intake::Paused => None,
        });
        let Some((_, first)) = held.min_by_key(|(number, _)| *number) else { return };
        match self.source.pause(first.partition, true) {
            Ok(()) => first.intake = Intake::Paused,
            Err(error) => tracing::debug!("a partition that is held back cannot be paused: {error}"),
        }
    }
}
