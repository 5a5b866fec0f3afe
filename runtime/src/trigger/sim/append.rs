//! What a broker does with a produce request: appends its messages, in order and once, or refuses them.
//!
//! It knows the sequence numbers of a producer for each partition: it drops what it has already and refuses
//! what comes too early. Producer epochs are not modelled.

use super::books::Effect;
use super::producer::{Acknowledged, Queued, Verdict, Written};
use super::topics::Place;
use super::world::{Event, World};
use crate::kafka::Batching;

impl World {
    /// A produce request reached the broker and is executed.
    pub fn append(&mut self, broker: usize, written: Written) {
        let Written { producer, place, sequence, epoch, messages } = written;
        let leads = self.leader(place) == Some(broker);
        let refuses = self.brokers[broker].refuses_writes;
        let throttle = self.brokers[broker].throttle;
        let now = self.now();
        let Some(known) = self.producers.get_mut(&producer) else { return };
        let gapless = known.batching == Batching::Full;
        let Some(outbox) = known.outboxes.get_mut(&place) else { return };
        let count = messages.len() as u64;
        let verdict = if !leads {
            Verdict::Again("NOT_LEADER_OR_FOLLOWER")
        } else if outbox.refused.contains(&sequence) {
            Verdict::Refused
        } else if sequence + count <= outbox.expected {
            // It was appended before, and the answer was lost.
            Verdict::Appended
        } else if sequence != outbox.expected {
            Verdict::Again("OUT_OF_ORDER_SEQUENCE_NUMBER")
        } else if refuses {
            Verdict::Again("NOT_ENOUGH_REPLICAS")
        } else if messages.iter().any(|(queued, _)| queued.too_large) {
            // What follows waits for what was refused, unless the client closes the gap.
            outbox.expected += if gapless { 0 } else { count };
            outbox.refused.insert(sequence);
            Verdict::Refused
        } else {
            outbox.expected += count;
            if let Some(throttle) = throttle {
                known.muted.insert(broker, now + throttle * count as u32);
            }
            for (queued, owned_when_written) in messages {
                self.appended(producer, place, &queued, owned_when_written);
            }
            Verdict::Appended
        };
        let mut at = now + self.latency() + self.brokers[broker].slow;
        let Some(outbox) = self.producers.get_mut(&producer).and_then(|known| known.outboxes.get_mut(&place)) else {
            return;
        };
        at = at.max(outbox.last_answer);
        outbox.last_answer = at;
        self.agenda.add(at, Event::Acknowledged(Acknowledged { producer, place, sequence, epoch, verdict }));
    }

    fn appended(&mut self, producer: u64, place: Place, queued: &Queued, owned_when_written: bool) {
        let known = &self.producers[&producer];
        let (node, in_use) = (known.node, known.alive && !known.abandoned);
        let source = self.books.place(queued.emitted.id);
        let owns = in_use
            && self.believes(node, queued.emitted.id) == queued.owner
            && source.and_then(|source| self.group.grant(source)) == queued.owner;
        let incarnation = self.topics[place.topic].incarnation;
        if let Some(log) = self.topics[place.topic].log_mut(place.partition) {
            log.skip(1);
        }
        // The topic was made anew with other partitions: it lies elsewhere than its repetition would.
        let is_in_place = queued.among == self.topics[place.topic].count();
        let effect = Effect {
            at: self.now(),
            emitted: queued.emitted.clone(),
            place: Some((place, incarnation)),
            producer,
            grant: queued.owner.filter(|_| is_in_place),
            // It was on its way when its sender lost the partition: nobody can take it back.
            stray: owned_when_written && !owns,
        };
        let others = source.and_then(|source| self.group.grant(source)) != queued.owner;
        if queued.owner.is_some() && !owned_when_written && others {
            let text = format!("{} is sent by node {node}, which had given its partition up", effect.emitted);
            self.violation("nothing stale", text);
        }
        self.tell(|world| {
            let stray = if effect.stray { ", which nobody could take back" } else { "" };
            format!("{} in {} by {}{stray}", effect.emitted, world.place(place), world.nodes[node].name)
        });
        self.books.took_effect(effect);
    }
}
