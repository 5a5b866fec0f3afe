//! The Kafka clients that a simulated node gets: thin handles on the [world](super::world), which
//! holds all their state.
//!
//! Dropping one is what the death of its process is: the member says nothing to its group, and the
//! messages in the producer's queues are gone.

use std::sync::Arc;

use super::books::{Emitted, Kind};
use super::fetch::{Came, SimRecord};
use super::group::Stored;
use super::load::{DEAD, Fate, id_of};
use super::member::{Closing, error};
use super::producer::Queued;
use super::question::{Asked, What};
use super::time::ms;
use super::topics::Place;
use super::trials::SHADOW_MS;
use super::world::{Event, Shared, Spot, World, lock};
use crate::kafka::broker::Event as Told;
use crate::kafka::sink::Batching;
use crate::kafka::{
    Acknowledgement, Broker, Clients, Error, Metadata, Partition, Position, Question, Sink, Taken, TopicsQuestion,
};
use crate::record::{Header, Message, Topics};

/// Makes the clients of one node.
pub struct SimClients {
    pub world: Shared,
    pub node: usize,
    pub topics: Arc<Topics>,
}

impl Clients for SimClients {
    type Broker = SimBroker;
    type Sink = SimSink;

    fn broker(&mut self, queue_bytes: u64) -> Result<SimBroker, Error> {
        let member = lock(&self.world).new_member(self.node, queue_bytes);
        Ok(SimBroker { world: self.world.clone(), node: self.node, member })
    }

    fn sink(&mut self, batching: Batching) -> Result<SimSink, Error> {
        let mut world = lock(&self.world);
        let producer = world.new_producer(self.node, batching);
        let topics = self.topics.names().iter().map(|name| world.topic(name)).collect();
        Ok(SimSink { world: self.world.clone(), node: self.node, producer, topics })
    }

    async fn wait(&self) {
        // Whoever drives the simulation does not wait in this way.
        std::future::pending().await
    }
}

/// A member of the group.
pub struct SimBroker {
    world: Shared,
    node: usize,
    member: u64,
}

impl SimBroker {
    /// A bug that the simulation planted.
    fn may_break(&self) {
        let breaks = lock(&self.world).breaks(self.node, Spot::Take);
        assert!(!breaks, "planted: records break the loop");
    }

    fn place(&self, partition: Partition) -> Place {
        Place { topic: partition.topic, partition: partition.number }
    }
}

fn no_such_partition(found: bool) -> Result<(), Error> {
    if found { Ok(()) } else { Err(error("_UNKNOWN_PARTITION")) }
}

impl Broker for SimBroker {
    type Record = SimRecord;

    fn partition(&self, topic: &str, number: i32) -> Option<Partition> {
        let topic = lock(&self.world).topics.iter().position(|known| known.name == topic)?;
        Some(Partition { topic, number })
    }

    fn next_event(&mut self) -> Option<Told> {
        let mut world = lock(&self.world);
        let now = world.now();
        let member = world.members.get_mut(&self.member)?;
        member.polled = now;
        let told = member.events.pop_front()?;
        member.told_of_loss |= matches!(told, Told::Revoked { lost: true, .. });
        Some(told)
    }

    fn take(&mut self, at_most: usize, mut each: impl FnMut(Partition, Taken<SimRecord>)) -> usize {
        let taken = lock(&self.world).take(self.member, at_most);
        let count = taken.len();
        for (index, (place, came)) in taken.into_iter().enumerate() {
            let taken = match came {
                Came::Record(record) => Taken::Record(record),
                Came::Failed { offset, error } => Taken::Failed { offset, error },
            };
            each(Partition { topic: place.topic, number: place.partition }, taken);
            if index == count / 2 {
                self.may_break();
            }
        }
        count
    }

    fn subscribe(&mut self, topics: &[String]) -> Result<(), Error> {
        let mut world = lock(&self.world);
        let topics = topics.iter().map(|name| world.topic(name)).collect();
        world.subscribe(self.member, topics);
        Ok(())
    }

    fn assign(&mut self, positions: &[Position]) -> Result<(), Error> {
        let mut world = lock(&self.world);
        let places = positions
            .iter()
            .filter_map(|position| Some((world.find(&position.topic, position.partition)?, position.offset)))
            .collect();
        world.assign(self.member, places);
        Ok(())
    }

    fn unassign(&mut self, _partitions: &[Position]) -> Result<(), Error> {
        lock(&self.world).unassign(self.member);
        Ok(())
    }

    fn is_lost(&self) -> bool {
        lock(&self.world).members.get(&self.member).is_some_and(|member| member.lost)
    }

    fn flow(&mut self, partition: Partition, flows: bool) -> Result<(), Error> {
        no_such_partition(lock(&self.world).flow(self.member, self.place(partition), flows))
    }

    fn pause(&mut self, partition: Partition, pauses: bool) -> Result<(), Error> {
        no_such_partition(lock(&self.world).pause(self.member, self.place(partition), pauses))
    }

    fn seek(&mut self, positions: &[Position]) -> Result<(), Error> {
        let mut world = lock(&self.world);
        for position in positions {
            let place = world.find(&position.topic, position.partition);
            let found =
                place.zip(position.offset).is_some_and(|(place, offset)| world.seek(self.member, place, offset));
            no_such_partition(found)?;
        }
        Ok(())
    }

    fn commit(&mut self, number: u64, positions: &[Position]) -> Result<(), Error> {
        let mut world = lock(&self.world);
        let positions = positions
            .iter()
            .filter_map(|position| {
                let place = world.find(&position.topic, position.partition)?;
                let incarnation = world.incarnation_of(self.member, place);
                Some(Stored { place, offset: position.offset?, metadata: position.metadata.clone(), incarnation })
            })
            .collect();
        world.commit(self.member, number, positions);
        Ok(())
    }

    fn ask(&mut self, question: Question) {
        let mut world = lock(&self.world);
        world.ask_question(self.node, What::Broker(question));
    }

    fn close(&mut self) {
        lock(&self.world).close(self.member);
    }

    fn is_closed(&self) -> bool {
        lock(&self.world).members.get(&self.member).is_none_or(|member| member.closing == Closing::Closed)
    }
}

impl Drop for SimBroker {
    fn drop(&mut self) {
        lock(&self.world).drop_member(self.member);
    }
}

/// A producer.
pub struct SimSink {
    world: Shared,
    node: usize,
    producer: u64,
    /// For each of the trigger's topics its place in the cluster.
    topics: Vec<usize>,
}

impl World {
    /// The place of a topic that every history has.
    pub fn topic(&self, name: &str) -> usize {
        let found = self.topics.iter().position(|topic| topic.name == name);
        found.unwrap_or_else(|| panic!("no history has a topic {name}"))
    }

    /// How many partitions a client knows of a topic.
    fn partitions_known(&self, producer: u64, topic: usize) -> i32 {
        let known = self.producers.get(&producer).and_then(|known| known.counts[topic]);
        known.unwrap_or_else(|| self.topics[topic].count()).max(1)
    }

    /// Where a message goes, as the client chooses.
    fn partition_of(&mut self, count: i32, message: &Message<'_>) -> i32 {
        match (message.partition, message.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => {
                let hash =
                    key.iter().fold(0x811c_9dc5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
                (hash >> 8) as i32 % count
            }
            (None, None) => self.rng.i32(0..count),
        }
    }

    /// What a message says about itself.
    fn emitted(&self, topic: usize, message: &Message<'_>, headers: &[Header<'_>]) -> Option<Emitted> {
        let header = |name: &[u8]| {
            let found = headers.iter().find(|header| header.name == name)?;
            std::str::from_utf8(found.value?).ok()
        };
        let id = id_of(message.value?)?;
        let kind = match header(b"tidegate-attempts") {
            Some(attempts) if topic == DEAD => {
                Kind::DeadLetter { attempts: attempts.parse().ok()?, cause: header(b"tidegate-cause")?.to_owned() }
            }
            _ => {
                let text = std::str::from_utf8(message.value?).ok()?;
                let mut words = text.split(' ').skip(1);
                Kind::Message { index: words.next()?.parse().ok()?, attempt: words.next()?.parse().ok()? }
            }
        };
        Some(Emitted { id, kind })
    }
}

impl Sink for SimSink {
    fn send(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]) {
        let mut world = lock(&self.world);
        for (index, message) in messages.iter().enumerate() {
            if index == messages.len() / 2 && world.breaks(self.node, Spot::Send) {
                drop(world);
                panic!("planted: a message breaks the loop");
            }
            let topic = self.topics[message.topic];
            let among = world.partitions_known(self.producer, topic);
            let partition = world.partition_of(among, message);
            let own = &headers[message.headers.clone()];
            let Some(emitted) = world.emitted(topic, message, own) else {
                world.violation("message", "a message is not what the function or a dead letter is".to_owned());
                continue;
            };
            let is_letter = matches!(emitted.kind, Kind::DeadLetter { .. });
            if message.timestamp.milliseconds() == Some(SHADOW_MS) {
                world.violation("shadow", format!("{emitted} is sent"));
            }
            let revision = own.iter().find(|header| header.name == b"tidegate-revision").and_then(|it| it.value);
            // The simple driver does not say which one it was.
            let revision = revision.map(|revision| String::from_utf8_lossy(revision).into_owned());
            if is_letter && revision.is_some_and(|revision| !world.served.contains(&revision)) {
                world.violation("dead letters", format!("{emitted} is of a revision that never served"));
            }
            let queued = Queued {
                token: message.token,
                bytes: message.bytes(own),
                owner: world.believes(self.node, emitted.id),
                among,
                // The first message of such a record is the one.
                too_large: !is_letter
                    && world.items[emitted.id].fate == Fate::TooLarge
                    && matches!(emitted.kind, Kind::Message { index: 0, .. }),
                emitted,
            };
            world.queue(self.producer, Place { topic, partition }, queued);
        }
    }

    fn acknowledgements(&mut self, each: &mut dyn FnMut(Acknowledgement)) {
        let reported = {
            let mut world = lock(&self.world);
            let Some(producer) = world.producers.get_mut(&self.producer) else { return };
            producer.outstanding -= producer.acknowledgements.len();
            std::mem::take(&mut producer.acknowledgements)
        };
        reported.into_iter().for_each(each);
    }

    fn set_wakes(&mut self, wakes: bool) {
        lock(&self.world).producers.get_mut(&self.producer).into_iter().for_each(|known| known.wakes = wakes);
    }

    fn outstanding(&self) -> usize {
        lock(&self.world).producers.get(&self.producer).map_or(0, |producer| producer.outstanding)
    }

    fn most_outstanding(&self) -> usize {
        match lock(&self.world).producers.get(&self.producer).map(|producer| producer.batching) {
            Some(Batching::Single) => 1_000,
            _ => usize::MAX,
        }
    }

    fn flush(&mut self) {
        lock(&self.world).pump(self.producer);
    }

    fn abandon(&mut self) {
        lock(&self.world).abandon(self.producer);
    }

    fn update(&mut self, metadata: &Metadata) {
        let mut world = lock(&self.world);
        let counts: Vec<(usize, i32)> = metadata
            .partitions
            .iter()
            .filter_map(|(name, &count)| Some((world.topics.iter().position(|topic| topic.name == *name)?, count)))
            .collect();
        if let Some(producer) = world.producers.get_mut(&self.producer) {
            counts.into_iter().for_each(|(topic, count)| producer.counts[topic] = Some(count));
        }
    }

    fn ask(&self, answer: TopicsQuestion) {
        let mut world = lock(&self.world);
        let (producer, topics) = (self.producer, self.topics.clone());
        world.ask_question(self.node, What::Topics { producer, topics, answer });
    }
}

impl Drop for SimSink {
    fn drop(&mut self) {
        lock(&self.world).drop_producer(self.producer);
    }
}

impl World {
    /// A question is answered a little later.
    fn ask_question(&mut self, node: usize, what: What) {
        let patience = self.now() + self.between(ms(2_000), ms(6_000));
        let incarnation = self.nodes[node].incarnation;
        let soon = match self.chance(3) {
            // The thread that waits for answers is busy with another one.
            true => self.between(ms(100), ms(6_000)),
            false => self.latency() + self.latency(),
        };
        self.after(soon, Event::Question { node, asked: Asked { incarnation, patience, what } });
    }
}
