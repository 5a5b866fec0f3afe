//! The relay as an operator uses it: reads the topic to its end, follows it, and writes single messages. It is no
//! node: no other one sees it, and it never creates the topic.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::fleet::{Fleet, View};
use super::message::Message;
use crate::kafka::notices::{Absent, Notice, Notices, Settings, Write};
use crate::kafka::{Error, ErrorKind};
use crate::manifest::{Cluster, Name};

/// How long reading the topic, or writing a message, may take if nobody says anything else.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The id of the clients.
const CLIENT_ID: &str = "tidegate-console";

/// The name of the error that says nothing about any broker by itself.
const ALL_DOWN: &str = "_ALL_BROKERS_DOWN";

/// Why the relay cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error(
        "there is no topic {topic} at {brokers}, through which the nodes of the fleet talk: the first node that runs \
         with this [control] creates it, if it may"
    )]
    Missing { topic: String, brokers: String },
    #[error("the topic {topic} at {brokers} may not be used: {reason}")]
    Denied { topic: String, brokers: String, reason: String },
    #[error("the topic {topic} could not be read to its end within {limit:?} from the brokers at {brokers}: {reason}")]
    Unread { topic: String, brokers: String, limit: Duration, reason: String },
    #[error(
        "it is not known whether the fleet was told: the brokers at {brokers} did not acknowledge it within \
         {limit:?}: {reason}"
    )]
    Unacknowledged { brokers: String, limit: Duration, reason: String },
    #[error("the fleet was not told: {reason}")]
    Unwritten { reason: String },
}

/// Reads and writes the topic of the relay until it is dropped.
pub struct Console {
    notices: Notices,
    fleet: Fleet,
    name: Name,
    topic: String,
    brokers: String,
    last_token: u64,
    /// What is wrong with reading or writing now.
    trouble: Option<Error>,
}

impl Console {
    /// Reads the topic to the end that it has. What is known then, see [`Console::view`].
    ///
    /// # Errors
    ///
    /// There is no such topic, it may not be read, or it was not read to its end within `limit`.
    pub async fn open(cluster: &Arc<Cluster>, topic: &str, fleet: &Name, limit: Duration) -> Result<Self, Trouble> {
        let settings = Settings {
            cluster: cluster.clone(),
            topic: topic.to_owned(),
            node: CLIENT_ID.to_owned(),
            absent: Absent::Wait,
        };
        let brokers = cluster.brokers.clone();
        let notices = Notices::start(settings).map_err(|error| Trouble::Unread {
            topic: topic.to_owned(),
            brokers: brokers.clone(),
            limit,
            reason: error.reason,
        })?;
        Self::with(notices, topic, &brokers, fleet, limit).await
    }

    async fn with(
        notices: Notices,
        topic: &str,
        brokers: &str,
        fleet: &Name,
        limit: Duration,
    ) -> Result<Self, Trouble> {
        let mut console = Self {
            notices,
            // No node and no process has an empty name.
            fleet: Fleet::new("", "", Duration::ZERO, Instant::now().into_std()),
            name: fleet.clone(),
            topic: topic.to_owned(),
            brokers: brokers.to_owned(),
            last_token: 0,
            trouble: None,
        };
        let until = Instant::now() + limit;
        loop {
            match console.take(until).await {
                Some(Notice::CaughtUp) => return Ok(console),
                Some(Notice::Trouble(error)) if error.kind == ErrorKind::UnknownTopic => {
                    return Err(Trouble::Missing { topic: console.topic, brokers: console.brokers });
                }
                Some(Notice::Trouble(Error { kind: ErrorKind::Denied, reason, .. })) => {
                    return Err(Trouble::Denied { topic: console.topic, brokers: console.brokers, reason });
                }
                Some(_) => {}
                None => {
                    let reason = console.reason();
                    return Err(Trouble::Unread { topic: console.topic, brokers: console.brokers, limit, reason });
                }
            }
        }
    }

    /// What the topic says.
    pub fn view(&self) -> &View {
        self.fleet.view()
    }

    /// Waits until the topic says something new, a node counts as gone, or a time has come.
    pub async fn next(&mut self, until: Instant) {
        let due = self.fleet.next_due().map(Instant::from_std);
        let until = due.map_or(until, |due| due.min(until));
        loop {
            match self.take(until).await {
                Some(Notice::Record { .. } | Notice::CaughtUp) | None => return,
                Some(_) => {}
            }
        }
    }

    /// What is wrong with the brokers now, if something is.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|error| error.reason.as_str())
    }

    /// Writes a message, and waits until the brokers have it.
    ///
    /// # Errors
    ///
    /// The brokers refuse it, or do not acknowledge it within `limit`.
    pub async fn write(&mut self, message: &Message, limit: Duration) -> Result<(), Trouble> {
        self.last_token += 1;
        let token = self.last_token;
        let write = Write { token, key: message.key(&self.name), value: message.value() };
        let until = Instant::now() + limit;
        if !matches!(timeout_at(until, self.notices.writes.send(write)).await, Ok(Ok(()))) {
            return Err(Trouble::Unwritten { reason: self.reason() });
        }
        loop {
            match self.take(until).await {
                Some(Notice::Written { token: written, result }) if written == token => {
                    return result.map_err(|error| match error.kind {
                        kind if kind.is_unavailable() => self.unacknowledged(limit, error.reason),
                        ErrorKind::Denied => Trouble::Denied {
                            topic: self.topic.clone(),
                            brokers: self.brokers.clone(),
                            reason: error.reason,
                        },
                        _ => Trouble::Unwritten { reason: error.reason },
                    });
                }
                Some(_) => {}
                None => return Err(self.unacknowledged(limit, self.reason())),
            }
        }
    }

    fn unacknowledged(&self, limit: Duration, reason: String) -> Trouble {
        Trouble::Unacknowledged { brokers: self.brokers.clone(), limit, reason }
    }

    fn reason(&self) -> String {
        self.trouble.as_ref().map_or_else(|| "no answer came".to_owned(), |error| error.reason.clone())
    }

    /// The next notice, after the fleet has learned from it. [`None`]: the time is over, or the thread has ended.
    async fn take(&mut self, until: Instant) -> Option<Notice> {
        let received = timeout_at(until, self.notices.notices.recv()).await;
        let now = Instant::now();
        self.fleet.pass_time(now.into_std());
        let notice = match received {
            Ok(Some(notice)) => notice,
            Ok(None) => {
                // Nothing will come any more, and whoever waits must not spin.
                tokio::time::sleep_until(until).await;
                return None;
            }
            Err(_) => return None,
        };
        match &notice {
            Notice::Begin(beginning) => self.fleet.begin(*beginning),
            Notice::Record { key, value } => {
                if let Ok(message) = Message::parse(&self.name, key.as_deref(), value.as_deref()) {
                    self.fleet.apply(message, now.into_std());
                }
            }
            Notice::CaughtUp => drop(self.fleet.caught_up(now.into_std())),
            // That all brokers are down comes last, and says less than why one of them is.
            Notice::Trouble(error) if error.name == ALL_DOWN && self.trouble.is_some() => {}
            Notice::Trouble(error) => self.trouble = Some(error.clone()),
            Notice::Fine => self.trouble = None,
            Notice::Unfit(_) | Notice::Written { .. } => {}
        }
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::message::Pause;
    use super::super::steering;
    use super::*;
    use crate::kafka::notices::Beginning;

    /// The other ends of a console's channels.
    struct Played {
        writes: mpsc::Receiver<Write>,
        notices: mpsc::Sender<Notice>,
    }

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    /// Opens a console on a topic that says this first.
    async fn open(first: Vec<Notice>) -> (Result<Console, Trouble>, Played) {
        let ((writes, to_write), (sent, notices)) = (mpsc::channel(64), mpsc::channel(64));
        for notice in first {
            sent.send(notice).await.expect("there is room");
        }
        let console = Console::with(Notices { writes, notices }, "t", "kafka:9092", &name("f"), LIMIT).await;
        (console, Played { writes: to_write, notices: sent })
    }

    fn record(message: &Message) -> Notice {
        Notice::Record { key: Some(message.key("f")), value: message.value() }
    }

    fn pause() -> Message {
        steering::pause(&name("t"), "lunch", "me", 7).expect("short")
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_is_read_to_its_end_and_followed() {
        let first = vec![Notice::Begin(Beginning::Same), record(&pause()), Notice::CaughtUp];
        let (console, played) = open(first).await;
        let mut console = console.expect("it opens");
        let expected = Pause { at_ms: 7, from: "me".to_owned(), reason: "lunch".to_owned() };
        assert_eq!(console.view().pauses.get("t"), Some(&expected));
        played.notices.send(record(&steering::resume(&name("t")))).await.expect("it listens");
        console.next(Instant::now() + LIMIT).await;
        assert!(console.view().pauses.is_empty());
        let before = Instant::now();
        console.next(before + LIMIT).await;
        assert_eq!(Instant::now() - before, LIMIT, "nothing new is waited for in vain");
    }

    #[tokio::test(start_paused = true)]
    async fn why_a_topic_cannot_be_read_is_told() {
        let trouble = |kind, reason: &str| {
            let all_down = Error { name: ALL_DOWN.to_owned(), ..Error::new(ErrorKind::Unreachable, "1/1 down") };
            vec![Notice::Trouble(Error::new(kind, reason)), Notice::Trouble(all_down)]
        };
        let check = async |first: Vec<Notice>, expected: &str| {
            let (opened, _played) = open(first).await;
            let text = opened.err().map(|trouble| trouble.to_string()).unwrap_or_default();
            assert!(text.contains(expected), "{text}");
        };
        check(trouble(ErrorKind::UnknownTopic, "no"), "there is no topic t at kafka:9092").await;
        check(trouble(ErrorKind::Denied, "not you"), "may not be used: not you").await;
        check(
            trouble(ErrorKind::Unreachable, "connection refused"),
            "within 10s from the brokers at kafka:9092: connection refused",
        )
        .await;
        check(Vec::new(), "no answer came").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_written_when_the_brokers_have_acknowledged_it() {
        let written = async |result: Option<Result<(), Error>>| {
            let (console, mut played) = open(vec![Notice::CaughtUp]).await;
            let mut console = console.expect("it opens");
            let broker = async {
                let write = played.writes.recv().await.expect("a write");
                assert_eq!((write.key, write.value), (b"f/pause/t".to_vec(), pause().value()));
                if let Some(result) = result {
                    let notice = Notice::Written { token: write.token, result };
                    played.notices.send(notice).await.expect("it listens");
                }
            };
            let message = pause();
            let (written, ()) = tokio::join!(console.write(&message, LIMIT), broker);
            written.map_err(|trouble| trouble.to_string())
        };
        assert_eq!(written(Some(Ok(()))).await, Ok(()));
        let check = |found: Result<(), String>, expected: &str| {
            assert!(found.as_ref().is_err_and(|text| text.contains(expected)), "{found:?}");
        };
        check(written(Some(Err(Error::new(ErrorKind::Denied, "not you")))).await, "may not be used: not you");
        check(
            written(Some(Err(Error::new(ErrorKind::TooLarge, "too large")))).await,
            "the fleet was not told: too large",
        );
        check(
            written(Some(Err(Error::new(ErrorKind::Timeout, "slow")))).await,
            "did not acknowledge it within 10s: slow",
        );
        check(written(None).await, "did not acknowledge it within 10s: no answer came");
    }
}
