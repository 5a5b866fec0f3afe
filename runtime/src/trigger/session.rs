//! The loop of a trigger: one pair of Kafka clients, from joining the group to leaving it.
//!
//! A turn does everything there is to do without waiting, in this order: events, completions,
//! timers, acknowledgements, revocations, commits, records. Then it parks until a queue, a channel
//! or a timer has something.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::assignment::{Reading, Revoking};
use super::flow::{Flow, Stop};
use super::intake::TAKE;
use super::probe::Topology;
use super::status::{Problems, State};
use super::{Command, Context, Inbox};
use crate::engine::Invoker as _;
use crate::kafka::sink::Batching;
use crate::kafka::sink::SinkReader;
use crate::kafka::source::Membership;
use crate::kafka::{
    Broker as _, Error, Event, Fetched, KafkaReader, KafkaSink, Metadata, Position, Reader as _, Sink as _, Source,
    Wake,
};

/// How often topics are looked at while all is well, and while something is wrong.
const PROBE: Duration = Duration::from_secs(10);
const PROBE_DEGRADED: Duration = Duration::from_secs(1);
/// How long a broker may take to answer a probe.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// How long a problem that nothing ends is shown after it was last seen.
pub(super) const SHOWN: Duration = Duration::from_secs(10);
/// How long a commit may take when something waits for it.
pub(super) const COMMIT_LIMIT: Duration = Duration::from_secs(5);
/// How soon it is looked again whether there is memory.
const STARVED: Duration = Duration::from_millis(20);
/// How long leaving the group may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How often instances that nobody needs are let go.
const SHRINK: Duration = Duration::from_secs(10);

/// How a session works, going by how earlier ones ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub batching: Batching,
    /// How long one works that sends messages one by one.
    pub single: Duration,
    /// How long messages may stay unacknowledged while the brokers answer.
    pub patience: Duration,
}

/// Why a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As asked.
    Stopped,
    /// It is to be built again, and why.
    Broken(String),
    /// It is to be built again, and the next one sends messages one by one, because of this.
    Refused(String),
    /// It is to be built again, because its producer forgot messages.
    LeftBehind(String),
    /// Messages were sent one by one for a while; that is over.
    Restored,
    /// A paused trigger got another revision: what is committed decides what runs again.
    Resumed,
}

/// What helper threads find out.
pub(super) enum Answer {
    Progress(Reading),
    Topics { inputs: Result<Metadata, Error>, outputs: Result<Metadata, Error> },
}

pub(super) struct Session {
    pub(super) context: Arc<Context>,
    // The flow before the source: its records lie in the source's memory.
    pub(super) flow: Flow<Fetched, KafkaSink>,
    pub(super) source: Source,
    pub(super) reader: KafkaReader,
    sink_reader: SinkReader,
    wake: Wake,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    pub(super) problems: Problems,
    pub(super) subscribed: Vec<String>,
    probing: bool,
    /// Probes in a row that the consumer's broker answered and the producer's did not.
    pub(super) lost_producer: u32,
    /// Since when the brokers answer every probe.
    pub(super) answered_since: Option<Instant>,
    next_probe: Instant,
    next_commit: Instant,
    next_shrink: Instant,
    /// Commits whose end is not known.
    pub(super) commits: usize,
    /// Number of the assignment that is being read, so that one that is taken back is not answered.
    pub(super) readings: u64,
    pub(super) failed_readings: u32,
    /// Why this client is of no use any more.
    pub(super) broken: Option<String>,
    /// Why its producer is not.
    pub(super) left_behind: Option<String>,
    pub(super) manner: Manner,
    pub(super) retry_reading: Option<(Instant, Vec<Position>)>,
    pub(super) revoking: Option<Revoking>,
    /// The node's memory is used up, maybe by others: nothing tells when it is free again.
    pub(super) starved: bool,
    /// It finishes what runs, until this time at the latest, and ends this way.
    pub(super) leaving: Option<(Instant, End)>,
    /// How often a partition was held back.
    pub(super) holds: u64,
    /// When messages stop to be sent one by one.
    single_until: Option<Instant>,
    /// Something changed that the status does not show yet.
    pub(super) unpublished: bool,
}

impl Session {
    pub(super) fn start(context: &Arc<Context>, manner: Manner) -> Result<Self, Error> {
        let now = Instant::now();
        let (wake, end) = Wake::new().map_err(|error| Error::local(&error))?;
        let budget = context.budget.share();
        let trigger = &context.trigger;
        let membership = Membership {
            owner: &trigger.name,
            group: &trigger.group,
            topics: &trigger.topics,
            queue_bytes: budget.queue_bytes(),
            instance: None,
        };
        let source = Source::new(&context.cluster, &membership, &context.node, &end)?;
        let topics = context.topics.names();
        let sink =
            KafkaSink::new(&context.output_cluster, &trigger.name, &context.node, topics, manner.batching, &end)?;
        Ok(Self {
            reader: source.reader(),
            sink_reader: sink.reader(),
            flow: Flow::new(trigger.clone(), context.topics.clone(), sink, budget, now),
            source,
            wake,
            answers: mpsc::channel(8),
            problems: Problems::default(),
            subscribed: Vec::new(),
            probing: false,
            lost_producer: 0,
            answered_since: None,
            next_probe: now,
            next_commit: now,
            next_shrink: now + SHRINK,
            commits: 0,
            readings: 0,
            failed_readings: 0,
            broken: None,
            left_behind: None,
            manner,
            retry_reading: None,
            revoking: None,
            starved: false,
            holds: 0,
            leaving: None,
            single_until: (manner.batching == Batching::Single).then(|| now + manner.single),
            unpublished: false,
            context: context.clone(),
        })
    }

    /// Runs until it is told to stop or cannot go on.
    pub(super) async fn run(&mut self, inbox: &mut Inbox) -> End {
        if let Some((_, revision)) = &inbox.serving {
            self.flow.revision_changed(revision.to_string());
        }
        self.flow.counts = inbox.status.borrow().counts;
        loop {
            let now = Instant::now();
            let more = match self.turn(inbox, now) {
                Ok(more) => more,
                Err(end) => return end,
            };
            self.publish(inbox, now);
            if more {
                tokio::task::yield_now().await;
            } else {
                self.park(inbox).await;
            }
        }
    }

    /// Leaves the group and gives up what is under way. Blocks while the broker is asked.
    pub(super) fn close(mut self) {
        let end = Instant::now() + CLOSE_LIMIT;
        self.source.close();
        while !self.source.is_closed() && Instant::now() < end {
            while let Some(event) = self.source.next_event() {
                let _ = match event {
                    Event::Assigned(positions) => self.source.assign(&positions),
                    Event::Revoked { partitions, .. } => self.source.unassign(&partitions),
                    Event::Committed { .. } | Event::Error(_) => Ok(()),
                };
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// One round. `true`: there is more to do at once.
    fn turn(&mut self, inbox: &mut Inbox, now: Instant) -> Result<bool, End> {
        while let Some(command) = inbox.backlog.pop_front().or_else(|| inbox.commands.try_recv().ok()) {
            self.obey(command, inbox, now)?;
        }
        while let Some(event) = self.source.next_event() {
            self.on_event(event, now)?;
        }
        while let Ok(answer) = self.answers.1.try_recv() {
            self.on_answer(answer, now);
        }
        while let Ok(completion) = inbox.completions.try_recv() {
            self.flow.complete(completion, now);
        }
        self.flow.wake(now);
        self.flow.acknowledge(now);
        match self.flow.take_stop() {
            Some(Stop::Delivery(reason)) => return Err(End::Broken(format!("messages are refused: {reason}"))),
            Some(Stop::Refused(reason)) => self.leave_soon(End::Refused(reason), now),
            Some(Stop::WentBack(place)) => {
                return Err(End::Broken(format!("records went back, the topic was truncated or made anew: {place}")));
            }
            Some(Stop::Bug(reason)) => {
                tracing::error!(trigger = %self.context.trigger.name, "bug: {reason}");
                return Err(End::Broken(format!("a bug in tidegate: {reason}")));
            }
            None => {}
        }
        self.go_on_with_rebalance(now);
        if let Some(reason) = self.broken.take() {
            return Err(End::Broken(reason));
        }
        if let Some(reason) = self.left_behind.take() {
            return Err(End::LeftBehind(reason));
        }
        if self.single_until.is_some_and(|end| now >= end) && self.flow.paused.is_none() {
            self.leave_soon(End::Restored, now);
        }
        if self.is_drained(now) {
            return self.leave(now).map_or(Ok(false), Err);
        }
        if now >= self.next_commit {
            self.commit(now);
        }
        self.look_around(inbox, now);
        let taken = self.take(now);
        if let (Some((pool, _)), None) = (&mut inbox.serving, &self.leaving) {
            self.flow.dispatch(pool, now);
        }
        Ok(self.hold_back() || taken == TAKE)
    }

    fn obey(&mut self, command: Command, inbox: &mut Inbox, now: Instant) -> Result<(), End> {
        match command {
            Command::Adopt { pool, revision } => {
                let resumed = self.flow.paused.is_some();
                self.flow.revision_changed(revision.to_string());
                inbox.serving = Some((*pool, revision));
                if resumed { Err(End::Resumed) } else { Ok(()) }
            }
            Command::Stop => {
                inbox.told_to_stop = true;
                self.leave_soon(End::Stopped, now);
                Ok(())
            }
        }
    }

    fn on_event(&mut self, event: Event, now: Instant) -> Result<(), End> {
        match event {
            Event::Assigned(positions) => self.assigned(positions),
            Event::Revoked { partitions, lost } => self.revoked(partitions, lost, now),
            Event::Committed { result, .. } => {
                self.commits = self.commits.saturating_sub(1);
                match result {
                    Ok(()) => self.problems.clear("commit"),
                    Err(error) => {
                        self.flow.partitions.iter_mut().for_each(|assigned| assigned.window.mark_dirty());
                        self.problems.set_for("commit", format!("progress is not committed: {error}"), now, SHOWN);
                    }
                }
            }
            Event::Error(error) if error.fatal => return Err(End::Broken(error.to_string())),
            Event::Error(error) => {
                tracing::debug!(trigger = %self.context.trigger.name, "{error}");
                self.problems.set_for("client", error.to_string(), now, SHOWN);
                // What the brokers say themselves is clearer, and ends when the problem does.
                self.next_probe = self.next_probe.min(now);
            }
        }
        Ok(())
    }

    fn on_answer(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Progress(reading) => self.read(reading, now),
            Answer::Topics { inputs, outputs } => {
                self.probing = false;
                self.watch_producer(&inputs, &outputs);
                match inputs.and_then(|inputs| Ok(Topology { inputs, outputs: outputs? })) {
                    Ok(topology) => {
                        self.subscribe(&topology);
                        self.watch_outputs(&topology, now);
                    }
                    Err(error) => {
                        self.answered_since = None;
                        self.problems.set("brokers", format!("the brokers do not answer: {error}"));
                    }
                }
                self.next_probe = now + if self.problems.is_empty() { PROBE } else { PROBE_DEGRADED };
            }
        }
    }

    /// Keeps an eye on topics, instances and what is shown.
    fn look_around(&mut self, inbox: &mut Inbox, now: Instant) {
        self.problems.expire(now);
        match self.flow.stalled_outputs(now) {
            Some(reason) => self.problems.set("outputs", reason),
            None => self.problems.clear("outputs"),
        }
        match self.flow.obstacle() {
            Some(reason) => self.problems.set("function", reason),
            None => self.problems.clear("function"),
        }
        if now >= self.next_shrink {
            self.next_shrink = now + SHRINK;
            inbox.serving.iter_mut().for_each(|(pool, _)| pool.shrink());
        }
        if now < self.next_probe || self.probing {
            return;
        }
        self.probing = true;
        let (reader, sink_reader, answers) = (self.reader.clone(), self.sink_reader.clone(), self.answers.0.clone());
        let inputs = self.context.trigger.topics.clone();
        tokio::task::spawn_blocking(move || {
            let inputs = reader.metadata(&inputs, PROBE_LIMIT);
            let outputs = sink_reader.metadata(PROBE_LIMIT);
            let _ = answers.blocking_send(Answer::Topics { inputs, outputs });
        });
    }

    /// Commits the progress of all partitions that changed, unless a commit is under way.
    pub(super) fn commit(&mut self, now: Instant) {
        self.next_commit = now + self.context.trigger.commit_interval;
        if self.commits > 0 {
            return;
        }
        let changed: Vec<_> = self
            .flow
            .partitions
            .iter_mut()
            .filter(|assigned| assigned.window.is_dirty())
            .map(|assigned| {
                let progress = assigned.window.progress();
                Position {
                    topic: assigned.topic.to_string(),
                    partition: assigned.partition.number,
                    offset: Some(progress.low),
                    metadata: progress.encode(),
                }
            })
            .collect();
        if changed.is_empty() {
            return;
        }
        match self.source.commit(0, &changed) {
            Ok(()) => self.commits += 1,
            Err(error) => {
                self.flow.partitions.iter_mut().for_each(|assigned| assigned.window.mark_dirty());
                self.problems.set_for("commit", format!("progress is not committed: {error}"), now, SHOWN);
            }
        }
    }

    /// From now on nothing is started. To stop is the only reason that replaces another.
    fn leave_soon(&mut self, end: End, now: Instant) {
        let deadline = now + self.context.trigger.drain;
        match &mut self.leaving {
            Some((_, reason)) if end == End::Stopped => *reason = end,
            Some(_) => {}
            None => self.leaving = Some((deadline, end)),
        }
    }

    /// Whether a session that is to end has nothing left that it would wait for.
    fn is_drained(&mut self, now: Instant) -> bool {
        let Some((deadline, _)) = self.leaving else { return false };
        let busy = self.flow.partitions.running() + self.flow.delivery.sink().outstanding() > 0;
        if busy && now < deadline {
            self.flow.delivery.sink_mut().flush();
            return false;
        }
        true
    }

    /// Commits for the last time. `Some`: that is done, or takes too long.
    fn leave(&mut self, now: Instant) -> Option<End> {
        self.commit(now);
        let (deadline, _) = self.leaving.as_ref()?;
        if self.commits > 0 && now < *deadline + COMMIT_LIMIT {
            return None;
        }
        self.leaving.take().map(|(_, end)| end)
    }

    async fn park(&mut self, inbox: &mut Inbox) {
        let until = self.next_turn(inbox);
        let mut commands = Vec::new();
        tokio::select! {
            () = self.wake.wait() => {}
            Some(completion) = inbox.completions.recv() => self.flow.complete(completion, Instant::now()),
            Some(answer) = self.answers.1.recv() => self.on_answer(answer, Instant::now()),
            count = inbox.commands.recv_many(&mut commands, 8) => {
                // Without a supervisor there is nothing to work for.
                if count == 0 {
                    commands.push(Command::Stop);
                }
            }
            () = tokio::time::sleep_until(until.into()) => {}
        }
        inbox.backlog.extend(commands);
    }

    fn next_turn(&self, inbox: &Inbox) -> Instant {
        let now = Instant::now();
        let dirty = self.commits == 0 && self.flow.partitions.iter().any(|assigned| assigned.window.is_dirty());
        let rebalance = self.revoking.is_some() || self.leaving.is_some();
        let soon = rebalance.then(|| now + Duration::from_millis(1)).or(self.starved.then(|| now + STARVED));
        let reading = self.retry_reading.as_ref().map(|(due, _)| *due);
        let probe = if self.probing { now + 2 * PROBE_LIMIT } else { self.next_probe };
        let commit = dirty.then_some(self.next_commit);
        let due = self.flow.next_due();
        let publish = self.unpublished.then_some(inbox.next_publish);
        let times = [soon, publish, reading, commit, due, Some(self.next_shrink), Some(now + SHOWN)];
        // What was due and did not help is not due again at once: no loop without end.
        times.into_iter().flatten().fold(probe, Instant::min).max(now + Duration::from_millis(1))
    }

    /// What the trigger is doing, and why not more.
    pub(super) fn state(&self, inbox: &Inbox) -> (State, Option<String>) {
        if let Some(reason) = &self.flow.paused {
            (State::Paused, Some(reason.clone()))
        } else if let Some(reason) = self.problems.reason() {
            (State::Degraded, Some(reason))
        } else if self.subscribed.is_empty() || inbox.serving.is_none() {
            (State::Starting, None)
        } else {
            (State::Running, None)
        }
    }

    pub(super) fn ask(&self) -> mpsc::Sender<Answer> {
        self.answers.0.clone()
    }
}
