//! Records of a window that failed: they wait, run again, or are given up.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::{Failure, Sequence, State, Window};
use crate::record::outcome::Fault;
use crate::trigger::clock::Now;
use crate::trigger::progress::Failed;
use crate::trigger::route::Route;

impl<R> Window<R> {
    pub(super) fn failure(&self, sequence: Sequence) -> Failure {
        if !self.slot(sequence).has_failure {
            return Failure::default();
        }
        self.failures.get(&sequence).copied().unwrap_or_default()
    }

    fn failure_mut(&mut self, sequence: Sequence) -> &mut Failure {
        self.slot_mut(sequence).has_failure = true;
        self.failures.entry(sequence).or_default()
    }

    /// Failures of the record so far, and when the first one was.
    pub fn failures(&self, sequence: Sequence) -> Failed {
        let Failure { attempts, since_unix_s, due_unix_s, .. } = self.failure(sequence);
        Failed { offset: self.slot(sequence).offset, attempts, since_unix_s, due_unix_s }
    }

    /// Notes that a running record failed and returns its failures. `counts`: it used up an attempt.
    pub fn failed(&mut self, sequence: Sequence, counts: bool, now: Now) -> Failed {
        let failure = self.failure_mut(sequence);
        failure.attempts += u32::from(counts);
        if !failure.has_failed() {
            failure.since_unix_s = now.unix_s().max(1);
            self.failing += 1;
        }
        self.dirty = true;
        self.failures(sequence)
    }

    /// Remembers why a record failed last.
    pub fn remember(&mut self, sequence: Sequence, fault: &Fault) {
        self.reasons.insert(sequence, Box::new(fault.clone()));
    }

    /// Why a record failed last, if it failed here.
    pub fn last_fault(&self, sequence: Sequence) -> Option<Fault> {
        self.reasons.get(&sequence).map(|fault| Fault::clone(fault))
    }

    /// The record is no suspect any more.
    pub(super) fn clear_suspicion(&mut self, sequence: Sequence) {
        let failure = self.failure_mut(sequence);
        failure.group = None;
        if !failure.has_failed() && !failure.stays {
            self.failures.remove(&sequence);
            self.slot_mut(sequence).has_failure = false;
        }
    }

    /// From now on, until it is handled or fails alone, the record rides in calls of at most `group`
    /// records: it is one of those among which the cause of a failed call is.
    pub fn suspect(&mut self, sequence: Sequence, group: usize) {
        let is_ready = self.slot(sequence).state == State::Ready;
        if is_ready {
            self.leave_ready(sequence);
        }
        self.failure_mut(sequence).group = Some(group.max(1));
        if is_ready {
            self.enter_ready(sequence);
        }
    }

    /// A running record failed and runs again after a while. Its group waits for it; `behind` sees the
    /// records of the group that were admitted already.
    pub fn wait(&mut self, sequence: Sequence, after: Duration, now: Now, record: R, mut behind: impl FnMut(&mut R)) {
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Running);
        slot.state = State::Waiting;
        slot.record = Some(record);
        self.running -= 1;
        self.waiting.push(Reverse((now.instant + after, sequence)));
        self.clear_suspicion(sequence);
        if self.slot(sequence).has_failure {
            self.failure_mut(sequence).due_unix_s = (now.unix + after).as_secs();
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

    /// The record, if it came to wait behind one that waits for a retry: it may stay for long.
    pub fn held_up_mut(&mut self, sequence: Sequence) -> Option<&mut R> {
        let slot = self.slot_mut(sequence);
        if slot.held_up { slot.record.as_mut() } else { None }
    }

    /// A running record counts as not run: it runs again when its group lets it.
    pub fn put_back(&mut self, sequence: Sequence, record: R) {
        let blocked = self.is_blocked(sequence);
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Running);
        slot.record = Some(record);
        slot.state = State::Behind;
        self.running -= 1;
        if !blocked {
            self.enter_ready(sequence);
        }
    }

    /// When the next record that waits is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|&Reverse((due, _))| due)
    }

    /// Makes the records ready whose time has come.
    pub fn wake(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse((_, sequence))) = self.waiting.pop() else { return };
            // One that was given up meanwhile is not waiting any more.
            if sequence >= self.base && self.slot(sequence).state == State::Waiting {
                self.enter_ready(sequence);
            }
        }
    }

    /// When the first failure of a record of a route that does not run was, of all the earliest one.
    pub fn oldest_failure_unix_s(&self, route: Route) -> Option<u64> {
        self.failures
            .iter()
            .filter(|(sequence, failure)| failure.has_failed() && self.is_idle(**sequence, route))
            .map(|(_, failure)| failure.since_unix_s)
            .min()
    }

    /// Hands out one record of a route that failed first at this time or before it and does not run, as if it were
    /// taken for a call.
    pub fn take_failed_before(&mut self, route: Route, unix_s: u64) -> Option<(Sequence, R)> {
        let old = self.failures.iter().filter(|(_, failure)| failure.has_failed() && failure.since_unix_s <= unix_s);
        let sequence = old.map(|(&sequence, _)| sequence).filter(|&sequence| self.is_idle(sequence, route)).min()?;
        if self.slot(sequence).state == State::Ready {
            self.leave_ready(sequence);
        }
        let slot = self.slot_mut(sequence);
        slot.state = State::Running;
        let record = slot.record.take().expect("a record that does not run is in its slot");
        self.running += 1;
        Some((sequence, record))
    }

    fn is_idle(&self, sequence: Sequence, route: Route) -> bool {
        let slot = self.slot(sequence);
        slot.route == route && matches!(slot.state, State::Ready | State::Waiting)
    }

    /// Whether a record has failed before, here or under an earlier owner of the partition.
    pub fn has_failed(&self, sequence: Sequence) -> bool {
        self.failure(sequence).has_failed()
    }
}
