//! What a trigger is told: which revisions there are, to hold, to go on, to stop.

use std::time::Instant;

use super::{Driver, RecordOf, Why};
use crate::engine::Invoker;
use crate::kafka::Clients;
use crate::record::revision::Digest;
use crate::trigger::flow::Flow;
use crate::trigger::trial::Manner;

/// What a trigger is told.
pub enum Command {
    /// New calls go to this revision; those that run end on the old one.
    Adopt { invoker: Box<dyn Invoker>, revision: Digest },
    /// This revision is tried beside the one that serves.
    TryOut { invoker: Box<dyn Invoker>, revision: Digest, stage: u32, manner: Manner },
    /// The candidate enters another stage.
    Steer { stage: u32, manner: Manner },
    /// The candidate serves everything.
    Promote,
    /// The candidate is let go.
    Withdraw,
    /// Takes no records and starts no calls for a reason, or goes on.
    Hold { reason: Option<String> },
    /// Finish what runs, commit, leave the group.
    Stop,
}

impl<C: Clients> Driver<C> {
    pub(super) fn obey(&mut self, now: Instant) {
        while let Some(command) = self.commands.try_next() {
            match command {
                Command::Adopt { invoker, revision } => {
                    self.change_revision(now, |flow| flow.adopt(&revision, invoker));
                }
                Command::TryOut { invoker, revision, stage, manner } => {
                    self.flow.try_out(&revision, invoker, stage, manner);
                }
                Command::Steer { stage, manner } => self.flow.steer(stage, manner),
                Command::Promote => self.change_revision(now, |flow| flow.promote()),
                Command::Withdraw => self.flow.withdraw(),
                Command::Hold { reason } => self.flow.held = reason,
                Command::Stop => self.end(Why::Stopped, now),
            }
        }
        // Without a supervisor there is nothing to work for.
        if self.commands.is_closed() {
            self.end(Why::Stopped, now);
        }
    }

    /// Another revision may serve from now on. Then a trigger that paused goes on.
    fn change_revision(&mut self, now: Instant, change: impl FnOnce(&mut Flow<RecordOf<C>, C::Sink>)) {
        let serving = |flow: &Flow<RecordOf<C>, C::Sink>| flow.lanes.serving().map(|lane| lane.revision.clone());
        let before = serving(&self.flow);
        change(&mut self.flow);
        let after = serving(&self.flow);
        if before != after && self.flow.paused.is_some() {
            let revision = after.as_deref().unwrap_or_default();
            tracing::info!(trigger = %self.context.trigger.name, revision, "trigger resumed with another revision");
            let positions = self.flow.resume();
            self.seek(&positions, now);
            // No window knows of the messages of what began anew. Were the partition given away now, they would
            // follow those of its next owner.
            if !positions.is_empty() && self.flow.delivery.outstanding() > 0 && self.durability.is_open() {
                self.purge(now);
            }
        }
    }
}
