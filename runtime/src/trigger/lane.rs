//! What belongs to one revision within a trigger.
//!
//! A *lane* is a revision with its instances, what its records cost and its outcomes take, its breaker and its
//! counts. A call knows its lane, so what comes late is charged to the revision that ran it. One lane
//! serves; those that it replaced stay until their last call has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::{Breaker, Seen};
use super::grant::Grant;
use super::sizing::Sizing;
use super::status::Counts;
use crate::engine::{Call, CallError, Invoker};
use crate::manifest::BatchLimits;
use crate::record::outcome::Checked;

/// How long no call starts after an instance could not be started.
const HOLD_OFF: Duration = Duration::from_secs(1);

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
    /// No instance could be started: why, and when that is tried again.
    hold_off: Option<(Instant, String)>,
    running: usize,
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

    /// No instance could be started: no call starts for a moment.
    pub fn hold_off(&mut self, reason: String, now: Instant) {
        self.hold_off = Some((now + HOLD_OFF, reason));
    }

    pub fn is_held_off(&self, now: Instant) -> bool {
        self.hold_off.as_ref().is_some_and(|(until, _)| now < *until)
    }

    /// Instances may start again, because one answered or the moment is over.
    pub fn release(&mut self) {
        self.hold_off = None;
    }

    /// When the lane tries again to start an instance.
    pub fn held_off_until(&self) -> Option<Instant> {
        self.hold_off.as_ref().map(|(until, _)| *until)
    }

    /// Why no instance can be started.
    pub fn obstacle(&self) -> Option<&str> {
        self.hold_off.as_ref().map(|(_, reason)| reason.as_str())
    }
}

/// The lanes of a trigger.
pub struct Lanes {
    batch: BatchLimits,
    steering: Steering,
    next: u64,
    serving: Option<Lane>,
    /// Replaced, with calls under way.
    draining: Vec<Lane>,
    /// Of lanes that are gone.
    counts: Counts,
}

impl Lanes {
    pub fn new(batch: BatchLimits, steering: Steering) -> Self {
        Self { batch, steering, next: 0, serving: None, draining: Vec::new(), counts: Counts::default() }
    }

    /// This revision serves from the next call on.
    pub fn adopt(&mut self, revision: Arc<str>, invoker: Box<dyn Invoker>) {
        let id = LaneId(self.next);
        self.next += 1;
        let lane = Lane {
            id,
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
            running: 0,
        };
        if let Some(replaced) = self.serving.replace(lane) {
            self.draining.push(replaced);
            self.forget_drained();
        }
    }

    pub fn serving(&self) -> Option<&Lane> {
        self.serving.as_ref()
    }

    pub fn serving_mut(&mut self) -> Option<&mut Lane> {
        self.serving.as_mut()
    }

    pub fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.serving.iter_mut().chain(&mut self.draining).find(|lane| lane.id == id)
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
        self.serving.iter_mut().chain(&mut self.draining).for_each(|lane| lane.running = 0);
        self.forget_drained();
    }

    fn forget_drained(&mut self) {
        let counts = &mut self.counts;
        self.draining.retain(|lane| {
            if lane.running == 0 {
                *counts += lane.counts;
            }
            lane.running > 0
        });
    }

    /// What all revisions did together.
    pub fn counts(&self) -> Counts {
        self.serving.iter().chain(&self.draining).fold(self.counts, |mut sum, lane| {
            sum += lane.counts;
            sum
        })
    }
}
