//! The window of one partition: which of its records may run, run, wait, and are done.
//!
//! Records of one *key group* (those of one key, see [`Window::admit`]) run one after another in offset
//! order; records of different groups run in any order. A record moves through these states:
//!
//! ```text
//!            ┌────────── put_back ◀───────┐
//!            ▼                            │
//! admit ─▶ Behind ─▶ Ready ─▶ take ─▶ Running ─▶ handled ─▶ Sent ─▶ Acknowledged ─▶ Done
//!                      ▲                  │
//!                      └── due ◀─ Waiting ◀── failed
//! ```
//!
//! `Behind` means that a record of its group ahead of it is not handled yet. `Acknowledged` means that
//! only a record of its group ahead of it is not done: were that one handled again after a crash, this
//! one has to follow it again, or the older effect would be the last one of the key. Everything below the
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
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

mod failing;
mod ready;
mod report;
mod room;
mod routing;
mod take;
#[cfg(test)]
mod tests;

pub use take::{Share, Taken};

use self::ready::{Kind, Ready};
use super::clock::Now;
use super::progress::{Failed, Progress};
use super::route::Route;
use crate::record::outcome::Fault;

/// Place of a record in the order of delivery. Never reused within a window.
pub type Sequence = u64;

/// Bounds of a window.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most records between the low watermark and the last one admitted.
    pub records: usize,
    /// Most bytes of records that are not done.
    pub bytes: usize,
    /// Most characters of commit metadata.
    pub metadata: usize,
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
    /// Records that may run, by route.
    ready: [Ready; Route::COUNT],
    waiting: BinaryHeap<Reverse<(Instant, Sequence)>>,
    /// The last record of each key group that has one which is not done.
    groups: FxHashMap<NonZeroU64, Sequence>,
    /// What few records have: failures, or the suspicion of having caused one.
    failures: FxHashMap<Sequence, Failure>,
    /// Why those failed last that failed here.
    reasons: FxHashMap<Sequence, Box<Fault>>,
    /// Number of the last `take`.
    takes: u32,
    bytes: usize,
    running: usize,
    /// Sent or acknowledged.
    sent: usize,
    failing: usize,
    done_runs: usize,
    dirty: bool,
    /// See [`Window::set_careful`].
    careful: bool,
}

/// Small, because a window has thousands of them and looks at each several times.
#[derive(Debug)]
struct Slot<R> {
    offset: i64,
    group: Option<NonZeroU64>,
    /// `None` while it is in a call, and after it was handled.
    record: Option<R>,
    /// How far away its neighbours in the key group are; 0: there is none.
    previous: u32,
    next: u32,
    bytes: u32,
    /// Things that the broker has to acknowledge before this record is done.
    unacknowledged: u32,
    /// Which `take` handed it out last.
    take: u32,
    state: State,
    route: Route,
    /// It has an entry among the failures.
    has_failure: bool,
    /// It is behind a record that waited for a retry when this one came, or came to wait later.
    held_up: bool,
}

/// The failures of one record.
#[derive(Clone, Copy, Debug, Default)]
struct Failure {
    attempts: u32,
    /// When it failed first; 0: it did not.
    since_unix_s: u64,
    /// When it runs again.
    due_unix_s: u64,
    /// Most records of a call that this one may be part of; see [`Window::suspect`].
    group: Option<usize>,
    /// A candidate gave it up, so it goes to the revision that serves.
    stays: bool,
}

impl Failure {
    fn has_failed(&self) -> bool {
        self.since_unix_s > 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Behind,
    Ready,
    Running,
    Waiting,
    Sent,
    Acknowledged,
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
            ready: Default::default(),
            waiting: BinaryHeap::new(),
            groups: FxHashMap::default(),
            failures: FxHashMap::default(),
            reasons: FxHashMap::default(),
            takes: 0,
            bytes: 0,
            running: 0,
            sent: 0,
            failing: 0,
            done_runs: 0,
            dirty: false,
            careful: false,
        }
    }

    /// The brokers take so much commit metadata.
    pub fn set_metadata_limit(&mut self, characters: usize) {
        self.limits.metadata = characters;
    }

    /// From now on a key group goes on when a record's messages are acknowledged, and not when they are
    /// sent: one that the broker refuses makes a dead letter, which belongs before what follows.
    /// Nothing may be sent and not acknowledged at that moment.
    pub fn set_careful(&mut self, careful: bool) {
        debug_assert_eq!(self.sent, 0);
        self.careful = careful;
    }

    /// Whether a key group waits for acknowledgements.
    pub fn is_careful(&self) -> bool {
        self.careful
    }

    /// Whether another record may be admitted.
    pub fn has_room(&self) -> bool {
        self.slots.len() < self.limits.records && self.bytes < self.limits.bytes
    }

    /// Whether there is so much room that a partition that was held back may flow again.
    pub fn has_ample_room(&self) -> bool {
        self.slots.len() <= self.limits.records / 2 && self.bytes <= self.limits.bytes / 2
    }

    /// Takes in the next record of the partition. Records of the same `group` keep their order; `None` is
    /// a group of its own. A record that was done before the partition came here is noted as done and
    /// dropped; then `false` is returned. One that failed before goes on waiting for its time.
    pub fn admit(&mut self, offset: i64, group: Option<u64>, route: Route, bytes: usize, record: R, now: Now) -> bool {
        let sequence = self.end();
        if offset < self.resumed.low {
            // The topic was created anew: what was committed speaks of other records.
            self.resumed = Progress { partitions_at_start: self.resumed.partitions_at_start, ..Progress::at(offset) };
        }
        let done = self.resumed.is_done(offset);
        let mut slot = Slot {
            offset,
            // Two hashes in one group do no harm: their records wait for each other.
            group: group.filter(|_| !done).map(|group| NonZeroU64::new(group).unwrap_or(NonZeroU64::MIN)),
            record: (!done).then_some(record),
            previous: 0,
            next: 0,
            bytes: if done { 0 } else { u32::try_from(bytes).unwrap_or(u32::MAX) },
            unacknowledged: 0,
            take: 0,
            state: if done { State::Done } else { State::Ready },
            route,
            has_failure: false,
            held_up: false,
        };
        self.next_offset = offset + 1;
        if done {
            self.dirty = true;
            self.done_runs += usize::from(self.slots.back().is_none_or(|last| last.state != State::Done));
            self.slots.push_back(slot);
            self.advance();
            return false;
        }
        self.bytes += slot.bytes as usize;
        if let Some(failed) = self.resumed.failed(offset) {
            slot.has_failure = true;
            self.failing += 1;
            let Failed { attempts, since_unix_s, due_unix_s, .. } = failed;
            self.failures.insert(sequence, Failure { attempts, since_unix_s, due_unix_s, ..Failure::default() });
        }
        self.join_group(&mut slot, sequence);
        let is_ready = slot.state == State::Ready;
        self.slots.push_back(slot);
        if is_ready && !self.waits_on(sequence, now) {
            self.enter_ready(sequence);
        }
        true
    }

    fn join_group(&mut self, slot: &mut Slot<R>, sequence: Sequence) {
        let Some(group) = slot.group else { return };
        let Some(last) = self.groups.insert(group, sequence) else { return };
        let distance = (sequence - last) as u32;
        let any_waits = !self.waiting.is_empty();
        let is_behind = !self.is_out_of_the_way(last);
        let ahead = self.slot_mut(last);
        ahead.next = distance;
        slot.previous = distance;
        if is_behind {
            slot.state = State::Behind;
        }
        slot.held_up = any_waits && (ahead.held_up || ahead.state == State::Waiting);
    }

    /// A record that failed under the last owner waits for its time here.
    fn waits_on(&mut self, sequence: Sequence, now: Now) -> bool {
        let failure = self.failure(sequence);
        let left = Duration::from_secs(failure.due_unix_s).saturating_sub(now.unix);
        if !failure.has_failed() || left.is_zero() {
            return false;
        }
        self.slot_mut(sequence).state = State::Waiting;
        self.waiting.push(Reverse((now.instant + left, sequence)));
        true
    }

    /// Records of a route that could run now, not counting those that could ride along.
    pub fn ready(&self, route: Route) -> usize {
        self.ready[route.index()].counts.all()
    }

    fn ready_of(&mut self, route: Route) -> &mut Ready {
        &mut self.ready[route.index()]
    }

    /// Records that are handled, and not done.
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

    fn kind(&self, sequence: Sequence) -> Kind {
        match self.failure(sequence) {
            Failure { group: Some(_), .. } => Kind::Suspect,
            failure if failure.has_failed() => Kind::Retry,
            _ => Kind::Fresh,
        }
    }

    /// The record may run from now on.
    fn enter_ready(&mut self, sequence: Sequence) {
        let (kind, route) = (self.kind(sequence), self.slot(sequence).route);
        self.slot_mut(sequence).state = State::Ready;
        self.ready_of(route).add(kind, sequence);
    }

    /// The record is not among those that may run any more, or as another kind.
    fn leave_ready(&mut self, sequence: Sequence) {
        let (kind, route) = (self.kind(sequence), self.slot(sequence).route);
        self.ready_of(route).remove(kind);
    }

    /// The record was handled, and is done when so many things are acknowledged: the messages of its call, or its
    /// dead letter. The next of its group may run.
    pub fn handled(&mut self, sequence: Sequence, unacknowledged: u32) {
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Running);
        slot.state = State::Sent;
        slot.unacknowledged = unacknowledged;
        let has_failure = slot.has_failure;
        self.running -= 1;
        self.sent += 1;
        if has_failure {
            self.clear_suspicion(sequence);
        }
        if !self.careful {
            self.free_next(sequence);
        }
        if unacknowledged == 0 {
            self.settled(sequence);
        }
    }

    /// The record is out of the way of the next one of its group.
    fn free_next(&mut self, sequence: Sequence) {
        let distance = u64::from(self.slot(sequence).next);
        let next = sequence + distance;
        if distance > 0 && self.slot(next).state == State::Behind {
            self.enter_ready(next);
        }
    }

    /// One thing that the record waits for was acknowledged.
    pub fn acknowledged(&mut self, sequence: Sequence) {
        let slot = self.slot_mut(sequence);
        debug_assert!(slot.state == State::Sent && slot.unacknowledged > 0);
        slot.unacknowledged -= 1;
        if slot.unacknowledged == 0 {
            self.settled(sequence);
        }
    }

    /// The messages of the call of these records were acknowledged.
    pub fn all_acknowledged(&mut self, sequences: &[Sequence]) {
        sequences.iter().for_each(|&sequence| self.acknowledged(sequence));
    }

    /// One more message goes out for a record whose messages are under way: its dead letter, after
    /// the broker refused one of them.
    pub fn one_more_message(&mut self, sequence: Sequence) {
        self.slot_mut(sequence).unacknowledged += 1;
    }

    /// All messages of the record are acknowledged. It is done unless a record of its group ahead of it
    /// is not; and with it those behind it that only waited for that.
    fn settled(&mut self, sequence: Sequence) {
        self.slot_mut(sequence).state = State::Acknowledged;
        if self.careful {
            self.free_next(sequence);
        }
        if self.ahead(sequence).is_some_and(|ahead| ahead.state != State::Done) {
            return;
        }
        let mut next = sequence;
        loop {
            let distance = u64::from(self.slot(next).next);
            self.done(next);
            next += distance;
            if distance == 0 || next < self.base || self.slot(next).state != State::Acknowledged {
                break;
            }
        }
        self.advance();
    }

    fn done(&mut self, sequence: Sequence) {
        let at = (sequence - self.base) as usize;
        let is_done = |slot: &Slot<R>| slot.state == State::Done;
        let left = at > 0 && is_done(&self.slots[at - 1]);
        let right = self.slots.get(at + 1).is_some_and(is_done);
        self.done_runs = self.done_runs + 1 - usize::from(left) - usize::from(right);
        let slot = &mut self.slots[at];
        if let Some(group) = slot.group.filter(|_| slot.next == 0) {
            self.groups.remove(&group);
        }
        debug_assert_eq!(slot.state, State::Acknowledged);
        slot.state = State::Done;
        self.sent -= 1;
        self.bytes -= slot.bytes as usize;
        if std::mem::take(&mut slot.has_failure) {
            let failure = self.failures.remove(&sequence).unwrap_or_default();
            self.reasons.remove(&sequence);
            self.failing -= usize::from(failure.has_failed());
        }
        self.dirty = true;
    }

    fn advance(&mut self) {
        let before = self.base;
        while self.slots.front().is_some_and(|slot| slot.state == State::Done) {
            self.slots.pop_front();
            self.base += 1;
        }
        self.done_runs -= usize::from(self.base > before);
    }

    /// Whether a record of the group ahead of this one is not handled.
    pub fn is_blocked(&self, sequence: Sequence) -> bool {
        self.place_ahead(sequence).is_some_and(|ahead| !self.is_out_of_the_way(ahead))
    }

    /// Whether the next record of its group may run.
    fn is_out_of_the_way(&self, sequence: Sequence) -> bool {
        match self.slot(sequence).state {
            State::Sent => !self.careful,
            State::Acknowledged | State::Done => true,
            State::Behind | State::Ready | State::Running | State::Waiting => false,
        }
    }

    /// The record ahead of this one in its group, while it is in the window.
    fn ahead(&self, sequence: Sequence) -> Option<&Slot<R>> {
        self.place_ahead(sequence).map(|ahead| self.slot(ahead))
    }

    /// The place of the record ahead of this one in its group, while it is in the window.
    pub fn place_ahead(&self, sequence: Sequence) -> Option<Sequence> {
        let distance = u64::from(self.slot(sequence).previous);
        sequence.checked_sub(distance).filter(|&ahead| distance > 0 && ahead >= self.base)
    }

    /// Everything below this offset is done.
    pub fn low(&self) -> i64 {
        self.slots.front().map_or(self.next_offset, |slot| slot.offset)
    }

    /// The offset behind the last record that was admitted.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The sequence of the next record to be admitted.
    pub fn next_sequence(&self) -> Sequence {
        self.end()
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
