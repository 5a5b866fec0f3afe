//! The data plane of one trigger: from a record of its topics to progress that is committed.
//!
//! ```text
//! kafka::Source ─▶ session ─▶ flow ─▶ sequencer ─▶ Invoker (engine) ─▶ flow ─▶ delivery ─▶ kafka::Sink
//!                     ▲                                                  │
//!                     └────────────── progress, committed ◀──────────────┘
//! ```
//!
//! One task owns everything here. It runs [sessions](session): a pair of Kafka clients each, built
//! again with growing pauses when one breaks. [`sequencer`], [`progress`], [`retry`] and [`breaker`]
//! are pure. Bounded by its windows, its instances and its [share](budget) of the node.

mod assignment;
mod breaker;
pub mod budget;
mod clock;
mod driver;
mod delivery;
mod failure;
mod flights;
mod flow;
mod intake;
mod partitions;
mod probe;
mod progress;
mod retry;
mod sequencer;
mod session;
mod sizing;
mod status;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::budget::Budget;
use self::session::{End, Manner, Session};
pub use self::status::{Counts, State, Status};
use crate::engine::{Completion, Pool};
use crate::kafka::sink::Batching;
use crate::manifest::{Cluster, Trigger};
use crate::record::Topics;
use crate::record::revision::Digest;

/// Pauses before a session is built again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A session that lived so long was well: the next pause is the first one again.
const WELL: Duration = Duration::from_secs(60);
/// How long messages are sent one by one after the broker refused a batch for one of them.
const FIRST_SINGLE: Duration = Duration::from_secs(30);
const LONGEST_SINGLE: Duration = Duration::from_secs(16 * 60);
/// How long messages may stay unacknowledged while the brokers answer: at first, and at most.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_PATIENCE: Duration = Duration::from_secs(16 * 60);
/// After so long without a refusal the next one is the first one again.
const CALM: Duration = Duration::from_secs(10 * 60);
/// How often the status is written at most, unless its state changes.
const PUBLISH: Duration = Duration::from_millis(100);

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

/// What a trigger is told.
enum Command {
    /// New calls go to this pool; those that run end on the old one.
    Adopt { pool: Box<Pool>, revision: Digest },
    /// Finish what runs, commit, leave the group.
    Stop,
}

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
}

impl Handle {
    /// Where the pools of this trigger report.
    pub fn completions(&self) -> mpsc::Sender<Completion> {
        self.completions.clone()
    }

    /// Has the trigger take on a revision. Never waits: a trigger that hangs must not hold up others.
    pub fn adopt(&self, pool: Pool, revision: Digest) -> Result<(), Unresponsive> {
        match self.commands.try_send(Command::Adopt { pool: Box::new(pool), revision }) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Unresponsive),
            // A trigger that ended needs no revision.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Drains and ends the trigger.
    pub async fn stop(self) {
        let _ = self.commands.send(Command::Stop).await;
        let _ = self.task.await;
    }
}

/// What reaches the task, kept over its sessions.
struct Inbox {
    commands: mpsc::Receiver<Command>,
    /// Commands received while parked.
    backlog: VecDeque<Command>,
    completions: mpsc::Receiver<Completion>,
    serving: Option<(Pool, Digest)>,
    told_to_stop: bool,
    status: watch::Sender<Status>,
    next_publish: Instant,
}

/// Starts a trigger. It calls nothing before it [adopted](Handle::adopt) a revision.
pub fn start(context: Context) -> Handle {
    let most = context.trigger.instances.max.get() as usize;
    let (commands, commands_in) = mpsc::channel(8);
    // Calls of a pool that was replaced may still end beside those of the new one.
    let (completions, completions_in) = mpsc::channel(2 * most);
    let status = Status { function: context.trigger.function.to_string(), ..Status::default() };
    let (publish, status) = watch::channel(status);
    let inbox = Inbox {
        commands: commands_in,
        backlog: VecDeque::new(),
        completions: completions_in,
        serving: None,
        told_to_stop: false,
        status: publish,
        next_publish: Instant::now(),
    };
    let task = tokio::spawn(run(Arc::new(context), inbox));
    Handle { commands, completions, status, task }
}

impl Manner {
    /// Learns from a session that ended after so long.
    fn adapt(&mut self, end: &End, lived: Duration) {
        let longer = |last: Duration| if lived > CALM { Duration::ZERO } else { last * 2 };
        self.batching = Batching::Full;
        match end {
            // One refusal now and then is cheap; of a function that causes many, most time is spent
            // sending messages one by one, and little on changing over.
            End::Refused(_) => {
                self.batching = Batching::Single;
                self.single = longer(self.single).clamp(FIRST_SINGLE, LONGEST_SINGLE);
            }
            // Or it was the cluster that could not acknowledge them.
            End::LeftBehind(_) => self.patience = longer(self.patience).clamp(FIRST_PATIENCE, LONGEST_PATIENCE),
            _ => {}
        }
    }
}

/// Sessions, one after another, until it is told to stop.
async fn run(context: Arc<Context>, mut inbox: Inbox) {
    // Without a revision to call, a trigger would only keep its partitions from other nodes.
    if inbox.wait_for_revision().await {
        inbox.publish(State::Stopped, None);
        return;
    }
    let mut pause = FIRST_PAUSE;
    let mut manner = Manner { batching: Batching::Full, single: Duration::ZERO, patience: FIRST_PATIENCE };
    loop {
        let started = Instant::now();
        let ended = one_session(&context, manner, &mut inbox).await;
        manner.adapt(&ended, started.elapsed());
        let reason = match ended {
            // However the session ended, what was asked for counts.
            _ if inbox.told_to_stop => break,
            End::Stopped => break,
            End::Restored => continue,
            End::Refused(reason) => {
                tracing::warn!(
                    trigger = %context.trigger.name,
                    "the broker refuses a batch for one of its messages, which are sent one by one now: {reason}",
                );
                continue;
            }
            End::Resumed => {
                tracing::info!(trigger = %context.trigger.name, "goes on with another revision");
                continue;
            }
            End::Broken(reason) | End::LeftBehind(reason) => reason,
        };
        if started.elapsed() > WELL {
            pause = FIRST_PAUSE;
        }
        // The first time quietly: a fenced or timed-out client is part of a broker's restart.
        if pause > FIRST_PAUSE {
            tracing::warn!(trigger = %context.trigger.name, "starts again in {pause:?}: {reason}");
        } else {
            tracing::info!(trigger = %context.trigger.name, "starts again: {reason}");
        }
        inbox.publish(State::Degraded, Some(reason));
        if inbox.wait(pause).await {
            break;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    inbox.publish(State::Stopped, None);
}

async fn one_session(context: &Arc<Context>, manner: Manner, inbox: &mut Inbox) -> End {
    let mut session = match Session::start(context, manner) {
        Ok(session) => session,
        Err(error) => return End::Broken(error.to_string()),
    };
    let ended = AssertUnwindSafe(session.run(inbox)).catch_unwind().await;
    // Leaving a group asks the broker: on a thread that may block.
    let closed = tokio::task::spawn_blocking(move || session.close()).await;
    if closed.is_err() {
        tracing::error!(trigger = %context.trigger.name, "bug: a session panicked when it was closed");
    }
    ended.unwrap_or_else(|panic| {
        let reason = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let reason = reason.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(trigger = %context.trigger.name, "bug: {reason}");
        End::Broken(format!("a bug in tidegate: {reason}"))
    })
}

impl Inbox {
    /// Waits for the first revision. `true`: it is to stop.
    async fn wait_for_revision(&mut self) -> bool {
        while self.serving.is_none() {
            match self.commands.recv().await {
                Some(Command::Adopt { pool, revision }) => self.serving = Some((*pool, revision)),
                Some(Command::Stop) | None => return true,
            }
        }
        false
    }

    /// Waits between sessions. `true`: it is to stop.
    async fn wait(&mut self, pause: Duration) -> bool {
        let end = tokio::time::Instant::now() + pause;
        loop {
            let command = match self.backlog.pop_front() {
                Some(command) => Some(command),
                None => tokio::select! {
                    command = self.commands.recv() => command,
                    // Calls of the last session end meanwhile; nobody waits for them.
                    Some(_) = self.completions.recv() => continue,
                    () = tokio::time::sleep_until(end) => return false,
                },
            };
            match command {
                Some(Command::Adopt { pool, revision }) => self.serving = Some((*pool, revision)),
                Some(Command::Stop) | None => return true,
            }
        }
    }

    fn publish(&mut self, state: State, reason: Option<String>) {
        self.status.send_modify(|status| {
            status.state = state;
            status.reason = reason;
            status.partitions = 0;
        });
    }
}

impl Session {
    /// Shows how the trigger does.
    fn publish(&mut self, inbox: &mut Inbox, now: Instant) {
        let (state, reason) = self.state(inbox);
        let changed = {
            let shown = inbox.status.borrow();
            shown.state != state || shown.reason != reason
        };
        if !changed && now < inbox.next_publish {
            self.unpublished = true;
            return;
        }
        self.unpublished = false;
        inbox.next_publish = now + PUBLISH;
        let next = Status {
            state,
            reason,
            function: self.context.trigger.function.to_string(),
            revision: inbox.serving.as_ref().map(|(_, revision)| revision.to_string()),
            partitions: self.flow.partitions.len(),
            counts: self.flow.counts,
        };
        inbox.status.send_if_modified(|shown| {
            let differs = *shown != next;
            *shown = next;
            differs
        });
    }
}
