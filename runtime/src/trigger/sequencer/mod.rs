//! The window of one partition: which of its records may run, run, wait, and are done.
//!
//! Records of one *line* (one key, see [`Window::admit`]) run one after another in offset order;
//! records of different lines run in any order. A record moves through these states:
//!
//! ```text
//!            ┌────────── put_back ◀───────┐
//!            ▼                            │
//! admit ─▶ Behind ─▶ Ready ─▶ take ─▶ Running ─▶ handled ─▶ Sent ─▶ acknowledged ─▶ Done
//!                      ▲                  │
//!                      └── due ◀─ Waiting ◀── failed
//! ```
//!
//! `Behind` means that a record of its line ahead of it is not handled yet. Everything below the
//! first record that is not done is forgotten; the rest is what [`Window::progress`] reports.
//!
//! Bounded by [`Limits`]: admitting stops at a number of records and bytes, and running ahead stops
//! when the progress might no longer fit into a commit's metadata. The record at the low watermark
//! may always run, so a window never locks itself.
//!
//! Pure: no IO, no clock, no chance. Offsets are those that were delivered, never computed: gaps
//! between them are normal.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use rustc_hash::FxHashMap;

mod take;
#[cfg(test)]
mod tests;

pub use take::{Share, Taken};

use super::progress::{Failed, Progress};

/// Place of a record in the order of delivery. Never reused within a window.
pub type Sequence = u64;

/// Bounds of a window.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most records between the low watermark and the last one admitted.
    pub records: usize,
    /// Most bytes of records that are not done.
    pub bytes: usize,
}

/// The records of one partition that are not all done yet.
#[derive(Debug)]
pub struct Window<R> {
    limits: Limits,
    /// Read back on assignment; what is done according to it is not run again.
    resumed: Progress,
    slots: VecDeque<Slot<R>>,
    /// Sequence of `slots[0]`.
    base: Sequence,
    /// Offset to commit while no record is open.
    next_offset: i64,
    /// Everything from here on was never looked at by `take`.
    cursor: Sequence,
    /// Records behind the cursor that became ready.
    again: BinaryHeap<Reverse<Sequence>>,
    waiting: BinaryHeap<Reverse<(Instant, Sequence)>>,
    lines: FxHashMap<u64, Line>,
    /// Number of the last `take`.
    takes: u64,
    bytes: usize,
    ready: usize,
    running: usize,
    sent: usize,
    failing: usize,
    done_runs: usize,
    dirty: bool,
}

#[derive(Debug)]
struct Slot<R> {
    offset: i64,
    line: Option<u64>,
    /// Neighbours on the line, while they are in the window.
    previous: Option<Sequence>,
    next: Option<Sequence>,
    /// `None` while it runs.
    record: Option<R>,
    bytes: usize,
    state: State,
    /// Messages of this record that the broker has not acknowledged.
    unacknowledged: u32,
    attempts: u32,
    since_unix_s: u64,
    /// Most records of a call that this one may be part of; see [`Window::suspect`].
    cohort: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Behind,
    Ready,
    Running,
    Waiting,
    Sent,
    Done,
}

#[derive(Debug)]
struct Line {
    last: Sequence,
    /// The last record of this line that was taken, and by which `take`.
    taken: Option<(u64, Sequence)>,
}

impl<R> Window<R> {
    /// The window of a partition that continues where `resumed` ended.
    pub fn new(resumed: Progress, limits: Limits) -> Self {
        Self {
            limits,
            next_offset: resumed.low,
            resumed,
            slots: VecDeque::new(),
            base: 0,
            cursor: 0,
            again: BinaryHeap::new(),
            waiting: BinaryHeap::new(),
            lines: FxHashMap::default(),
            takes: 0,
            bytes: 0,
            ready: 0,
            running: 0,
            sent: 0,
            failing: 0,
            done_runs: 0,
            dirty: false,
        }
    }

    /// Whether another record may be admitted.
    pub fn has_room(&self) -> bool {
        self.slots.len() < self.limits.records && self.bytes < self.limits.bytes
    }

    /// Whether there is so much room that a partition that was held back may flow again.
    pub fn has_ample_room(&self) -> bool {
        self.slots.len() <= self.limits.records / 2 && self.bytes <= self.limits.bytes / 2
    }

    /// Takes in the next record of the partition. Records of the same `line` keep their order;
    /// `None` is a line of its own. A record that was done before the partition came here is
    /// noted as done and dropped; then `false` is returned.
    pub fn admit(&mut self, offset: i64, line: Option<u64>, bytes: usize, record: R) -> bool {
        let sequence = self.end();
        if offset < self.resumed.low {
            // The topic was created anew: what was committed speaks of other records.
            self.resumed = Progress::at(offset);
        }
        let done = self.resumed.is_done(offset);
        let failed = self.resumed.failed(offset);
        let mut slot = Slot {
            offset,
            line,
            previous: None,
            next: None,
            record: (!done).then_some(record),
            bytes: if done { 0 } else { bytes },
            state: if done { State::Done } else { State::Ready },
            unacknowledged: 0,
            attempts: failed.map_or(0, |failed| failed.attempts),
            since_unix_s: failed.map_or(0, |failed| failed.since_unix_s),
            cohort: None,
        };
        if done {
            slot.line = None;
            self.dirty = true;
            self.done_runs += usize::from(self.slots.back().is_none_or(|last| last.state != State::Done));
        } else {
            self.bytes += slot.bytes;
            self.failing += usize::from(slot.attempts > 0);
            self.queue_on_line(&mut slot, sequence);
            self.ready += usize::from(slot.state == State::Ready);
        }
        self.next_offset = offset + 1;
        self.slots.push_back(slot);
        if done {
            self.advance();
        }
        !done
    }

    fn queue_on_line(&mut self, slot: &mut Slot<R>, sequence: Sequence) {
        let Some(line) = slot.line else { return };
        match self.lines.get_mut(&line) {
            None => {
                self.lines.insert(line, Line { last: sequence, taken: None });
            }
            Some(line) => {
                slot.state = State::Behind;
                slot.previous = Some(line.last);
                let last = (line.last - self.base) as usize;
                self.slots[last].next = Some(sequence);
                line.last = sequence;
            }
        }
    }

    /// Records that could run now, not counting those that could ride behind one of their line.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Records that are handled, with messages under way.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Records in calls.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Bytes of the records that are not done.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back the record of a call that ended. It stays running until one of [`Window::handled`],
    /// [`Window::failed`] and [`Window::put_back`] says what became of it.
    pub fn restore(&mut self, sequence: Sequence, record: R) {
        self.slot_mut(sequence).record = Some(record);
    }

    /// Keeps a record that was handled until its messages are acknowledged.
    pub fn keep(&mut self, sequence: Sequence, record: R) {
        if sequence >= self.base && self.slot(sequence).state == State::Sent {
            self.slot_mut(sequence).record = Some(record);
        }
    }

    /// The record was handled and has this many messages under way. The next of its line may run.
    pub fn handled(&mut self, sequence: Sequence, messages: u32) {
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Running);
        slot.state = State::Sent;
        slot.unacknowledged = messages;
        slot.cohort = None;
        let (line, next) = (slot.line, slot.next);
        self.running -= 1;
        self.sent += 1;
        match (line, next) {
            (Some(_), Some(next)) => self.make_ready(next),
            (Some(line), None) => {
                self.lines.remove(&line);
            }
            (None, _) => {}
        }
        if messages == 0 {
            self.done(sequence);
        }
    }

    fn make_ready(&mut self, sequence: Sequence) {
        let cursor = self.cursor;
        let slot = self.slot_mut(sequence);
        if slot.state == State::Behind {
            slot.state = State::Ready;
            self.ready += 1;
            if sequence < cursor {
                self.again.push(Reverse(sequence));
            }
        }
    }

    /// One message of the record was acknowledged.
    pub fn acknowledged(&mut self, sequence: Sequence) {
        let slot = self.slot_mut(sequence);
        debug_assert!(slot.state == State::Sent && slot.unacknowledged > 0);
        slot.unacknowledged -= 1;
        if slot.unacknowledged == 0 {
            self.done(sequence);
        }
    }

    /// One more message goes out for a record whose messages are under way: its dead letter, after
    /// the broker refused one of them.
    pub fn one_more_message(&mut self, sequence: Sequence) {
        self.slot_mut(sequence).unacknowledged += 1;
    }

    fn done(&mut self, sequence: Sequence) {
        let at = (sequence - self.base) as usize;
        let is_done = |slot: &Slot<R>| slot.state == State::Done;
        let left = at > 0 && is_done(&self.slots[at - 1]);
        let right = self.slots.get(at + 1).is_some_and(is_done);
        self.done_runs = self.done_runs + 1 - usize::from(left) - usize::from(right);
        let slot = &mut self.slots[at];
        debug_assert_eq!(slot.state, State::Sent);
        slot.state = State::Done;
        slot.record = None;
        self.sent -= 1;
        self.bytes -= slot.bytes;
        self.failing -= usize::from(slot.attempts > 0);
        self.dirty = true;
        self.advance();
    }

    fn advance(&mut self) {
        let before = self.base;
        while self.slots.front().is_some_and(|slot| slot.state == State::Done) {
            self.slots.pop_front();
            self.base += 1;
        }
        self.done_runs -= usize::from(self.base > before);
    }

    /// Whether a record of the line ahead of this one is not handled.
    pub fn is_blocked(&self, sequence: Sequence) -> bool {
        self.slot(sequence)
            .previous
            .filter(|&previous| previous >= self.base)
            .is_some_and(|previous| !matches!(self.slot(previous).state, State::Sent | State::Done))
    }

    /// Failures of the record so far, and when the first one was.
    pub fn failures(&self, sequence: Sequence) -> Failed {
        let slot = self.slot(sequence);
        Failed { offset: slot.offset, attempts: slot.attempts, since_unix_s: slot.since_unix_s }
    }

    /// The record as it was admitted, unless it runs or is done.
    pub fn record(&self, sequence: Sequence) -> Option<&R> {
        self.slot(sequence).record.as_ref()
    }

    /// Lets the record be replaced by an equal one, to keep it for long.
    pub fn record_mut(&mut self, sequence: Sequence) -> Option<&mut R> {
        self.slot_mut(sequence).record.as_mut()
    }

    /// Counts a failed attempt of a running record and returns its failures.
    pub fn count_failure(&mut self, sequence: Sequence, now_unix_s: u64) -> Failed {
        let slot = self.slot_mut(sequence);
        let first = slot.attempts == 0;
        slot.attempts += 1;
        if first {
            slot.since_unix_s = now_unix_s;
            self.failing += 1;
        }
        self.dirty = true;
        self.failures(sequence)
    }

    /// A running record failed and runs again at `due`. Its line waits for it.
    pub fn wait(&mut self, sequence: Sequence, due: Instant) {
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Running);
        slot.state = State::Waiting;
        slot.cohort = None;
        self.running -= 1;
        self.waiting.push(Reverse((due, sequence)));
    }

    /// A running record counts as not run: it runs again when its line lets it.
    pub fn put_back(&mut self, sequence: Sequence) {
        let blocked = self.is_blocked(sequence);
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Running);
        slot.state = if blocked { State::Behind } else { State::Ready };
        self.running -= 1;
        if !blocked {
            self.ready += 1;
            self.again.push(Reverse(sequence));
        }
    }

    /// From now on, until it is handled or fails alone, the record rides in calls of at most
    /// `cohort` records: it is one of those among which the cause of a failed call is.
    pub fn suspect(&mut self, sequence: Sequence, cohort: usize) {
        self.slot_mut(sequence).cohort = Some(cohort.max(1));
    }

    /// When the next record that waits is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|&Reverse((due, _))| due)
    }

    /// Makes the records ready whose time has come.
    pub fn wake(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse((_, sequence))) = self.waiting.pop() else { return };
            let slot = self.slot_mut(sequence);
            debug_assert_eq!(slot.state, State::Waiting);
            slot.state = State::Ready;
            self.ready += 1;
            self.again.push(Reverse(sequence));
        }
    }

    /// Whether progress changed since it was last reported.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Reports progress again even if nothing changes: the last report did not become durable.
    pub fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// What is to be committed. From here on the window is clean.
    pub fn progress(&mut self) -> Progress {
        self.dirty = false;
        let mut progress = Progress::at(self.low());
        let mut run: Option<std::ops::Range<i64>> = None;
        for slot in &self.slots {
            if slot.state == State::Done {
                run.get_or_insert(slot.offset..slot.offset).end = slot.offset + 1;
                continue;
            }
            progress.done.extend(run.take());
            if slot.attempts > 0 {
                progress.failed.push(Failed {
                    offset: slot.offset,
                    attempts: slot.attempts,
                    since_unix_s: slot.since_unix_s,
                });
            }
        }
        progress.done.extend(run);
        self.add_resumed(&mut progress);
        progress
    }

    /// What the last owner did beyond the records that were delivered so far is still true.
    fn add_resumed(&self, progress: &mut Progress) {
        for range in &self.resumed.done {
            let start = range.start.max(self.next_offset);
            if start >= range.end {
                continue;
            }
            match progress.done.last_mut() {
                Some(last) if last.end == start => last.end = range.end,
                _ if start == progress.low => progress.low = range.end,
                _ => progress.done.push(start..range.end),
            }
        }
        progress.failed.extend(self.resumed.failed.iter().filter(|failed| failed.offset >= self.next_offset));
    }

    /// Everything below this offset is done.
    pub fn low(&self) -> i64 {
        self.slots.front().map_or(self.next_offset, |slot| slot.offset)
    }

    fn end(&self) -> Sequence {
        self.base + self.slots.len() as u64
    }

    fn slot(&self, sequence: Sequence) -> &Slot<R> {
        &self.slots[(sequence - self.base) as usize]
    }

    fn slot_mut(&mut self, sequence: Sequence) -> &mut Slot<R> {
        &mut self.slots[(sequence - self.base) as usize]
    }
}
