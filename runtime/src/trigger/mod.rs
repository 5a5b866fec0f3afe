//! The data plane of one trigger: from a record of its topics to progress that is committed.
//!
//! ```text
//! kafka::Broker ─▶ driver ─▶ flow ─▶ sequencer ─▶ Invoker (engine) ─▶ flow ─▶ delivery ─▶ kafka::Sink
//!                     ▲                                                  │
//!                     └────────────── progress, committed ◀──────────────┘
//! ```
//!
//! One [thread] owns everything here: its [driver] does all that can be done without waiting, and
//! then the thread waits until something comes. What is to be done is decided by owners that are pure:
//! [`membership`], [`durability`], [`topology`], [`health`], [`intake`], [`sequencer`], [`progress`],
//! [`retry`] and [`breaker`]. Bounded by its windows, its instances and its [share](budget) of the node.

mod beginning;
mod breaker;
pub mod budget;
mod calls;
mod casting;
mod clock;
mod counts;
mod delivery;
mod dispatch;
mod driver;
mod durability;
mod failure;
mod flow;
mod grant;
mod health;
mod inbound;
mod intake;
mod lane;
pub mod measures;
mod membership;
pub mod offline;
mod outputs;
mod partitions;
mod progress;
mod retreat;
mod retry;
mod revisions;
mod route;
mod sequencer;
mod shadow;
#[cfg(test)]
mod sim;
mod sizing;
mod status;
#[cfg(test)]
mod tests;
mod thread;
mod topology;
mod trial;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use self::budget::Budget;
pub use self::counts::Counts;
use self::driver::{Command, Parts};
pub use self::health::{Condition, Reported};
use self::lane::Steering;
pub use self::status::{CandidateStatus, Sample, ShadowTally, State, Status, Tally};
pub use self::trial::Manner;
use crate::engine::{Completion, Invoker};
use crate::kafka::{Blueprint, KafkaClients};
use crate::manifest::{Cluster, Member, Trigger};
use crate::record::Topics;
use crate::record::revision::Digest;

/// What a trigger is made of. It does not change: a changed manifest makes another trigger.
pub struct Context {
    pub trigger: Arc<Trigger>,
    pub cluster: Arc<Cluster>,
    pub output_cluster: Arc<Cluster>,
    pub topics: Arc<Topics>,
    pub budget: Arc<Budget>,
    /// Name of this node, stable over restarts.
    pub node: Arc<str>,
}

/// The longest name of a static member.
const MAX_INSTANCE: usize = 249;

/// How many commands wait for the trigger at most.
const COMMANDS: usize = 32;

/// A trigger has not obeyed its last commands yet, and takes no further one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trigger does not respond")]
pub struct Unresponsive;

/// A running trigger.
pub struct Handle {
    commands: mpsc::Sender<Command>,
    completions: mpsc::Sender<Completion>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
    /// Ends a trigger that has no thread yet.
    stopping: Arc<Notify>,
}

impl Handle {
    /// Where the instances of this trigger report.
    pub fn completions(&self) -> mpsc::Sender<Completion> {
        self.completions.clone()
    }

    /// Has the trigger take on a revision, which serves from then on. If a candidate of the same digest is tried, it is
    /// let go. Like all commands this never waits: a trigger that hangs must not hold up others.
    pub fn adopt(&self, invoker: Box<dyn Invoker>, revision: Digest) -> Result<(), Unresponsive> {
        self.tell(Command::Adopt { invoker, revision })
    }

    /// Has the trigger try a revision beside the one that serves. An earlier candidate is let go. The trigger takes no
    /// records before a revision serves, and until then the candidate waits with it.
    pub fn try_out(
        &self,
        invoker: Box<dyn Invoker>,
        revision: Digest,
        stage: u32,
        manner: Manner,
    ) -> Result<(), Unresponsive> {
        self.tell(Command::TryOut { invoker, revision, stage, manner })
    }

    /// The candidate enters another stage, and its counts begin anew. Without a candidate nothing happens.
    pub fn steer(&self, stage: u32, manner: Manner) -> Result<(), Unresponsive> {
        self.tell(Command::Steer { stage, manner })
    }

    /// The candidate serves everything from now on, and the revision that served drains. Without a candidate nothing
    /// happens.
    pub fn promote(&self) -> Result<(), Unresponsive> {
        self.tell(Command::Promote)
    }

    /// The candidate is let go, and its records go to the revision that serves. Without a candidate nothing happens.
    pub fn withdraw(&self) -> Result<(), Unresponsive> {
        self.tell(Command::Withdraw)
    }

    /// Takes no records and starts no calls until it is told `None`. The text says who wants it and why, and is shown
    /// in the status. Calls that run end, and their messages are sent.
    pub fn hold(&self, reason: Option<String>) -> Result<(), Unresponsive> {
        self.tell(Command::Hold { reason })
    }

    fn tell(&self, command: Command) -> Result<(), Unresponsive> {
        match self.commands.try_send(command) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Unresponsive),
            // A trigger that ended needs no command.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Drains and ends the trigger.
    pub async fn stop(self) {
        self.stopping.notify_one();
        let _ = self.commands.send(Command::Stop).await;
        let _ = self.task.await;
    }
}

/// The name of a static member. Kafka takes the characters of a topic's name, and as many.
fn instance(node: &str, trigger: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let node: String = node.chars().map(legal).take(MAX_INSTANCE - trigger.len() - 1).collect();
    format!("{node}.{trigger}")
}

/// Starts a trigger. It calls nothing before it [adopted](Handle::adopt) a revision.
pub fn start(context: Context) -> Handle {
    let most = context.trigger.instances.max.get() as usize;
    let (commands, commands_in) = mpsc::channel(COMMANDS);
    // Calls of a revision that was replaced may still end beside those of the new one and of a candidate.
    let (completions, completions_in) = mpsc::channel(3 * most);
    let status = Status { function: context.trigger.function.to_string(), ..Status::default() };
    let (publish, status) = watch::channel(status);
    let context = Arc::new(context);
    let clients = KafkaClients::new(Blueprint {
        cluster: context.cluster.clone(),
        output_cluster: context.output_cluster.clone(),
        trigger: context.trigger.name.to_string(),
        group: context.trigger.group.clone(),
        topics: context.trigger.topics.clone(),
        outputs: context.topics.names().to_vec(),
        node: context.node.to_string(),
        instance: (context.trigger.member == Member::Static).then(|| instance(&context.node, &context.trigger.name)),
    });
    let parts = Parts {
        context,
        clients,
        commands: commands_in,
        completions: completions_in,
        status: publish,
        steering: Steering::ByCalls,
        rng: fastrand::Rng::new(),
    };
    let stopping = Arc::new(Notify::new());
    let task = tokio::spawn(thread::drive(parts, stopping.clone()));
    Handle { commands, completions, status, task, stopping }
}
