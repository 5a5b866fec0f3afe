//! What the loop of a trigger needs of Kafka, as traits: a member of a consumer group, a producer,
//! answers to questions that take a while, and where all of them come from.
//!
//! Nothing here waits, except where a method says so. Each trait has one implementation for
//! brokers, one for lists of records that are played without any, and one in the simulated cluster of the tests,
//! so that the same loop runs on all of them.

use std::ops::Range;
use std::time::Duration;

use super::Partition;
use super::client::{Error, Metadata};
use super::list::Position;
use crate::record::{Header, Message, OwnedRecord, Record};

/// What a member reports beside records.
#[derive(Clone, Debug)]
pub enum Event {
    /// These partitions are ours once [`Broker::assign`] is called with them. The list may be empty.
    Assigned(Vec<Position>),
    /// These partitions go once [`Broker::unassign`] is called with them. If they are `lost`, they are
    /// gone already, and nothing may be committed for them.
    Revoked { partitions: Vec<Position>, lost: bool },
    /// The commit of this number ended.
    Committed { number: u64, result: Result<(), Error> },
    /// Something is wrong. The client goes on by itself unless the error is fatal.
    ///
    /// Some of them are told once, however long they last: that the group denies access is told
    /// when it is found, and is over when partitions are assigned.
    Error(Error),
}

/// What comes of a partition.
#[derive(Debug)]
pub enum Taken<R> {
    Record(R),
    /// Something at this offset cannot be read.
    Failed {
        offset: i64,
        error: Error,
    },
}

/// A question for [`Broker::ask`]. It sends its answer wherever it wants.
pub type Question = Box<dyn FnOnce(&dyn Reader) + Send>;
/// A question for [`Sink::ask`]: called with what the brokers say about the topics.
pub type TopicsQuestion = Box<dyn FnOnce(Result<Metadata, Error>) + Send>;

/// A member of a consumer group.
///
/// From an [`Event::Assigned`] or [`Event::Revoked`] until its answer no partition hands out records,
/// and no record of an earlier assignment follows the event that revokes it.
pub trait Broker: Send + 'static {
    type Record: Record + From<OwnedRecord> + Send;

    /// A partition by name. `None`: the client has no such topic.
    fn partition(&self, topic: &str, number: i32) -> Option<Partition>;

    /// The next event.
    fn next_event(&mut self) -> Option<Event>;

    /// Takes the next records and returns how many there were. Fewer than `at_most` means that there
    /// are no more now.
    fn take(&mut self, at_most: usize, each: impl FnMut(Partition, Taken<Self::Record>)) -> usize;

    /// Replaces the subscription. The first one joins the group.
    fn subscribe(&mut self, topics: &[String]) -> Result<(), Error>;

    /// Answers an assignment. A partition without an offset starts at its beginning.
    fn assign(&mut self, positions: &[Position]) -> Result<(), Error>;

    /// Answers a revocation.
    fn unassign(&mut self, partitions: &[Position]) -> Result<(), Error>;

    /// Whether the group has given the assignment to others already.
    fn is_lost(&self) -> bool;

    /// Lets the records of a partition come, or keeps them back without throwing away what was
    /// fetched. What came before the call is still taken.
    fn flow(&mut self, partition: Partition, flows: bool) -> Result<(), Error>;

    /// Stops fetching a partition and throws away what was fetched of it and not taken, or goes on
    /// behind the last record taken.
    fn pause(&mut self, partition: Partition, pauses: bool) -> Result<(), Error>;

    /// Goes on at these offsets. No record that was fetched before is handed out any more.
    fn seek(&mut self, positions: &[Position]) -> Result<(), Error>;

    /// Starts to commit. [`Event::Committed`] with this number says how it ended.
    fn commit(&mut self, number: u64, positions: &[Position]) -> Result<(), Error>;

    /// Has a question answered where it may wait.
    fn ask(&mut self, question: Question);

    /// Starts to leave the group. Events go on, and rebalances are answered until
    /// [`Broker::is_closed`].
    fn close(&mut self);

    /// Whether the member has left its group, or given up on it.
    fn is_closed(&self) -> bool;
}

/// Questions to the brokers. They wait for the answer, up to a limit.
pub trait Reader {
    /// The committed positions of these partitions, once no transaction that is under way can change
    /// them.
    fn committed(&self, partitions: &[Position], limit: Duration) -> Result<Vec<Position>, Error>;

    /// The first offset of each partition whose record is not older than `timestamp_ms`, or the end
    /// of the partition.
    fn at_time(&self, partitions: &[Position], timestamp_ms: i64, limit: Duration) -> Result<Vec<Position>, Error>;

    /// For each partition the offsets that it has: from its first record to where its next one will
    /// be.
    fn ranges(&self, partitions: &[Position], limit: Duration) -> Result<Vec<Range<i64>>, Error>;

    /// The partitions of topics.
    fn metadata(&self, topics: &[String], limit: Duration) -> Result<Metadata, Error>;
}

/// Where messages go.
pub trait Sink: Send + 'static {
    /// Produces messages. Those of one partition keep their order, also among several calls.
    /// Everything is copied before the call returns, and every message is acknowledged once.
    fn send(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]);

    /// Hands out the acknowledgements that came in, without waiting.
    fn acknowledgements(&mut self, each: &mut dyn FnMut(Acknowledgement));

    /// Whether acknowledgements wake the loop, as they do at first. What came while they did not has to be
    /// asked for.
    fn set_wakes(&mut self, _wakes: bool) {}

    /// Messages that are not acknowledged.
    fn outstanding(&self) -> usize;

    /// How many messages may be unacknowledged.
    fn most_outstanding(&self) -> usize {
        usize::MAX
    }

    /// Asks for what is queued to be sent now.
    fn flush(&mut self);

    /// Gives up what was not sent yet: it is reported as refused for now. What is with the broker
    /// already is reported when its answer comes. Nothing may be sent any more.
    fn abandon(&mut self);

    /// Takes in how many partitions the topics have.
    fn update(&mut self, metadata: &Metadata);

    /// Has the brokers asked about the sink's topics, where that may wait.
    fn ask(&self, answer: TopicsQuestion);
}

/// What became of a message.
#[derive(Debug)]
pub struct Acknowledgement {
    pub token: u64,
    pub result: Result<(), Refusal>,
}

/// Why a message is not in its topic.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// It will never be accepted: too large, no such partition, malformed.
    ForGood(Error),
    /// It was in a batch of which the broker refuses a message for good, and does not say which.
    /// Nothing that is sent later reaches the broker.
    WithOthers(Error),
    /// The client gave up; another one may succeed.
    ForNow(Error),
    /// It was behind a message that was refused in one of the ways above, which is reported too.
    Following,
}

/// How many messages of a partition a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// As many as there are. When the broker refuses one for good, the producer ends: what follows
    /// in the same partition must not overtake what has to be sent again.
    Full,
    /// One, so that the broker refuses none for what is wrong with another.
    Single,
    /// As many as there are. What follows a refused message goes on all the same: for records that
    /// nobody sends again.
    Separate,
}

/// Makes the clients of one trigger.
pub trait Clients: Send + 'static {
    type Broker: Broker;
    type Sink: Sink;

    /// A member of the trigger's group, which joins it when it subscribes. It fetches at most
    /// `queue_bytes` ahead in each of its queues.
    fn broker(&mut self, queue_bytes: u64) -> Result<Self::Broker, Error>;

    /// A producer to the trigger's topics.
    fn sink(&mut self, batching: Batching) -> Result<Self::Sink, Error>;

    /// Waits until one of the clients has something for the loop.
    fn wait(&self) -> impl Future<Output = ()> + Send;
}
