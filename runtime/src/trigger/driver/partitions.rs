//! Partitions come and go, and their progress is committed.

use std::sync::Arc;
use std::time::Instant;

use super::{Answer, Driver, Phase, Why};
use crate::kafka::{Broker, Clients, Error, ErrorKind, Position};
use crate::trigger::beginning::{Beginning, Choice, Surprise, beginnings};
use crate::trigger::durability::Gate;
use crate::trigger::health::Condition;
use crate::trigger::membership::Step;
use crate::trigger::partitions::Intake;
use crate::trigger::retreat::UnderWay;

impl<C: Clients> Driver<C> {
    pub(super) fn assigned(&mut self, partitions: Vec<Position>, now: Instant) {
        self.silent_group = None;
        self.accepted(now);
        self.membership.assigned(partitions, now);
    }

    pub(super) fn revoked(&mut self, partitions: Vec<Position>, lost: bool, now: Instant) {
        for position in &partitions {
            if let Some(partition) = self.partition(&position.topic, position.partition)
                && let Some(assigned) = self.flow.partitions.get_mut(partition)
            {
                assigned.leaving = true;
            }
        }
        self.membership.revoked(partitions, lost, now);
    }

    /// Goes on with a rebalance that waits for its answer.
    pub(super) fn rebalance(&mut self, now: Instant) {
        let is_lost = self.membership.is_revoking() && self.broker.as_ref().is_some_and(Broker::is_lost);
        loop {
            let work = self.under_way(true);
            let Some(step) = self.membership.next(&work, is_lost, now) else { return };
            match step {
                Step::Read { number, partitions } => self.read_progress(number, partitions),
                Step::DropCalls => {
                    let leaving = self.flow.partitions.iter_mut().filter(|assigned| assigned.leaving);
                    leaving.for_each(|assigned| assigned.drops_calls = true);
                }
                Step::Purge => self.purge(now),
                Step::Commit => {
                    let number = self.commit(now);
                    self.membership.commits(number, now);
                }
                Step::Release { partitions, lost } => self.release(&partitions, lost, now),
                Step::GiveUp(reason) => return self.end(Why::Broken(reason), now),
            }
        }
    }

    /// What is under way: of the partitions that are to go, or of all.
    pub(super) fn under_way(&self, only_leaving: bool) -> UnderWay {
        let (mut running, mut sent) = (0, 0);
        for assigned in self.flow.partitions.iter().filter(|assigned| assigned.leaving || !only_leaving) {
            running += if assigned.drops_calls { 0 } else { assigned.window.running() };
            sent += assigned.window.sent();
        }
        // A record whose message was refused stays sent for ever, and nothing is waited for then.
        let outstanding = self.flow.delivery.outstanding();
        UnderWay {
            running,
            sent: if only_leaving { sent.min(outstanding) } else { outstanding },
            purging: matches!(self.durability.gate(), Gate::Retiring { .. }),
            committing: self.durability.is_committing(),
            committed: self.durability.committed(),
        }
    }

    fn read_progress(&mut self, number: u64, partitions: Vec<Position>) {
        let (client, answer) = (self.client, self.answer.clone());
        let choice = Choice { start: self.context.trigger.start.clone(), appeared: self.topology.appeared().clone() };
        let Some(broker) = &mut self.broker else { return };
        broker.ask(Box::new(move |reader| {
            let result = if partitions.is_empty() { Ok(Vec::new()) } else { beginnings(reader, &partitions, &choice) };
            let _ = answer.try_send(Answer::Progress { client, number, result });
        }));
    }

    /// The progress of an assignment was read: its partitions' records may come.
    pub(super) fn read(&mut self, number: u64, result: Result<Vec<Beginning>, Error>, now: Instant) {
        let beginnings = match result {
            Ok(beginnings) => beginnings,
            Err(error) => {
                if self.membership.was_not_read(number, now) {
                    let reason = format!("progress cannot be read: {error}");
                    self.health.set(Condition::ProgressUnreadable, reason, now);
                }
                return;
            }
        };
        if !self.membership.was_read(number) {
            return;
        }
        self.health.clear(Condition::ProgressUnreadable, now);
        self.health.clear(Condition::Restarting, now);
        let positions: Vec<_> = beginnings.iter().map(Beginning::position).collect();
        for beginning in beginnings {
            self.begin(beginning, now);
        }
        tracing::info!(trigger = %self.context.trigger.name, partitions = %names(&positions), "partitions assigned");
        let Some(broker) = &mut self.broker else { return };
        if let Err(error) = broker.assign(&positions) {
            self.end(Why::Broken(format!("the assignment cannot be taken: {error}")), now);
        }
    }

    fn begin(&mut self, beginning: Beginning, now: Instant) {
        let Beginning { topic, partition: number, progress, is_chosen, surprise, .. } = beginning;
        let Some(partition) = self.partition(&topic, number) else { return };
        if let Some(surprise) = surprise {
            let told = told(&topic, number, &surprise);
            tracing::warn!(trigger = %self.context.trigger.name, topic, partition = number, "{told}");
            if !matches!(surprise, Surprise::Unreadable(_)) {
                self.health.seen(Condition::OffsetsGone, told, now);
            }
        }
        let topic: Arc<str> = topic.into();
        self.flow.assign(partition, &topic, progress);
        // A place chosen by the clock is made durable at once: after a restart the clock says
        // something else.
        if is_chosen && let Some(assigned) = self.flow.partitions.get_mut(partition) {
            assigned.window.mark_dirty();
        }
    }

    /// Gives partitions back.
    fn release(&mut self, partitions: &[Position], lost: bool, now: Instant) {
        let how = if lost { "partitions lost" } else { "partitions revoked" };
        tracing::info!(trigger = %self.context.trigger.name, partitions = %names(partitions), "{how}");
        for position in partitions {
            if let Some(partition) = self.partition(&position.topic, position.partition) {
                let paused = self.flow.partitions.get_mut(partition).is_some_and(|it| it.intake == Intake::Paused);
                // The client would keep the pause for the time after the partition came back.
                if paused
                    && let Some(broker) = &mut self.broker
                    && let Err(error) = broker.pause(partition, false)
                {
                    tracing::debug!("a partition that goes stays paused: {error}");
                }
                self.flow.revoke(partition);
            }
        }
        let Some(broker) = &mut self.broker else { return };
        if let Err(error) = broker.unassign(partitions) {
            self.end(Why::Broken(format!("the assignment cannot be given back: {error}")), now);
        }
    }

    /// Commits the progress of all partitions that changed. Returns the number of the commit, if
    /// there was anything to commit.
    pub(super) fn commit(&mut self, now: Instant) -> Option<u64> {
        let limit = self.durability.metadata_limit();
        let changed: Vec<_> = self
            .flow
            .partitions
            .iter_mut()
            .filter(|assigned| assigned.window.is_dirty())
            .map(|assigned| {
                let progress = assigned.window.progress();
                let metadata = progress.encode(limit);
                Position {
                    offset: Some(progress.low),
                    metadata,
                    ..Position::of(&assigned.topic, assigned.partition.number)
                }
            })
            .collect();
        let Some(broker) = self.broker.as_mut().filter(|_| !changed.is_empty()) else {
            self.durability.skip(now);
            return None;
        };
        let number = self.durability.begin(now);
        self.committing.extend(changed.iter().map(|position| position.topic.clone()));
        match broker.commit(number, &changed) {
            Ok(()) => Some(number),
            Err(error) => {
                self.committed(number, Err(error), now);
                None
            }
        }
    }

    pub(super) fn committed(&mut self, number: u64, result: Result<(), Error>, now: Instant) {
        self.durability.end(number);
        let topics = std::mem::take(&mut self.committing);
        let Err(error) = result else {
            self.health.clear(Condition::CommitFailing, now);
            self.accepted(now);
            self.topology.committed(topics);
            return;
        };
        self.flow.partitions.iter_mut().for_each(|assigned| assigned.window.mark_dirty());
        if error.kind == ErrorKind::MetadataTooLarge {
            let limit = self.durability.shorten_metadata();
            self.flow.partitions.set_metadata_limit(limit);
            let reason = format!(
                "the broker takes less commit metadata than 4096 bytes (offset.metadata.max.bytes), so progress is cut \
                 to {limit} characters and more is repeated after a restart"
            );
            self.health.set(Condition::MetadataCut, reason, now);
            return;
        }
        self.health.seen(Condition::CommitFailing, format!("progress is not committed: {error}"), now);
    }

    /// Has partitions read again from there.
    pub(super) fn seek(&mut self, positions: &[Position], now: Instant) {
        if positions.is_empty() {
            return;
        }
        let Some(broker) = &mut self.broker else { return };
        // After a time-out the seek is still to come, and nothing old is handed out before it.
        if let Err(error) = broker.seek(positions)
            && error.kind != ErrorKind::Timeout
        {
            self.end(Why::Broken(format!("partitions cannot be read again: {error}")), now);
        }
    }

    /// Whether something is given up step by step.
    pub(super) fn is_retreating(&self) -> bool {
        self.membership.is_revoking() || matches!(self.phase, Phase::Leaving { .. })
    }
}

fn names(positions: &[Position]) -> String {
    let names: Vec<_> = positions.iter().map(|position| format!("{}/{}", position.topic, position.partition)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// What an operator has to know about where a partition goes on.
fn told(topic: &str, partition: i32, surprise: &Surprise) -> String {
    match surprise {
        Surprise::Unreadable(why) => {
            format!(
                "the group's progress in {topic}/{partition} cannot be read, {why}: what was done ahead is done again"
            )
        }
        Surprise::Deleted(range) => format!(
            "records {} to {} of {topic}/{partition} were deleted before they were handled; goes on at {}",
            range.start,
            range.end - 1,
            range.end,
        ),
        Surprise::Beyond { committed, log } => format!(
            "the offset {committed} of {topic}/{partition} is above the end of the log, {}; reads again from its beginning, {}",
            log.end, log.start,
        ),
    }
}
