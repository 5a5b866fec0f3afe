//! What the brokers say about the topics of a trigger, and what follows from it.
//!
//! The brokers are asked now and then, and often while something is wrong. Pure: what is to be asked
//! and subscribed to is handed out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::health::{Condition, Health};
use crate::kafka::{Error, Metadata};

/// How often the brokers are asked while all is well, and while something is wrong.
const CALM: Duration = Duration::from_secs(10);
const DEGRADED: Duration = Duration::from_secs(1);
/// How long a producer may reach no broker while the consumer of the same cluster does. After an
/// outage a client may stay without a connection for good.
const LOST: Duration = Duration::from_secs(60);

/// Which topics an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Inputs,
    Outputs,
}

/// What the brokers said last, and when they are asked again.
#[derive(Debug)]
pub struct Topology {
    /// Whether both clients talk to the same cluster.
    same_cluster: bool,
    next: Instant,
    asking: bool,
    /// Answers that wait for the other side's.
    inputs: Option<Result<Metadata, Error>>,
    outputs: Option<Result<Metadata, Error>>,
    /// What was said about the outputs last.
    known: Option<Metadata>,
    subscribed: BTreeSet<String>,
    /// Input topics that were missing once, and those whose records are all new.
    missed: BTreeSet<String>,
    appeared: BTreeSet<String>,
    /// Since when only the producer reaches no broker.
    lost_since: Option<Instant>,
    /// Since when the brokers answer and every partition has a leader.
    whole_since: Option<Instant>,
}

/// What follows from an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequence {
    /// Subscribe to these topics.
    pub subscribe: Option<Vec<String>>,
    /// The producer does not find back to its brokers.
    pub producer_lost: Option<String>,
}

impl Topology {
    pub fn new(same_cluster: bool, now: Instant) -> Self {
        Self {
            same_cluster,
            next: now,
            asking: false,
            inputs: None,
            outputs: None,
            known: None,
            subscribed: BTreeSet::new(),
            missed: BTreeSet::new(),
            appeared: BTreeSet::new(),
            lost_since: None,
            whole_since: None,
        }
    }

    /// The clients are made anew: nothing is subscribed to, and answers to earlier questions are void.
    pub fn reset(&mut self, now: Instant) {
        self.subscribed.clear();
        (self.inputs, self.outputs, self.asking, self.next) = (None, None, false, now);
        (self.lost_since, self.whole_since) = (None, None);
    }

    /// Whether the brokers are to be asked now. If so, both sides have to be.
    pub fn asks(&mut self, now: Instant) -> bool {
        let due = !self.asking && now >= self.next;
        self.asking |= due;
        due
    }

    /// Something changed that the brokers may explain.
    pub fn hurry(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// When the brokers are to be asked, unless they are being asked.
    pub fn next_due(&self) -> Option<Instant> {
        (!self.asking).then_some(self.next)
    }

    pub fn is_subscribed(&self) -> bool {
        !self.subscribed.is_empty()
    }

    /// Progress in these topics was committed: if that is gone, so is the topic that it spoke of, and
    /// another one appeared in its place.
    pub fn committed(&mut self, topics: BTreeSet<String>) {
        self.appeared.extend(topics);
    }

    /// Topics that appeared while the trigger ran, should the group have no offsets in them.
    pub fn appeared(&self) -> &BTreeSet<String> {
        &self.appeared
    }

    /// Since when the brokers answer and all partitions have leaders.
    pub fn whole_since(&self) -> Option<Instant> {
        self.whole_since
    }

    /// How many partitions the output topics have, as far as that is known.
    pub fn outputs(&self) -> Option<&Metadata> {
        self.known.as_ref()
    }

    /// The producer is a new one, or it got an answer: it is not lost.
    pub fn producer_lives(&mut self) {
        self.lost_since = None;
    }

    /// Takes in an answer. Once both sides have answered, says what follows.
    pub fn answered(
        &mut self,
        side: Side,
        answer: Result<Metadata, Error>,
        health: &mut Health,
        now: Instant,
    ) -> Consequence {
        if !self.asking {
            return Consequence::default();
        }
        match side {
            Side::Inputs => self.inputs = Some(answer),
            Side::Outputs => self.outputs = Some(answer),
        }
        let (Some(inputs), Some(outputs)) = (&self.inputs, &self.outputs) else { return Consequence::default() };
        let (inputs, outputs) = (inputs.clone(), outputs.clone());
        (self.inputs, self.outputs, self.asking) = (None, None, false);
        let producer_lost = self.watch_producer(&inputs, &outputs, now);
        let subscribe = match (inputs, outputs) {
            (Ok(inputs), Ok(outputs)) => self.see(&inputs, outputs, health, now),
            (Err(error), _) | (_, Err(error)) => {
                self.whole_since = None;
                health.set(Condition::BrokersUnreachable, format!("the brokers do not answer: {error}"), now);
                None
            }
        };
        self.next = now + if health.is_good() { CALM } else { DEGRADED };
        Consequence { subscribe, producer_lost }
    }

    fn watch_producer(
        &mut self,
        inputs: &Result<Metadata, Error>,
        outputs: &Result<Metadata, Error>,
        now: Instant,
    ) -> Option<String> {
        match (inputs, outputs) {
            (Ok(_), Err(error)) if self.same_cluster => {
                let since = *self.lost_since.get_or_insert(now);
                let lost = now.saturating_duration_since(since) >= LOST;
                lost.then(|| format!("the producer does not connect any more: {error}"))
            }
            _ => {
                self.lost_since = None;
                None
            }
        }
    }

    fn see(&mut self, inputs: &Metadata, outputs: Metadata, health: &mut Health, now: Instant) -> Option<Vec<String>> {
        health.clear(Condition::BrokersUnreachable, now);
        health.clear(Condition::Client, now);
        let missing = inputs.missing.iter().chain(&outputs.missing);
        let missing: Vec<_> = missing.map(|(topic, error)| format!("topic {topic}: {}", error.reason)).collect();
        health.put(Condition::Topic, (!missing.is_empty()).then(|| missing.join("; ")), now);
        let leaderless: Vec<_> = inputs.leaderless.iter().chain(&outputs.leaderless).map(String::as_str).collect();
        let no_leader = || format!("no leader for {}", leaderless.join(", "));
        health.put(Condition::NoLeader, (!leaderless.is_empty()).then(no_leader), now);
        self.whole_since = if leaderless.is_empty() { self.whole_since.or(Some(now)) } else { None };
        self.missed.extend(inputs.missing.keys().cloned());
        let there = |topic: &String| inputs.partitions.contains_key(topic);
        self.appeared.extend(self.missed.iter().filter(|topic| there(topic)).cloned());
        // A topic that vanishes under a subscription is waited for: leaving it would lose its place.
        let grows = inputs.partitions.keys().any(|topic| !self.subscribed.contains(topic));
        let may_begin = outputs.missing.is_empty() || self.is_subscribed();
        self.known = Some(outputs);
        if !grows || !may_begin {
            return None;
        }
        self.subscribed.extend(inputs.partitions.keys().cloned());
        Some(self.subscribed.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::ErrorKind;

    fn metadata(topics: &[&str], missing: &[&str]) -> Result<Metadata, Error> {
        Ok(Metadata {
            partitions: topics.iter().map(|topic| ((*topic).to_owned(), 1)).collect(),
            missing: missing
                .iter()
                .map(|topic| ((*topic).to_owned(), Error::new(ErrorKind::UnknownTopic, "unknown")))
                .collect(),
            ..Metadata::default()
        })
    }

    fn both(
        topology: &mut Topology,
        health: &mut Health,
        inputs: Result<Metadata, Error>,
        outputs: Result<Metadata, Error>,
        now: Instant,
    ) -> Consequence {
        assert!(topology.asks(now));
        assert_eq!(topology.answered(Side::Inputs, inputs, health, now), Consequence::default());
        topology.answered(Side::Outputs, outputs, health, now)
    }

    #[test]
    fn it_subscribes_to_what_is_there_once_all_outputs_are() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        let mut topology = Topology::new(true, now);
        let nothing = both(&mut topology, &mut health, metadata(&["a"], &["b"]), metadata(&[], &["out"]), now);
        assert_eq!(nothing.subscribe, None);
        assert!(health.holds(Condition::Topic));
        now += DEGRADED;
        let some = both(&mut topology, &mut health, metadata(&["a"], &["b"]), metadata(&["out"], &[]), now);
        assert_eq!(some.subscribe, Some(vec!["a".to_owned()]));
        now += DEGRADED;
        let more = both(&mut topology, &mut health, metadata(&["b"], &["a"]), metadata(&["out"], &[]), now);
        assert_eq!(more.subscribe, Some(vec!["a".to_owned(), "b".to_owned()]), "a is waited for");
        assert_eq!(topology.appeared().iter().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_brokers_are_asked_often_while_something_is_wrong() {
        let (mut health, now) = (Health::default(), Instant::now());
        let mut topology = Topology::new(true, now);
        both(&mut topology, &mut health, metadata(&["a"], &[]), metadata(&["out"], &[]), now);
        assert_eq!(topology.next_due(), Some(now + CALM));
        topology.hurry(now);
        both(&mut topology, &mut health, metadata(&["a"], &["b"]), metadata(&["out"], &[]), now);
        assert_eq!(topology.next_due(), Some(now + DEGRADED));
    }

    #[test]
    fn a_producer_that_alone_reaches_no_broker_for_long_is_lost() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        let mut topology = Topology::new(true, now);
        let error = || Err(Error::invalid("timed out"));
        for _ in 0..2 {
            let one = both(&mut topology, &mut health, metadata(&["a"], &[]), error(), now);
            assert_eq!(one.producer_lost, None);
            now += LOST / 2;
        }
        topology.producer_lives();
        now += LOST;
        assert_eq!(both(&mut topology, &mut health, metadata(&["a"], &[]), error(), now).producer_lost, None);
        now += LOST;
        assert!(both(&mut topology, &mut health, metadata(&["a"], &[]), error(), now).producer_lost.is_some());
    }
}
