//! The partitions that a trigger owns on this node, each with its window.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::progress::{MAX_METADATA, Progress};
use super::route::{Route, Source, Split};
use super::sequencer::{Limits, Sequence, Window};
use crate::kafka::Partition;
use crate::manifest::Trigger;
use crate::record::Record;

/// Where an assignment is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    index: usize,
    /// Tells it from earlier and later ones at the same index.
    epoch: u64,
}

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

/// One assignment of one partition.
pub struct Assigned<R> {
    pub partition: Partition,
    pub topic: Arc<str>,
    epoch: u64,
    pub window: Window<R>,
    /// The partition is to go: nothing of it is started.
    pub leaving: bool,
    /// What still runs comes too late: its outcome is dropped.
    pub drops_calls: bool,
    /// Records are missing here: the client went on behind some that it could not read. Nothing that comes
    /// after them may be admitted, or it would be committed that they are done.
    pub broken_off: bool,
    pub intake: Intake,
}

impl<R: Record> Assigned<R> {
    /// Which way a record of the partition goes. One that cannot be read whole is given to no function, so it goes the
    /// ordinary way.
    pub fn route(&self, split: Option<&Split>, record: &R) -> Route {
        route(&self.topic, self.partition.number, split, record)
    }

    /// A record that is in a call may go another way by now. Returns whether it begins anew: see
    /// [`Window::redirect`].
    pub fn redirect(&mut self, split: Option<&Split>, sequence: Sequence, record: &R) -> bool {
        let route = self.route(split, record);
        self.window.redirect(sequence, route)
    }

    /// A record that is in a call counts as not run.
    pub fn put_back(&mut self, split: Option<&Split>, sequence: Sequence, record: R) {
        self.redirect(split, sequence, &record);
        self.window.put_back(sequence, record);
    }

    /// Routes all records anew that are in no call.
    pub fn reroute(&mut self, split: Option<&Split>) {
        let (topic, partition) = (&self.topic, self.partition.number);
        self.window.reroute(|record| route(topic, partition, split, record));
    }
}

fn route(topic: &str, partition: i32, split: Option<&Split>, record: &impl Record) -> Route {
    let Some(split) = split.filter(|_| record.defect().is_none()) else { return Route::STABLE };
    split.route(Source { topic, partition, offset: record.offset(), key: record.key() })
}

/// A table whose places are used again, so that acknowledgements find their window by an index.
pub struct Partitions<R> {
    limits: Limits,
    careful: bool,
    table: Vec<Option<Assigned<R>>>,
    places: FxHashMap<Partition, usize>,
    /// Of the next assignment.
    next_epoch: u64,
    /// For each route where the search for ready records goes on, so that every partition gets its turn.
    turns: [usize; Route::COUNT],
}

impl<R> Partitions<R> {
    pub fn new(trigger: &Trigger) -> Self {
        Self {
            limits: Limits {
                records: trigger.window.records.get() as usize,
                bytes: usize::try_from(trigger.window.bytes).unwrap_or(usize::MAX),
                metadata: MAX_METADATA,
            },
            careful: false,
            table: Vec::new(),
            places: FxHashMap::default(),
            next_epoch: 0,
            turns: [0; Route::COUNT],
        }
    }

    /// See [`Window::set_careful`].
    pub fn set_careful(&mut self, careful: bool) {
        self.careful = careful;
        self.iter_mut()
            .filter(|assigned| assigned.window.sent() == 0)
            .for_each(|assigned| assigned.window.set_careful(careful));
    }

    pub fn assign(&mut self, partition: Partition, topic: &Arc<str>, progress: Progress) {
        self.revoke(partition);
        let index = self.table.iter().position(Option::is_none).unwrap_or(self.table.len());
        if index == self.table.len() {
            self.table.push(None);
        }
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        let mut window = Window::new(progress, self.limits);
        window.set_careful(self.careful);
        let assigned = Assigned {
            partition,
            topic: topic.clone(),
            epoch,
            window,
            leaving: false,
            drops_calls: false,
            broken_off: false,
            intake: Intake::Flows,
        };
        self.table[index] = Some(assigned);
        self.places.insert(partition, index);
    }

    /// Returns where the partition was.
    pub fn revoke(&mut self, partition: Partition) -> Option<Place> {
        let index = self.places.remove(&partition)?;
        let assigned = self.table[index].take()?;
        Some(Place { index, epoch: assigned.epoch })
    }

    pub fn get_mut(&mut self, partition: Partition) -> Option<&mut Assigned<R>> {
        self.places.get(&partition).and_then(|&index| self.table[index].as_mut())
    }

    /// The assignment at this place, unless it is over.
    pub fn at(&mut self, place: Place) -> Option<&mut Assigned<R>> {
        self.table.get_mut(place.index)?.as_mut().filter(|assigned| assigned.epoch == place.epoch)
    }

    /// The brokers take so much commit metadata.
    pub fn set_metadata_limit(&mut self, characters: usize) {
        self.limits.metadata = characters;
        self.iter_mut().for_each(|assigned| assigned.window.set_metadata_limit(characters));
    }

    /// The next partition with records of a route that may run, and its place.
    pub fn next_ready(&mut self, route: Route) -> Option<(Place, &mut Assigned<R>)> {
        let (length, turn) = (self.table.len(), self.turns[route.index()]);
        let index = (0..length).map(|step| (turn + step) % length).find(|&index| {
            self.table[index].as_ref().is_some_and(|assigned| !assigned.leaving && assigned.window.ready(route) > 0)
        })?;
        self.turns[route.index()] = index + 1;
        self.table[index].as_mut().map(|assigned| (Place { index, epoch: assigned.epoch }, assigned))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Assigned<R>> {
        self.table.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Assigned<R>> {
        self.table.iter_mut().flatten()
    }

    /// All assignments with their places.
    pub fn places_mut(&mut self) -> impl Iterator<Item = (Place, &mut Assigned<R>)> {
        let all = self.table.iter_mut().enumerate();
        all.filter_map(|(index, it)| it.as_mut().map(|it| (Place { index, epoch: it.epoch }, it)))
            .filter(|(_, assigned)| !assigned.leaving)
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of the records that are not done.
    pub fn bytes(&self) -> usize {
        self.iter().map(|assigned| assigned.window.bytes()).sum()
    }

    /// Whether any record of a route could run now.
    pub fn has_ready(&self, route: Route) -> bool {
        self.iter().any(|assigned| !assigned.leaving && assigned.window.ready(route) > 0)
    }

    /// Records of a route that could start now.
    pub fn startable(&self, route: Route) -> usize {
        self.iter().filter(|assigned| !assigned.leaving).map(|assigned| assigned.window.startable(route)).sum()
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.iter().filter_map(|assigned| assigned.window.next_due()).min()
    }
}
