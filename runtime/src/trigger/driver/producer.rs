//! The producer: made when it is needed, given up when it is of no use any more.
//!
//! A producer that is given up keeps the gate closed until what it had handed to the brokers is
//! answered, or takes too long. Then what was not acknowledged is read and handled again.

use std::time::{Duration, Instant};

use super::{Driver, Phase};
use crate::kafka::{Batching, Clients, Sink as _};
use crate::trigger::durability::Gate;
use crate::trigger::health::Condition;

/// How often it is looked whether messages are acknowledged.
const WATCH: Duration = Duration::from_secs(1);

impl<C: Clients> Driver<C> {
    /// Goes on with the replacement of a producer.
    pub(super) fn renew_producer(&mut self, now: Instant) {
        match self.durability.gate() {
            Gate::Open if self.durability.is_single_over(now) && self.flow.paused.is_none() => {
                self.durability.end_single(now);
                self.durability.retire(false, now);
                self.flow.delivery.retire();
            }
            Gate::Open => {}
            Gate::Retiring { until } if self.is_busy() && now < until => {}
            Gate::Retiring { .. } => {
                drop(self.flow.delivery.take());
                let positions = self.flow.forget_messages();
                self.seek(&positions, now);
                self.durability.close(now);
            }
            Gate::Closed { retry } if now >= retry && self.wants_producer() => self.make_producer(now),
            Gate::Closed { .. } => {}
        }
    }

    /// Whether messages are under way, or calls run. Records go back once all of their calls have ended: one
    /// that ended later could do last what a newer record of its key did before.
    fn is_busy(&self) -> bool {
        self.flow.delivery.outstanding() > 0 || self.flow.calls.running() > self.ended.len()
    }

    fn wants_producer(&self) -> bool {
        self.flow.lanes.serving().is_some() && matches!(self.phase, Phase::Joined | Phase::Apart { .. })
    }

    fn make_producer(&mut self, now: Instant) {
        match self.clients.sink(self.durability.batching()) {
            Ok(mut sink) => {
                self.topology.outputs().into_iter().for_each(|outputs| sink.update(outputs));
                self.topology.producer_lives();
                self.flow.delivery.replace(sink);
                self.flow.partitions.set_careful(self.durability.batching() == Batching::Single);
                self.durability.open(now);
                self.health.clear(Condition::OutputsFailing, now);
            }
            Err(error) => {
                self.durability.retry(now);
                self.health.set(Condition::OutputsFailing, format!("no producer can be made: {error}"), now);
            }
        }
    }

    /// When the replacement of a producer goes on without any event.
    pub(super) fn producer_due(&self) -> Option<Instant> {
        match self.durability.gate() {
            Gate::Open => self.durability.single_until().filter(|_| self.flow.paused.is_none()),
            Gate::Retiring { until } => Some(until),
            Gate::Closed { retry } => Some(retry).filter(|_| self.wants_producer()),
        }
    }

    /// The producer is of no use any more.
    pub(super) fn replace_producer(&mut self, reason: &str, now: Instant) {
        if !self.durability.is_open() {
            return;
        }
        tracing::warn!(trigger = %self.context.trigger.name, "the producer is replaced: {reason}");
        self.health.seen(Condition::OutputsFailing, reason, now);
        // The next one should know what the brokers have.
        self.topology.hurry(now);
        self.durability.retire(true, now);
        self.purge(now);
    }

    /// The broker refuses a request for one of its messages: another producer sends them one by one.
    pub(super) fn send_one_by_one(&mut self, reason: &str, now: Instant) {
        if !self.durability.is_open() {
            return;
        }
        tracing::warn!(
            trigger = %self.context.trigger.name,
            "the broker refuses a request for one of its messages, which are sent one by one now: {reason}",
        );
        self.durability.refused(now);
        self.purge(now);
    }

    /// Gives up all messages that were not handed to the brokers yet.
    pub(super) fn purge(&mut self, now: Instant) {
        self.flow.delivery.retire();
        self.flow.delivery.sink_mut().into_iter().for_each(|sink| sink.abandon());
        self.durability.retire(false, now);
    }

    /// Looks whether messages are acknowledged.
    pub(super) fn watch_outputs(&mut self, now: Instant) {
        if now < self.next_watch {
            return;
        }
        self.next_watch = now + WATCH;
        self.health.put(Condition::OutputsStalled, self.flow.stalled_outputs(now), now);
        let Some(whole) = self.topology.whole_since() else { return };
        let patience = self.durability.patience();
        let for_long = |since: Instant| Some(now.saturating_duration_since(since)).filter(|time| *time >= patience);
        let silent = self.flow.silent_since().and_then(|silent| for_long(silent.max(whole)));
        let overtaken = self.flow.calls.overtaken().filter(|time| *time >= patience && for_long(whole).is_some());
        let reason = match (silent, overtaken) {
            (Some(time), _) => {
                format!("messages are not acknowledged for {} s, while the brokers answer", time.as_secs())
            }
            (_, Some(time)) => format!("messages were overtaken by others that went out {} s later", time.as_secs()),
            (None, None) => return,
        };
        if self.durability.is_open() {
            self.durability.leaves_behind(now);
            self.replace_producer(&reason, now);
        }
    }
}
