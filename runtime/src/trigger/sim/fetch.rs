//! What a member fetches, and in which queues it lies until the loop takes it.
//!
//! One queue that all partitions share, and one for each partition that is held back; each is filled
//! up to the same limit. Where a partition goes on is behind the last record that was *taken*.
//! A position that the log does not have (retention, a topic made again) goes on at the log's start.

use std::collections::VecDeque;

use super::load::{Fate, id_of};
use super::member::error;
use super::time::ms;
use super::topics::Place;
use super::world::{Event, Unreadable, World};
use crate::kafka::Error;
use crate::record::{Header, OwnedRecord, Record};

/// Most records of one fetch.
const FETCH: usize = 50;
/// Records of a batch that is damaged.
const DAMAGED_BATCH: usize = 3;

/// A partition that is fetched.
pub struct Fetcher {
    /// The number under which it was given to the member.
    pub grant: u64,
    /// Which incarnation the topic was in then.
    pub incarnation: u32,
    /// The next offset to fetch, and the one behind the last record taken.
    next: i64,
    taken: i64,
    /// Fetches and records of other versions are out of date.
    version: u64,
    flows: bool,
    paused: bool,
    /// A fetch is under way.
    fetches: bool,
    /// What came while it is held back.
    held: VecDeque<Came>,
    held_bytes: usize,
}

impl Fetcher {
    pub fn new(grant: u64, incarnation: u32, offset: i64) -> Self {
        Self {
            grant,
            incarnation,
            next: offset,
            taken: offset,
            version: 0,
            flows: true,
            paused: false,
            fetches: false,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Something came. Returns whether the queue for it is full.
    fn push(&mut self, queue: &mut Queue, place: Place, came: Came) -> bool {
        if self.flows {
            queue.push(place, came);
            return queue.bytes >= queue.limit;
        }
        self.held_bytes += came.bytes();
        self.held.push_back(came);
        self.held_bytes >= queue.limit
    }

    /// Throws away what was fetched and not taken.
    pub fn start_again(&mut self) {
        self.version += 1;
        self.next = self.taken;
        self.fetches = false;
        self.held.clear();
        self.held_bytes = 0;
    }
}

/// The queue that the partitions share.
pub struct Queue {
    records: VecDeque<(Place, Came)>,
    bytes: usize,
    limit: usize,
}

impl Queue {
    pub fn new(limit: u64) -> Self {
        Self { records: VecDeque::new(), bytes: 0, limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    fn push(&mut self, place: Place, came: Came) {
        self.bytes += came.bytes();
        self.records.push_back((place, came));
    }

    fn drop_of(&mut self, place: Place) {
        self.records.retain(|(other, _)| *other != place);
        self.bytes = self.records.iter().map(|(_, came)| came.bytes()).sum();
    }
}

/// What a fetch brings.
pub enum Came {
    Record(SimRecord),
    /// Nothing that could be read.
    Failed {
        offset: i64,
        error: Error,
    },
}

impl Came {
    fn bytes(&self) -> usize {
        match self {
            Self::Record(record) => record.bytes(),
            Self::Failed { .. } => 0,
        }
    }
}

/// A record as a driver gets it.
pub struct SimRecord {
    record: OwnedRecord,
    defect: Option<String>,
}

impl World {
    /// Bytes that the member's client holds of records that were not taken.
    pub fn fetched_bytes(&self, member: u64) -> usize {
        let Some(known) = self.members.get(&member) else { return 0 };
        known.queue.bytes + known.owned.values().map(|fetcher| fetcher.held_bytes).sum::<usize>()
    }

    pub fn fetch_all(&mut self, member: u64) {
        let Some(known) = self.members.get(&member) else { return };
        let places: Vec<Place> = known.owned.keys().copied().collect();
        for place in places {
            self.fetch(member, place);
        }
    }

    /// Records came to a partition: who waits for them gets them.
    pub fn data_arrived(&mut self, place: Place) {
        let members: Vec<u64> =
            self.members.iter().filter(|(_, known)| known.owned.contains_key(&place)).map(|(&id, _)| id).collect();
        for member in members {
            self.fetch(member, place);
        }
    }

    /// Starts a fetch, unless one is under way or there is no room.
    fn fetch(&mut self, member: u64, place: Place) {
        let there = self.latency();
        let Some(known) = self.members.get_mut(&member) else { return };
        let stands_still = known.pending.is_some();
        let full = known.queue.bytes >= known.queue.limit;
        let limit = known.queue.limit;
        let Some(fetcher) = known.owned.get_mut(&place) else { return };
        let full = if fetcher.flows { full } else { fetcher.held_bytes >= limit };
        if stands_still || full || fetcher.fetches || fetcher.paused {
            return;
        }
        fetcher.fetches = true;
        let version = fetcher.version;
        self.after(there, Event::Fetch { member, place, version });
    }

    /// The leader answers a fetch.
    pub fn fetched(&mut self, member: u64, place: Place, version: u64) {
        let answers = self.leader(place).is_some_and(|leader| {
            let broker = &self.brokers[leader];
            broker.condition == super::brokers::Condition::Up
        });
        let Some(known) = self.members.get_mut(&member) else { return };
        let Some(fetcher) = known.owned.get_mut(&place).filter(|fetcher| fetcher.version == version) else { return };
        if !answers {
            self.after(ms(100), Event::Fetch { member, place, version });
            return;
        }
        fetcher.fetches = false;
        let Some(log) = self.topics[place.topic].log(place.partition) else { return };
        if fetcher.next < log.start || fetcher.next > log.end {
            fetcher.next = log.start;
        } else if fetcher.incarnation != self.topics[place.topic].incarnation {
            // Its position speaks of the topic before, and is one of this topic too: nobody can tell.
            let skipped = log.entries().iter().take_while(|entry| entry.offset < fetcher.next);
            let skipped: Vec<usize> = skipped.map(|entry| entry.id).collect();
            self.books.removed(&skipped);
        }
        let end = match self.unreadable.get(&place).and_then(|what| what.from(fetcher.next)) {
            Some(first) if log.from(fetcher.next).first().is_some_and(|entry| entry.offset >= first) => {
                return self.fetched_in_vain(member, place, version);
            }
            end => end.unwrap_or(i64::MAX),
        };
        let items = self.items.clone();
        let entries = log.from(fetcher.next).iter().take(FETCH).take_while(|entry| entry.offset < end);
        let mut came = false;
        for entry in entries {
            let item = &items[entry.id];
            let record = OwnedRecord {
                offset: entry.offset,
                timestamp_ms: Some(entry.timestamp_ms),
                key: item.key_bytes(),
                value: Some(item.value(entry.id)),
                headers: vec![(b"h".to_vec(), Some(vec![b'1'; item.header_bytes]))],
            };
            let defect = (item.fate == Fate::Unreadable).then(|| "its headers are unread".to_owned());
            let record = Came::Record(SimRecord { record, defect });
            fetcher.next = entry.offset + 1;
            came = true;
            if fetcher.push(&mut known.queue, place, record) {
                break;
            }
        }
        if came {
            let node = known.node;
            self.wake(node);
            self.fetch(member, place);
        }
    }

    /// A fetch of what cannot be read is answered. The client goes on behind a damaged batch, and asks again
    /// for what it was refused.
    fn fetched_in_vain(&mut self, member: u64, place: Place, version: u64) {
        let Some(known) = self.members.get_mut(&member) else { return };
        let Some(fetcher) = known.owned.get_mut(&place) else { return };
        let Some(log) = self.topics[place.topic].log(place.partition) else { return };
        let entries = log.from(fetcher.next);
        let Some(first) = entries.first() else { return };
        let behind = match self.unreadable.get_mut(&place) {
            Some(Unreadable::Batch(batch)) => {
                let last = entries.iter().take(DAMAGED_BATCH).next_back().unwrap_or(first);
                Some(batch.get_or_insert(first.offset..last.offset + 1).end)
            }
            _ => None,
        };
        let name = if behind.is_some() { "_BAD_MSG" } else { "TOPIC_AUTHORIZATION_FAILED" };
        let failed = Came::Failed { offset: first.offset, error: error(name) };
        fetcher.push(&mut known.queue, place, failed);
        fetcher.next = behind.unwrap_or(fetcher.next);
        fetcher.fetches = behind.is_none();
        let node = known.node;
        self.tell(|world| format!("{}: {} cannot be fetched: {name}", world.who(member), world.place(place)));
        self.wake(node);
        if behind.is_some() {
            self.fetch(member, place);
        } else {
            self.after(ms(500), Event::Fetch { member, place, version });
        }
    }

    /// Partitions whose records could not be read for a while can be read again.
    pub fn readable(&mut self, place: Place) {
        self.unreadable.remove(&place);
        self.data_arrived(place);
    }

    /// The loop takes records.
    pub fn take(&mut self, member: u64, at_most: usize) -> Vec<(Place, Came)> {
        let now = self.now();
        let Some(known) = self.members.get_mut(&member) else { return Vec::new() };
        known.polled = now;
        if known.pending.is_some() {
            return Vec::new();
        }
        let count = at_most.min(known.queue.records.len());
        let taken: Vec<_> = known.queue.records.drain(..count).collect();
        for (place, came) in &taken {
            known.queue.bytes -= came.bytes();
            if let (Some(fetcher), Came::Record(record)) = (known.owned.get_mut(place), came) {
                fetcher.taken = record.offset() + 1;
            }
        }
        if count > 0 {
            let node = known.node;
            let records = taken.iter().filter_map(|(_, came)| match came {
                Came::Record(record) => Some((record.value().and_then(id_of)?, record.bytes())),
                Came::Failed { .. } => None,
            });
            self.books.taken(node, records);
            self.fetch_all(member);
        }
        taken
    }

    /// The loop holds a partition back, or lets it flow again.
    pub fn flow(&mut self, member: u64, place: Place, flows: bool) -> bool {
        let Some(known) = self.members.get_mut(&member) else { return false };
        let Some(fetcher) = known.owned.get_mut(&place) else { return false };
        let changes = fetcher.flows != flows;
        fetcher.flows = flows;
        if flows {
            fetcher.held_bytes = 0;
            for came in std::mem::take(&mut fetcher.held) {
                known.queue.push(place, came);
            }
        }
        if changes {
            let how = if flows { "flows" } else { "is held back" };
            self.tell(|world| format!("{}: {} {how}", world.who(member), world.place(place)));
        }
        self.fetch(member, place);
        true
    }

    pub fn pause(&mut self, member: u64, place: Place, pauses: bool) -> bool {
        let Some(known) = self.members.get_mut(&member) else { return false };
        let Some(fetcher) = known.owned.get_mut(&place) else { return false };
        if pauses {
            fetcher.start_again();
            known.queue.drop_of(place);
        }
        fetcher.paused = pauses;
        let how = if pauses { "is paused" } else { "is fetched again" };
        self.tell(|world| format!("{}: {} {how}", world.who(member), world.place(place)));
        self.fetch(member, place);
        true
    }

    pub fn seek(&mut self, member: u64, place: Place, offset: i64) -> bool {
        let Some(known) = self.members.get_mut(&member) else { return false };
        let Some(fetcher) = known.owned.get_mut(&place) else { return false };
        fetcher.taken = offset;
        fetcher.start_again();
        known.queue.drop_of(place);
        let node = known.node;
        self.books.let_go(node, place);
        self.tell(|world| format!("{}: {} is read again from {offset}", world.who(member), world.place(place)));
        self.fetch(member, place);
        true
    }
}

impl Unreadable {
    /// From where on nothing can be fetched by a client that comes from this offset.
    fn from(&self, next: i64) -> Option<i64> {
        match self {
            Self::All | Self::Batch(None) => Some(next),
            Self::Batch(Some(batch)) => Some(batch.start).filter(|_| next < batch.end),
        }
    }
}

impl From<OwnedRecord> for SimRecord {
    fn from(record: OwnedRecord) -> Self {
        Self { record, defect: None }
    }
}

impl Record for SimRecord {
    fn defect(&self) -> Option<&str> {
        self.defect.as_deref()
    }

    fn offset(&self) -> i64 {
        self.record.offset
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.record.timestamp_ms
    }

    fn key(&self) -> Option<&[u8]> {
        self.record.key()
    }

    fn value(&self) -> Option<&[u8]> {
        self.record.value()
    }

    fn header(&self, index: usize) -> Option<Header<'_>> {
        self.record.header(index)
    }
}
