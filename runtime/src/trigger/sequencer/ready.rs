//! The records of a window that may run, by route and by kind.
//!
//! Records that never failed are taken in the order of their offsets. Those that failed are taken in the
//! order in which their time came, so that none hides another. Suspects, among which one broke a call,
//! travel among themselves. The kinds take turns, so that none starves another.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::Sequence;

/// What a record that may run is treated as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Fresh,
    /// It failed by itself and runs again.
    Retry,
    /// One of those among which the cause of a failed call is.
    Suspect,
}

impl Kind {
    fn after(self) -> Self {
        match self {
            Self::Fresh => Self::Retry,
            Self::Retry => Self::Suspect,
            Self::Suspect => Self::Fresh,
        }
    }
}

/// Records of one route that may run. Entries may be stale: whoever takes one looks at its slot.
#[derive(Debug)]
pub(super) struct Ready {
    /// In the order of delivery.
    fresh: VecDeque<Sequence>,
    /// Fresh ones that became ready after others had been delivered behind them.
    again: BinaryHeap<Reverse<Sequence>>,
    retries: VecDeque<Sequence>,
    suspects: BinaryHeap<Reverse<Sequence>>,
    /// How many entries of each kind are not stale.
    pub(super) counts: Counts,
    turn: Kind,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) fresh: usize,
    pub(super) retries: usize,
    pub(super) suspects: usize,
}

impl Counts {
    pub(super) fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Fresh => &mut self.fresh,
            Kind::Retry => &mut self.retries,
            Kind::Suspect => &mut self.suspects,
        }
    }

    pub(super) fn all(self) -> usize {
        self.fresh + self.retries + self.suspects
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            fresh: VecDeque::new(),
            again: BinaryHeap::new(),
            retries: VecDeque::new(),
            suspects: BinaryHeap::new(),
            counts: Counts::default(),
            turn: Kind::Fresh,
        }
    }
}

impl Ready {
    /// Forgets all entries, to be filled again.
    pub(super) fn clear(&mut self) {
        *self = Self { turn: self.turn, ..Self::default() };
    }

    /// A record may run from now on.
    pub(super) fn add(&mut self, kind: Kind, sequence: Sequence) {
        *self.counts.of(kind) += 1;
        self.queue(kind, sequence);
    }

    /// A record may run if the one ahead of it, which was just taken, is in the same call.
    pub(super) fn add_rider(&mut self, kind: Kind, sequence: Sequence) {
        self.queue(kind, sequence);
    }

    fn queue(&mut self, kind: Kind, sequence: Sequence) {
        match kind {
            Kind::Fresh if self.fresh.back().is_none_or(|&last| last < sequence) => self.fresh.push_back(sequence),
            Kind::Fresh => self.again.push(Reverse(sequence)),
            Kind::Retry => self.retries.push_back(sequence),
            Kind::Suspect => self.suspects.push(Reverse(sequence)),
        }
    }

    /// A record that could run does, or is of another kind now.
    pub(super) fn remove(&mut self, kind: Kind) {
        *self.counts.of(kind) -= 1;
    }

    /// The next entry of a kind.
    pub(super) fn peek(&self, kind: Kind) -> Option<Sequence> {
        match kind {
            Kind::Fresh => {
                let again = self.again.peek().map(|&Reverse(sequence)| sequence);
                self.fresh.front().copied().into_iter().chain(again).min()
            }
            Kind::Retry => self.retries.front().copied(),
            Kind::Suspect => self.suspects.peek().map(|&Reverse(sequence)| sequence),
        }
    }

    /// Takes the next entry of a kind away.
    pub(super) fn pop(&mut self, kind: Kind) {
        match kind {
            Kind::Fresh => {
                let again = self.again.peek().map(|&Reverse(sequence)| sequence);
                if again.is_some_and(|again| self.fresh.front().is_none_or(|&fresh| again < fresh)) {
                    self.again.pop();
                } else {
                    self.fresh.pop_front();
                }
            }
            Kind::Retry => {
                self.retries.pop_front();
            }
            Kind::Suspect => {
                self.suspects.pop();
            }
        }
    }

    /// Takes the entries of a record away, wherever they are. Looks at all of them.
    pub(super) fn take_out(&mut self, kind: Kind, sequence: Sequence) {
        match kind {
            Kind::Fresh => {
                self.fresh.retain(|&entry| entry != sequence);
                self.again.retain(|&Reverse(entry)| entry != sequence);
            }
            Kind::Retry => self.retries.retain(|&entry| entry != sequence),
            Kind::Suspect => self.suspects.retain(|&Reverse(entry)| entry != sequence),
        }
    }

    /// All kinds, the one whose turn it is first. The next time it is the turn of another.
    pub(super) fn turns(&mut self) -> [Kind; 3] {
        let first = self.turn;
        self.turn = first.after();
        [first, first.after(), first.after().after()]
    }
}
