//! A driver that is simple enough to be right, so that the simulation itself can be tested: it calls
//! the function with one record at a time, in the order in which they come, and commits what is
//! acknowledged. Its [`Mutant`]s are wrong in one way each, and the oracle has to see it.
//!
//! It cannot do everything: a record that waits for a retry holds up all others, and a refused
//! message is beyond it. So it is only given [plain](super::plan::Breadth::Plain) cases.

mod records;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::clients::SimClients;
use super::history::Drives;
use crate::engine::Invoker;
use crate::kafka::broker::Event;
use crate::kafka::sink::Batching;
use crate::kafka::{Broker, Clients, Error, Partition, Position, Sink};
use crate::record::OwnedRecord;
use crate::trigger::clock::Now;
use crate::trigger::driver::{Command, Parts, Turn};
use crate::trigger::progress::{Failed, MAX_METADATA, Progress};
use crate::trigger::status::State;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing.
    None,
    /// It commits what is handled, acknowledged or not.
    CommitsBeforeAcknowledged,
    /// It commits what was taken.
    CommitsWhatWasTaken,
    /// It forgets attempts when a partition moves.
    ForgetsAttempts,
    /// It gives partitions back with messages in its queue.
    SkipsDrain,
    /// It keeps the queue of its producer when partitions are lost.
    KeepsQueueOnLoss,
    /// It leaves out a record that asks for a retry.
    DropsRetries,
    /// It never parks.
    Spins,
    /// It never answers a revocation.
    IgnoresRevocations,
    /// It does not commit before it gives a partition back, and takes up where it was in its memory.
    TrustsItsMemory,
}

/// Most records whose messages are under way.
const PIPELINE: usize = 20;

type SimBroker = <SimClients as Clients>::Broker;
type SimSink = <SimClients as Clients>::Sink;

struct Part {
    /// Records that were taken and not called.
    queue: VecDeque<OwnedRecord>,
    /// Everything below is done.
    low: i64,
    /// Offsets that were handled, with how many messages of theirs are not acknowledged.
    sent: VecDeque<(i64, usize)>,
    failed: BTreeMap<i64, Failed>,
    /// When its first record may run again.
    due: Option<Instant>,
    dirty: bool,
}

struct Revoking {
    partitions: Vec<Position>,
    deadline: Instant,
    commit: Option<u64>,
}

pub struct Toy {
    parts: Parts<SimClients>,
    mutant: Mutant,
    broker: SimBroker,
    sink: SimSink,
    /// Messages are told from those of sinks that were abandoned.
    sinks: u64,
    invoker: Option<Box<dyn Invoker>>,
    owned: BTreeMap<Partition, Part>,
    /// The record that the function has.
    running: Option<(u64, Partition, i64)>,
    /// For each message under way, by token, its record.
    tokens: BTreeMap<u64, (Partition, i64)>,
    next: u64,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    assignment: u64,
    reads_again: Option<(Instant, Vec<Position>)>,
    revoking: Option<Revoking>,
    committing: Option<u64>,
    next_commit: Instant,
    stopping: Option<Instant>,
    closing: bool,
    /// What is wrong, until then.
    trouble: Option<(Instant, String)>,
    silent_since: Option<Instant>,
    /// Of the mutant that trusts it: where partitions were when they were given back.
    memory: BTreeMap<Partition, i64>,
}

struct Answer {
    assignment: u64,
    asked: Vec<Position>,
    result: Result<Vec<Position>, Error>,
}

impl Toy {
    pub fn new(mut parts: Parts<SimClients>, now: Now, mutant: Mutant) -> Self {
        let mut broker = parts.clients.broker(1 << 20).expect("the simulation always has a client");
        let sink = parts.clients.sink(Batching::Separate).expect("the simulation always has a client");
        broker.subscribe(&parts.context.trigger.topics).expect("a simulated client always subscribes");
        Self {
            mutant,
            broker,
            sink,
            sinks: 0,
            invoker: None,
            owned: BTreeMap::new(),
            running: None,
            tokens: BTreeMap::new(),
            next: 1,
            answers: mpsc::channel(64),
            assignment: 0,
            reads_again: None,
            revoking: None,
            committing: None,
            next_commit: now.instant,
            stopping: None,
            closing: false,
            trouble: None,
            silent_since: None,
            memory: BTreeMap::new(),
            parts,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn partition(&self, position: &Position) -> Partition {
        let topics = &self.parts.context.trigger.topics;
        let topic = topics.iter().position(|topic| *topic == position.topic).expect("it is subscribed");
        Partition { topic, number: position.partition }
    }

    fn topic(&self, partition: Partition) -> &str {
        &self.parts.context.trigger.topics[partition.topic]
    }

    #[allow(clippy::needless_pass_by_value)] // errors are handed over as they are
    fn in_trouble(&mut self, now: Now, why: impl ToString) {
        self.trouble = Some((now.instant + Duration::from_secs(10), why.to_string()));
    }

    /// Messages in the producer's queue must not go out any more: all that is not done runs again.
    fn replace_sink(&mut self) {
        self.sink.abandon();
        self.sink = self.parts.clients.sink(Batching::Separate).expect("the simulation always has a client");
        self.sinks += 1;
        self.tokens.clear();
        self.silent_since = None;
        self.running = None;
        let places: Vec<Partition> = self.owned.keys().copied().collect();
        for partition in places {
            let name = self.topic(partition).to_owned();
            let Some(part) = self.owned.get_mut(&partition) else { continue };
            part.queue.clear();
            part.sent.clear();
            let offset = Some(part.low);
            let position = Position { offset, ..Position::of(&name, partition.number) };
            self.broker.seek(&[position]).expect("it is owned");
        }
    }

    fn on_event(&mut self, event: Event, now: Now) {
        match event {
            Event::Assigned(positions) => self.read(positions),
            Event::Revoked { partitions, lost } => {
                self.assignment += 1;
                self.reads_again = None;
                let drain = self.parts.context.trigger.rebalance_drain;
                self.revoking = Some(Revoking { partitions, deadline: now.instant + drain, commit: None });
                if lost {
                    self.give_back();
                }
            }
            Event::Committed { number, result } => {
                if self.committing == Some(number) {
                    self.committing = None;
                }
                if let Err(error) = result {
                    self.in_trouble(now, error);
                    self.owned.values_mut().for_each(|part| part.dirty = true);
                }
            }
            Event::Error(error) => self.in_trouble(now, error),
        }
    }

    fn read(&mut self, positions: Vec<Position>) {
        self.assignment += 1;
        let (assignment, answers) = (self.assignment, self.answers.0.clone());
        self.broker.ask(Box::new(move |reader| {
            let result = reader.committed(&positions, Duration::from_secs(30));
            let _ = answers.try_send(Answer { assignment, asked: positions, result });
        }));
    }

    fn on_answer(&mut self, answer: Answer, now: Now) {
        if answer.assignment != self.assignment {
            return;
        }
        let positions = match answer.result {
            Ok(positions) => positions,
            Err(error) => {
                self.in_trouble(now, error);
                self.reads_again = Some((now.instant + Duration::from_secs(1), answer.asked));
                return;
            }
        };
        let mut starts = positions.clone();
        for (position, start) in positions.iter().zip(&mut starts) {
            let partition = self.partition(position);
            let mut progress = Progress::decode(position.offset.unwrap_or(0), &position.metadata).unwrap_or_default();
            if self.mutant == Mutant::ForgetsAttempts {
                progress.failed.clear();
            }
            if self.mutant == Mutant::TrustsItsMemory
                && let Some(&low) = self.memory.get(&partition)
            {
                progress = Progress::at(low);
                start.offset = Some(low);
            }
            let part = Part {
                queue: VecDeque::new(),
                low: progress.low,
                sent: VecDeque::new(),
                failed: progress.failed.iter().map(|failed| (failed.offset, *failed)).collect(),
                due: None,
                dirty: false,
            };
            self.owned.insert(partition, part);
        }
        self.broker.assign(&starts).expect("the simulation takes every answer");
    }

    /// Goes on with partitions that are to go.
    fn revoke(&mut self, now: Now) {
        let Some(revoking) = &self.revoking else { return };
        if self.mutant == Mutant::IgnoresRevocations && self.stopping.is_none() {
            return;
        }
        if self.broker.is_lost() || self.mutant == Mutant::SkipsDrain {
            return self.give_back();
        }
        let late = now.instant >= revoking.deadline;
        if let Some(number) = revoking.commit {
            if self.committing != Some(number) || late {
                self.give_back();
            }
            return;
        }
        let busy = self.running.is_some() || !self.tokens.is_empty();
        if busy && !late {
            self.sink.flush();
            return;
        }
        if busy {
            self.replace_sink();
        }
        if self.committing.is_some() && !late {
            return;
        }
        let committed = if self.mutant == Mutant::TrustsItsMemory { None } else { self.commit(now) };
        if let Some(number) = committed
            && let Some(revoking) = &mut self.revoking
        {
            (revoking.commit, revoking.deadline) = (Some(number), now.instant + Duration::from_secs(5));
        } else {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        let Some(revoking) = self.revoking.take() else { return };
        for position in &revoking.partitions {
            let partition = self.partition(position);
            if let Some(part) = self.owned.remove(&partition) {
                self.memory.insert(partition, part.low);
            }
        }
        let keeps = match self.mutant {
            Mutant::SkipsDrain => true,
            Mutant::KeepsQueueOnLoss => self.broker.is_lost(),
            _ => false,
        };
        let gone = |partition: &Partition| !self.owned.contains_key(partition);
        let left_behind = self.tokens.values().any(|(partition, _)| gone(partition));
        let running = self.running.as_ref().is_some_and(|(_, partition, _)| gone(partition));
        if keeps {
            let owned = &self.owned;
            self.tokens.retain(|_, (partition, _)| owned.contains_key(partition));
        } else if left_behind {
            self.replace_sink();
        }
        if running {
            self.running = None;
        }
        self.broker.unassign(&revoking.partitions).expect("the simulation takes every answer");
    }

    /// Commits what is done. `None`: there is nothing new.
    fn commit(&mut self, now: Now) -> Option<u64> {
        self.next_commit = now.instant + self.parts.context.trigger.commit_interval;
        let mut positions = Vec::new();
        let names = &self.parts.context.trigger.topics;
        for (partition, part) in self.owned.iter_mut().filter(|(_, part)| part.dirty) {
            part.dirty = false;
            let low = match self.mutant {
                Mutant::CommitsBeforeAcknowledged => part.sent.back().map_or(part.low, |(offset, _)| offset + 1),
                Mutant::CommitsWhatWasTaken => part.queue.back().map_or(part.low, |record| record.offset + 1),
                _ => part.low,
            };
            let failed = part.failed.range(low..).map(|(_, failed)| *failed).collect();
            let metadata = Progress { failed, ..Progress::at(low) }.encode(MAX_METADATA);
            positions.push(Position {
                offset: Some(low),
                metadata,
                ..Position::of(&names[partition.topic], partition.number)
            });
        }
        if positions.is_empty() {
            return None;
        }
        let number = self.number();
        self.broker.commit(number, &positions).expect("a simulated client takes every commit");
        self.committing = Some(number);
        Some(number)
    }

    fn publish(&mut self, now: Now) {
        self.trouble.take_if(|(until, _)| *until < now.instant);
        if self.tokens.is_empty() {
            self.silent_since = None;
        }
        let since = *self.silent_since.get_or_insert(now.instant);
        let silent = !self.tokens.is_empty() && now.instant > since + Duration::from_secs(10);
        let unread = self.reads_again.is_some();
        let state = if self.trouble.is_some() || silent || unread { State::Degraded } else { State::Running };
        let reason = self.trouble.as_ref().map(|(_, why)| why.clone());
        self.parts.status.send_if_modified(|status| {
            let changed = status.state != state;
            (status.state, status.reason) = (state, reason);
            changed
        });
    }

    /// Ends: what runs is finished, then it commits, then it leaves.
    fn stop(&mut self, now: Now) -> bool {
        let Some(deadline) = self.stopping else { return false };
        if self.closing {
            return self.broker.is_closed();
        }
        let busy = self.running.is_some() || !self.tokens.is_empty() || self.committing.is_some();
        let dirty = self.owned.values().any(|part| part.dirty);
        if now.instant < deadline && busy {
            self.sink.flush();
            return false;
        }
        if now.instant < deadline && dirty {
            self.commit(now);
            return false;
        }
        if !self.tokens.is_empty() {
            self.replace_sink();
        }
        self.closing = true;
        self.broker.close();
        false
    }
}

impl Drives for Toy {
    fn recover(&mut self, _panic: &(dyn std::any::Any + Send), _now: Now) {
        unreachable!("plain cases plant no bugs")
    }

    fn turn(&mut self, now: Now) -> Turn {
        while let Ok(command) = self.parts.commands.try_recv() {
            match command {
                Command::Adopt { invoker, .. } => self.invoker = Some(invoker),
                Command::Stop => self.stopping = Some(now.instant + self.parts.context.trigger.drain),
                // It knows one revision only, and nobody holds it.
                Command::TryOut { .. }
                | Command::Steer { .. }
                | Command::Promote
                | Command::Withdraw
                | Command::Hold { .. } => {}
            }
        }
        while let Some(event) = self.broker.next_event() {
            self.on_event(event, now);
        }
        while let Ok(answer) = self.answers.1.try_recv() {
            self.on_answer(answer, now);
        }
        while let Ok(completion) = self.parts.completions.try_recv() {
            self.complete(completion, now);
        }
        if let Some((_, positions)) = self.reads_again.take_if(|(due, _)| *due <= now.instant) {
            self.read(positions);
        }
        self.acknowledge(now);
        self.revoke(now);
        if self.committing.is_none() && self.revoking.is_none() && now.instant >= self.next_commit {
            self.commit(now);
        }
        self.publish(now);
        if self.stop(now) {
            return Turn::Over;
        }
        let more = self.take() | self.call(now);
        if more || self.mutant == Mutant::Spins {
            return Turn::Again;
        }
        let soon = self.revoking.is_some() || self.stopping.is_some();
        let soon = soon.then(|| now.instant + Duration::from_millis(1));
        let commit = self.owned.values().any(|part| part.dirty).then_some(self.next_commit);
        let due = self.owned.values().filter_map(|part| part.due).min();
        let again = self.reads_again.as_ref().map(|(due, _)| *due);
        let latest = now.instant + Duration::from_secs(5);
        Turn::Park(
            [soon, commit, due, again]
                .into_iter()
                .flatten()
                .fold(latest, Instant::min)
                .max(now.instant + Duration::from_millis(1)),
        )
    }
}
