//! A producer, on the client's side: what librdkafka's own thread does with messages. What a broker does
//! with its requests is in [`append`](super::append).
//!
//! Modelled: a queue for each partition, linger, batches, at most five requests under way for a
//! partition, sequence numbers by which a broker drops what it has already and refuses what comes
//! too early, retries in order, quotas, messages that are refused for good, a client that forgets a
//! partition, purging. A request that was *written* cannot be taken back: a broker may append it long
//! after its sender is gone. Not modelled: compression, transactions, producer epochs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::books::Emitted;
use super::brokers::Request;
use super::member::error;
use super::time::ms;
use super::topics::Place;
use super::world::{Event, World};
use crate::kafka::sink::Batching;
use crate::kafka::{Acknowledgement, Refusal};

const LINGER: Duration = ms(5);
const MOST_UNDER_WAY: usize = 5;
/// How long after an error a request is sent again.
const BACKOFF: Duration = ms(100);
/// How long it takes until the client learns that a partition is gone.
const METADATA_AGE: Duration = ms(1_500);

pub struct Producer {
    pub node: usize,
    pub batching: Batching,
    /// Its process lives and has not dropped it.
    pub alive: bool,
    pub abandoned: bool,
    /// Why nothing is sent any more, if that is so.
    ended: Option<Ended>,
    pub(super) outboxes: BTreeMap<Place, Outbox>,
    pub acknowledgements: VecDeque<Acknowledgement>,
    /// Whether acknowledgements wake the loop.
    pub wakes: bool,
    pub outstanding: usize,
    pub outstanding_bytes: usize,
    /// How many partitions the topics have, as far as the sink was told.
    pub counts: Vec<Option<i32>>,
    lingers: bool,
    /// A broker's quota keeps it from sending until then.
    pub muted: BTreeMap<usize, Duration>,
    /// Requests to a broker arrive in order.
    last_arrival: BTreeMap<usize, Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// A message was refused, and nothing may overtake it.
    Refused,
    /// The client broke.
    Broken,
}

impl Ended {
    /// What becomes of messages behind it.
    fn refusal(self) -> Refusal {
        match self {
            Self::Refused => Refusal::Following,
            Self::Broken => Refusal::ForNow(error("_FATAL")),
        }
    }
}

#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<Queued>,
    /// Batches to be sent again, before the queue.
    again: VecDeque<Batch>,
    under_way: VecDeque<Batch>,
    next_sequence: u64,
    /// Answers to requests of an earlier one do not count.
    epoch: u64,
    pub(super) last_answer: Duration,
    /// The client does not think of it any more.
    forgotten: bool,
    missing_since: Option<Duration>,
    /// What the broker expects next, and what it refused for good; kept here, but the broker's knowledge.
    pub(super) expected: u64,
    pub(super) refused: BTreeSet<u64>,
}

/// A message in the client's memory.
#[derive(Clone, Debug)]
pub struct Queued {
    pub token: u64,
    pub bytes: usize,
    pub emitted: Emitted,
    /// Under which grant its sender owned the record's partition when it was queued.
    pub owner: Option<u64>,
    /// How many partitions its topic had, as far as the client knew, when it chose one.
    pub among: i32,
    pub too_large: bool,
}

struct Batch {
    sequence: u64,
    broker: usize,
    messages: Vec<Queued>,
}

/// A produce request.
pub struct Written {
    pub(super) producer: u64,
    pub(super) place: Place,
    pub(super) sequence: u64,
    pub(super) epoch: u64,
    /// The messages, and whether its sender believed to own the record's partition when it wrote.
    pub(super) messages: Vec<(Queued, bool)>,
}

/// A broker's answer to it.
pub struct Acknowledged {
    pub producer: u64,
    pub(super) place: Place,
    pub(super) sequence: u64,
    pub(super) epoch: u64,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Appended,
    Again(&'static str),
    Refused,
}

impl Producer {
    /// Whether messages lie in it that it does not think of.
    pub fn forgets(&self) -> bool {
        self.outboxes.values().any(|outbox| outbox.forgotten && !outbox.queue.is_empty())
    }
}

impl World {
    pub fn new_producer(&mut self, node: usize, batching: Batching) -> u64 {
        let producer = Producer {
            node,
            batching,
            alive: true,
            abandoned: false,
            ended: None,
            outboxes: BTreeMap::new(),
            acknowledgements: VecDeque::new(),
            wakes: true,
            outstanding: 0,
            outstanding_bytes: 0,
            counts: vec![None; self.topics.len()],
            lingers: false,
            muted: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
        };
        let id = self.client_id();
        self.producers.insert(id, producer);
        self.tell(|world| format!("{}: a producer, {batching:?}", world.nodes[node].name));
        id
    }

    /// Its client is gone: what it had not written is lost.
    pub fn drop_producer(&mut self, producer: u64) {
        let Some(known) = self.producers.get_mut(&producer) else { return };
        known.alive = false;
        let (node, outstanding) = (known.node, known.outstanding);
        for outbox in known.outboxes.values_mut() {
            (outbox.queue, outbox.again, outbox.under_way) = Default::default();
            outbox.epoch += 1;
        }
        self.tell(|world| format!("{}: drops its producer, {outstanding} outstanding", world.nodes[node].name));
    }

    /// A message for a partition.
    pub fn queue(&mut self, producer: u64, place: Place, queued: Queued) {
        let Some(known) = self.producers.get_mut(&producer) else { return };
        known.outstanding += 1;
        known.outstanding_bytes += queued.bytes;
        if let Some(ended) = known.ended {
            return self.report(producer, queued, Err(ended.refusal()));
        }
        if known.abandoned {
            self.violation("sink protocol", "a message is sent after the sink was abandoned".to_owned());
            return;
        }
        known.outboxes.entry(place).or_default().queue.push_back(queued);
        if !std::mem::replace(&mut known.lingers, true) {
            self.after(LINGER, Event::Linger { producer });
        }
    }

    pub fn linger_over(&mut self, producer: u64) {
        if let Some(known) = self.producers.get_mut(&producer) {
            known.lingers = false;
        }
        self.pump(producer);
    }

    /// Writes requests as far as the rules allow.
    pub fn pump(&mut self, producer: u64) {
        let sends = |known: &&Producer| known.alive && known.ended.is_none() && !known.abandoned;
        let Some(known) = self.producers.get(&producer).filter(sends) else { return };
        if self.is_frozen(known.node) {
            return;
        }
        let places: Vec<Place> = known.outboxes.keys().copied().collect();
        for place in places {
            while self.write(producer, place) {}
        }
    }

    /// Writes the next request for a partition, if there is one and it may go.
    fn write(&mut self, producer: u64, place: Place) -> bool {
        let now = self.now();
        let exists = self.topics[place.topic].log(place.partition).is_some();
        let leader = self.leader(place);
        let most = self.rng.usize(1..=30);
        let Some(known) = self.producers.get_mut(&producer) else { return false };
        let single = known.batching == Batching::Single;
        let Some(outbox) = known.outboxes.get_mut(&place) else { return false };
        if outbox.again.is_empty() && outbox.queue.is_empty() || outbox.forgotten {
            return false;
        }
        if !exists {
            self.partition_is_missing(producer, place);
            return false;
        }
        outbox.missing_since = None;
        // Without a leader the client tries again when it hears of one.
        let Some(broker) = leader else { return false };
        if outbox.under_way.len() >= MOST_UNDER_WAY {
            return false;
        }
        if let Some(&until) = known.muted.get(&broker)
            && until > now
        {
            self.agenda.add(until, Event::Linger { producer });
            return false;
        }
        let batch = match outbox.again.pop_front() {
            Some(batch) => Batch { broker, ..batch },
            None => {
                let count = outbox.queue.len().min(if single { 1 } else { most });
                let sequence = outbox.next_sequence;
                outbox.next_sequence += count as u64;
                Batch { sequence, broker, messages: outbox.queue.drain(..count).collect() }
            }
        };
        let (sequence, epoch, messages) = (batch.sequence, outbox.epoch, batch.messages.clone());
        outbox.under_way.push_back(batch);
        let node = known.node;
        let messages: Vec<(Queued, bool)> = messages
            .into_iter()
            .map(|queued| {
                let owns = queued.owner.is_some() && self.believes(node, queued.emitted.id) == queued.owner;
                (queued, owns)
            })
            .collect();
        let mut at = now + self.latency();
        let Some(known) = self.producers.get_mut(&producer) else { return false };
        let last = known.last_arrival.entry(broker).or_default();
        at = at.max(*last);
        *last = at;
        let request = Request::Produce(Written { producer, place, sequence, epoch, messages });
        self.agenda.add(at, Event::Arrive { broker, request });
        true
    }

    fn partition_is_missing(&mut self, producer: u64, place: Place) {
        let now = self.now();
        let count = self.topics[place.topic].count();
        let Some(known) = self.producers.get_mut(&producer) else { return };
        let Some(outbox) = known.outboxes.get_mut(&place) else { return };
        let since = *outbox.missing_since.get_or_insert(now);
        if now < since + METADATA_AGE {
            self.after(ms(500), Event::Linger { producer });
            return;
        }
        let again = outbox.again.drain(..).flat_map(|batch| batch.messages);
        let messages: Vec<Queued> = again.chain(outbox.queue.drain(..)).collect();
        if count == 0 {
            let refused = |queued| (queued, Err(Refusal::ForNow(error("_UNKNOWN_TOPIC"))));
            messages.into_iter().map(refused).for_each(|(queued, refusal)| self.report(producer, queued, refusal));
            return;
        }
        // The client chose the partition, and chooses one that there is. What it sent there meanwhile
        // comes first.
        let there = Place { partition: place.partition % count, ..place };
        let moved = messages.into_iter().map(|queued| Queued { owner: None, ..queued });
        known.outboxes.entry(there).or_default().queue.extend(moved);
        self.after(ms(1), Event::Linger { producer });
    }

    /// The partition of the record that a message comes of, as its sender sees it: under which grant
    /// it owns it.
    pub fn believes(&self, node: usize, id: usize) -> Option<u64> {
        let place = self.books.place(id)?;
        let member = self.members.get(&self.nodes[node].member?)?;
        member.owned.get(&place).map(|fetcher| fetcher.grant).filter(|&grant| grant > 0)
    }

    /// The answer to a request reaches the client.
    pub fn on_acknowledged(&mut self, answer: &Acknowledged) {
        let &Acknowledged { producer, place, sequence, epoch, verdict } = answer;
        let Some(known) = self.producers.get_mut(&producer).filter(|known| known.alive) else { return };
        let batching = known.batching;
        let Some(outbox) = known.outboxes.get_mut(&place).filter(|outbox| outbox.epoch == epoch) else { return };
        let Some(index) = outbox.under_way.iter().position(|batch| batch.sequence == sequence) else { return };
        match verdict {
            Verdict::Appended => {
                let Some(batch) = outbox.under_way.remove(index) else { return };
                for queued in batch.messages {
                    self.report(producer, queued, Ok(()));
                }
            }
            Verdict::Refused => {
                let Some(batch) = outbox.under_way.remove(index) else { return };
                for queued in batch.messages {
                    let refusal = match batching {
                        Batching::Full => Refusal::WithOthers(error("MSG_SIZE_TOO_LARGE")),
                        _ if queued.too_large => Refusal::ForGood(error("MSG_SIZE_TOO_LARGE")),
                        _ => Refusal::WithOthers(error("_INVALID_DIFFERENT_RECORD")),
                    };
                    self.report(producer, queued, Err(refusal));
                }
                if batching == Batching::Full {
                    self.end_producer(producer, Ended::Refused);
                }
            }
            Verdict::Again(why) => {
                self.tell(|world| format!("a request to {} is refused: {why}", world.place(place)));
                self.send_again(producer, place);
                self.give_up_if_over(producer);
            }
        }
        self.pump(producer);
    }

    /// What is under way to a partition is sent again, in order.
    fn send_again(&mut self, producer: u64, place: Place) {
        let Some(known) = self.producers.get_mut(&producer) else { return };
        let Some(outbox) = known.outboxes.get_mut(&place) else { return };
        outbox.epoch += 1;
        while let Some(batch) = outbox.under_way.pop_back() {
            outbox.again.push_front(batch);
        }
        self.after(BACKOFF, Event::Linger { producer });
    }

    pub fn producer_lost_connection(&mut self, producer: u64, broker: usize) {
        let Some(known) = self.producers.get(&producer).filter(|known| known.alive) else { return };
        let places: Vec<Place> = known
            .outboxes
            .iter()
            .filter(|(_, outbox)| outbox.under_way.iter().any(|batch| batch.broker == broker))
            .map(|(&place, _)| place)
            .collect();
        for place in places {
            self.send_again(producer, place);
        }
        self.give_up_if_over(producer);
    }

    /// A client that sends nothing more sends nothing again either.
    fn give_up_if_over(&mut self, producer: u64) {
        let Some(known) = self.producers.get(&producer) else { return };
        if let Some(ended) = known.ended {
            self.give_up_queued(producer, |_| ended.refusal());
        } else if known.abandoned {
            self.give_up_queued(producer, |_| Refusal::ForNow(error("_PURGE_QUEUE")));
        }
    }

    /// Reports what became of a message.
    #[allow(clippy::needless_pass_by_value)] // it leaves the client
    fn report(&mut self, producer: u64, queued: Queued, result: Result<(), Refusal>) {
        let Some(known) = self.producers.get_mut(&producer) else { return };
        known.outstanding_bytes -= queued.bytes;
        let acknowledged = result.is_ok();
        known.acknowledgements.push_back(Acknowledgement { token: queued.token, result });
        let (node, wakes) = (known.node, known.wakes);
        if !acknowledged {
            self.tell(|_| format!("{} is not sent", queued.emitted));
        }
        if wakes {
            self.wake(node);
        }
    }

    /// Nothing is sent any more; what was not written is reported.
    fn end_producer(&mut self, producer: u64, why: Ended) {
        if let Some(known) = self.producers.get_mut(&producer) {
            known.ended.get_or_insert(why);
        }
        self.give_up_queued(producer, |_| why.refusal());
    }

    fn give_up_queued(&mut self, producer: u64, refusal: impl Fn(&Queued) -> Refusal) {
        let Some(known) = self.producers.get_mut(&producer) else { return };
        let mut given_up = Vec::new();
        for outbox in known.outboxes.values_mut() {
            given_up.extend(outbox.again.drain(..).flat_map(|batch| batch.messages));
            given_up.extend(outbox.queue.drain(..));
        }
        for queued in given_up {
            let refusal = refusal(&queued);
            self.report(producer, queued, Err(refusal));
        }
    }

    pub fn abandon(&mut self, producer: u64) {
        let Some(known) = self.producers.get_mut(&producer) else { return };
        known.abandoned = true;
        let node = known.node;
        self.tell(|world| format!("{}: gives up what its producer has not written", world.nodes[node].name));
        self.give_up_queued(producer, |_| Refusal::ForNow(error("_PURGE_QUEUE")));
    }

    /// A node's producer breaks for good.
    pub fn break_producer(&mut self, node: usize) {
        self.tell(|world| format!("{}: its producer breaks", world.nodes[node].name));
        let broken = self.producers.iter().filter(|(_, known)| known.node == node && known.alive);
        let broken: Vec<u64> = broken.map(|(&id, _)| id).collect();
        for producer in broken {
            self.end_producer(producer, Ended::Broken);
        }
    }

    /// A node's producer forgets a partition.
    pub fn forget_partition(&mut self, node: usize, place: Place) {
        self.tell(|world| format!("{}: its producer forgets {}", world.nodes[node].name, world.place(place)));
        for known in self.producers.values_mut().filter(|known| known.node == node && known.alive) {
            known.outboxes.entry(place).or_default().forgotten = true;
        }
    }
}
