//! A member of a consumer group, from joining to leaving.
//!
//! The member is left in two steps, and neither waits. Closing starts it, and the events of the
//! client go on until the client has left. A member that is dropped before goes to a thread of its
//! own, which goes on with it for [`LEAVE_LIMIT`] and then ends the client all the same.
//!
//! Two things keep librdkafka from leaving. One is a rebalance that nobody answers: it is answered
//! here when the member closes. The other is a commit that is under way with a broker that is away:
//! librdkafka repeats it without end until its client is destroyed, and then waits for it up to
//! `socket.timeout.ms`. That is why it ends on a thread that nobody waits for.

use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings as c;

use super::broker::Event;
use super::client::{Client, Error, ErrorKind, log};
use super::error::{Code, text};
use super::queue::{Queue, QueueEvent};
use super::wake::WakeEnd;

/// How long a member that nobody uses any more tries to leave its group.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked at then, if nothing happens.
const LOOK_MS: i32 = 50;

pub(super) struct Member {
    // Queues before the client: see `Queue`.
    pub events: Queue,
    /// What was fetched of all partitions that flow.
    pub records: Queue,
    pub client: Arc<Client>,
    /// Name of the trigger, for log lines.
    owner: String,
    group: String,
    state: State,
    /// A rebalance was handed out and is not answered yet.
    unanswered: bool,
    /// What the last connection failed for, for errors that do not say it.
    unreachable: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has subscribed to nothing yet.
    Outside,
    Inside,
    Leaving,
    /// It was never in, or the client is broken and cannot say good-bye.
    GivenUp,
}

impl Member {
    pub(super) fn new(client: Client, owner: &str, group: &str, wake: &Arc<WakeEnd>) -> Result<Self, Error> {
        let client = Arc::new(client);
        // SAFETY: both calls return new references to queues of this client.
        let (events, records) = unsafe {
            (
                Queue::new(c::rd_kafka_queue_get_consumer(client.pointer()), client.clone(), wake.clone())?,
                Queue::new(c::rd_kafka_queue_new(client.pointer()), client.clone(), wake.clone())?,
            )
        };
        Ok(Self {
            events,
            records,
            client,
            owner: owner.to_owned(),
            group: group.to_owned(),
            state: State::Outside,
            unanswered: false,
            unreachable: None,
        })
    }

    /// The next event, without waiting.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        loop {
            let event = self.events.poll(0)?;
            if let Some(event) = self.translate(&event) {
                return Some(event);
            }
        }
    }

    fn translate(&mut self, event: &QueueEvent) -> Option<Event> {
        match event.kind() {
            c::RD_KAFKA_EVENT_REBALANCE => {
                self.unanswered = true;
                let partitions = event.positions();
                let assigned = event.code() == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
                Some(if assigned {
                    Event::Assigned(partitions)
                } else {
                    Event::Revoked { partitions, lost: self.is_lost() }
                })
            }
            c::RD_KAFKA_EVENT_OFFSET_COMMIT => Some(Event::Committed {
                // librdkafka copies the opaque of the request into every answer to it.
                number: event.opaque(),
                result: match event.code() {
                    // Everything was committed already.
                    Code::RD_KAFKA_RESP_ERR__NO_OFFSET => Ok(()),
                    _ => event.error().and_then(|()| event.partition_error()),
                },
            }),
            c::RD_KAFKA_EVENT_ERROR => event.error().err().map(|error| Event::Error(self.explain(error, event.code()))),
            c::RD_KAFKA_EVENT_LOG => {
                let (level, facility, line) = event.line()?;
                log(&self.owner, level, &facility, &line);
                only_logged(&facility, &line).map(Event::Error)
            }
            _ => None,
        }
    }

    /// Names the group, or the broker, in an error that does not.
    fn explain(&mut self, mut error: Error, code: Code) -> Error {
        if error.kind == ErrorKind::GroupRefused || code == Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED {
            return error.of(&format!("group {}", self.group));
        }
        if error.fatal && self.client.fatal() == Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID {
            return error.of("another node runs under the same name, which a static member must have for itself");
        }
        if code == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN {
            if let Some(last) = &self.unreachable {
                error.reason = format!("{}, the last one: {last}", error.reason);
            }
        } else if error.kind == ErrorKind::Unreachable {
            // How long it took, and how often: with it no two reasons would be the same.
            if let Some((what, _)) = error.reason.rsplit_once(" (after ") {
                error.reason = what.to_owned();
            }
            self.unreachable = Some(error.reason.clone());
        }
        error
    }

    /// A subscription is about to be sent.
    pub(super) fn joins(&mut self) {
        if self.state == State::Outside {
            self.state = State::Inside;
        }
    }

    /// Answers a rebalance by `call`, or, if the member leaves, by giving everything back: then that
    /// is the answer to any of them.
    pub(super) fn answer(&mut self, call: impl FnOnce(&Self) -> Result<(), Error>) -> Result<(), Error> {
        self.unanswered = false;
        if self.state == State::Inside {
            return call(self);
        }
        self.give_back();
        Ok(())
    }

    fn give_back(&mut self) {
        self.unanswered = false;
        // SAFETY: the client lives; null is no assignment at all.
        let given = Error::check(unsafe { c::rd_kafka_assign(self.client.pointer(), ptr::null()) });
        if let Err(error) = given {
            tracing::debug!(trigger = self.owner, "while leaving the group: {error}");
        }
    }

    /// Whether the broker has given the assignment to others already.
    pub(super) fn is_lost(&self) -> bool {
        // SAFETY: the client lives.
        unsafe { c::rd_kafka_assignment_lost(self.client.pointer()) != 0 }
    }

    pub(super) fn is_cooperative(&self) -> bool {
        // SAFETY: the client lives; the string is static.
        text(unsafe { c::rd_kafka_rebalance_protocol(self.client.pointer()) }) == "COOPERATIVE"
    }

    /// Starts to leave.
    pub(super) fn close(&mut self) {
        match self.state {
            State::Outside => self.state = State::GivenUp,
            State::Inside => {
                // SAFETY: the client and its queue live.
                let started = Error::check_object(unsafe {
                    c::rd_kafka_consumer_close_queue(self.client.pointer(), self.events.pointer())
                });
                self.state = match started {
                    Ok(()) => State::Leaving,
                    Err(error) => {
                        tracing::debug!(trigger = self.owner, "a client cannot leave its group: {error}");
                        State::GivenUp
                    }
                };
                // While it waits for the answer to a revocation of all it has, the client does not
                // ask for another one. The answer comes behind the request to close, as that is
                // how the client's own queue of requests is ordered.
                if self.unanswered && self.state == State::Leaving {
                    self.give_back();
                }
            }
            State::Leaving | State::GivenUp => {}
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self.state {
            State::Outside | State::Inside => false,
            // SAFETY: the client lives.
            State::Leaving => unsafe { c::rd_kafka_consumer_closed(self.client.pointer()) != 0 },
            State::GivenUp => true,
        }
    }

    /// Leaves and ends the client where nobody waits for it.
    pub(super) fn leave_behind(self) {
        if self.state == State::Outside || self.is_closed() {
            return;
        }
        let owner = self.owner.clone();
        // Without a thread the client ends by its own drop, and the group waits for its session.
        if let Err(error) = thread::Builder::new().name("kafka-leave".to_owned()).spawn(move || self.leave()) {
            tracing::warn!(trigger = owner, "a member does not leave its group, there is no thread for it: {error}");
        }
    }

    fn leave(mut self) {
        // The loop has other clients by now.
        self.events.wake_nobody();
        self.records.wake_nobody();
        self.close();
        // Handed out after it began to close.
        if self.unanswered {
            self.give_back();
        }
        let end = Instant::now() + LEAVE_LIMIT;
        while !self.is_closed() && Instant::now() < end {
            // What a client that nobody uses says about its brokers is no news.
            let event = self.events.poll(LOOK_MS).filter(|event| event.kind() != c::RD_KAFKA_EVENT_LOG);
            let event = event.and_then(|event| self.translate(&event));
            if matches!(event, Some(Event::Assigned(_) | Event::Revoked { .. })) {
                self.give_back();
            }
        }
        if !self.is_closed() {
            tracing::info!(trigger = self.owner, "a client gives up leaving group {}: no answer", self.group);
        }
        let Self { events, records, client, .. } = self;
        drop((events, records));
        Client::end(client);
    }
}

/// What librdkafka tells in its log only, and a trigger has to know. By the text: no code comes with
/// a line.
fn only_logged(facility: &str, line: &str) -> Option<Error> {
    let kind = match facility {
        // "[thrd:main]: in [0]: offset reset (at offset 10000 (leader epoch 0), broker 1) to cached BEGINNING
        // offset 0 (leader epoch -1): fetch failed due to requested offset not available on the
        // broker: Broker: Offset out of range"
        "OFFSET" if line.contains("offset reset (at") => ErrorKind::OffsetOutOfRange,
        // "[thrd:main]: Group "g": failed to run assignor "cooperative-sticky" for 2 member(s): ..."
        "ASSIGNOR" if line.contains("failed to run assignor") => ErrorKind::GroupRefused,
        _ => return None,
    };
    let (_thread, text) = line.split_once("]: ").filter(|_| line.starts_with("[thrd:")).unwrap_or(("", line));
    Some(Error::new(kind, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_matter_become_errors() {
        let told = |facility: &str, line: &str| only_logged(facility, line).map(|error| (error.kind, error.reason));
        // A client of a real broker logged this.
        let reset = "t1 [0]: offset reset (at offset 1000000 (leader epoch -1), broker 1) to offset BEGINNING (leader \
                     epoch -1): fetch failed due to requested offset not available on the broker: Broker: Offset out of \
                     range";
        let line = format!("[thrd:main]: {reset}");
        assert_eq!(told("OFFSET", &line), Some((ErrorKind::OffsetOutOfRange, reset.to_owned())));
        let assignor = "Group \"g\": failed to run assignor \"cooperative-sticky\" for 2 member(s): no";
        assert_eq!(told("ASSIGNOR", assignor), Some((ErrorKind::GroupRefused, assignor.to_owned())));
        assert_eq!(told("FAIL", &line), None);
        assert_eq!(told("OFFSET", "[thrd:main]: something else"), None);
    }
}
