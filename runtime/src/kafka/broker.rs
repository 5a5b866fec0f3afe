//! The interface of a trigger's loop to Kafka, as traits: a member of a consumer group, a producer, requests
//! to the brokers that may block, and a factory for all of these.
//!
//! No method waits, unless its documentation says so. Each trait has three implementations: one for real
//! brokers, one that plays a list of records without a broker, and one for the simulated cluster of the
//! tests. So the same loop runs on all three.

use std::ops::Range;
use std::time::Duration;

use super::Partition;
use super::client::{Error, Metadata};
use super::list::Position;
use crate::record::{Header, Message, OwnedRecord, Record};

/// An event of a group member. Records are not events.
#[derive(Clone, Debug)]
pub enum Event {
    /// The group assigns these partitions. The assignment takes effect when [`Broker::assign`] is called
    /// with them. The list may be empty.
    Assigned(Vec<Position>),
    /// The group revokes these partitions. They are released when [`Broker::unassign`] is called with them.
    /// If they are `lost`, other members may own them already, and no offset may be committed for them.
    Revoked { partitions: Vec<Position>, lost: bool },
    /// The commit with this number has ended.
    Committed { number: u64, result: Result<(), Error> },
    /// Something is wrong. Unless the error is fatal, the client itself tries again.
    ///
    /// Some errors are reported only once, even if they last. For example, a group that denies access is
    /// reported when this is found, and the error is over when partitions are assigned.
    Error(Error),
}

/// One item that is taken from a partition.
#[derive(Debug)]
pub enum Taken<R> {
    Record(R),
    /// The record at this offset cannot be read.
    Failed {
        offset: i64,
        error: Error,
    },
}

/// A closure for [`Broker::ask`]. It asks the brokers and delivers the answer itself, for example by a
/// channel.
pub type Question = Box<dyn FnOnce(&dyn Reader) + Send>;
/// A closure for [`Sink::ask`]. It is called with the metadata of the topics.
pub type TopicsQuestion = Box<dyn FnOnce(Result<Metadata, Error>) + Send>;

/// A member of a consumer group.
///
/// After an [`Event::Assigned`] or [`Event::Revoked`], [`Broker::take`] returns no records until the event
/// is answered by [`Broker::assign`] or [`Broker::unassign`]. After the event that revokes an assignment,
/// no record of this assignment is returned any more.
pub trait Broker: Send + 'static {
    type Record: Record + From<OwnedRecord> + Send;

    /// The partition with this topic and number. `None`: the client does not know the topic.
    fn partition(&self, topic: &str, number: i32) -> Option<Partition>;

    /// The next event.
    fn next_event(&mut self) -> Option<Event>;

    /// Takes the next records and returns their number. If it is less than `at_most`, no more records are
    /// there now.
    fn take(&mut self, at_most: usize, each: impl FnMut(Partition, Taken<Self::Record>)) -> usize;

    /// Replaces the subscription. The first subscription joins the group.
    fn subscribe(&mut self, topics: &[String]) -> Result<(), Error>;

    /// Answers [`Event::Assigned`]. A position without an offset means the beginning of the partition.
    fn assign(&mut self, positions: &[Position]) -> Result<(), Error>;

    /// Answers [`Event::Revoked`].
    fn unassign(&mut self, partitions: &[Position]) -> Result<(), Error>;

    /// Whether the group has already given the assignment to other members.
    fn is_lost(&self) -> bool;

    /// With `flows`, [`Broker::take`] returns records of the partition. Without it, the records that were
    /// fetched stay in the queue of the partition. Records that were in the shared queue before the call are
    /// still returned.
    fn flow(&mut self, partition: Partition, flows: bool) -> Result<(), Error>;

    /// With `pauses`, stops fetching the partition and discards the fetched records that were not taken.
    /// Without it, fetching continues after the last record that was taken.
    fn pause(&mut self, partition: Partition, pauses: bool) -> Result<(), Error>;

    /// Continues at these offsets. Records that were fetched before are not returned any more.
    fn seek(&mut self, positions: &[Position]) -> Result<(), Error>;

    /// Starts a commit. [`Event::Committed`] with the same number reports its result.
    fn commit(&mut self, number: u64, positions: &[Position]) -> Result<(), Error>;

    /// The offset behind the last record of the partition, as far as the client knows from what it fetched last.
    /// `None`: not yet.
    fn end(&self, _partition: Partition) -> Option<i64> {
        None
    }

    /// Runs a question on a thread that may block.
    fn ask(&mut self, question: Question);

    /// Starts to leave the group. Events still come, and rebalances must be answered, until
    /// [`Broker::is_closed`].
    fn close(&mut self);

    /// Whether the member has left its group, or has given up leaving it.
    fn is_closed(&self) -> bool;
}

/// Requests to the brokers. Each method blocks until the answer comes, at most for `limit`.
pub trait Reader {
    /// The committed positions of these partitions. Waits until no running transaction can change them.
    fn committed(&self, partitions: &[Position], limit: Duration) -> Result<Vec<Position>, Error>;

    /// For each partition, the offset of the first record that is not older than `timestamp_ms`. If there is
    /// no such record, the end of the partition.
    fn at_time(&self, partitions: &[Position], timestamp_ms: i64, limit: Duration) -> Result<Vec<Position>, Error>;

    /// For each partition, the range from the offset of its first record to the offset that its next record
    /// will get.
    fn ranges(&self, partitions: &[Position], limit: Duration) -> Result<Vec<Range<i64>>, Error>;

    /// The metadata of these topics.
    fn metadata(&self, topics: &[String], limit: Duration) -> Result<Metadata, Error>;
}

/// A producer.
pub trait Sink: Send + 'static {
    /// Produces messages. Messages of one partition keep their order, also across several calls. Everything
    /// is copied before the call returns. Every message is acknowledged exactly once.
    fn send(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]);

    /// Calls `each` with the acknowledgements that have arrived, without waiting.
    fn acknowledgements(&mut self, each: &mut dyn FnMut(Acknowledgement));

    /// Whether acknowledgements wake the loop. At first they do. After turning this on again, the loop must
    /// call [`Sink::acknowledgements`] for those that arrived meanwhile.
    fn set_wakes(&mut self, _wakes: bool) {}

    /// The number of messages that are not acknowledged yet.
    fn outstanding(&self) -> usize;

    /// How many messages may be unacknowledged at once.
    fn most_outstanding(&self) -> usize {
        usize::MAX
    }

    /// Sends the queued messages at once.
    fn flush(&mut self);

    /// Gives up all messages that were not sent yet, and reports them as [`Refusal::ForNow`]. A message that
    /// was sent is reported when the broker answers. After this call, new messages are refused too.
    fn abandon(&mut self);

    /// Updates the numbers of partitions of the topics.
    fn update(&mut self, metadata: &Metadata);

    /// Asks the brokers for the metadata of the sink's topics, on a thread that may block.
    fn ask(&self, answer: TopicsQuestion);
}

/// The result of producing a message.
#[derive(Debug)]
pub struct Acknowledgement {
    pub token: u64,
    pub result: Result<(), Refusal>,
}

/// Why a message was not written to its topic.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The message will never be accepted: it is too large or malformed, or its partition does not exist.
    ForGood(Error),
    /// The message was in a batch with another message that the broker refuses for good, and the broker does
    /// not say which one. This producer sends no later messages.
    WithOthers(Error),
    /// The producer gave up; another producer may succeed.
    ForNow(Error),
    /// The message was behind a message that was refused for one of the reasons above. That message is
    /// reported too.
    Following,
}

/// How many messages of a partition go into one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// As many as are queued. If the broker refuses a message for good, the producer ends, because later
    /// messages of the same partition must not be written before the messages that are sent again.
    Full,
    /// One, so that the broker never refuses a message because of another one.
    Single,
    /// As many as are queued. Messages after a refused one are still sent. This is for callers that do not
    /// send refused messages again, such as tools.
    Separate,
}

/// Creates the clients of one trigger.
pub trait Clients: Send + 'static {
    type Broker: Broker;
    type Sink: Sink;

    /// Creates a member of the trigger's group. It joins the group when it subscribes. It prefetches at most
    /// `queue_bytes` into each of its queues.
    fn broker(&mut self, queue_bytes: u64) -> Result<Self::Broker, Error>;

    /// Creates a producer for the output topics of the trigger.
    fn sink(&mut self, batching: Batching) -> Result<Self::Sink, Error>;

    /// Waits until one of the clients has a record, an event or an acknowledgement.
    fn wait(&self) -> impl Future<Output = ()> + Send;
}
