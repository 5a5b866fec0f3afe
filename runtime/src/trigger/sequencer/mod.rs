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
use std::num::NonZeroU64;
use std::time::Instant;

use rustc_hash::FxHashMap;

mod report;
mod take;
#[cfg(test)]
mod tests;

pub use take::Share;
#[cfg(test)]
use take::Taken;

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
    /// The last record of each line that has one which is not handled.
    lines: FxHashMap<NonZeroU64, Sequence>,
    /// What few records have: failures, or the suspicion of having caused one.
    troubles: FxHashMap<Sequence, Trouble>,
    /// Number of the last `take`.
    takes: u32,
    bytes: usize,
    ready: usize,
    running: usize,
    sent: usize,
    failing: usize,
    done_runs: usize,
    dirty: bool,
}

/// Small, because a window has thousands of them and looks at each several times.
#[derive(Debug)]
struct Slot<R> {
    offset: i64,
    line: Option<NonZeroU64>,
    /// `None` while it is in a call, and after it was handled.
    record: Option<R>,
    /// How far away its neighbours on the line are; 0: there is none.
    previous: u32,
    next: u32,
    bytes: u32,
    /// Messages of this record that the broker has not acknowledged.
    unacknowledged: u32,
    /// Which `take` handed it out last.
    take: u32,
    state: State,
    /// It has an entry among the troubles.
    troubled: bool,
    /// It is behind a record that waited for a retry when this one came, or came to wait later.
    held_up: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
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
            troubles: FxHashMap::default(),
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
            self.resumed = Progress { partitions_at_start: self.resumed.partitions_at_start, ..Progress::at(offset) };
        }
        let done = self.resumed.is_done(offset);
        let mut slot = Slot {
            offset,
            // Two hashes on one line do no harm: their records wait for each other.
            line: line.filter(|_| !done).map(|line| NonZeroU64::new(line).unwrap_or(NonZeroU64::MIN)),
            record: (!done).then_some(record),
            previous: 0,
            next: 0,
            bytes: if done { 0 } else { u32::try_from(bytes).unwrap_or(u32::MAX) },
            unacknowledged: 0,
            take: 0,
            state: if done { State::Done } else { State::Ready },
            troubled: false,
            held_up: false,
        };
        if done {
            self.dirty = true;
            self.done_runs += usize::from(self.slots.back().is_none_or(|last| last.state != State::Done));
        } else {
            self.bytes += slot.bytes as usize;
            if let Some(Failed { attempts, since_unix_s, .. }) = self.resumed.failed(offset) {
                slot.troubled = true;
                self.failing += usize::from(attempts > 0);
                self.troubles.insert(sequence, Trouble { attempts, since_unix_s, cohort: None });
            }
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
        let Some(last) = self.lines.insert(line, sequence) else { return };
        let distance = (sequence - last) as u32;
        let any_waits = !self.waiting.is_empty();
        let ahead = self.slot_mut(last);
        ahead.next = distance;
        slot.previous = distance;
        slot.state = State::Behind;
        slot.held_up = any_waits && (ahead.held_up || ahead.state == State::Waiting);
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

    /// The record was handled and has this many messages under way. The next of its line may run.
    pub fn handled(&mut self, sequence: Sequence, messages: u32) {
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Running);
        slot.state = State::Sent;
        slot.unacknowledged = messages;
        let (line, next, troubled) = (slot.line, slot.next, slot.troubled);
        self.running -= 1;
        self.sent += 1;
        if troubled {
            self.acquit(sequence);
        }
        match line {
            Some(line) if next == 0 => drop(self.lines.remove(&line)),
            Some(_) => self.make_ready(sequence + u64::from(next)),
            None => {}
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

    /// One thing that each of these records waited for is done: the messages of their call.
    pub fn all_acknowledged(&mut self, sequences: &[Sequence]) {
        sequences.iter().for_each(|&sequence| self.acknowledged(sequence));
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
        self.sent -= 1;
        self.bytes -= slot.bytes as usize;
        if std::mem::take(&mut slot.troubled) {
            let trouble = self.troubles.remove(&sequence).unwrap_or_default();
            self.failing -= usize::from(trouble.attempts > 0);
        }
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
        self.ahead(sequence).is_some_and(|ahead| !matches!(ahead.state, State::Sent | State::Done))
    }

    /// The record ahead of this one on its line, while it is in the window.
    fn ahead(&self, sequence: Sequence) -> Option<&Slot<R>> {
        let distance = u64::from(self.slot(sequence).previous);
        let place = sequence.checked_sub(distance).filter(|&place| distance > 0 && place >= self.base)?;
        Some(self.slot(place))
    }

    /// Failures of the record so far, and when the first one was.
    pub fn failures(&self, sequence: Sequence) -> Failed {
        let trouble = self.trouble(sequence);
        Failed { offset: self.slot(sequence).offset, attempts: trouble.attempts, since_unix_s: trouble.since_unix_s }
    }

    fn trouble(&self, sequence: Sequence) -> Trouble {
        if !self.slot(sequence).troubled {
            return Trouble::default();
        }
        self.troubles.get(&sequence).copied().unwrap_or_default()
    }

    fn trouble_mut(&mut self, sequence: Sequence) -> &mut Trouble {
        self.slot_mut(sequence).troubled = true;
        self.troubles.entry(sequence).or_default()
    }

    /// The record is no suspect any more.
    fn acquit(&mut self, sequence: Sequence) {
        let trouble = self.trouble_mut(sequence);
        trouble.cohort = None;
        if trouble.attempts == 0 {
            self.troubles.remove(&sequence);
            self.slot_mut(sequence).troubled = false;
        }
    }

    /// The record, if it came to wait behind one that waits for a retry: it may stay for long.
    pub fn held_up_mut(&mut self, sequence: Sequence) -> Option<&mut R> {
        let slot = self.slot_mut(sequence);
        if slot.held_up { slot.record.as_mut() } else { None }
    }

    /// The offset behind the last record that was admitted.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The sequence of the next record to be admitted.
    pub fn next_sequence(&self) -> Sequence {
        self.end()
    }

    /// Counts a failed attempt of a running record and returns its failures.
    pub fn count_failure(&mut self, sequence: Sequence, now_unix_s: u64) -> Failed {
        let trouble = self.trouble_mut(sequence);
        trouble.attempts += 1;
        if trouble.attempts == 1 {
            trouble.since_unix_s = now_unix_s;
            self.failing += 1;
        }
        self.dirty = true;
        self.failures(sequence)
    }

    /// A running record failed and runs again at `due`. Its line waits for it; `behind` sees the
    /// records of the line that were admitted already.
    pub fn wait(&mut self, sequence: Sequence, due: Instant, record: R, mut behind: impl FnMut(&mut R)) {
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Running);
        slot.state = State::Waiting;
        slot.record = Some(record);
        let troubled = slot.troubled;
        self.running -= 1;
        self.waiting.push(Reverse((due, sequence)));
        if troubled {
            self.acquit(sequence);
        }
        let mut place = sequence;
        loop {
            let distance = self.slot(place).next;
            if distance == 0 {
                return;
            }
            place += u64::from(distance);
            let slot = self.slot_mut(place);
            if !std::mem::replace(&mut slot.held_up, true) {
                slot.record.iter_mut().for_each(&mut behind);
            }
        }
    }

    /// A running record counts as not run: it runs again when its line lets it.
    pub fn put_back(&mut self, sequence: Sequence, record: R) {
        let blocked = self.is_blocked(sequence);
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Running);
        slot.state = if blocked { State::Behind } else { State::Ready };
        slot.record = Some(record);
        self.running -= 1;
        if !blocked {
            self.ready += 1;
            self.again.push(Reverse(sequence));
        }
    }

    /// From now on, until it is handled or fails alone, the record rides in calls of at most
    /// `cohort` records: it is one of those among which the cause of a failed call is.
    pub fn suspect(&mut self, sequence: Sequence, cohort: usize) {
        self.trouble_mut(sequence).cohort = Some(cohort.max(1));
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
