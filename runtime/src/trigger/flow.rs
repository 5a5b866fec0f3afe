//! What moves records through a trigger between two events: the windows of its partitions, the
//! calls, what their outcomes mean, the messages.
//!
//! One task owns a flow and drives it. It does no IO of its own and knows no clock, so tests drive it
//! with an invoker and a sink that they hold in hand. It lives as long as its trigger: partitions come
//! and go, and so do producers.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::xxh3_64;

use super::breaker::Seen;
use super::budget::Share as BudgetShare;
use super::calls::{CallKey, Calls, Case, OpenCall};
use super::clock::Now;
use super::counts::Counts;
use super::delivery::Delivery;
use super::lane::{Lanes, Steering};
use super::partitions::Partitions;
use super::progress::Progress;
use super::sequencer::Sequence;
use super::shadow::Shadows;
use crate::engine::{CallError, Completion};
use crate::kafka::{Partition, Sink};
use crate::manifest::{OnExhausted, Ordering, Trigger};
use crate::record::batch::Batch;
use crate::record::outcome::{Checked, Fault};
use crate::record::{OwnedRecord, Record, Topics};
use crate::throttle::Throttle;

/// What a handled record waits for: the messages of its whole call, as one thing. One that is emitted for another
/// record may stand for it, as a total does.
const TOGETHER: u32 = 1;
/// By how much the records of a failed call are split.
const SPLIT: usize = 8;
/// Lines about failed records in a second.
const FAILURE_LINES: u32 = 10;

/// Why a flow cannot go on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The broker or the client does not take messages any more: another producer is needed.
    Delivery(String),
    /// The broker refuses a message for good, and others with it. Sent one by one, it will be the
    /// only one.
    Refused(String),
    /// A partition's records went back: its topic was truncated or created anew.
    WentBack(String),
    /// Our own fault.
    Bug(String),
}

/// Nothing is called until another revision serves.
#[derive(Clone, Debug)]
pub struct Paused {
    pub reason: String,
    /// The partitions of the records that are exhausted.
    pub partitions: Vec<Partition>,
}

/// The data plane of one trigger, apart from where its records come from.
pub struct Flow<R, S> {
    pub(super) trigger: Arc<Trigger>,
    pub(super) partitions: Partitions<R>,
    pub(super) delivery: Delivery<S>,
    pub(super) lanes: Lanes,
    pub(super) calls: Calls,
    pub(super) shadows: Shadows,
    pub(super) budget: BudgetShare,
    /// A record is exhausted and the trigger is to pause then.
    pub(super) paused: Option<Paused>,
    /// An operator wants no calls: who and why.
    pub(super) held: Option<String>,
    pub(super) stop: Option<Stop>,
    /// The broker refuses a batch: why. Nothing reaches it any more.
    pub(super) refuses: Option<String>,
    /// Since when messages are under way and none was acknowledged.
    pub(super) silent_since: Option<Instant>,
    /// What happened to records, apart from what belongs to a revision.
    pub(super) counts: Counts,
    pub(super) rng: fastrand::Rng,
    pub(super) throttle: Throttle,
}

impl<R: Record + From<OwnedRecord>, S: Sink> Flow<R, S> {
    pub fn new(
        trigger: Arc<Trigger>,
        topics: Arc<Topics>,
        budget: BudgetShare,
        steering: Steering,
        rng: fastrand::Rng,
        now: Instant,
    ) -> Self {
        Self {
            partitions: Partitions::new(&trigger),
            delivery: Delivery::new(topics),
            lanes: Lanes::new(trigger.batch, steering),
            calls: Calls::default(),
            shadows: Shadows::default(),
            budget,
            paused: None,
            held: None,
            stop: None,
            refuses: None,
            silent_since: None,
            counts: Counts::default(),
            rng,
            throttle: Throttle::new(FAILURE_LINES, now),
            trigger,
        }
    }

    /// Something broke: all that is under way is forgotten, save which revisions there are, and what an operator
    /// wants.
    pub fn rebuild(&mut self, now: Instant) {
        self.partitions = Partitions::new(&self.trigger);
        self.delivery.take();
        self.calls.forget_all();
        self.shadows = Shadows::default();
        self.lanes.forget_calls();
        (self.paused, self.stop, self.refuses, self.silent_since) = (None, None, None, None);
        self.throttle = Throttle::new(FAILURE_LINES, now);
    }

    /// A partition is ours and continues where `progress` ended.
    pub fn assign(&mut self, partition: Partition, topic: &Arc<str>, progress: Progress) {
        self.partitions.assign(partition, topic, progress);
    }

    /// A partition is gone. Whatever of it is under way is forgotten.
    pub fn revoke(&mut self, partition: Partition) {
        if let Some(place) = self.partitions.revoke(partition) {
            self.calls.forget(place);
        }
    }

    /// All partitions are gone.
    pub fn revoke_all(&mut self) {
        let all: Vec<_> = self.partitions.iter().map(|assigned| assigned.partition).collect();
        all.into_iter().for_each(|partition| self.revoke(partition));
    }

    /// Takes in a fetched record.
    pub fn admit(&mut self, partition: Partition, record: R, now: Now) {
        let group = match self.trigger.ordering {
            Ordering::Key => record.key().map(xxh3_64),
            Ordering::Partition => Some(0),
            Ordering::None => None,
        };
        // The partition was revoked while the record was on its way, or records before this one are missing.
        let Some(assigned) = self.partitions.get_mut(partition).filter(|assigned| !assigned.broken_off) else { return };
        self.counts.taken += 1;
        let (sequence, offset) = (assigned.window.next_sequence(), record.offset());
        if sequence > 0 && offset < assigned.window.next_offset() {
            // The client would go on where it was before, if it were paused now.
            let reason = format!("{}/{} at {offset}", assigned.topic, partition.number);
            self.stop.get_or_insert(Stop::WentBack(reason));
        }
        let is_whole = record.defect().is_none();
        let route = assigned.route(self.lanes.split(), &record);
        let window = &mut assigned.window;
        let is_open = window.admit(offset, group, route, record.bytes(), record, now);
        if is_open && !is_whole {
            // Alone, because it does not get into a call.
            window.suspect(sequence, 1);
        }
        // It may wait for long, and would pin the whole fetch it came with.
        if is_open && let Some(record) = window.held_up_mut(sequence) {
            record.detach();
        }
    }

    /// A call ended.
    pub fn complete(&mut self, completion: Completion, now: Now) {
        let Some(key) = self.calls.ended(completion.id) else { return self.shadow_ended(completion, now) };
        let OpenCall { place, lane, .. } = *self.calls.get(key);
        let Some(batch) = completion.batch else {
            self.calls.drop_batch(key);
            self.lanes.ended(lane);
            self.bug("a call vanished");
            return;
        };
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.counts.instances += u64::from(completion.started.is_some());
            if !matches!(completion.result, Err(CallError::NoInstance(_) | CallError::Bug)) {
                lane.recorder.call(&batch, completion.elapsed, now);
            }
        }
        if !matches!(completion.result, Err(CallError::NoInstance(_) | CallError::Bug)) {
            self.lanes.called(lane, batch.len(), completion.elapsed, completion.outcome_bytes, &completion.result);
        }
        // Unless the partition was revoked meanwhile: then others do this work.
        if self.partitions.at(place).is_some_and(|assigned| !assigned.drops_calls) {
            match completion.result {
                // Nothing is accepted any more; it runs again from what is committed.
                _ if self.refuses.is_some() => self.put_back(key, &batch),
                // It started before messages had to go one by one. A record waits now for those of the one ahead
                // of it, and these two would be handled at once.
                Ok(_) if self.overtakes(key) => self.put_back(key, &batch),
                Ok(checked) => {
                    self.handle(key, &batch, &checked, now);
                    self.cast_shadow(lane, &batch, &checked, now.instant);
                }
                Err(CallError::Fault(fault)) => self.bisect(key, &batch, &fault, now),
                // It runs again with a larger grant.
                Err(CallError::OutcomeTooLarge { .. }) => self.put_back(key, &batch),
                Err(CallError::NoInstance(reason)) => {
                    self.put_back(key, &batch);
                    self.lanes.hold_off(lane, reason, now.instant);
                }
                Err(CallError::Bug) => self.bug("a call broke"),
            }
        }
        self.lanes.ended(lane);
        self.keep(key, batch);
    }

    /// What was to be done with the records of a call is done.
    pub(super) fn keep(&mut self, call: CallKey, batch: Batch) {
        // Only a dead letter would be made of it, or it runs by another revision.
        if self.trigger.on_exhausted == OnExhausted::DeadLetter || self.calls.get(call).is_on_trial {
            self.calls.keep(call, batch);
        } else {
            self.calls.recycle(batch);
            self.calls.drop_batch(call);
        }
    }

    /// An outcome: failures fail, what is blocked by them runs again, the rest is handled.
    fn handle(&mut self, call: CallKey, batch: &Batch, checked: &Checked, now: Now) {
        let (sent, together) = if checked.failures().is_empty() {
            self.handle_all(call, now);
            (self.delivery.send(checked, batch, call, |_| true), self.calls.get(call).sequences.clone())
        } else {
            let handled = self.handle_some(call, batch, checked, now);
            let sequences = self.calls.get(call).sequences.iter().zip(&handled);
            let together = sequences.filter(|(_, handled)| **handled).map(|(&sequence, _)| sequence).collect();
            (self.delivery.send(checked, batch, call, |index| handled[index]), together)
        };
        self.calls.sent(call, sent.messages, sent.bytes, now.instant);
        if sent.messages > 0 {
            self.calls.hold(call, together);
        } else {
            let place = self.calls.get(call).place;
            self.partitions.at(place).into_iter().for_each(|assigned| assigned.window.all_acknowledged(&together));
        }
    }

    fn handle_all(&mut self, call: CallKey, now: Now) {
        let call = self.calls.get(call);
        let Some(assigned) = self.partitions.at(call.place) else { return };
        for &sequence in &call.sequences {
            assigned.window.handled(sequence, TOGETHER);
        }
        self.lanes.saw(call.lane, Seen { handled: call.sequences.len() as u32, ..Seen::default() }, now.instant);
    }

    /// Returns which records are handled. One that follows a failed one in its key group is not: whatever the
    /// function said of it, it runs again after that one.
    fn handle_some(&mut self, call: CallKey, batch: &Batch, checked: &Checked, now: Now) -> Vec<bool> {
        let mut faults: FxHashMap<usize, &Fault> = FxHashMap::default();
        faults.extend(checked.failures().iter().map(|(source, fault)| (*source as usize, fault)));
        let mut handled = vec![false; batch.len()];
        let mut seen = Seen::default();
        let cases = self.cases(call);
        let Some(assigned) = self.partitions.at(self.calls.get(call).place) else { return handled };
        // One that is given up is out of the way at once, and may be forgotten with it.
        let ahead: Vec<_> = cases.iter().map(|case| assigned.window.place_ahead(case.sequence)).collect();
        let mut not_run: FxHashSet<Sequence> = FxHashSet::default();
        for (case, ahead) in cases.into_iter().zip(ahead) {
            let Some(assigned) = self.partitions.at(case.place) else { return handled };
            let follows = ahead.is_some_and(|ahead| not_run.contains(&ahead));
            if follows || faults.contains_key(&case.index) {
                not_run.insert(case.sequence);
            }
            if follows {
                let record = R::from(batch.record(case.index).to_owned());
                assigned.put_back(self.lanes.split(), case.sequence, record);
            } else if let Some(&fault) = faults.get(&case.index) {
                *(if assigned.window.has_failed(case.sequence) { &mut seen.again } else { &mut seen.failed }) += 1;
                self.fail(case, batch, fault, now);
            } else {
                assigned.window.handled(case.sequence, TOGETHER);
                handled[case.index] = true;
            }
        }
        seen.handled = handled.iter().filter(|&&handled| handled).count() as u32;
        self.lanes.saw(self.calls.get(call).lane, seen, now.instant);
        handled
    }

    /// The records of a call.
    pub(super) fn cases(&self, call: CallKey) -> Vec<Case> {
        let OpenCall { place, sequences, .. } = self.calls.get(call);
        let case = |(index, &sequence): (usize, &Sequence)| Case { call, index, place: *place, sequence };
        sequences.iter().enumerate().map(case).collect()
    }

    /// No outcome: a single record is at fault, of several it is not known which one.
    fn bisect(&mut self, call: CallKey, batch: &Batch, fault: &Fault, now: Now) {
        let cases = self.cases(call);
        if let [case] = cases[..] {
            let failed_before = self.partitions.at(case.place).is_some_and(|it| it.window.has_failed(case.sequence));
            let seen = Seen { handled: 0, failed: u32::from(!failed_before), again: u32::from(failed_before) };
            self.lanes.saw(self.calls.get(call).lane, seen, now.instant);
            self.fail(case, batch, fault, now);
            return;
        }
        if let Some(lane) = self.lanes.get_mut(self.calls.get(call).lane) {
            lane.counts.split += 1;
        }
        tracing::debug!(
            trigger = %self.trigger.name, records = batch.len(), cause = %fault.cause,
            "a call failed and is split: {}", fault.reason,
        );
        let group = batch.len().div_ceil(SPLIT);
        for case in cases {
            let Some(assigned) = self.partitions.at(case.place) else { return };
            assigned.window.suspect(case.sequence, group);
        }
        self.put_back(call, batch);
    }

    /// Whether records of a call follow others of it that have to be acknowledged first.
    fn overtakes(&mut self, call: CallKey) -> bool {
        let OpenCall { place, sequences, .. } = self.calls.get(call);
        let Some(assigned) = self.partitions.at(*place).filter(|assigned| assigned.window.is_careful()) else {
            return false;
        };
        let ahead = |&sequence| assigned.window.place_ahead(sequence);
        sequences.iter().filter_map(ahead).any(|ahead| sequences.contains(&ahead))
    }

    fn put_back(&mut self, call: CallKey, batch: &Batch) {
        let call = self.calls.get(call);
        let Some(assigned) = self.partitions.at(call.place) else { return };
        for (&sequence, record) in call.sequences.iter().zip(batch.records()) {
            assigned.put_back(self.lanes.split(), sequence, R::from(record.to_owned()));
        }
    }

    /// Why the flow cannot go on as it is, once.
    pub fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    /// What happened to records, all revisions together.
    pub fn all_counts(&self) -> Counts {
        let mut all = self.counts;
        all += self.lanes.counts();
        all
    }

    /// Something happened that cannot happen.
    pub(super) fn bug(&mut self, reason: &str) {
        self.stop = Some(Stop::Bug(reason.to_owned()));
    }
}
