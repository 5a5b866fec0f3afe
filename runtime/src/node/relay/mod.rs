//! The relay between the nodes of a fleet: what one node learns or decides, the others learn through a small
//! compacted Kafka topic. It carries hints that a component changed, the nodes' statuses, aborts of rollouts,
//! and the pauses of triggers.
//!
//! The topic decides: a node that pauses a trigger reads this from the topic like all others, and the order
//! of records in the topic is the order for everybody. Only hints may be lost, and a node does not get its
//! own hints. If the topic is deleted, the nodes write again what is missing in the new one.
//!
//! [`message`] is the text of the topic, [`fleet`] what a node knows, [`outbox`] what it has to write,
//! [`heartbeat`] when it writes its status, [`steering`] what people say to the fleet, and `task` is the loop that owns
//! all of it. [`crate::kafka::notices`] reads and writes the topic. [`console`] is for operators, who are no nodes.
//!
//! Limits: [`COMMANDS`] calls of [`Relay`] and [`EVENTS`] events wait, and see [`outbox::MOST`]. If the
//! receiver of the events is slow, the task reads no further. It still takes commands.

pub mod console;
pub mod fleet;
pub mod heartbeat;
pub mod message;
pub mod outbox;
pub mod steering;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::kafka::notices::{Absent, Notices, Settings};
use crate::manifest::{Cluster, Name};
use fleet::View;
use message::{Abort, Hint, Message, Pause, Rollout};
use task::{Command, Connect, Parts};

/// How many calls of a [`Relay`] wait for its task.
pub const COMMANDS: usize = 256;
/// How many events wait for their receiver.
pub const EVENTS: usize = 256;
/// How long a relay that stops tries to write what is left.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// What a node learns from the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another node says that an object may have changed.
    Hint(Hint),
    /// A revision must not serve. `None`: what was said before does not hold any more.
    Abort {
        function: Name,
        abort: Option<Abort>,
    },
    /// A revision is being rolled out, or was promoted. `None`: what was said before does not hold any more.
    Rollout {
        function: Name,
        rollout: Option<Rollout>,
    },
    Paused {
        trigger: Name,
        pause: Pause,
    },
    Resumed {
        trigger: Name,
    },
    /// A node came, went, or changed its presence. See [`Relay::view`].
    FleetChanged,
    /// Another process runs under the name of this node. `None`: not any more.
    Twin(Option<String>),
    /// The topic was read to the end that it had. What it says was sent before as other events.
    CaughtUp,
    /// The topic is not as it should be, but it is used.
    Unfit {
        reason: String,
    },
    /// The topic cannot be read or written now. What it said last still holds.
    Trouble {
        reason: String,
    },
    /// The trouble is over.
    Fine,
}

/// The task has too much to do, and did not take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the relay has too much to do")]
pub struct Busy;

/// Tells the other nodes something. No method waits, except [`Relay::stop`]. What cannot be written now is
/// kept and tried again. If this is dropped, the task ends.
pub struct Relay {
    commands: mpsc::Sender<Command>,
    status: watch::Sender<Option<Value>>,
    view: watch::Receiver<View>,
    ignored: Arc<AtomicU64>,
    node: String,
    process: String,
}

impl Relay {
    /// Starts the relay of a node. Must be called within a tokio runtime. `fleet` and `node` must not contain
    /// a slash.
    pub fn start(
        cluster: &Cluster,
        topic: &str,
        fleet: &str,
        node: &str,
        absent: Absent,
    ) -> (Self, mpsc::Receiver<Event>) {
        let settings =
            Settings { cluster: Arc::new(cluster.clone()), topic: topic.to_owned(), node: node.to_owned(), absent };
        Self::with(Box::new(move || Notices::start(settings.clone())), fleet, node)
    }

    /// A relay that gets its topic from `connect`.
    fn with(connect: Connect, fleet: &str, node: &str) -> (Self, mpsc::Receiver<Event>) {
        let (commands, queue) = mpsc::channel(COMMANDS);
        let (events, receiver) = mpsc::channel(EVENTS);
        let (status, newest_status) = watch::channel(None);
        let (shown, view) = watch::channel(View::default());
        let process = format!("{:016x}", fastrand::u64(..));
        let ignored = Arc::<AtomicU64>::default();
        let parts = Parts {
            connect,
            fleet: fleet.to_owned(),
            node: node.to_owned(),
            process: process.clone(),
            commands: queue,
            status: newest_status,
            events,
            view: shown,
            ignored: ignored.clone(),
        };
        tokio::spawn(task::run(parts));
        (Self { commands, status, view, ignored, node: node.to_owned(), process }, receiver)
    }

    /// Says that an object may have changed.
    pub fn hint(&self, bucket: &str, key: &str, version: Option<&str>, etag: Option<&str>) -> Result<(), Busy> {
        self.say(Message::Hint(Hint {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: version.map(str::to_owned),
            etag: etag.map(str::to_owned),
            at_ms: now_ms(),
            from: self.node.clone(),
        }))
    }

    /// Says that a revision of a function must not serve.
    pub fn abort(&self, function: &Name, abort: Abort) -> Result<(), Busy> {
        self.say(Message::Abort { function: function.clone(), abort: Some(abort) })
    }

    /// Takes back what was said about aborts of a function.
    pub fn clear_abort(&self, function: &Name) -> Result<(), Busy> {
        self.say(Message::Abort { function: function.clone(), abort: None })
    }

    /// Says which stage the rollout of a revision is in, or that it ended well.
    pub fn rollout(&self, function: &Name, rollout: Rollout) -> Result<(), Busy> {
        self.say(Message::Rollout { function: function.clone(), rollout: Some(rollout) })
    }

    /// Pauses a trigger on all nodes.
    pub fn pause(&self, trigger: &Name, reason: &str) -> Result<(), Busy> {
        let pause = Pause { at_ms: now_ms(), from: self.node.clone(), reason: reason.to_owned() };
        self.say(Message::Pause { trigger: trigger.clone(), pause: Some(pause) })
    }

    /// Resumes a trigger on all nodes.
    pub fn resume(&self, trigger: &Name) -> Result<(), Busy> {
        self.say(Message::Pause { trigger: trigger.clone(), pause: None })
    }

    /// Replaces the status of this node. It is written at most once a second if it changes, and every ten
    /// seconds if it does not. Before the first call, other nodes do not see this one.
    pub fn status(&self, status: Value) {
        self.status.send_replace(Some(status));
    }

    /// What is known of the fleet.
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// How many records of this fleet made no sense to this node.
    pub fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// A random text that identifies this process.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Says that this node stops, and ends. Waits at most about a second for the brokers.
    pub async fn stop(self) {
        let (done, ended) = oneshot::channel();
        let stop = async {
            if self.commands.send(Command::Stop { limit: LAST_WRITES, done }).await.is_ok() {
                // The sender is dropped when the task ends.
                let _ = ended.await;
            }
        };
        let _ = tokio::time::timeout(2 * LAST_WRITES, stop).await;
    }

    /// Says something to all nodes, this one included.
    pub fn say(&self, message: Message) -> Result<(), Busy> {
        self.commands.try_send(Command::Say(message)).map_err(|_| Busy)
    }
}

/// Milliseconds since 1970 by the clock of this machine.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
