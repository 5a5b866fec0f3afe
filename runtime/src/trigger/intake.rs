//! What is taken from the client, and what is held back.
//!
//! A partition whose window is full is held back: its queue is cut off from the one that all
//! partitions share, which takes effect at once, keeps what was fetched, and is undone in
//! microseconds. But then its queue has a limit of its own, so at most [`MAX_HELD`] partitions are
//! held back in this way; of more, those that were held back first are paused, which gives their
//! memory back and costs fetching again what was fetched. Pure: it says what is to be done.

use super::budget::MAX_HELD;
use super::partitions::{Assigned, Partitions};
use crate::kafka::Partition;

/// Whether a partition's records come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intake {
    #[default]
    Flows,
    /// They wait in a queue of their own. The number grows with each that is held back.
    Held { number: u64 },
    /// None are fetched.
    Paused,
}

/// What is to be done with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valve {
    /// Keep its records in a queue of its own.
    Hold,
    /// Stop fetching it.
    Pause,
    /// Let its records come again. `paused`: it was not fetched.
    Release { paused: bool },
}

/// Numbers partitions as they are held back.
#[derive(Debug, Default)]
pub struct Valves {
    holds: u64,
}

impl Valves {
    /// Holds back partitions whose window is full, and lets them flow again when there is room.
    /// `turn` does it and returns whether that worked. Returns whether records may have come, which
    /// wakes nobody.
    pub fn turn<R>(&mut self, partitions: &mut Partitions<R>, mut turn: impl FnMut(Partition, Valve) -> bool) -> bool {
        let (mut released, mut held) = (false, 0);
        for assigned in partitions.iter_mut() {
            match self.wanted(assigned) {
                None => {}
                Some(valve) if !turn(assigned.partition, valve) => {}
                Some(Valve::Hold) => {
                    self.holds += 1;
                    assigned.intake = Intake::Held { number: self.holds };
                }
                Some(Valve::Release { .. }) => {
                    assigned.intake = Intake::Flows;
                    released = true;
                }
                Some(Valve::Pause) => assigned.intake = Intake::Paused,
            }
            held += usize::from(matches!(assigned.intake, Intake::Held { .. }));
        }
        for _ in MAX_HELD..held {
            if let Some(first) = first_held(partitions)
                && turn(first.partition, Valve::Pause)
            {
                first.intake = Intake::Paused;
            }
        }
        released
    }

    fn wanted<R>(&self, assigned: &Assigned<R>) -> Option<Valve> {
        match assigned.intake {
            Intake::Flows => (!assigned.window.has_room()).then_some(Valve::Hold),
            _ if !assigned.window.has_ample_room() => None,
            Intake::Held { .. } => Some(Valve::Release { paused: false }),
            Intake::Paused => Some(Valve::Release { paused: true }),
        }
    }
}

/// The partition that was held back first.
fn first_held<R>(partitions: &mut Partitions<R>) -> Option<&mut Assigned<R>> {
    let held = partitions.iter_mut().filter_map(|assigned| match assigned.intake {
        Intake::Held { number } => Some((number, assigned)),
        Intake::Flows | Intake::Paused => None,
    });
    held.min_by_key(|(number, _)| *number).map(|(_, assigned)| assigned)
}
