//! Starts calls: for each revision as many as there are records that may run, instances, and room for outputs.
//!
//! Each lane goes by its own instances, sizing, breaker and pauses, so what is wrong with a candidate does not hold
//! up the others, and its records do not wait behind theirs.

use std::time::Instant;

use super::clock::Now;
use super::flow::Flow;
use super::partitions::{Assigned, Intake};
use super::route::Route;
use super::sequencer::Taken;
use crate::engine::Call;
use crate::kafka::Sink;
use crate::record::{OwnedRecord, Record};

/// Batches of records that are kept at hand, and so many records at most: one partition alone cannot
/// start more, because of the size of its progress.
const BATCHES_AT_HAND: usize = 4;
const MOST_AT_HAND: usize = 1_200;

impl<R: Record + From<OwnedRecord>, S: Sink> Flow<R, S> {
    /// Whether the node's memory allows to take more records.
    pub fn may_admit(&mut self) -> bool {
        self.has_room_for(0)
    }

    pub(super) fn has_room_for(&mut self, more: usize) -> bool {
        let outcomes =
            self.calls.bytes() + self.calls.batch_bytes() + self.calls.reserved_bytes() + self.shadows.bytes();
        let held = self.partitions.bytes() + outcomes;
        self.budget.hold(held as u64 + self.budget.prefetch_bytes());
        self.budget.has_room_for(more as u64)
    }

    /// Whether there is memory for the outcome of one more call. One call always runs, whatever others hold; and one
    /// of each revision, or one would starve the other.
    fn has_room_for_outcome(&mut self, route: Route, reserved: usize) -> bool {
        let is_first = self.calls.running() == 0
            || self.lanes.candidate().is_some() && self.lanes.of_mut(route).is_some_and(|lane| lane.running() == 0);
        is_first || self.has_room_for(reserved)
    }

    /// Whether there is work enough for all instances. More would only lie in memory and grow cold;
    /// it is better left with the client. Records that wait for their key do not count, so that
    /// others run ahead of them. Those of a candidate do not count, or a slow one would keep the others from work. And
    /// while single records probe, it is never enough: those at hand may all be of one partition, and say nothing
    /// about the others.
    pub fn has_enough_work(&self) -> bool {
        if self.lanes.live().any(|(_, lane)| lane.breaker.is_open()) {
            return false;
        }
        let batches = BATCHES_AT_HAND * self.trigger.batch.records.get() as usize;
        self.partitions.startable(Route::STABLE) >= batches.min(MOST_AT_HAND)
    }

    /// Whether calls may start at all.
    pub(super) fn may_call(&self) -> bool {
        self.paused.is_none() && self.held.is_none() && self.stop.is_none()
    }

    /// Starts as many calls as there are records that may run, instances and room for outputs.
    pub fn dispatch(&mut self, now: Now) {
        for route in [Route::CANARY, Route::STABLE] {
            if self.may_call() {
                self.dispatch_to(route, now);
            }
        }
    }

    fn dispatch_to(&mut self, route: Route, now: Now) {
        let Some(lane) = self.lanes.of_mut(route).filter(|lane| !lane.is_held_off(now.instant)) else { return };
        let probing = lane.breaker.is_open();
        if probing {
            self.give_up_old(route, now);
        }
        let Some(lane) = self.lanes.of_mut(route) else { return };
        let is_early = lane.breaker.next_probe().is_some_and(|next| now.instant < next);
        if probing && (lane.running() > 0 || is_early) {
            return;
        }
        let mut tried = 0;
        let mut free = lane.free();
        let granted = lane.grant.next();
        while free > 0
            && tried < self.partitions.len()
            && self.has_room_for_outputs()
            && self.has_room_for_outcome(route, granted.reserved)
        {
            let Some(lane) = self.lanes.of_mut(route) else { return };
            let Some((place, assigned)) = self.partitions.next_ready(route) else { return };
            let share = lane.sizing.share(assigned.window.ready(route), free);
            let mut batch = self.calls.prepare(&assigned.topic, assigned.partition.number);
            let mut sequences = Vec::with_capacity(share.records);
            let mut defect = None;
            let each = |taken: Taken<R>| {
                sequences.push(taken.sequence);
                batch.push(&taken.record, taken.attempt);
                if let Some(found) = taken.record.defect() {
                    defect = Some(found.to_owned());
                }
            };
            if probing {
                assigned.window.take_one(route, self.rng.usize(..), each);
            } else {
                assigned.window.take(route, share, each);
            }
            if batch.is_empty() {
                self.calls.recycle(batch);
                tried += 1;
                continue;
            }
            let id = self.calls.start(place, lane, sequences, granted.reserved);
            if let Some(defect) = defect {
                // The window hands it out alone.
                debug_assert_eq!(batch.len(), 1);
                self.give_up(id, batch, &defect, now);
                if self.paused.is_some() {
                    return;
                }
                continue;
            }
            let expected = lane.sizing.expected(batch.len());
            lane.start(Call { id, batch, expected, outcome_bytes: granted.bytes });
            if probing {
                lane.breaker.probe(now.instant);
                return;
            }
            free -= 1;
        }
    }

    /// Whether something waits for acknowledgements, apart from the next commit.
    pub fn waits_for_acknowledgements(&self) -> bool {
        let is_held_back = |assigned: &Assigned<R>| assigned.leaving || !matches!(assigned.intake, Intake::Flows);
        !self.has_room_for_outputs() || self.partitions.iter().any(is_held_back)
    }

    fn has_room_for_outputs(&self) -> bool {
        (self.calls.bytes() as u64) < self.budget.outstanding_bytes() && self.delivery.has_room()
    }

    /// Lets records run again whose time has come.
    pub fn wake(&mut self, now: Now) {
        self.partitions.iter_mut().for_each(|assigned| assigned.window.wake(now.instant));
        for lane in self.lanes.live_mut().filter(|lane| !lane.is_held_off(now.instant)) {
            lane.release();
        }
    }

    /// When [`Flow::wake`] or [`Flow::dispatch`] has something to do without any event.
    pub fn next_due(&self, now: Now) -> Option<Instant> {
        // Not while it could not start: what hinders it wakes the loop when it ends.
        let (may_call, has_room) = (self.may_call(), self.has_room_for_outputs());
        let of_lanes = self.lanes.live().flat_map(|(route, lane)| {
            let may_probe = may_call && has_room && lane.running() == 0 && self.partitions.has_ready(route);
            let probe = lane.breaker.next_probe().filter(|_| may_probe);
            let given_up = if may_call && lane.breaker.is_open() { self.next_given_up(route, now) } else { None };
            [probe, lane.held_off_until(), given_up]
        });
        self.partitions.next_due().into_iter().chain(of_lanes.flatten()).min()
    }
}
