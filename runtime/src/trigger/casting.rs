//! Calls a candidate that is a [shadow](super::shadow), beside the calls that count.

use std::time::{Duration, Instant};

use super::clock::Now;
use super::flow::Flow;
use super::lane::LaneId;
use super::route::Route;
use super::shadow::{Answers, Cast, broke, compare};
use crate::engine::{Call, CallError, Completion};
use crate::kafka::Sink;
use crate::record::batch::Batch;
use crate::record::outcome::Checked;
use crate::record::{OwnedRecord, Record};

impl<R: Record + From<OwnedRecord>, S: Sink> Flow<R, S> {
    /// A call of this lane ended with an outcome: a shadow is called with the same, if there is one.
    pub(super) fn cast_shadow(&mut self, lane: LaneId, batch: &Batch, checked: &Checked, now: Instant) {
        if self.lanes.shadow().is_none() || self.lanes.serving().is_none_or(|serving| serving.id() != lane) {
            return;
        }
        if self.try_cast(batch, checked, now).is_none()
            && let Some((shadow, _)) = self.lanes.shadow()
        {
            shadow.skipped += batch.len() as u64;
        }
    }

    fn try_cast(&mut self, batch: &Batch, checked: &Checked, now: Instant) -> Option<()> {
        let may_call = self.may_call();
        let lane = self.lanes.of_mut(Route::CANARY).filter(|lane| may_call && !lane.is_held_off(now))?;
        let granted = lane.grant.next();
        let bytes = granted.reserved + batch.record_bytes() + Answers::bytes(batch.len());
        if lane.free() == 0 || !self.has_room_for(bytes) {
            return None;
        }
        let id = self.calls.number();
        let lane = self.lanes.of_mut(Route::CANARY)?;
        self.shadows.start(id, Cast { lane: lane.id(), serving: Answers::of(batch, checked), bytes });
        // However brief it is expected to be, it does not begin on this thread, which serves.
        lane.start(Call { id, batch: batch.clone(), expected: Duration::MAX, outcome_bytes: granted.bytes });
        Some(())
    }

    /// A call ended that is none of those that serve.
    pub(super) fn shadow_ended(&mut self, completion: Completion, now: Now) {
        // It may be one from before all calls were forgotten.
        let Some(Cast { lane, serving, .. }) = self.shadows.ended(completion.id) else { return };
        let Completion { batch, result, elapsed, outcome_bytes, started, .. } = completion;
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.counts.instances += u64::from(started.is_some());
        }
        match &result {
            Err(CallError::NoInstance(reason)) => self.lanes.hold_off(lane, reason.clone(), now.instant),
            Err(CallError::Bug) => {}
            _ => self.lanes.called(lane, serving.len(), elapsed, outcome_bytes, &result),
        }
        let is_tried = self.lanes.candidate().is_some_and(|candidate| candidate.id() == lane);
        if let Some((shadow, tally)) = self.lanes.shadow().filter(|_| is_tried) {
            match (&batch, &result) {
                (Some(batch), Ok(checked)) => compare(batch, checked, &serving, shadow, tally),
                (Some(batch), Err(CallError::Fault(fault))) => broke(batch, fault, shadow, tally),
                _ => shadow.skipped += serving.len() as u64,
            }
        }
        self.lanes.ended(lane);
        batch.into_iter().for_each(|batch| self.calls.recycle(batch));
    }
}
