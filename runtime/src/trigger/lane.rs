//! What belongs to one revision within a trigger.
//!
//! A *lane* is a revision with its instances, what its records cost and its outcomes take, its breaker and its
//! counts. A call knows its lane, so what comes late is charged to the revision that ran it. One lane
//! serves, and beside it there may be that of a candidate; those that were replaced or let go stay until their last
//! call has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::{Breaker, Seen};
use super::counts::Counts;
use super::grant::Grant;
use super::measures::{Measures, Recorder};
use super::route::{Route, Split};
use super::sizing::Sizing;
use super::status::{ShadowTally, Tally};
use super::trial::{Manner, Trial};
use crate::engine::{Call, CallError, Invoker};
use crate::manifest::BatchLimits;
use crate::record::outcome::{Cause, Checked};

/// How long no call starts after an instance could not be started.
const HOLD_OFF: Duration = Duration::from_secs(1);
/// A candidate of which no instance starts so often in a row has failed.
const NO_STARTS: u32 = 3;

/// Tells lanes of a trigger apart. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaneId(u64);

/// Whether lanes go by what their calls cost and how they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// Calls size themselves, and the breaker opens when most records fail.
    ByCalls,
    /// Calls are as large as the manifest allows, with room for any outcome, and the breaker stays closed. So the
    /// same records make the same calls on every machine.
    Fixed,
}

/// One revision of a trigger's function.
pub struct Lane {
    id: LaneId,
    /// SHA-256 of the component.
    pub revision: Arc<str>,
    invoker: Box<dyn Invoker>,
    steering: Steering,
    pub sizing: Sizing,
    pub grant: Grant,
    pub breaker: Breaker,
    pub counts: Counts,
    pub recorder: Recorder,
    /// No instance could be started: why, and when that is tried again.
    hold_off: Option<(Instant, String)>,
    /// How often in a row no instance could be started.
    no_starts: u32,
    running: usize,
    /// It is a candidate, or was one until it was let go: it gives up no record.
    is_on_trial: bool,
}

impl Lane {
    pub fn id(&self) -> LaneId {
        self.id
    }

    /// How many calls could be started now.
    pub fn free(&mut self) -> usize {
        self.invoker.free()
    }

    pub fn start(&mut self, call: Call) {
        self.running += 1;
        self.counts.calls += 1;
        self.invoker.start(call);
    }

    /// A call of so many records took so long, and its outcome so many bytes.
    pub fn took(
        &mut self,
        records: usize,
        elapsed: Duration,
        outcome_bytes: usize,
        result: &Result<Checked, CallError>,
    ) {
        if self.steering == Steering::Fixed {
            return;
        }
        self.sizing.observe(records, elapsed);
        match result {
            Err(CallError::OutcomeTooLarge { granted }) => self.grant.was_too_small(*granted),
            _ => self.grant.observe(outcome_bytes),
        }
    }

    /// A call came to this.
    pub fn saw(&mut self, seen: Seen, now: Instant) {
        if self.steering == Steering::ByCalls {
            self.breaker.observe(seen, now);
        }
    }

    /// Calls that run.
    pub fn running(&self) -> usize {
        self.running
    }

    pub fn shrink(&mut self) {
        self.invoker.shrink();
    }

    /// No instance could be started: no call starts for a moment. Returns whether that happened several times in
    /// a row by now.
    pub fn hold_off(&mut self, reason: String, now: Instant) -> bool {
        // Calls that started together are one try.
        self.no_starts += u32::from(!self.is_held_off(now));
        self.hold_off = Some((now + HOLD_OFF, reason));
        let is_hopeless = self.no_starts >= NO_STARTS;
        if is_hopeless {
            self.no_starts = 0;
        }
        is_hopeless
    }

    pub fn is_held_off(&self, now: Instant) -> bool {
        self.hold_off.as_ref().is_some_and(|(until, _)| now < *until)
    }

    /// Instances may start again, because the moment is over.
    pub fn release(&mut self) {
        self.hold_off = None;
    }

    /// An instance answered.
    pub fn answered(&mut self) {
        self.hold_off = None;
        self.no_starts = 0;
    }

    /// Whether it gives up no record: see [`Trial`].
    pub fn is_on_trial(&self) -> bool {
        self.is_on_trial
    }

    /// When the lane tries again to start an instance.
    pub fn held_off_until(&self) -> Option<Instant> {
        self.hold_off.as_ref().map(|(until, _)| *until)
    }

    fn measure(&self) {
        self.recorder.show(self.counts, self.invoker.instances(), self.running);
    }

    /// Why no instance can be started.
    pub fn obstacle(&self) -> Option<&str> {
        self.hold_off.as_ref().map(|(_, reason)| reason.as_str())
    }
}

/// A revision that is tried.
struct Candidate {
    lane: Lane,
    trial: Trial,
}

/// The lanes of a trigger.
pub struct Lanes {
    batch: BatchLimits,
    steering: Steering,
    next: u64,
    serving: Option<Lane>,
    candidate: Option<Candidate>,
    /// Replaced or let go, with calls under way.
    draining: Vec<Lane>,
    /// Of lanes that are gone.
    counts: Counts,
    measures: Measures,
}

impl Lanes {
    pub fn new(batch: BatchLimits, steering: Steering) -> Self {
        Self {
            batch,
            steering,
            next: 0,
            serving: None,
            candidate: None,
            draining: Vec::new(),
            counts: Counts::default(),
            measures: Measures::default(),
        }
    }

    fn lane(&mut self, revision: Arc<str>, invoker: Box<dyn Invoker>, is_on_trial: bool) -> Lane {
        let id = LaneId(self.next);
        self.next += 1;
        Lane {
            id,
            recorder: self.measures.recorder(&revision),
            revision,
            invoker,
            steering: self.steering,
            sizing: match self.steering {
                Steering::ByCalls => Sizing::new(self.batch),
                Steering::Fixed => Sizing::full(self.batch),
            },
            grant: match self.steering {
                Steering::ByCalls => Grant::new(),
                Steering::Fixed => Grant::full(),
            },
            breaker: Breaker::new(),
            counts: Counts::default(),
            hold_off: None,
            no_starts: 0,
            running: 0,
            is_on_trial,
        }
    }

    /// This revision serves from the next call on.
    pub fn adopt(&mut self, revision: Arc<str>, invoker: Box<dyn Invoker>) {
        let lane = self.lane(revision, invoker, false);
        self.serve(lane);
    }

    fn serve(&mut self, lane: Lane) {
        if let Some(replaced) = self.serving.replace(lane) {
            self.draining.push(replaced);
            self.forget_drained();
        }
    }

    /// This revision is tried from the next call on. Only one is at a time.
    pub fn try_out(&mut self, revision: Arc<str>, invoker: Box<dyn Invoker>, trial: Trial) {
        self.withdraw();
        let lane = self.lane(revision, invoker, true);
        self.candidate = Some(Candidate { lane, trial });
    }

    /// The candidate enters another stage. Returns whether there is one.
    pub fn steer(&mut self, stage: u32, manner: Manner) -> bool {
        let Some(candidate) = &mut self.candidate else { return false };
        candidate.trial.steer(stage, manner);
        true
    }

    /// The candidate serves from now on. What is known of it stays, and so do its calls. Returns whether there was one.
    pub fn promote(&mut self) -> bool {
        let Some(Candidate { mut lane, .. }) = self.candidate.take() else { return false };
        lane.is_on_trial = false;
        self.serve(lane);
        true
    }

    /// The candidate is let go. Returns whether there was one.
    pub fn withdraw(&mut self) -> bool {
        let Some(Candidate { lane, .. }) = self.candidate.take() else { return false };
        self.draining.push(lane);
        self.forget_drained();
        true
    }

    pub fn serving(&self) -> Option<&Lane> {
        self.serving.as_ref()
    }

    /// The revision that is tried.
    pub fn candidate(&self) -> Option<&Lane> {
        self.candidate.as_ref().map(|candidate| &candidate.lane)
    }

    /// How the candidate is tried.
    pub fn trial(&self) -> Option<&Trial> {
        self.candidate.as_ref().map(|candidate| &candidate.trial)
    }

    /// Which keys go to the candidate, if any do.
    pub fn split(&self) -> Option<&Split> {
        self.candidate.as_ref().and_then(|candidate| candidate.trial.split())
    }

    /// The lane that the records of a route go to.
    pub fn of_mut(&mut self, route: Route) -> Option<&mut Lane> {
        match route {
            Route::CANARY => self.candidate.as_mut().map(|candidate| &mut candidate.lane),
            _ => self.serving.as_mut(),
        }
    }

    /// The lanes that calls start in.
    pub fn live(&self) -> impl Iterator<Item = (Route, &Lane)> {
        let serving = self.serving.iter().map(|lane| (Route::STABLE, lane));
        serving.chain(self.candidate.iter().map(|candidate| (Route::CANARY, &candidate.lane)))
    }

    pub fn live_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.serving.iter_mut().chain(self.candidate.iter_mut().map(|candidate| &mut candidate.lane))
    }

    pub fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        let candidate = self.candidate.iter_mut().map(|candidate| &mut candidate.lane);
        self.serving.iter_mut().chain(candidate).chain(&mut self.draining).find(|lane| lane.id == id)
    }

    /// Counts what a lane does, if that is compared with what another one does.
    pub fn tally(&mut self, id: LaneId) -> Option<&mut Tally> {
        let Candidate { lane, trial } = self.candidate.as_mut()?;
        if lane.id == id {
            return Some(&mut trial.of_candidate);
        }
        self.serving.as_ref().filter(|lane| lane.id == id).map(|_| &mut trial.of_stable)
    }

    /// What a shadow is compared by, if the candidate is one, and how it does.
    pub fn shadow(&mut self) -> Option<(&mut ShadowTally, &mut Tally)> {
        let trial = &mut self.candidate.as_mut()?.trial;
        Some((trial.shadow.as_mut()?, &mut trial.of_candidate))
    }

    /// A call came to this, apart from what became of its records.
    pub fn called(
        &mut self,
        id: LaneId,
        records: usize,
        elapsed: Duration,
        outcome_bytes: usize,
        result: &Result<Checked, CallError>,
    ) {
        if let Some(tally) = self.tally(id) {
            tally.calls += 1;
            tally.busy_us += u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            tally.traps += u64::from(is_trap(result));
        }
        if let Some(lane) = self.get_mut(id) {
            lane.took(records, elapsed, outcome_bytes, result);
            lane.answered();
        }
    }

    /// Records of a call came to this.
    pub fn saw(&mut self, id: LaneId, seen: Seen, now: Instant) {
        if let Some(tally) = self.tally(id) {
            tally.records += u64::from(seen.handled);
        }
        let Some(lane) = self.get_mut(id) else { return };
        lane.counts.handled += u64::from(seen.handled);
        let was_open = lane.breaker.is_open();
        lane.saw(seen, now);
        if !was_open
            && lane.breaker.is_open()
            && let Some(tally) = self.tally(id)
        {
            tally.stopped += 1;
        }
    }

    /// No instance could be started: see [`Lane::hold_off`].
    pub fn hold_off(&mut self, id: LaneId, reason: String, now: Instant) {
        let is_hopeless = self.get_mut(id).is_some_and(|lane| lane.hold_off(reason, now));
        if is_hopeless && let Some(tally) = self.tally(id) {
            tally.traps += 1;
        }
    }

    /// A call of the lane ended, and everything that follows from it was done.
    pub fn ended(&mut self, id: LaneId) {
        if let Some(lane) = self.get_mut(id) {
            lane.running = lane.running.saturating_sub(1);
        }
        self.forget_drained();
    }

    /// Calls that run are not known any more.
    pub fn forget_calls(&mut self) {
        self.live_mut().for_each(|lane| lane.running = 0);
        self.draining.iter_mut().for_each(|lane| lane.running = 0);
        self.forget_drained();
    }

    fn forget_drained(&mut self) {
        let counts = &mut self.counts;
        self.draining.retain(|lane| {
            if lane.running == 0 {
                *counts += lane.counts;
                lane.recorder.show(lane.counts, 0, 0);
            }
            lane.running > 0
        });
    }

    /// The measures of the trigger, with what is measured now.
    pub fn measured(&self) -> &Measures {
        self.live().map(|(_, lane)| lane).chain(&self.draining).for_each(Lane::measure);
        &self.measures
    }

    /// What all revisions did together.
    pub fn counts(&self) -> Counts {
        self.live().map(|(_, lane)| lane).chain(&self.draining).fold(self.counts, |mut sum, lane| {
            sum += lane.counts;
            sum
        })
    }
}

/// Whether the instance of a call was lost by it.
fn is_trap(result: &Result<Checked, CallError>) -> bool {
    matches!(result, Err(CallError::Fault(fault))
        if matches!(fault.cause, Cause::Trap | Cause::Exit | Cause::Deadline | Cause::Memory))
}
