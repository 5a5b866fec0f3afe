//! The loop of a trigger, without waiting: each turn does all that can be done now.
//!
//! A driver takes what came (commands, events, answers, completions, acknowledgements) and does what
//! the pure owners beside it say: [`membership`](super::membership) which partitions are ours,
//! [`durability`](super::durability) when outputs and progress become durable,
//! [`topology`](super::topology) what the brokers are asked, [`health`](super::health) what is wrong,
//! [`intake`](super::intake) which partitions are held back, and [`flow`](super::flow) all that happens
//! to records. It joins its group when a revision serves, and again with growing pauses when its client
//! breaks. It ends in one way: by a [`retreat`](super::retreat).
//!
//! Time is an argument and nothing here waits, so a simulated cluster drives the very same loop.

mod commands;
mod conditions;
mod leaving;
mod partitions;
mod producer;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

pub use self::commands::Command;
use super::Context;
use super::beginning::Beginning;
use super::clock::Now;
use super::durability::Durability;
use super::flow::{Flow, Stop};
use super::health::{Condition, Health};
use super::inbound::Inbound;
use super::intake::{Valve, Valves};
use super::lane::Steering;
use super::measures::LagClock;
use super::membership::Membership;
use super::retreat::{Drains, Retreat};
use super::status::{Report, State, Status};
use super::topology::{Side, Topology};
use super::trial::Trial;
use crate::engine::Completion;
use crate::kafka::{Batching, Broker, Clients, Error, ErrorKind, Event, Metadata, Partition, Sink as _, Taken};

/// Records taken before the loop looks at everything else again.
const TAKE: usize = 500;
/// How soon it is looked again whether there is memory: nothing tells when other triggers free some.
const STARVED: Duration = Duration::from_millis(20);
/// How soon it is looked again whether a retreat can go on.
const RETREAT_POLL: Duration = Duration::from_millis(1);
/// How long, and how many, calls that ended wait for others while the loop is busy.
const GATHER: Duration = Duration::from_millis(4);
const MOST_GATHERED: usize = 64;
/// How long acknowledgements wait that nothing waits for.
const UNHEARD: Duration = Duration::from_millis(10);
/// The shortest park.
const LEAST_PARK: Duration = Duration::from_millis(1);
/// How often instances that nobody needs are let go.
const SHRINK: Duration = Duration::from_secs(10);
/// The first pause before a client is built again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What a driver is made of.
pub struct Parts<C: Clients> {
    pub context: Arc<Context>,
    pub clients: C,
    pub commands: mpsc::Receiver<Command>,
    pub completions: mpsc::Receiver<Completion>,
    pub status: watch::Sender<Status>,
    pub steering: Steering,
    pub rng: fastrand::Rng,
}

/// What to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do at once.
    Again,
    /// Nothing until something comes (an event, a record, an acknowledgement, a completion, a
    /// command, an answer), or until this time.
    Park(Instant),
    /// The trigger was stopped and is gone.
    Over,
}

/// What helper threads find out. Each bears the number of the client that was asked.
enum Answer {
    Progress {
        client: u64,
        number: u64,
        result: Result<Vec<Beginning>, Error>,
    },
    Topics {
        client: u64,
        side: Side,
        result: Result<Metadata, Error>,
    },
    /// The coordinator of the group answered, or did not.
    Group {
        client: u64,
        result: Result<(), Error>,
    },
}

enum Phase {
    /// There is no client, until a revision serves and this time has come.
    Apart {
        until: Instant,
    },
    /// A member of the group, or about to become one.
    Joined,
    /// On the way out: work is given up, and then the group is left, up to a limit.
    Leaving {
        why: Why,
        retreat: Retreat,
        closing: Option<Instant>,
    },
    Over,
}

/// Why a client is given up.
#[derive(Debug)]
enum Why {
    Stopped,
    Broken(String),
}

type RecordOf<C> = <<C as Clients>::Broker as Broker>::Record;

/// The loop of a trigger.
pub struct Driver<C: Clients> {
    context: Arc<Context>,
    clients: C,
    commands: Inbound<Command>,
    completions: Inbound<Completion>,
    /// Calls that ended and wait: for the gate, or for others to be handed to the producer with them.
    ended: VecDeque<Completion>,
    /// Since when they wait.
    gathering: Option<Instant>,
    /// The last turn left more to do.
    busy: bool,
    answers: Inbound<Answer>,
    /// For those who find out.
    answer: mpsc::Sender<Answer>,
    report: Report,
    // The flow before the broker: its records lie in the client's memory.
    flow: Flow<RecordOf<C>, C::Sink>,
    broker: Option<C::Broker>,
    /// How many clients there were.
    client: u64,
    membership: Membership,
    durability: Durability,
    /// The topics of the commit that began last.
    committing: BTreeSet<String>,
    topology: Topology,
    health: Health,
    valves: Valves,
    phase: Phase,
    /// When the client was made, and how long the next pause before another one is.
    joined: Instant,
    pause: Duration,
    /// Since when the group has told nothing.
    silent_group: Option<Instant>,
    /// When the group refused this node last, until it is known to take it again.
    refused: Option<Instant>,
    next_shrink: Instant,
    lags: LagClock,
    /// When it is looked again whether messages are acknowledged.
    next_watch: Instant,
    /// There is no memory for more records.
    starved: bool,
}

impl<C: Clients> Driver<C> {
    pub fn new(parts: Parts<C>, now: Now) -> Self {
        let Parts { context, clients, commands, completions, status, steering, rng } = parts;
        let (trigger, now) = (&context.trigger, now.instant);
        let drains = Drains { calls: trigger.rebalance_drain, messages: trigger.message_drain };
        let (answer, answers) = mpsc::channel(64);
        Self {
            flow: Flow::new(trigger.clone(), context.topics.clone(), context.budget.share(), steering, rng, now),
            membership: Membership::new(drains),
            durability: Durability::new(trigger.commit_interval, now),
            topology: Topology::new(context.cluster == context.output_cluster, now),
            health: Health::default(),
            valves: Valves::default(),
            commands: Inbound::new(commands),
            completions: Inbound::new(completions),
            ended: VecDeque::new(),
            gathering: None,
            busy: false,
            answers: Inbound::new(answers),
            report: Report::new(status, now),
            phase: Phase::Apart { until: now },
            joined: now,
            pause: FIRST_PAUSE,
            silent_group: None,
            refused: None,
            committing: BTreeSet::new(),
            next_shrink: now + SHRINK,
            lags: LagClock::new(now),
            next_watch: now,
            starved: false,
            broker: None,
            client: 0,
            context,
            clients,
            answer,
        }
    }

    /// One round.
    pub fn turn(&mut self, now: Now) -> Turn {
        let at = now.instant;
        self.obey(at);
        self.hear(at);
        self.renew_producer(at);
        self.collect(now);
        self.flow.wake(now);
        self.flow.acknowledge(now);
        self.heed(at);
        match self.phase {
            Phase::Apart { until } if at >= until && self.flow.lanes.serving().is_some() => self.join(at),
            Phase::Apart { .. } | Phase::Over => {}
            Phase::Joined => self.rebalance(at),
            Phase::Leaving { .. } => self.leave(at),
        }
        if self.durability.is_due(at) {
            self.commit(at);
        }
        self.look_around(at);
        self.ask_about_topics(at);
        let more = matches!(self.phase, Phase::Joined) && self.work(now);
        self.busy = more;
        let gathered = !self.ended.is_empty() && self.durability.is_open();
        let more = self.flow.delivery.set_wakes(self.waits_for_acknowledgements()) || more || gathered;
        self.publish(at);
        match self.phase {
            Phase::Over => Turn::Over,
            _ if more => Turn::Again,
            _ => Turn::Park(self.next_due(now)),
        }
    }

    /// Waits until there is something to do. Needs no runtime.
    pub async fn park(&mut self) {
        tokio::select! {
            biased;
            () = self.clients.wait() => {}
            () = self.completions.ready() => {}
            () = self.answers.ready() => {}
            () = self.commands.ready() => {}
        }
    }

    /// Whether the loop has to hear of acknowledgements at once. As a rule nothing waits for them but the
    /// next commit, and they are looked for when something else wakes the loop.
    fn waits_for_acknowledgements(&self) -> bool {
        !matches!(self.phase, Phase::Joined)
            || self.starved
            || self.is_retreating()
            || !self.durability.is_open()
            || self.durability.batching() == Batching::Single
            || self.flow.waits_for_acknowledgements()
    }

    /// A turn broke: a bug of ours. Everything is built again from what is committed.
    pub fn recover(&mut self, panic: &(dyn Any + Send), now: Now) {
        let reason = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let reason = reason.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(trigger = %self.context.trigger.name, "bug: {reason}");
        self.flow.delivery.retire();
        self.flow.delivery.sink_mut().into_iter().for_each(|sink| sink.abandon());
        self.flow.rebuild(now.instant);
        self.ended.clear();
        self.gathering = None;
        self.durability = Durability::new(self.context.trigger.commit_interval, now.instant);
        let was_told_to_stop = matches!(self.phase, Phase::Leaving { why: Why::Stopped, .. } | Phase::Over);
        let why = if was_told_to_stop { Why::Stopped } else { Why::Broken(format!("a bug in tidegate: {reason}")) };
        self.part(why, now.instant);
    }

    /// Takes in calls that ended. Their messages wait while the gate is closed, and a little while there is
    /// more to do: what the producer is handed together goes out in fewer requests.
    fn collect(&mut self, now: Now) {
        while let Some(completion) = self.completions.try_next() {
            self.gathering.get_or_insert(now.instant);
            self.ended.push_back(completion);
        }
        let is_young = self.gathering.is_some_and(|since| now.instant < since + GATHER);
        if self.busy && is_young && self.ended.len() < MOST_GATHERED && !self.is_retreating() {
            return;
        }
        while self.durability.is_open()
            && let Some(completion) = self.ended.pop_front()
        {
            self.flow.complete(completion, now);
        }
        self.gathering = None;
    }

    /// Takes in events of the client and answers of helper threads.
    fn hear(&mut self, now: Instant) {
        while let Some(event) = self.broker.as_mut().and_then(Broker::next_event) {
            match event {
                Event::Assigned(partitions) => self.assigned(partitions, now),
                Event::Revoked { partitions, lost } => self.revoked(partitions, lost, now),
                Event::Committed { number, result } => self.committed(number, result, now),
                Event::Error(error) if error.fatal => self.end(Why::Broken(error.to_string()), now),
                Event::Error(error) => {
                    tracing::debug!(trigger = %self.context.trigger.name, "{error}");
                    let reason = error.to_string();
                    match error.kind {
                        ErrorKind::Denied | ErrorKind::GroupRefused => self.refused(reason, now),
                        ErrorKind::Unreachable => self.health.seen(Condition::BrokersUnreachable, reason, now),
                        ErrorKind::OffsetOutOfRange => self.health.seen(Condition::OffsetsGone, reason, now),
                        _ => self.health.seen(Condition::Client, reason, now),
                    }
                    // What the brokers say themselves is clearer, and ends when the condition does.
                    self.topology.hurry(now);
                }
            }
        }
        while let Some(answer) = self.answers.try_next() {
            match answer {
                Answer::Progress { client, number, result } if client == self.client => self.read(number, result, now),
                Answer::Topics { client, side, result } if client == self.client => self.informed(side, result, now),
                Answer::Group { client, result } if client == self.client => self.heard_from_group(&result, now),
                // Of a client that is gone.
                Answer::Progress { .. } | Answer::Topics { .. } | Answer::Group { .. } => {}
            }
        }
    }

    /// The flow cannot go on as it is.
    fn heed(&mut self, now: Instant) {
        match self.flow.take_stop() {
            None => {}
            Some(Stop::Delivery(reason)) => self.replace_producer(&format!("messages are refused: {reason}"), now),
            Some(Stop::Refused(reason)) => self.send_one_by_one(&reason, now),
            Some(Stop::WentBack(place)) => {
                let reason = format!("records went back, the topic was truncated or made anew: {place}");
                self.end(Why::Broken(reason), now);
            }
            Some(Stop::Bug(reason)) => {
                tracing::error!(trigger = %self.context.trigger.name, "bug: {reason}");
                self.end(Why::Broken(format!("a bug in tidegate: {reason}")), now);
            }
        }
    }

    /// Takes records, starts calls, and holds partitions back. Returns whether there is more.
    fn work(&mut self, now: Now) -> bool {
        let taken = self.take(now);
        if self.durability.is_open() {
            self.flow.dispatch(now);
        }
        let Some(broker) = &mut self.broker else { return false };
        let released = self.valves.turn(&mut self.flow.partitions, |partition, valve| {
            let turned = match valve {
                Valve::Hold => broker.flow(partition, false),
                Valve::Pause => broker.pause(partition, true),
                Valve::Release { paused: false } => broker.flow(partition, true),
                Valve::Release { paused: true } => {
                    broker.pause(partition, false).and_then(|()| broker.flow(partition, true))
                }
            };
            turned
                .inspect_err(|error| tracing::debug!("{partition:?} cannot be held back or released: {error}"))
                .is_ok()
        });
        released || taken == TAKE
    }

    fn take(&mut self, now: Now) -> usize {
        self.starved = !self.flow.may_admit();
        if self.flow.paused.is_some() || self.flow.held.is_some() || self.starved || self.flow.has_enough_work() {
            return 0;
        }
        let Some(broker) = &mut self.broker else { return 0 };
        let (flow, health, topics) = (&mut self.flow, &mut self.health, &self.context.trigger.topics);
        let mut damaged = None;
        let taken = broker.take(TAKE, |partition, taken| match taken {
            Taken::Record(record) => flow.admit(partition, record, now),
            Taken::Failed { offset, error } => {
                let place = format!("{}/{}", topics[partition.topic], partition.number);
                let reason = format!("records of {place} cannot be fetched at offset {offset}: {error}");
                // The client goes on after a damaged batch: nothing after it may be committed.
                if error.kind == ErrorKind::Damaged {
                    damaged = Some(reason.clone());
                    flow.partitions.get_mut(partition).into_iter().for_each(|assigned| assigned.broken_off = true);
                }
                health.seen(Condition::FetchFailing, reason, now.instant);
            }
        });
        if let Some(reason) = damaged {
            self.end(Why::Broken(reason), now.instant);
        }
        taken
    }

    /// When there is something to do without any event.
    fn next_due(&self, now: Now) -> Instant {
        let dirty = self.flow.partitions.iter().any(|assigned| assigned.window.is_dirty());
        let leaving = match &self.phase {
            Phase::Leaving { retreat, closing, .. } => closing.or(retreat.next_due()),
            _ => None,
        };
        let apart = match self.phase {
            Phase::Apart { until } if self.flow.lanes.serving().is_some() => Some(until),
            _ => None,
        };
        let times = [
            apart,
            leaving,
            self.membership.next_due(),
            self.durability.next_due().filter(|_| dirty),
            self.producer_due(),
            self.topology.next_due().filter(|_| matches!(self.phase, Phase::Joined)),
            self.health.next_due(),
            self.flow.next_due(now).filter(|_| self.durability.is_open()),
            (self.flow.delivery.outstanding() > 0).then_some(self.next_watch),
            (self.flow.delivery.outstanding() > 0 && !self.flow.delivery.wakes()).then_some(now.instant + UNHEARD),
            self.report.next_due(),
            self.starved.then_some(now.instant + STARVED),
            self.is_retreating().then_some(now.instant + RETREAT_POLL),
        ];
        // What was due and did not help is not due again at once: no loop without end.
        times.into_iter().flatten().fold(self.next_shrink, Instant::min).max(now.instant + LEAST_PARK)
    }

    /// What the trigger is doing, and why not more.
    fn publish(&mut self, now: Instant) {
        let state = match () {
            () if matches!(self.phase, Phase::Over) => State::Stopped,
            () if self.flow.paused.is_some() || self.flow.held.is_some() => State::Paused,
            () if !self.health.is_good() => State::Degraded,
            () if !self.topology.is_subscribed() || self.flow.lanes.serving().is_none() => State::Starting,
            () => State::Running,
        };
        let (flow, health, function) = (&self.flow, &self.health, &self.context.trigger.function);
        self.report.publish(state, now, || {
            let conditions = health.report();
            let mut reasons: Vec<_> = flow.held.iter().map(String::as_str).collect();
            reasons.extend(flow.paused.iter().map(|paused| paused.reason.as_str()));
            if reasons.is_empty() {
                reasons.extend(conditions.iter().map(|condition| condition.reason.as_str()));
            }
            let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
            Status {
                state,
                reason,
                conditions,
                function: function.to_string(),
                revision: flow.lanes.serving().map(|lane| lane.revision.to_string()),
                candidate: flow.lanes.trial().map(Trial::status),
                partitions: flow.partitions.len(),
                counts: flow.all_counts(),
                measures: flow.lanes.measured().clone(),
            }
        });
    }

    fn partition(&self, topic: &str, number: i32) -> Option<Partition> {
        self.broker.as_ref()?.partition(topic, number)
    }
}
