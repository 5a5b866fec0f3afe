//! The partitions that a trigger owns on this node, each with its window.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::delivery::Token;
use super::progress::Progress;
use super::sequencer::{Limits, Window};
use crate::kafka::Partition;
use crate::manifest::Trigger;

/// One assignment of one partition.
pub struct Assigned<R> {
    pub partition: Partition,
    pub topic: Arc<str>,
    /// Tells this assignment from earlier ones of the same place in the table.
    pub epoch: u16,
    pub window: Window<R>,
    /// The partition is to go: nothing of it is started.
    pub leaving: bool,
    /// Whether its records come; see [`crate::kafka::Source::flow`].
    pub flowing: bool,
}

/// A table whose places are used again, so that acknowledgements find their window by an index.
pub struct Partitions<R> {
    limits: Limits,
    table: Vec<Option<Assigned<R>>>,
    places: FxHashMap<Partition, usize>,
    /// For each place the epoch of its next assignment.
    epochs: Vec<u16>,
    /// Where the search for ready records goes on, so that every partition gets its turn.
    turn: usize,
}

impl<R> Partitions<R> {
    pub fn new(trigger: &Trigger) -> Self {
        Self {
            limits: Limits {
                records: trigger.window.records.get() as usize,
                bytes: usize::try_from(trigger.window.bytes).unwrap_or(usize::MAX),
            },
            table: Vec::new(),
            places: FxHashMap::default(),
            epochs: Vec::new(),
            turn: 0,
        }
    }

    pub fn assign(&mut self, partition: Partition, topic: &Arc<str>, progress: Progress) {
        self.revoke(partition);
        let place = self.table.iter().position(Option::is_none).unwrap_or(self.table.len());
        assert!(place < Token::MAX_SLOTS, "a node owns fewer than {} partitions of a trigger", Token::MAX_SLOTS);
        if place == self.table.len() {
            self.table.push(None);
            self.epochs.push(0);
        }
        let epoch = self.epochs[place];
        self.epochs[place] = (epoch + 1) & Token::EPOCH_MASK;
        let assigned = Assigned {
            partition,
            topic: topic.clone(),
            epoch,
            window: Window::new(progress, self.limits),
            leaving: false,
            flowing: true,
        };
        self.table[place] = Some(assigned);
        self.places.insert(partition, place);
    }

    pub fn revoke(&mut self, partition: Partition) {
        if let Some(place) = self.places.remove(&partition) {
            self.table[place] = None;
        }
    }

    pub fn get_mut(&mut self, partition: Partition) -> Option<&mut Assigned<R>> {
        self.places.get(&partition).and_then(|&place| self.table[place].as_mut())
    }

    /// The assignment at this place, if it still is the one of `epoch`.
    pub fn at(&mut self, place: usize, epoch: u16) -> Option<&mut Assigned<R>> {
        self.table.get_mut(place)?.as_mut().filter(|assigned| assigned.epoch == epoch)
    }

    /// The next partition with records that may run, and its place.
    pub fn next_ready(&mut self) -> Option<(usize, &mut Assigned<R>)> {
        let places = self.table.len();
        let place = (0..places).map(|step| (self.turn + step) % places).find(|&place| {
            self.table[place].as_ref().is_some_and(|assigned| !assigned.leaving && assigned.window.ready() > 0)
        })?;
        self.turn = place + 1;
        self.table[place].as_mut().map(|assigned| (place, assigned))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Assigned<R>> {
        self.table.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Assigned<R>> {
        self.table.iter_mut().flatten()
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of the records that are not done.
    pub fn bytes(&self) -> usize {
        self.iter().map(|assigned| assigned.window.bytes()).sum()
    }

    /// Records that could run now.
    pub fn ready(&self) -> usize {
        self.iter().filter(|assigned| !assigned.leaving).map(|assigned| assigned.window.ready()).sum()
    }

    /// Records in calls.
    pub fn running(&self) -> usize {
        self.iter().map(|assigned| assigned.window.running()).sum()
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.iter().filter_map(|assigned| assigned.window.next_due()).min()
    }
}
