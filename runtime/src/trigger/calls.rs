//! Calls, each from its start until the last message that came of it is acknowledged.
//!
//! The records of a call stay as long, in the batch in which they crossed the boundary: a message
//! that the broker refuses makes a dead letter of its record. What is held is bounded by the calls
//! that may run and by the bytes that may be unacknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use slab::Slab;

use super::lane::{Lane, LaneId};
use super::partitions::Place;
use super::sequencer::Sequence;
use crate::record::batch::Batch;

/// Batches whose memory is kept for other calls.
const MAX_SPARE: usize = 32;

/// Where a call is in the table, until it is over.
pub type CallKey = usize;

/// A call and what came of it.
pub struct OpenCall {
    /// The assignment that its records belong to.
    pub place: Place,
    /// The revision that runs it, and its name for dead letters: it may be gone before they are made.
    pub lane: LaneId,
    pub revision: Arc<str>,
    /// That revision is a candidate: what it gives up goes to the one that serves.
    pub is_on_trial: bool,
    /// For each record its place in the window.
    pub sequences: Vec<Sequence>,
    /// Records that are done together, when all messages of the call are acknowledged: a message may
    /// stand for others than the record it is emitted for.
    together: Vec<Sequence>,
    /// A message of the call will not be acknowledged any more: its records are never done together.
    spoiled: bool,
    /// The records. `None` while the call runs, and once nobody wants to know.
    pub batch: Option<Batch>,
    running: bool,
    /// What its outcome may take, as long as it runs.
    reserved: usize,
    /// Messages that are not acknowledged, and the bytes of all.
    unacknowledged: usize,
    bytes: usize,
    /// When its messages went out last.
    sent: Option<Instant>,
}

/// A record of a call.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub call: CallKey,
    /// Its index in the call's batch.
    pub index: usize,
    pub place: Place,
    pub sequence: Sequence,
}

/// All calls of a trigger that are not over.
#[derive(Default)]
pub struct Calls {
    table: Slab<OpenCall>,
    /// Calls that run, by number.
    running: FxHashMap<u64, CallKey>,
    /// The number of the next call.
    next: u64,
    spare: Vec<Batch>,
    /// Of the messages that are not acknowledged.
    bytes: usize,
    /// Of the batches that are kept beside them.
    batch_bytes: usize,
    /// What the outcomes of the running calls may take.
    reserved: usize,
    /// The latest time at which messages went out that were acknowledged since.
    acknowledged: Option<Instant>,
}

impl Calls {
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

    /// A call starts, whose outcome may take so much. Returns its number.
    pub fn start(&mut self, place: Place, lane: &Lane, sequences: Vec<Sequence>, reserved: usize) -> u64 {
        let call = OpenCall {
            place,
            lane: lane.id(),
            revision: lane.revision.clone(),
            is_on_trial: lane.is_on_trial(),
            sequences,
            together: Vec::new(),
            spoiled: false,
            batch: None,
            running: true,
            reserved,
            unacknowledged: 0,
            bytes: 0,
            sent: None,
        };
        let number = self.number();
        self.reserved += reserved;
        self.running.insert(number, self.table.insert(call));
        number
    }

    /// A number for a call. No two of a trigger have the same.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// A call ended.
    pub fn ended(&mut self, number: u64) -> Option<CallKey> {
        let key = self.running.remove(&number)?;
        self.table[key].running = false;
        self.reserved -= self.table[key].reserved;
        Some(key)
    }

    /// What was to be done with the outcome of a call is done. The batch stays until its messages
    /// are acknowledged.
    pub fn keep(&mut self, key: CallKey, batch: Batch) {
        self.batch_bytes += batch.bytes();
        self.table[key].batch = Some(batch);
        self.forget_if_over(key);
    }

    /// As [`Calls::keep`], with no batch to keep.
    pub fn drop_batch(&mut self, key: CallKey) {
        self.forget_if_over(key);
    }

    pub fn get(&self, key: CallKey) -> &OpenCall {
        &self.table[key]
    }

    /// Takes the records out, to be given back by [`Calls::keep`].
    pub fn take_batch(&mut self, key: CallKey) -> Option<Batch> {
        let batch = self.table[key].batch.take()?;
        self.batch_bytes -= batch.bytes();
        Some(batch)
    }

    /// Messages of the call went out.
    pub fn sent(&mut self, key: CallKey, messages: usize, bytes: usize, now: Instant) {
        let call = &mut self.table[key];
        call.sent = Some(now);
        call.unacknowledged += messages;
        call.bytes += bytes;
        self.bytes += bytes;
    }

    /// These records of the call are done together, when its messages are acknowledged.
    pub fn hold(&mut self, key: CallKey, together: Vec<Sequence>) {
        self.table[key].together = together;
    }

    /// A record is not done with the others of its call. Returns whether it was to be.
    pub fn release(&mut self, key: CallKey, sequence: Sequence) -> bool {
        let together = &mut self.table[key].together;
        let at = together.iter().position(|&one| one == sequence);
        at.map(|at| together.remove(at)).is_some()
    }

    /// A message of the call will not be acknowledged: what waits for all of them waits for ever, and
    /// runs again from what is committed.
    pub fn spoil(&mut self, key: CallKey) {
        self.table[key].spoiled = true;
    }

    /// A message came back, whatever became of it, and nothing more is to be done about it. If it was
    /// the last one of its call, returns the records that are done with it.
    #[must_use]
    pub fn reported(&mut self, key: CallKey) -> Vec<Sequence> {
        let call = &mut self.table[key];
        call.unacknowledged -= 1;
        self.acknowledged = self.acknowledged.max(call.sent);
        let is_last = call.unacknowledged == 0 && !call.spoiled;
        let done = if is_last { std::mem::take(&mut call.together) } else { Vec::new() };
        self.forget_if_over(key);
        done
    }

    fn forget_if_over(&mut self, key: CallKey) {
        let call = &self.table[key];
        if call.running || call.unacknowledged > 0 {
            return;
        }
        let batch = self.take_batch(key);
        self.bytes -= self.table.remove(key).bytes;
        batch.into_iter().for_each(|batch| self.recycle(batch));
    }

    /// The records of an assignment are others' now.
    pub fn forget(&mut self, place: Place) {
        for (_, call) in &mut self.table {
            if call.place == place
                && let Some(batch) = call.batch.take()
            {
                self.batch_bytes -= batch.bytes();
            }
        }
    }

    /// The producer is gone: nothing will be acknowledged any more.
    pub fn forget_messages(&mut self) {
        self.table.retain(|_, call| call.running);
        (self.bytes, self.batch_bytes, self.acknowledged) = (0, 0, None);
    }

    /// Forgets all calls. Those that run are not known any more when they end.
    pub fn forget_all(&mut self) {
        *self = Self { next: self.next, ..Self::default() };
    }

    /// When the messages went out that wait for their acknowledgement longest.
    pub fn oldest_sent(&self) -> Option<Instant> {
        let waiting = self.table.iter().filter(|(_, call)| call.unacknowledged > 0);
        waiting.filter_map(|(_, call)| call.sent).min()
    }

    /// By how much messages were overtaken by others that went out later and are acknowledged.
    pub fn overtaken(&self) -> Option<Duration> {
        Some(self.acknowledged?.saturating_duration_since(self.oldest_sent()?))
    }

    /// Calls that run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Bytes of the batches that are kept for messages that are not acknowledged.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// What the outcomes of the calls that run may take.
    pub fn reserved_bytes(&self) -> usize {
        self.reserved
    }

    /// Bytes of messages that are not acknowledged. Those of a call count until its last one is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
