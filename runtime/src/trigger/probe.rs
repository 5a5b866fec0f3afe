//! What the brokers say about the topics of a trigger, and what follows from it.

use std::time::Instant;

use super::session::Session;
use crate::kafka::{Broker as _, Error, Metadata, Sink as _};

/// Probes after which a producer that reaches no broker is given up.
const MAX_LOST_PROBES: u32 = 4;

/// The topics of a trigger as the brokers see them.
pub(super) struct Topology {
    pub inputs: Metadata,
    pub outputs: Metadata,
}

impl Session {
    /// Gives up a producer that does not find back to brokers which the consumer of the same cluster
    /// reaches: after an outage the client may stay without a connection for good.
    pub(super) fn watch_producer(&mut self, inputs: &Result<Metadata, Error>, outputs: &Result<Metadata, Error>) {
        let same_cluster = self.context.cluster == self.context.output_cluster;
        match (inputs, outputs) {
            (Ok(_), Err(error)) if same_cluster => {
                self.lost_producer += 1;
                if self.lost_producer >= MAX_LOST_PROBES {
                    self.broken = Some(format!("the producer does not connect any more: {error}"));
                }
            }
            _ => self.lost_producer = 0,
        }
    }

    /// Gives up a producer that leaves messages behind although the brokers answer: after an outage
    /// the client may forget a single partition, while all others go on.
    pub(super) fn watch_outputs(&mut self, topology: &Topology, now: Instant) {
        if !topology.outputs.leaderless.is_empty() {
            self.answered_since = None;
            return;
        }
        let answered = *self.answered_since.get_or_insert(now);
        let Some(silent) = self.flow.flights.silent_since() else { return };
        let waiting = now.saturating_duration_since(silent.max(answered));
        if waiting > self.manner.patience {
            let seconds = waiting.as_secs();
            self.left_behind = Some(format!("messages are not acknowledged for {seconds} s, while the brokers answer"));
        }
    }

    /// Subscribes to the topics that exist, once all topics to write to do.
    pub(super) fn subscribe(&mut self, topology: &Topology) {
        self.problems.clear("brokers");
        self.problems.clear("client");
        self.flow.delivery.sink_mut().update(&topology.outputs);
        let missing = topology.inputs.missing.iter().chain(&topology.outputs.missing);
        let missing = missing.map(|(topic, error)| format!("topic {topic}: {}", error.reason));
        let leaderless = topology.inputs.leaderless.iter().chain(&topology.outputs.leaderless);
        let leaderless = leaderless.map(|partition| format!("partition {partition} has no leader"));
        let missing: Vec<_> = missing.chain(leaderless).collect();
        if missing.is_empty() {
            self.problems.clear("topics");
        } else {
            self.problems.set("topics", missing.join("; "));
        }
        let inputs: Vec<_> = topology.inputs.partitions.keys().cloned().collect();
        // A topic that vanishes under a subscription is waited for: leaving it would lose its place.
        let grows = inputs.iter().any(|topic| !self.subscribed.contains(topic));
        if !grows || !topology.outputs.missing.is_empty() && self.subscribed.is_empty() {
            return;
        }
        match self.source.subscribe(&inputs) {
            Ok(()) => self.subscribed = inputs,
            Err(error) => self.problems.set("topics", format!("cannot subscribe: {error}")),
        }
    }
}
