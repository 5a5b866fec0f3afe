//! What goes wrong in a history, and when.

use std::fmt;
use std::time::Duration;

use super::load::{INPUTS, OUT, TOPICS};
use super::member::error;
use super::plan::{Breadth, Cluster};
use super::time::ms;
use super::topics::{Log, Place, Topic};
use super::trials::{End, Flaw};
use super::world::{Event, Spot, Unreadable, World};
use crate::kafka::broker::Event as Told;
use crate::trigger::trial::Manner;

/// Something that goes wrong. Nodes are counted modulo their number, so that every fault fits a case
/// with fewer of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub at: Duration,
    pub lasts: Duration,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    BrokerFreezes {
        broker: usize,
    },
    BrokerDies {
        broker: usize,
    },
    /// A quota: so long for each message.
    Quota {
        broker: usize,
        message: Duration,
    },
    /// Too few replicas are in sync.
    WritesRefused {
        broker: usize,
    },
    /// Answers to requests take long.
    AnswersLate {
        broker: usize,
        by: Duration,
    },
    /// It starts again when the fault is over.
    NodeKilled {
        node: usize,
    },
    /// As it is told to, and starts again when the fault is over.
    NodeStops {
        node: usize,
    },
    /// The whole process stands still.
    NodeFreezes {
        node: usize,
    },
    /// Its loop stands still, and its clients go on.
    NodeStalls {
        node: usize,
    },
    /// One more node, for as long as the fault lasts.
    NodeAdded,
    /// Another revision everywhere. A broken one is replaced when the fault is over.
    Published {
        broken: bool,
    },
    /// Another revision is tried everywhere, until the fault is over.
    TriedOut {
        flaw: Flaw,
        manner: Manner,
        ends: End,
    },
    /// The candidate, if there is one, gets other records.
    Steered {
        manner: Manner,
    },
    /// An operator holds the trigger.
    Held,
    InstancesRefused {
        node: usize,
    },
    PartitionForgotten {
        node: usize,
        place: Place,
    },
    ProducerBreaks {
        node: usize,
    },
    ConsumerBreaks {
        node: usize,
    },
    /// The group spreads its partitions anew for no reason.
    Rebalance,
    /// The group denies a member access for a moment.
    MemberRefused {
        node: usize,
    },
    /// Records of a partition cannot be fetched: none, or those of a batch that is `damaged`, behind which the
    /// client goes on.
    FetchFails {
        place: Place,
        damaged: bool,
    },
    /// The loop of a node finds a bug of ours.
    LoopBreaks {
        node: usize,
        spot: Spot,
    },
    /// Other triggers of a node take all the memory that they may.
    Neighbours {
        node: usize,
        count: usize,
    },
    PartitionsAdded {
        topic: usize,
        count: usize,
    },
    /// It is not there while the fault lasts.
    TopicMadeAnew {
        topic: usize,
        partitions: usize,
    },
    /// Of each partition the first half is removed.
    Retention {
        topic: usize,
    },
}

impl Fault {
    pub fn over_at(&self) -> Duration {
        self.at + self.lasts
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?} ", self.at)?;
        let lasts = self.lasts;
        match &self.what {
            What::BrokerFreezes { broker } => write!(f, "broker {broker} freezes for {lasts:?}"),
            What::BrokerDies { broker } => write!(f, "broker {broker} dies for {lasts:?}"),
            What::Quota { broker, message } => {
                write!(f, "broker {broker} allows a message every {message:?} for {lasts:?}")
            }
            What::WritesRefused { broker } => write!(f, "broker {broker} accepts no messages for {lasts:?}"),
            What::AnswersLate { broker, by } => {
                write!(f, "answers of broker {broker} are late by {by:?} for {lasts:?}")
            }
            What::NodeKilled { node } => write!(f, "node {node} is killed, and starts again after {lasts:?}"),
            What::NodeStops { node } => write!(f, "node {node} is stopped, and starts again after {lasts:?}"),
            What::NodeFreezes { node } => write!(f, "node {node} freezes for {lasts:?}"),
            What::NodeStalls { node } => write!(f, "the loop of node {node} stands still for {lasts:?}"),
            What::NodeAdded => write!(f, "one more node for {lasts:?}"),
            What::Published { broken: true } => write!(f, "a broken revision is published, for {lasts:?}"),
            What::Published { broken: false } => write!(f, "a revision is published"),
            What::TriedOut { flaw, manner, ends } => {
                write!(f, "a revision{flaw} is tried ({manner}) for {lasts:?}, and {ends:?} then")
            }
            What::Steered { manner } => write!(f, "the candidate goes on with {manner}"),
            What::Held => write!(f, "the trigger is held for {lasts:?}"),
            What::InstancesRefused { node } => write!(f, "node {node} can start no instance for {lasts:?}"),
            What::PartitionForgotten { node, place } => {
                write!(f, "the producer of node {node} forgets {}/{}", TOPICS[place.topic], place.partition)
            }
            What::ProducerBreaks { node } => write!(f, "the producer of node {node} breaks"),
            What::ConsumerBreaks { node } => write!(f, "the consumer of node {node} breaks"),
            What::Rebalance => write!(f, "the group rebalances"),
            What::MemberRefused { node } => write!(f, "the group denies node {node} access for a moment"),
            What::FetchFails { place, damaged } => {
                let what = if *damaged { "has a damaged batch" } else { "is not to be fetched" };
                write!(f, "{}/{} {what} for {lasts:?}", TOPICS[place.topic], place.partition)
            }
            What::LoopBreaks { node, spot } => write!(f, "the loop of node {node} breaks at its next {spot:?}"),
            What::Neighbours { node, count } => {
                write!(f, "{count} other triggers on node {node} take what memory they may for {lasts:?}")
            }
            What::PartitionsAdded { topic, count } => write!(f, "{} gets {count} more partitions", TOPICS[*topic]),
            What::TopicMadeAnew { topic, partitions } => {
                write!(f, "{} is deleted, and made again after {lasts:?} with {partitions} partitions", TOPICS[*topic])
            }
            What::Retention { topic } => write!(f, "retention removes the first half of {}", TOPICS[*topic]),
        }
    }
}

/// Draws the faults of a case.
pub fn draw_faults(rng: &mut fastrand::Rng, breadth: Breadth, cluster: &Cluster, inputs: usize) -> Vec<Fault> {
    let count = match rng.u32(..10) {
        0 => 0,
        1..6 => rng.usize(1..4),
        _ => rng.usize(4..10),
    };
    let over = ms(rng.u64(2_000..40_000));
    let mut faults: Vec<Fault> = (0..count)
        .map(|_| {
            let at = over.mul_f64(rng.f64());
            let lasts = ms(match rng.u32(..4) {
                0 => rng.u64(1..300),
                1 | 2 => rng.u64(300..5_000),
                _ => rng.u64(5_000..20_000),
            });
            let what = draw(rng, breadth, cluster, inputs);
            // What is over at once has no end to wait for.
            let lasts = if what.lasts() { lasts } else { Duration::ZERO };
            Fault { at, lasts, what }
        })
        .collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn draw(rng: &mut fastrand::Rng, breadth: Breadth, cluster: &Cluster, inputs: usize) -> What {
    let broker = rng.usize(..cluster.brokers);
    let node = rng.usize(..4);
    let output = Place { topic: OUT, partition: rng.i32(0..i32::try_from(cluster.outputs).unwrap_or(1)) };
    let most = if breadth == Breadth::Plain { 28 } else { 44 };
    let input = Place {
        topic: rng.usize(..inputs.min(INPUTS)),
        partition: rng.i32(0..i32::try_from(cluster.partitions).unwrap_or(1)),
    };
    match rng.u32(..most) {
        0..3 => What::BrokerFreezes { broker },
        3..6 => What::BrokerDies { broker },
        6..8 => What::Quota { broker, message: ms(rng.u64(5..200)) },
        8 => What::WritesRefused { broker },
        9 => What::AnswersLate { broker, by: ms(rng.u64(10..3_000)) },
        10..15 => What::NodeKilled { node },
        15..18 => What::NodeStops { node },
        18..21 => What::NodeFreezes { node },
        21..23 => What::NodeStalls { node },
        23..25 => What::NodeAdded,
        25..27 => What::Rebalance,
        27 => What::Published { broken: false },
        28 => What::PartitionsAdded { topic: rng.usize(..inputs.min(INPUTS)), count: rng.usize(1..3) },
        29 => What::Retention { topic: rng.usize(..inputs.min(INPUTS)) },
        30 => What::Published { broken: true },
        31 => What::InstancesRefused { node },
        32 => What::PartitionForgotten { node, place: output },
        33 => What::ProducerBreaks { node },
        34 => What::ConsumerBreaks { node },
        36 => What::MemberRefused { node },
        37..39 => What::FetchFails { place: input, damaged: true },
        39 => What::FetchFails { place: input, damaged: false },
        40..42 => What::LoopBreaks { node, spot: [Spot::Take, Spot::Call, Spot::Send][rng.usize(..3)] },
        42..44 => What::Neighbours { node, count: rng.usize(1..4) },
        _ => {
            let topic = if rng.bool() { OUT } else { rng.usize(..inputs.min(INPUTS)) };
            What::TopicMadeAnew { topic, partitions: rng.usize(1..=4) }
        }
    }
}

impl What {
    /// Whether the trigger is kept from its work while the fault lasts.
    pub fn disturbs(&self) -> bool {
        !matches!(self, Self::Neighbours { .. } | Self::Steered { .. } | Self::TriedOut { flaw: Flaw::None, .. })
    }

    /// Whether brokers or clients do not work as they should.
    pub fn troubles_clients(&self) -> bool {
        !matches!(
            self,
            Self::NodeKilled { .. }
                | Self::NodeStops { .. }
                | Self::NodeAdded
                | Self::Published { .. }
                | Self::TriedOut { .. }
                | Self::Steered { .. }
                | Self::Held
                | Self::Rebalance
                | Self::Neighbours { .. }
        )
    }

    fn lasts(&self) -> bool {
        !matches!(
            self,
            Self::Published { broken: false }
                | Self::Steered { .. }
                | Self::PartitionForgotten { .. }
                | Self::ProducerBreaks { .. }
                | Self::ConsumerBreaks { .. }
                | Self::Rebalance
                | Self::MemberRefused { .. }
                | Self::LoopBreaks { .. }
                | Self::PartitionsAdded { .. }
                | Self::Retention { .. }
        )
    }
}

impl World {
    /// Nothing counts as stuck until then.
    pub fn undisturbed_in(&mut self, time: Duration) {
        let then = self.now() + time;
        self.nodes.iter_mut().for_each(|node| node.undisturbed_since = node.undisturbed_since.max(then));
    }

    pub fn cluster_fault(&mut self, what: &What) {
        match *what {
            What::BrokerFreezes { broker } => self.freeze(broker),
            What::BrokerDies { broker } => self.kill_broker(broker),
            What::Quota { broker, message } => self.brokers[broker].throttle = Some(message),
            What::WritesRefused { broker } => self.brokers[broker].refuses_writes = true,
            What::AnswersLate { broker, by } => self.brokers[broker].slow = by,
            What::Rebalance => self.rebalance(),
            What::FetchFails { place, damaged } => {
                let what = if damaged { Unreadable::Batch(None) } else { Unreadable::All };
                self.unreadable.insert(place, what);
            }
            What::PartitionsAdded { topic, count } if self.topics[topic].exists() => {
                let logs = &mut self.topics[topic].logs;
                logs.extend((0..count).map(|_| Log::default()));
                self.notice_topics();
            }
            What::TopicMadeAnew { topic, .. } => self.delete_topic(topic),
            What::Retention { topic } => {
                let Topic { logs, .. } = &mut self.topics[topic];
                let mut removed = Vec::new();
                for log in logs {
                    removed.extend(log.remove_below(log.start.midpoint(log.end)));
                }
                self.books.removed(&removed);
            }
            _ => {}
        }
    }

    pub fn cluster_relief(&mut self, what: &What) {
        match *what {
            What::BrokerFreezes { broker } | What::BrokerDies { broker } => self.recover(broker),
            What::Quota { broker, .. } => self.brokers[broker].throttle = None,
            What::WritesRefused { broker } => self.brokers[broker].refuses_writes = false,
            What::AnswersLate { broker, .. } => self.brokers[broker].slow = Duration::ZERO,
            What::FetchFails { place, .. } => self.readable(place),
            What::TopicMadeAnew { topic, partitions } if !self.topics[topic].exists() => {
                let made = &mut self.topics[topic];
                made.incarnation += 1;
                made.logs = (0..partitions).map(|_| Log::default()).collect();
                self.notice_topics();
            }
            _ => {}
        }
    }

    fn delete_topic(&mut self, topic: usize) {
        let logs = std::mem::take(&mut self.topics[topic].logs);
        for log in &logs {
            let ids: Vec<usize> = log.entries().iter().map(|entry| entry.id).collect();
            self.books.removed(&ids);
        }
        self.group.forget_topic(topic);
        if topic < INPUTS {
            for member in self.members.values_mut() {
                if member.owned.keys().any(|place: &Place| place.topic == topic) {
                    let gone = error("UNKNOWN_TOPIC_OR_PART");
                    member.events.push_back(Told::Error(gone));
                }
            }
        }
        self.notice_topics();
    }

    /// Somebody notices after a while.
    fn notice_topics(&mut self) {
        let late = self.between(ms(300), ms(3_000));
        self.after(late, Event::TopicsChanged);
    }
}
