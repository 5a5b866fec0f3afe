//! Questions that a driver asks its clients, answered where waiting disturbs nobody.
//!
//! A question whose broker is away is put off for some seconds, as a client would wait for it, and
//! then answered with errors for what cannot be told.

use std::ops::Range;
use std::time::Duration;

use super::brokers::Condition;
use super::member::error;
use super::time::ms;
use super::topics::Place;
use super::world::{Event, Shared, World, lock};
use crate::kafka::{Error, Metadata, Position, Question, Reader, TopicsQuestion};

pub struct Asked {
    /// Which start of the node asks.
    pub incarnation: u32,
    /// Until when it waits for brokers.
    pub patience: Duration,
    pub what: What,
}

pub enum What {
    Broker(Question),
    Topics { producer: u64, topics: Vec<usize>, answer: TopicsQuestion },
}

impl World {
    /// Whether questions of a producer wait behind its quota.
    fn is_muted(&self, producer: u64) -> bool {
        let now = self.now();
        self.producers.get(&producer).is_some_and(|known| {
            known.muted.iter().any(|(&broker, &until)| until > now && self.brokers[broker].condition == Condition::Up)
        })
    }

    /// Puts a question off if it cannot be answered in full and may wait.
    fn put_off(&mut self, node: usize, asked: Asked) -> Option<Asked> {
        let away = self.brokers.iter().any(|broker| broker.condition != Condition::Up && broker.replaced_by.is_none());
        let waits = match &asked.what {
            What::Broker(_) => false,
            What::Topics { producer, .. } => self.is_muted(*producer),
        };
        if (away || waits) && self.now() < asked.patience {
            self.after(ms(200), Event::Question { node, asked });
            return None;
        }
        Some(asked)
    }

    fn metadata(&self, topics: impl Iterator<Item = usize>) -> Result<Metadata, Error> {
        if self.brokers.iter().all(|broker| broker.condition != Condition::Up) {
            return Err(error("_ALL_BROKERS_DOWN"));
        }
        let mut metadata = Metadata::default();
        for id in topics {
            let topic = &self.topics[id];
            if !topic.exists() {
                metadata.missing.insert(topic.name.clone(), error("UNKNOWN_TOPIC_OR_PART"));
                continue;
            }
            metadata.partitions.insert(topic.name.clone(), topic.count());
            let places = (0..topic.count()).map(|partition| Place { topic: id, partition });
            let leaderless = places.filter(|&place| self.leader(place).is_none());
            metadata.leaderless.extend(leaderless.map(|place| self.place(place)));
        }
        Ok(metadata)
    }
}

/// Answers a question, unless it is put off. The world must not be locked: the answer may ask it.
pub fn answer(shared: &Shared, node: usize, asked: Asked) {
    let incarnation = asked.incarnation;
    let Some(asked) = lock(shared).put_off(node, asked) else { return };
    if lock(shared).nodes[node].incarnation != incarnation {
        return;
    }
    match asked.what {
        What::Broker(question) => question(&Desk { world: shared }),
        What::Topics { producer, topics, answer } => {
            let metadata = {
                let world = lock(shared);
                let silent = world.is_muted(producer);
                if silent { Err(error("_TIMED_OUT")) } else { world.metadata(topics.into_iter()) }
            };
            answer(metadata);
        }
    }
    lock(shared).wake(node);
}

/// Where questions are answered.
struct Desk<'a> {
    world: &'a Shared,
}

impl Desk<'_> {
    /// Asks the leader of each partition.
    fn each(
        &self,
        partitions: &[Position],
        offset: impl Fn(&super::topics::Log) -> i64,
    ) -> Result<Vec<Position>, Error> {
        let ranges = self.logs(partitions, |log| offset(log))?;
        let found = partitions.iter().zip(ranges);
        Ok(found.map(|(position, offset)| Position { offset: Some(offset), ..position.clone() }).collect())
    }

    fn logs<T>(&self, partitions: &[Position], read: impl Fn(&super::topics::Log) -> T) -> Result<Vec<T>, Error> {
        let world = lock(self.world);
        partitions
            .iter()
            .map(|position| {
                let place = world.find(&position.topic, position.partition);
                let place = place.ok_or_else(|| error("UNKNOWN_TOPIC_OR_PART"))?;
                let log = world.topics[place.topic].log(place.partition);
                let log = log.ok_or_else(|| error("UNKNOWN_TOPIC_OR_PART"))?;
                let leader = world.leader(place).map(|leader| world.brokers[leader].condition);
                if leader == Some(Condition::Up) { Ok(read(log)) } else { Err(error("_TIMED_OUT")) }
            })
            .collect()
    }
}

impl Reader for Desk<'_> {
    fn committed(&self, partitions: &[Position], _limit: Duration) -> Result<Vec<Position>, Error> {
        let mut world = lock(self.world);
        if world.brokers[world.coordinator].condition != Condition::Up {
            return Err(error("_TIMED_OUT"));
        }
        for position in partitions {
            if let Some(Place { topic, .. }) = world.find(&position.topic, position.partition) {
                let partitions = world.topics[topic].count();
                world.group.looked_at(topic, partitions);
            }
        }
        let positions = partitions.iter().map(|position| {
            let place = world.find(&position.topic, position.partition);
            let stored = place.and_then(|place| world.group.committed(place));
            Position {
                offset: stored.map(|stored| stored.offset),
                metadata: stored.map_or_else(String::new, |stored| stored.metadata.clone()),
                ..position.clone()
            }
        });
        Ok(positions.collect())
    }

    fn at_time(&self, partitions: &[Position], timestamp_ms: i64, _limit: Duration) -> Result<Vec<Position>, Error> {
        self.each(partitions, |log| log.at_time(timestamp_ms))
    }

    fn ranges(&self, partitions: &[Position], _limit: Duration) -> Result<Vec<Range<i64>>, Error> {
        self.logs(partitions, |log| log.start..log.end)
    }

    fn metadata(&self, topics: &[String], _limit: Duration) -> Result<Metadata, Error> {
        let world = lock(self.world);
        world.metadata(topics.iter().map(|name| world.topic(name)))
    }
}
