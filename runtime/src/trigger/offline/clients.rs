//! A desk as the clients of a driver, and as its one instance.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::desk::{Shared, lock};
use crate::engine::{Call, Invoker};
use crate::kafka::{
    Acknowledgement, Batching, Broker, Clients, Error, ErrorKind, Event, Metadata, Partition, Position, Question,
    Reader, Sink, Taken, TopicsQuestion,
};
use crate::record::{Header, Message, OwnedRecord, Topics};

/// Makes handles on one desk.
pub(super) struct OfflineClients<M> {
    desk: Shared<M>,
    topics: Arc<Topics>,
}

impl<M> OfflineClients<M> {
    pub(super) fn new(desk: Shared<M>, topics: Arc<Topics>) -> Self {
        Self { desk, topics }
    }
}

impl<M: Send + 'static> Clients for OfflineClients<M> {
    type Broker = OfflineBroker<M>;
    type Sink = OfflineSink<M>;

    fn broker(&mut self, _queue_bytes: u64) -> Result<OfflineBroker<M>, Error> {
        Ok(OfflineBroker { desk: self.desk.clone(), is_closed: false })
    }

    fn sink(&mut self, _batching: Batching) -> Result<OfflineSink<M>, Error> {
        Ok(OfflineSink { desk: self.desk.clone(), topics: self.topics.clone() })
    }

    async fn wait(&self) {
        // Whoever turns the driver does not wait in this way.
        std::future::pending().await
    }
}

/// The records that were given, in their order.
pub(super) struct OfflineBroker<M> {
    desk: Shared<M>,
    is_closed: bool,
}

impl<M: Send + 'static> Broker for OfflineBroker<M> {
    type Record = OwnedRecord;

    fn partition(&self, topic: &str, number: i32) -> Option<Partition> {
        lock(&self.desk).partition(topic, number)
    }

    fn next_event(&mut self) -> Option<Event> {
        lock(&self.desk).next_event()
    }

    fn take(&mut self, at_most: usize, mut each: impl FnMut(Partition, Taken<OwnedRecord>)) -> usize {
        let mut desk = lock(&self.desk);
        let next = std::iter::from_fn(|| desk.next_record());
        next.take(at_most).map(|(partition, record)| each(partition, Taken::Record(record))).count()
    }

    fn subscribe(&mut self, _topics: &[String]) -> Result<(), Error> {
        lock(&self.desk).subscribed();
        Ok(())
    }

    fn assign(&mut self, _positions: &[Position]) -> Result<(), Error> {
        lock(&self.desk).assigned();
        Ok(())
    }

    fn unassign(&mut self, _partitions: &[Position]) -> Result<(), Error> {
        Ok(())
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn flow(&mut self, partition: Partition, flows: bool) -> Result<(), Error> {
        lock(&self.desk).hold_back(partition, !flows);
        Ok(())
    }

    /// Nothing is fetched ahead that could be thrown away.
    fn pause(&mut self, _partition: Partition, _pauses: bool) -> Result<(), Error> {
        Ok(())
    }

    /// Only a producer that breaks makes a driver ask for it.
    fn seek(&mut self, _positions: &[Position]) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Other, "records are given once"))
    }

    fn commit(&mut self, number: u64, positions: &[Position]) -> Result<(), Error> {
        lock(&self.desk).commit(number, positions);
        Ok(())
    }

    fn ask(&mut self, question: Question) {
        lock(&self.desk).note_work();
        question(&OfflineReader);
    }

    fn close(&mut self) {
        self.is_closed = true;
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// Every topic is there, and nothing was ever committed.
struct OfflineReader;

impl Reader for OfflineReader {
    fn committed(&self, partitions: &[Position], _limit: Duration) -> Result<Vec<Position>, Error> {
        Ok(partitions.to_vec())
    }

    fn at_time(&self, partitions: &[Position], _timestamp_ms: i64, _limit: Duration) -> Result<Vec<Position>, Error> {
        Ok(partitions.to_vec())
    }

    fn ranges(&self, partitions: &[Position], _limit: Duration) -> Result<Vec<Range<i64>>, Error> {
        Ok(vec![0..i64::MAX; partitions.len()])
    }

    fn metadata(&self, topics: &[String], _limit: Duration) -> Result<Metadata, Error> {
        Ok(all_there(topics))
    }
}

fn all_there(topics: &[String]) -> Metadata {
    Metadata { partitions: topics.iter().map(|topic| (topic.clone(), 1)).collect(), ..Metadata::default() }
}

/// Acknowledges whatever it is handed.
pub(super) struct OfflineSink<M> {
    desk: Shared<M>,
    topics: Arc<Topics>,
}

impl<M: Send + 'static> Sink for OfflineSink<M> {
    fn send(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]) {
        let mut desk = lock(&self.desk);
        messages.iter().for_each(|message| desk.send(message, &headers[message.headers.clone()]));
    }

    fn acknowledgements(&mut self, each: &mut dyn FnMut(Acknowledgement)) {
        let sent = lock(&self.desk).take_sent();
        sent.into_iter().for_each(|token| each(Acknowledgement { token, result: Ok(()) }));
    }

    fn outstanding(&self) -> usize {
        lock(&self.desk).outstanding()
    }

    fn flush(&mut self) {}

    fn abandon(&mut self) {}

    fn update(&mut self, _metadata: &Metadata) {}

    fn ask(&self, answer: TopicsQuestion) {
        lock(&self.desk).note_work();
        answer(Ok(all_there(self.topics.names())));
    }
}

/// The one instance: it hands on the call that starts.
pub(super) struct OneCall<M> {
    desk: Shared<M>,
}

impl<M> OneCall<M> {
    pub(super) fn new(desk: Shared<M>) -> Self {
        Self { desk }
    }
}

impl<M: Send + 'static> Invoker for OneCall<M> {
    fn free(&mut self) -> usize {
        lock(&self.desk).free()
    }

    fn start(&mut self, call: Call) {
        lock(&self.desk).start(call);
    }

    fn shrink(&mut self) {}
}
