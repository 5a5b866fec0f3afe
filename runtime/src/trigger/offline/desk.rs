//! The records that were given, and what became of them.

use std::collections::{VecDeque, hash_map};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::engine::Call;
use crate::kafka::{Event, Partition, Position};
use crate::record::outcome::{Cause, Fault};
use crate::record::{Header, Message, OwnedRecord, Record as _};
use crate::trigger::delivery::{HEADER_PREFIX, Token};

/// Makes of a message, with its headers, what is kept of it.
pub type Note<M> = Box<dyn Fn(&Message<'_>, &[Header<'_>]) -> M + Send>;

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<M> {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// Its messages in order, or why it failed.
    pub result: Result<Vec<M>, Fault>,
}

/// A desk as the clients share it.
pub(super) type Shared<M> = Arc<Mutex<Desk<M>>>;

pub(super) fn lock<M>(desk: &Shared<M>) -> MutexGuard<'_, Desk<M>> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that is around the driver.
pub(super) struct Desk<M> {
    note: Note<M>,
    /// In the order in which records of them came. The driver knows a topic by its place here.
    topics: Vec<Arc<str>>,
    /// For each partition the offset below which all records are done.
    low: FxHashMap<Partition, i64>,
    /// Records that were given, as long as nobody has taken their answer.
    entries: VecDeque<Entry<M>>,
    /// The number of the first entry, and of the next one that the driver takes.
    first: u64,
    next: u64,
    numbers: FxHashMap<(Partition, i64), u64>,
    /// How many bytes the entries hold.
    bytes: usize,
    /// Partitions that are new, and whether an assignment waits for its answer.
    new: Vec<Position>,
    is_subscribed: bool,
    is_assigning: bool,
    held_back: FxHashSet<Partition>,
    /// The commit that is to be told of.
    committed: Option<u64>,
    /// Tokens of messages that are to be acknowledged.
    sent: Vec<u64>,
    is_free: bool,
    call: Option<Call>,
    /// The records of the call that was made last.
    called: Vec<u64>,
    is_busy: bool,
}

struct Entry<M> {
    partition: Partition,
    offset: i64,
    attempt: u32,
    /// `None` once the driver has it.
    record: Option<OwnedRecord>,
    bytes: usize,
    messages: Vec<M>,
    fault: Option<Fault>,
}

impl<M> Desk<M> {
    pub(super) fn share(note: Note<M>) -> Shared<M> {
        Arc::new(Mutex::new(Self {
            note,
            topics: Vec::new(),
            low: FxHashMap::default(),
            entries: VecDeque::new(),
            first: 0,
            next: 0,
            numbers: FxHashMap::default(),
            bytes: 0,
            new: Vec::new(),
            is_subscribed: false,
            is_assigning: false,
            held_back: FxHashSet::default(),
            committed: None,
            sent: Vec::new(),
            is_free: false,
            call: None,
            called: Vec::new(),
            is_busy: false,
        }))
    }

    /// Records that were given and whose answer nobody has taken.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of these records and of their messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn give(&mut self, topic: &Arc<str>, number: i32, record: OwnedRecord, attempt: u32) {
        let topic = self.place_of(topic).unwrap_or_else(|| {
            self.topics.push(topic.clone());
            self.topics.len() - 1
        });
        let partition = Partition { topic, number };
        if let hash_map::Entry::Vacant(low) = self.low.entry(partition) {
            low.insert(0);
            self.new.push(Position::of(&self.topics[topic], number));
        }
        let (offset, bytes) = (record.offset, record.bytes());
        self.numbers.insert((partition, offset), self.first + self.entries.len() as u64);
        self.bytes += bytes;
        let record = Some(record);
        self.entries.push_back(Entry { partition, offset, attempt, record, bytes, messages: Vec::new(), fault: None });
    }

    /// Whether every record is answered.
    pub(super) fn is_done(&self) -> bool {
        self.entries.iter().all(|entry| self.is_answered(entry))
    }

    fn is_answered(&self, entry: &Entry<M>) -> bool {
        entry.offset < self.low.get(&entry.partition).copied().unwrap_or(0)
    }

    pub(super) fn next_answer(&mut self) -> Option<Answer<M>> {
        if !self.is_answered(self.entries.front()?) {
            return None;
        }
        let Entry { partition, offset, bytes, messages, fault, .. } = self.entries.pop_front()?;
        self.first += 1;
        self.numbers.remove(&(partition, offset));
        self.bytes -= bytes;
        let topic = self.topics[partition.topic].clone();
        Some(Answer { topic, partition: partition.number, offset, result: fault.map_or(Ok(messages), Err) })
    }

    /// Whether the one instance is free for a call.
    pub(super) fn set_free(&mut self, is_free: bool) {
        self.is_free = is_free;
    }

    pub(super) fn take_call(&mut self) -> Option<Call> {
        self.call.take()
    }

    /// From here on it is noted whether the desk has work for the driver.
    pub(super) fn begin_turn(&mut self) {
        self.is_busy = false;
    }

    /// Whether the last turn did anything that another turn may follow from.
    pub(super) fn was_busy(&self) -> bool {
        self.is_busy
    }

    pub(super) fn note_work(&mut self) {
        self.is_busy = true;
    }

    // What the driver asks of its instance.

    pub(super) fn free(&self) -> usize {
        usize::from(self.is_free && self.call.is_none())
    }

    /// A call starts. Its records are at the try that they were given with.
    pub(super) fn start(&mut self, mut call: Call) {
        let partition = self.partition(call.batch.topic(), call.batch.partition());
        let number = |offset: i64| partition.and_then(|partition| self.numbers.get(&(partition, offset)).copied());
        self.called = call.batch.offsets().iter().filter_map(|&offset| number(offset)).collect();
        let (entries, first) = (&self.entries, self.first);
        let attempt = |offset| number(offset).map_or(1, |number| entries[(number - first) as usize].attempt);
        call.batch.renumber(attempt);
        self.call = Some(call);
    }

    // What the driver asks of its broker.

    pub(super) fn partition(&self, topic: &str, number: i32) -> Option<Partition> {
        Some(Partition { topic: self.place_of(topic)?, number })
    }

    fn place_of(&self, topic: &str) -> Option<usize> {
        self.topics.iter().position(|known| **known == *topic)
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        let event = if let Some(number) = self.committed.take() {
            Event::Committed { number, result: Ok(()) }
        } else if self.is_subscribed && !self.is_assigning && !self.new.is_empty() {
            self.is_assigning = true;
            Event::Assigned(std::mem::take(&mut self.new))
        } else {
            return None;
        };
        self.is_busy = true;
        Some(event)
    }

    pub(super) fn subscribed(&mut self) {
        (self.is_subscribed, self.is_busy) = (true, true);
    }

    /// An assignment was answered.
    pub(super) fn assigned(&mut self) {
        (self.is_assigning, self.is_busy) = (false, true);
    }

    pub(super) fn hold_back(&mut self, partition: Partition, holds: bool) {
        if holds {
            self.held_back.insert(partition);
        } else {
            self.held_back.remove(&partition);
        }
    }

    /// The next record, unless its partition is held back or not assigned yet: a list has one order, so those
    /// behind it wait too.
    pub(super) fn next_record(&mut self) -> Option<(Partition, OwnedRecord)> {
        let entry = self.entries.get_mut((self.next - self.first) as usize)?;
        let partition = entry.partition;
        let is_new = || {
            self.new.iter().any(|new| new.partition == partition.number && *new.topic == *self.topics[partition.topic])
        };
        if self.is_assigning || self.held_back.contains(&partition) || is_new() {
            return None;
        }
        let record = entry.record.take()?;
        self.next += 1;
        self.is_busy = true;
        Some((partition, record))
    }

    /// Progress is committed: everything below is done.
    pub(super) fn commit(&mut self, number: u64, positions: &[Position]) {
        for position in positions {
            if let (Some(partition), Some(low)) = (self.partition(&position.topic, position.partition), position.offset)
            {
                self.low.insert(partition, low);
            }
        }
        (self.committed, self.is_busy) = (Some(number), true);
    }

    // What the driver asks of its producer.

    /// Takes a message in for the record that it was emitted for.
    pub(super) fn send(&mut self, message: &Message<'_>, headers: &[Header<'_>]) {
        self.sent.push(message.token);
        let token = Token::unpack(message.token);
        // One call is under way at a time, so it is that one's.
        let number = self.called.get(token.index).and_then(|number| number.checked_sub(self.first));
        let Some(entry) = number.and_then(|number| self.entries.get_mut(number as usize)) else {
            debug_assert!(false, "a message of a record that was not called");
            return;
        };
        if token.dead_letter {
            entry.fault = Some(fault(headers));
            return;
        }
        let bytes = message.bytes(headers);
        entry.bytes += bytes;
        self.bytes += bytes;
        entry.messages.push((self.note)(message, headers));
    }

    /// Tokens of messages that are to be acknowledged.
    pub(super) fn take_sent(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.sent)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.sent.len()
    }
}

/// Why a record failed, by its dead letter.
fn fault(headers: &[Header<'_>]) -> Fault {
    // Headers of the record stand before them, and may have the same names.
    let text = |name: &str| {
        let is_it = |header: &&Header<'_>| header.name.strip_prefix(HEADER_PREFIX.as_bytes()) == Some(name.as_bytes());
        let value = headers.iter().rfind(is_it).and_then(|header| header.value).unwrap_or_default();
        String::from_utf8_lossy(value)
    };
    let cause = Cause::named(&text("cause")).unwrap_or(Cause::BadOutcome);
    Fault::new(cause, text("reason"))
}
