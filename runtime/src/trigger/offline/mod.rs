//! A trigger without a broker: the driver of a node, on records that are handed to it.
//!
//! ```text
//! give ─▶ desk ─▶ driver ─▶ next_call ─▶ (whoever calls the function) ─▶ complete ─▶ driver ─▶ desk ─▶ answers
//! ```
//!
//! The [`desk`] stands in for everything around the driver: it is the broker that has the records, the
//! producer that takes the messages, and the instance that is free when a call may start. So batches, the
//! order of keys, the splitting of failed calls and what becomes of a record are decided by the code that
//! decides them in a node. What differs is said in [`trigger`] and [`Steering::Fixed`]. The clock is read once,
//! and from there on time passes when nothing else happens: the same records make the same calls.
//!
//! One call is under way at a time. It starts when the driver has taken all that it wants, as it would while
//! an instance is busy. What the driver logs is not written: it is for people who run a node, and the answers
//! say what became of each record.
//!
//! Bounded: [`Offline::is_full`] says when to make calls instead of giving more records.

mod clients;
mod desk;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::dispatcher::{self, Dispatch};

use self::clients::{OfflineClients, OneCall};
pub use self::desk::{Answer, Note};
use self::desk::{Desk, Shared, lock};
use super::Context;
use super::budget::Budget;
use super::clock::Now;
use super::driver::{Command, Driver, Parts, Turn};
use super::lane::Steering;
use super::status::Status;
use crate::engine::{Call, Completion};
use crate::manifest::{Cluster, Instances, OnExhausted, Start, Trigger};
use crate::record::revision::Digest;
use crate::record::{OwnedRecord, Topics};

/// The topic of the dead letters by which a record that failed is known. No real topic can have this name.
const DEAD_LETTERS: &str = "(dead letters)";
/// How many full calls are given ahead, as many as a driver keeps at hand. See [`super::flow`].
const CALLS_AHEAD: usize = 4;
/// The most records that are given and not answered: a driver takes no more, however large calls may be.
const MOST_RECORDS: usize = 2_000;
/// The most bytes of records that are not answered, and of their messages. One record may always be given.
const MOST_BYTES: usize = 64 << 20;
/// The node's budget is no limit here: [`MOST_BYTES`] is.
const BUDGET_BYTES: u64 = 1 << 40;
/// How far time goes on while the driver works.
const STEP: Duration = Duration::from_millis(1);
/// After so many times in vain that nothing was left to do but to wait, there is nothing to wait for.
const MOST_WAITS: u32 = 100;

/// A trigger as it is without a broker, and the topics of its messages: those of the trigger, and `allowed`
/// ones. The first failure of a record is its answer, in the form of a dead letter. Calls come one after
/// another, so one instance is enough. All records are read, and what is done is told at once.
pub fn trigger(declared: &Trigger, allowed: &[String]) -> (Trigger, Topics) {
    let granted: Vec<String> = declared.allow_topics.iter().chain(allowed).cloned().collect();
    let topics = Topics::new(declared.output.as_deref(), &granted, Some(DEAD_LETTERS));
    let mut trigger = declared.clone();
    trigger.on_exhausted = OnExhausted::DeadLetter;
    trigger.dead_letters = Some(DEAD_LETTERS.to_owned());
    trigger.retry.attempts = NonZeroU32::MIN;
    trigger.instances = Instances { min: 1, max: NonZeroU32::MIN };
    trigger.start = Start::Earliest;
    trigger.commit_interval = STEP;
    (trigger, topics)
}

/// Records are left and no call starts: our own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("records are left that are not called")]
pub struct Stuck;

/// A trigger without a broker. `M` is what is kept of a message.
pub struct Offline<M: Send + 'static> {
    driver: Driver<OfflineClients<M>>,
    desk: Shared<M>,
    completions: mpsc::Sender<Completion>,
    /// A driver ends when nobody can tell it anything.
    _commands: mpsc::Sender<Command>,
    now: Now,
    most_records: usize,
}

impl<M: Send + 'static> Offline<M> {
    /// `trigger` and `topics` are those of [`trigger`]. `note` makes of a message, with its headers, what is kept
    /// of it.
    pub fn new(trigger: Arc<Trigger>, topics: Arc<Topics>, note: Note<M>) -> Self {
        let most_records = (trigger.batch.records.get() as usize - 1).saturating_mul(CALLS_AHEAD) + 1;
        let cluster =
            Arc::new(Cluster { name: trigger.cluster.clone(), brokers: String::new(), properties: BTreeMap::new() });
        let desk = Desk::share(note);
        let context = Context {
            cluster: cluster.clone(),
            output_cluster: cluster,
            budget: Budget::new(BUDGET_BYTES),
            node: Arc::from("offline"),
            trigger,
            topics,
        };
        let (commands, commands_in) = mpsc::channel(1);
        let (completions, completions_in) = mpsc::channel(1);
        let parts = Parts {
            clients: OfflineClients::new(desk.clone(), context.topics.clone()),
            context: Arc::new(context),
            commands: commands_in,
            completions: completions_in,
            status: watch::channel(Status::default()).0,
            steering: Steering::Fixed,
            rng: fastrand::Rng::with_seed(0),
        };
        let adopt = Command::Adopt { invoker: Box::new(OneCall::new(desk.clone())), revision: Digest::of(&[]) };
        // There is room for it.
        let _ = commands.try_send(adopt);
        let now = Now::read();
        let driver = Driver::new(parts, now);
        let most_records = most_records.min(MOST_RECORDS);
        Self { driver, desk, completions, _commands: commands, now, most_records }
    }

    /// Whether calls are to be made, and answers taken, before more records are given. A trigger with calls of one
    /// record makes each at once; others look ahead, so that calls are as large as they would be if all records
    /// were there.
    pub fn is_full(&self) -> bool {
        let desk = lock(&self.desk);
        desk.len() >= self.most_records || desk.bytes() >= MOST_BYTES
    }

    /// Gives the next record of a partition. Offsets of a partition ascend. It is its `attempt`-th try.
    pub fn give(&mut self, topic: &Arc<str>, partition: i32, record: OwnedRecord, attempt: u32) {
        lock(&self.desk).give(topic, partition, record, attempt);
    }

    /// The next call to make. `None`: all records that were given are answered. Its completion has to come back
    /// before another one is asked for.
    pub fn next_call(&mut self) -> Result<Option<Call>, Stuck> {
        for _ in 0..MOST_WAITS {
            if lock(&self.desk).is_done() {
                return Ok(None);
            }
            self.settle();
            lock(&self.desk).set_free(true);
            let until = self.settle();
            lock(&self.desk).set_free(false);
            if let Some(call) = lock(&self.desk).take_call() {
                return Ok(Some(call));
            }
            self.pass_time(until);
        }
        Err(Stuck)
    }

    /// A call ended.
    pub fn complete(&mut self, completion: Completion) {
        // There is room for it, because there was one call.
        let _ = self.completions.try_send(completion);
        // So that what is done is committed, which tells of it.
        self.pass_time(self.now.instant + STEP);
        self.settle();
    }

    /// What became of records, in the order in which they were given. It waits for the ones that are not answered.
    pub fn answers(&mut self) -> impl Iterator<Item = Answer<M>> {
        std::iter::from_fn(|| lock(&self.desk).next_answer())
    }

    /// Turns the driver until neither it nor the desk has anything to do. Returns until when.
    fn settle(&mut self) -> Instant {
        loop {
            let now = self.now;
            lock(&self.desk).begin_turn();
            let turn = dispatcher::with_default(&Dispatch::none(), || self.driver.turn(now));
            match turn {
                Turn::Again => {}
                Turn::Park(until) if !lock(&self.desk).was_busy() => return until,
                Turn::Park(_) => self.pass_time(now.instant + STEP),
                // Nobody tells it to stop.
                Turn::Over => return now.instant,
            }
        }
    }

    fn pass_time(&mut self, until: Instant) {
        let time = until.saturating_duration_since(self.now.instant);
        self.now = Now { instant: self.now.instant + time, unix: self.now.unix + time };
    }
}
