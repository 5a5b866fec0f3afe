//! A member of a consumer group, from joining to leaving.
//!
//! A member leaves its group in two steps, and neither blocks. Closing starts to leave; events of the client
//! still arrive until it has left. If the member is dropped before that, a separate thread continues for up
//! to [`LEAVE_LIMIT`], and then destroys the client in any case.
//!
//! Two things can prevent librdkafka from leaving. One is a rebalance without an answer: this module answers
//! it when the member closes. The other is a running commit to a broker that does not answer: librdkafka
//! repeats the commit until the client is destroyed, and then waits for it for up to `socket.timeout.ms`.
//! That is why the client is destroyed on a separate thread, and no other thread waits for it.

use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings as c;

use super::broker::Event;
use super::client::{Client, Error, ErrorKind, log};
use super::error::{Code, text};
use super::queue::{Queue, QueueEvent};
use super::wake::WakeHandle;

/// How long a dropped member tries to leave its group.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);
/// How long one poll for events takes meanwhile.
const POLL_MS: i32 = 50;

pub(super) struct Member {
    // The queues are dropped before the client: see `Queue`.
    pub events: Queue,
    /// The fetched records of all partitions that [flow](super::Broker::flow).
    pub records: Queue,
    pub client: Arc<Client>,
    /// Name of the trigger, for log lines.
    owner: String,
    group: String,
    state: State,
    /// A rebalance event was returned and is not answered yet.
    unanswered: bool,
    /// Why the last connection failed. It is added to errors that do not contain the reason.
    unreachable: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The member has not subscribed yet.
    NotJoined,
    Joined,
    Leaving,
    /// The member was closed before it joined, or the client could not start to leave.
    GivenUp,
}

impl Member {
    pub(super) fn new(client: Client, owner: &str, group: &str, wake: &Arc<WakeHandle>) -> Result<Self, Error> {
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
            state: State::NotJoined,
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
                // librdkafka copies the opaque value of the request to each event about its result.
                number: event.opaque(),
                result: match event.code() {
                    // There was nothing new to commit.
                    Code::RD_KAFKA_RESP_ERR__NO_OFFSET => Ok(()),
                    _ => event.error().and_then(|()| event.partition_error()),
                },
            }),
            c::RD_KAFKA_EVENT_ERROR => event.error().err().map(|error| Event::Error(self.explain(error, event.code()))),
            c::RD_KAFKA_EVENT_LOG => {
                let (level, facility, line) = event.line()?;
                log(&self.owner, level, &facility, &line);
                error_in_log(&facility, &line).map(Event::Error)
            }
            _ => None,
        }
    }

    /// Adds the group, or the reason of the last failed connection, to an error that does not contain it.
    fn explain(&mut self, mut error: Error, code: Code) -> Error {
        if error.kind == ErrorKind::GroupRefused || code == Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED {
            return error.of(&format!("group {}", self.group));
        }
        if error.fatal && self.client.fatal() == Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID {
            return error.of("another node has the same name, but the name of a static member must be unique");
        }
        if code == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN {
            if let Some(last) = &self.unreachable {
                error.reason = format!("{}, the last one: {last}", error.reason);
            }
        } else if error.kind == ErrorKind::Unreachable {
            // Removes the duration and the count, so that equal errors have equal reasons.
            if let Some((what, _)) = error.reason.rsplit_once(" (after ") {
                error.reason = what.to_owned();
            }
            self.unreachable = Some(error.reason.clone());
        }
        error
    }

    /// Called before the member subscribes.
    pub(super) fn set_joined(&mut self) {
        if self.state == State::NotJoined {
            self.state = State::Joined;
        }
    }

    /// Answers a rebalance by `call`. If the member is leaving, it answers by releasing all partitions
    /// instead.
    pub(super) fn answer_rebalance(&mut self, call: impl FnOnce(&Self) -> Result<(), Error>) -> Result<(), Error> {
        self.unanswered = false;
        if self.state == State::Joined {
            return call(self);
        }
        self.release_assignment();
        Ok(())
    }

    fn release_assignment(&mut self) {
        self.unanswered = false;
        // SAFETY: the client lives; null means an empty assignment.
        let released = Error::check(unsafe { c::rd_kafka_assign(self.client.pointer(), ptr::null()) });
        if let Err(error) = released {
            tracing::debug!(trigger = self.owner, "cannot release the assignment while leaving the group: {error}");
        }
    }

    /// Whether the group has already given the assignment to other members.
    pub(super) fn is_lost(&self) -> bool {
        // SAFETY: the client lives.
        unsafe { c::rd_kafka_assignment_lost(self.client.pointer()) != 0 }
    }

    pub(super) fn is_cooperative(&self) -> bool {
        // SAFETY: the client lives; the string is static.
        text(unsafe { c::rd_kafka_rebalance_protocol(self.client.pointer()) }) == "COOPERATIVE"
    }

    /// Starts to leave the group.
    pub(super) fn close(&mut self) {
        match self.state {
            State::NotJoined => self.state = State::GivenUp,
            State::Joined => {
                // SAFETY: the client and its queue live.
                let started = Error::check_object(unsafe {
                    c::rd_kafka_consumer_close_queue(self.client.pointer(), self.events.pointer())
                });
                self.state = match started {
                    Ok(()) => State::Leaving,
                    Err(error) => {
                        tracing::debug!(trigger = self.owner, "cannot leave group {}: {error}", self.group);
                        State::GivenUp
                    }
                };
                // If the client already waits for the answer to a revocation of all its partitions, it
                // does not send another revocation event for closing. So the pending one is answered
                // here. The client handles this answer after the request to close, because its queue of
                // requests is ordered.
                if self.unanswered && self.state == State::Leaving {
                    self.release_assignment();
                }
            }
            State::Leaving | State::GivenUp => {}
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self.state {
            State::NotJoined | State::Joined => false,
            // SAFETY: the client lives.
            State::Leaving => unsafe { c::rd_kafka_consumer_closed(self.client.pointer()) != 0 },
            State::GivenUp => true,
        }
    }

    /// Leaves the group and destroys the client, on a separate thread.
    pub(super) fn leave_in_background(self) {
        if self.state == State::NotJoined || self.is_closed() {
            return;
        }
        let owner = self.owner.clone();
        // If no thread can be started, the client is only dropped. The member then stays in the group until
        // its session times out.
        if let Err(error) = thread::Builder::new().name("kafka-leave".to_owned()).spawn(move || self.leave()) {
            tracing::warn!(trigger = owner, "cannot start a thread to leave the group: {error}");
        }
    }

    fn leave(mut self) {
        // The loop does not use this client any more.
        self.events.stop_waking();
        self.records.stop_waking();
        self.close();
        // A rebalance event may have been returned after closing began.
        if self.unanswered {
            self.release_assignment();
        }
        let end = Instant::now() + LEAVE_LIMIT;
        while !self.is_closed() && Instant::now() < end {
            // Log lines of an unused client are not interesting.
            let event = self.events.poll(POLL_MS).filter(|event| event.kind() != c::RD_KAFKA_EVENT_LOG);
            let event = event.and_then(|event| self.translate(&event));
            if matches!(event, Some(Event::Assigned(_) | Event::Revoked { .. })) {
                self.release_assignment();
            }
        }
        if !self.is_closed() {
            tracing::info!(trigger = self.owner, "gave up leaving group {}: no answer", self.group);
        }
        let Self { events, records, client, .. } = self;
        drop((events, records));
        Client::end(client);
    }
}

/// The error in a log line, for errors that librdkafka reports only in its log and that a trigger needs to
/// know. It is recognized by the text, because a log line has no error code.
fn error_in_log(facility: &str, line: &str) -> Option<Error> {
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
    fn errors_are_found_in_log_lines() {
        let found = |facility: &str, line: &str| error_in_log(facility, line).map(|error| (error.kind, error.reason));
        // A client of a real broker logged this.
        let reset = "t1 [0]: offset reset (at offset 1000000 (leader epoch -1), broker 1) to offset BEGINNING (leader \
                     epoch -1): fetch failed due to requested offset not available on the broker: Broker: Offset out \
                     of range";
        let line = format!("[thrd:main]: {reset}");
        assert_eq!(found("OFFSET", &line), Some((ErrorKind::OffsetOutOfRange, reset.to_owned())));
        let assignor = "Group \"g\": failed to run assignor \"cooperative-sticky\" for 2 member(s): no";
        assert_eq!(found("ASSIGNOR", assignor), Some((ErrorKind::GroupRefused, assignor.to_owned())));
        assert_eq!(found("FAIL", &line), None);
        assert_eq!(found("OFFSET", "[thrd:main]: something else"), None);
    }
}
