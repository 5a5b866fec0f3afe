//! Calls, each from its start until the last message that came of it is acknowledged.
//!
//! The records of a call stay as long, in the batch in which they crossed the boundary: a message
//! that the broker refuses makes a dead letter of its record. What is held is bounded by the calls
//! that may run and by the bytes that may be unacknowledged.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustc_hash::FxHashMap;
use slab::Slab;

use super::partitions::Place;
use super::sequencer::Sequence;
use crate::record::batch::Batch;

/// Calls are numbered across all flows, so that one which ends late, after its flow was built
/// again, is not taken for another.
static NEXT_CALL: AtomicU64 = AtomicU64::new(0);

/// Batches whose memory is kept for other calls.
const MAX_SPARE: usize = 32;

/// Where a flight is in the table, until it ends.
pub type FlightKey = usize;

/// A call and what came of it.
pub struct Flight {
    /// The assignment that its records belong to.
    pub place: Place,
    /// For each record its place in the window.
    pub sequences: Vec<Sequence>,
    /// Records that are done together, when all messages of the call are acknowledged: a message may
    /// stand for others than the record it is emitted for.
    together: Vec<Sequence>,
    /// A message of the call will not be acknowledged any more: they are never done together.
    spoiled: bool,
    /// The records. `None` while the call runs, and once nobody wants to know.
    pub batch: Option<Batch>,
    running: bool,
    /// Messages that are not acknowledged, and their bytes, all together.
    unacknowledged: usize,
    bytes: usize,
    /// When one of them went out or came back last.
    last: Option<Instant>,
}

/// A record of a call.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub flight: FlightKey,
    /// Its index in the call's batch.
    pub index: usize,
    pub place: Place,
    pub sequence: Sequence,
}

/// All calls of a trigger that are not over.
#[derive(Default)]
pub struct Flights {
    table: Slab<Flight>,
    /// Calls that run, by number.
    running: FxHashMap<u64, FlightKey>,
    spare: Vec<Batch>,
    /// Of the messages that are not acknowledged.
    bytes: usize,
    /// Of the batches that are kept beside them.
    batch_bytes: usize,
}

impl Flights {
    /// An empty batch, in memory used before.
    pub fn prepare(&mut self, topic: &Arc<str>, partition: i32) -> Batch {
        match self.spare.pop() {
            Some(mut batch) => {
                batch.become_of(topic.clone(), partition);
                batch
            }
            None => Batch::new(topic.clone(), partition),
        }
    }

    /// Takes back a batch that is of no use any more, for its memory.
    pub fn recycle(&mut self, mut batch: Batch) {
        if self.spare.len() < MAX_SPARE {
            batch.clear();
            self.spare.push(batch);
        }
    }

    /// A call starts. Returns its number.
    pub fn start(&mut self, place: Place, sequences: Vec<Sequence>) -> u64 {
        let flight = Flight {
            place,
            sequences,
            together: Vec::new(),
            spoiled: false,
            batch: None,
            running: true,
            unacknowledged: 0,
            bytes: 0,
            last: None,
        };
        let id = NEXT_CALL.fetch_add(1, Relaxed);
        self.running.insert(id, self.table.insert(flight));
        id
    }

    /// A call ended. `None`: it was another flow's.
    pub fn land(&mut self, id: u64) -> Option<FlightKey> {
        let key = self.running.remove(&id)?;
        self.table[key].running = false;
        Some(key)
    }

    /// What was to be done with the outcome of a call is done. The batch stays until its messages
    /// are acknowledged.
    pub fn settle(&mut self, key: FlightKey, batch: Batch) {
        self.batch_bytes += batch.bytes();
        self.table[key].batch = Some(batch);
        self.end_if_over(key);
    }

    /// As [`Flights::settle`], without a batch to keep.
    pub fn settle_bare(&mut self, key: FlightKey) {
        self.end_if_over(key);
    }

    pub fn get(&self, key: FlightKey) -> &Flight {
        &self.table[key]
    }

    /// Takes the records out, to be given back by [`Flights::settle`].
    pub fn take_batch(&mut self, key: FlightKey) -> Option<Batch> {
        let batch = self.table[key].batch.take()?;
        self.batch_bytes -= batch.bytes();
        Some(batch)
    }

    /// Messages of the call went out.
    pub fn sent(&mut self, key: FlightKey, messages: usize, bytes: usize, now: Instant) {
        let flight = &mut self.table[key];
        flight.last = Some(now);
        flight.unacknowledged += messages;
        flight.bytes += bytes;
        self.bytes += bytes;
    }

    /// These records of the call are done together, when its messages are acknowledged.
    pub fn hold(&mut self, key: FlightKey, together: Vec<Sequence>) {
        self.table[key].together = together;
    }

    /// A message of the call will not be acknowledged: what waits for all of them waits for ever, and
    /// runs again from what is committed.
    pub fn spoil(&mut self, key: FlightKey) {
        self.table[key].spoiled = true;
    }

    /// A message came back, whatever became of it, and nothing more is to be done about it. If it was
    /// the last one of its call, returns the records that are done with it.
    #[must_use]
    pub fn reported(&mut self, key: FlightKey, now: Instant) -> Vec<Sequence> {
        let flight = &mut self.table[key];
        flight.unacknowledged -= 1;
        flight.last = Some(now);
        let is_last = flight.unacknowledged == 0 && !flight.spoiled;
        let done = if is_last { std::mem::take(&mut flight.together) } else { Vec::new() };
        self.end_if_over(key);
        done
    }

    fn end_if_over(&mut self, key: FlightKey) {
        let flight = &self.table[key];
        if flight.running || flight.unacknowledged > 0 {
            return;
        }
        let batch = self.take_batch(key);
        self.bytes -= self.table.remove(key).bytes;
        batch.into_iter().for_each(|batch| self.recycle(batch));
    }

    /// The records of an assignment are others' now.
    pub fn forget(&mut self, place: Place) {
        for (_, flight) in &mut self.table {
            if flight.place == place
                && let Some(batch) = flight.batch.take()
            {
                self.batch_bytes -= batch.bytes();
            }
        }
    }

    /// Calls that run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Since when messages of a call are not acknowledged and none of them was, of the call of
    /// which that is true for longest.
    pub fn silent_since(&self) -> Option<Instant> {
        let waiting = self.table.iter().filter(|(_, flight)| flight.unacknowledged > 0);
        waiting.filter_map(|(_, flight)| flight.last).min()
    }

    /// Bytes of the batches that are kept for messages that are not acknowledged.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// Bytes of messages that are not acknowledged. A call's count until its last one is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
