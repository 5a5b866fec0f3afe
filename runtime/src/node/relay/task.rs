//! The task of a relay. It owns everything that the relay knows.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::fleet::{Change, Fleet, View};
use super::heartbeat::Heartbeat;
use super::message::{Message, NodeStatus};
use super::outbox::{Outbox, Worth};
use super::{Event, now_ms};
use crate::kafka::notices::{Beginning, Notice, Notices};
use crate::kafka::{Error, ErrorKind};
use crate::throttle::Throttle;

/// Starts to follow the topic. Called again if following it ends.
pub(super) type Connect = Box<dyn FnMut() -> Result<Notices, Error> + Send>;

/// How soon the topic is followed again if that ended.
const CONNECT_AGAIN: Duration = Duration::from_secs(5);
/// Beyond this number of events that are not handed over, no more notices are taken.
const BACKLOG: usize = 64;
/// Nodes keep a node that is gone for different times, up to this much longer than an hour, so that usually
/// only one of them takes back its status.
const JITTER: Duration = Duration::from_secs(600);

/// What the task is told.
pub(super) enum Command {
    Say(Message),
    /// Write what is left, at most for `limit`, and end. `done` is dropped then.
    Stop {
        limit: Duration,
        done: oneshot::Sender<()>,
    },
}

/// What the task is made of.
pub(super) struct Parts {
    pub connect: Connect,
    pub fleet: String,
    pub node: String,
    pub process: String,
    pub commands: mpsc::Receiver<Command>,
    pub status: watch::Receiver<Option<serde_json::Value>>,
    pub events: mpsc::Sender<Event>,
    pub view: watch::Sender<View>,
    pub ignored: Arc<AtomicU64>,
}

/// What ended a wait.
enum Woken {
    Command(Option<Command>),
    Notice(Option<Notice>),
    Status,
    Work,
    /// Nobody listens any more.
    Over,
}

struct Task {
    parts: Parts,
    notices: Option<Notices>,
    /// When the topic is followed again.
    connect_at: Instant,
    fleet: Fleet,
    outbox: Outbox,
    heartbeat: Heartbeat,
    /// The time in the last status. The next one has a later time, whatever the clock says.
    last_ms: i64,
    backlog: VecDeque<Event>,
    /// Whether the topic was read to its end once. Before that, hints are old: a node that starts looks at
    /// everything anyway.
    has_caught_up: bool,
    /// Since when there is trouble.
    trouble_since: Option<Instant>,
    twin_since: Option<Instant>,
    dropped: u64,
    ignored: Throttle,
    stopping: Option<(Instant, oneshot::Sender<()>)>,
}

/// Runs until the relay is stopped or dropped, or nobody listens any more.
pub(super) async fn run(parts: Parts) {
    let now = Instant::now();
    let jitter = JITTER.mul_f64(fastrand::f64());
    let mut task = Task {
        fleet: Fleet::new(&parts.node, &parts.process, jitter, now.into_std()),
        parts,
        notices: None,
        connect_at: now,
        outbox: Outbox::default(),
        heartbeat: Heartbeat::default(),
        last_ms: 0,
        backlog: VecDeque::new(),
        has_caught_up: false,
        trouble_since: None,
        twin_since: None,
        dropped: 0,
        ignored: Throttle::new(1, now.into_std()),
        stopping: None,
    };
    loop {
        task.turn(Instant::now());
        if task.is_over(Instant::now()) {
            return;
        }
        match task.wait().await {
            Woken::Command(Some(Command::Say(message))) => task.say(&message),
            Woken::Command(Some(Command::Stop { limit, done })) => task.stop(limit, done),
            Woken::Command(None) | Woken::Over => return,
            Woken::Notice(Some(notice)) => task.take(notice, Instant::now()),
            Woken::Notice(None) => task.disconnected("the thread of the relay's topic has ended", Instant::now()),
            Woken::Status => {
                let status = task.parts.status.borrow_and_update().clone();
                status.into_iter().for_each(|status| task.heartbeat.set(status));
            }
            Woken::Work => {}
        }
    }
}

impl Task {
    async fn wait(&mut self) -> Woken {
        let due = self.next_due(Instant::now());
        let due = async {
            match due {
                Some(time) => tokio::time::sleep_until(time).await,
                None => pending().await,
            }
        };
        let takes_notices = self.backlog.len() < BACKLOG;
        let notice = async {
            match &mut self.notices {
                Some(notices) => notices.notices.recv().await,
                None => pending().await,
            }
        };
        let parts = &mut self.parts;
        tokio::select! {
            command = parts.commands.recv() => Woken::Command(command),
            changed = parts.status.changed() => if changed.is_ok() { Woken::Status } else { Woken::Over },
            notice = notice, if takes_notices => Woken::Notice(notice),
            room = parts.events.reserve(), if !self.backlog.is_empty() => match room {
                Ok(room) => {
                    if let Some(event) = self.backlog.pop_front() {
                        room.send(event);
                    }
                    Woken::Work
                }
                Err(_) => Woken::Over,
            },
            () = due => Woken::Work,
        }
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        let std = now.into_std();
        let heartbeat = self.heartbeat.next_due(std).filter(|_| self.stopping.is_none());
        // If the pause after a failure is over, records wait for something else.
        let again = self.outbox.next_due().filter(|time| *time > std);
        let others = [heartbeat, self.fleet.next_due(), again];
        let times = others.into_iter().flatten().map(Instant::from_std);
        let connect = self.notices.is_none().then_some(self.connect_at);
        times.chain(connect).chain(self.stopping.as_ref().map(|(until, _)| *until)).min()
    }

    /// Does all that is due.
    fn turn(&mut self, now: Instant) {
        if self.notices.is_none() && now >= self.connect_at {
            match (self.parts.connect)() {
                Ok(notices) => self.notices = Some(notices),
                Err(error) => self.disconnected(&error.reason, now),
            }
        }
        let std = now.into_std();
        if self.stopping.is_none()
            && let Some(status) = self.heartbeat.beat(std)
        {
            self.write_status(status, false);
        }
        let changes = self.fleet.pass_time(std);
        self.changed(changes, now);
        for message in self.fleet.forget(std) {
            tracing::info!(?message, "takes back the status of a node that is gone for an hour");
            self.say(&message);
        }
        while let Some(notices) = &self.notices
            && let Ok(room) = notices.writes.try_reserve()
            && let Some(write) = self.outbox.next(std)
        {
            room.send(write);
        }
        if self.outbox.dropped > self.dropped {
            self.dropped = self.outbox.dropped;
            tracing::debug!(total = self.dropped, "gave up a hint, because too many records wait to be written");
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.stopping.as_ref().is_some_and(|(until, _)| now >= *until || self.outbox.is_empty())
    }

    fn say(&mut self, message: &Message) {
        let worth = if matches!(message, Message::Hint(_)) { Worth::Droppable } else { Worth::Kept };
        self.outbox.push(message.key(&self.parts.fleet), message.value(), worth);
    }

    fn write_status(&mut self, status: serde_json::Value, stopping: bool) {
        self.last_ms = now_ms().max(self.last_ms + 1);
        let (node, process) = (self.parts.node.clone(), self.parts.process.clone());
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let status = NodeStatus { node, process, at_ms: self.last_ms, version, stopping, status };
        self.say(&Message::Node { name: status.node.clone(), status: Some(status) });
    }

    fn stop(&mut self, limit: Duration, done: oneshot::Sender<()>) {
        // A status that was set just before may not have been taken yet.
        let newest = self.parts.status.borrow_and_update().clone();
        newest.into_iter().for_each(|status| self.heartbeat.set(status));
        if let Some(status) = self.heartbeat.status().cloned() {
            self.write_status(status, true);
        }
        self.stopping = Some((Instant::now() + limit, done));
    }

    fn take(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Begin(beginning) => {
                if beginning == Beginning::New {
                    tracing::warn!("the relay's topic was deleted and created again: it is read from its beginning");
                }
                self.fleet.begin(beginning);
            }
            Notice::Record { key, value } => self.record(key.as_deref(), value.as_deref(), now),
            Notice::CaughtUp => {
                let (changes, rewrites) = self.fleet.caught_up(now.into_std());
                self.changed(changes, now);
                rewrites.iter().for_each(|message| self.say(message));
                self.has_caught_up = true;
                self.backlog.push_back(Event::CaughtUp);
                self.show();
            }
            Notice::Written { token, result: Ok(()) } => self.outbox.done(token),
            Notice::Written { token, result: Err(error) } if error.kind == ErrorKind::TooLarge => {
                tracing::warn!("a record for the relay's topic is too large and is given up: {}", error.reason);
                self.outbox.done(token);
            }
            Notice::Written { token, result: Err(error) } => {
                tracing::debug!("a record for the relay's topic was not written, and is tried again: {error}");
                self.outbox.failed(token, now.into_std());
            }
            Notice::Unfit(unfit) => {
                tracing::warn!("the relay's topic is not as it should be: {unfit}");
                self.backlog.push_back(Event::Unfit { reason: unfit.to_string() });
            }
            Notice::Trouble(error) => self.trouble(error.reason, now),
            Notice::Fine => self.fine(now),
        }
    }

    fn record(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, now: Instant) {
        match Message::parse(&self.parts.fleet, key, value) {
            Ok(Message::Hint(hint)) if self.has_caught_up && hint.from != self.parts.node => {
                self.backlog.push_back(Event::Hint(hint));
            }
            Ok(message) => {
                let is_status = matches!(message, Message::Node { .. });
                let changes = self.fleet.apply(message, now.into_std());
                if changes.is_empty() && is_status {
                    self.show();
                }
                self.changed(changes, now);
            }
            Err(ignored) if ignored.is_normal() => {}
            Err(ignored) => {
                self.parts.ignored.fetch_add(1, Ordering::Relaxed);
                if let Some(dropped) = self.ignored.pass(now.into_std()) {
                    let key = String::from_utf8_lossy(key.unwrap_or_default());
                    tracing::warn!(?key, dropped, "ignores a record of the relay's topic: {ignored}");
                }
            }
        }
    }

    fn changed(&mut self, changes: Vec<Change>, now: Instant) {
        if changes.is_empty() {
            return;
        }
        self.show();
        for change in changes {
            let event = match change {
                Change::Abort { function, abort } => Event::Abort { function, abort },
                Change::Rollout { function, rollout } => Event::Rollout { function, rollout },
                Change::Pause { trigger, pause: Some(pause) } => Event::Paused { trigger, pause },
                Change::Pause { trigger, pause: None } => Event::Resumed { trigger },
                Change::Nodes if self.backlog.back() == Some(&Event::FleetChanged) => continue,
                Change::Nodes => Event::FleetChanged,
                Change::Twin(twin) => {
                    self.log_twin(twin.as_deref(), now);
                    Event::Twin(twin)
                }
            };
            self.backlog.push_back(event);
        }
    }

    fn log_twin(&mut self, twin: Option<&str>, now: Instant) {
        let node = &self.parts.node;
        match (twin, self.twin_since) {
            (Some(twin), None) => {
                self.twin_since = Some(now);
                tracing::warn!(node, process = twin, "another process runs under the name of this node");
            }
            (None, Some(since)) => {
                self.twin_since = None;
                let lasted = now.duration_since(since);
                tracing::info!(node, ?lasted, "no other process runs under the name of this node any more");
            }
            _ => {}
        }
    }

    fn show(&self) {
        self.parts.view.send_replace(self.fleet.view().clone());
    }

    fn disconnected(&mut self, reason: &str, now: Instant) {
        (self.notices, self.connect_at) = (None, now + CONNECT_AGAIN);
        self.outbox.all_failed(now.into_std());
        self.trouble(reason.to_owned(), now);
    }

    fn trouble(&mut self, reason: String, now: Instant) {
        if self.trouble_since.is_none() {
            self.trouble_since = Some(now);
            tracing::warn!("the relay's topic cannot be used: {reason}");
        }
        self.backlog.push_back(Event::Trouble { reason });
    }

    fn fine(&mut self, now: Instant) {
        if let Some(since) = self.trouble_since.take() {
            tracing::info!(lasted = ?now.duration_since(since), "the relay's topic can be used again");
            self.backlog.push_back(Event::Fine);
        }
    }
}
