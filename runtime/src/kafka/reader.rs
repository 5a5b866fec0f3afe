//! Requests to the brokers that block the calling thread.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as c;

use super::broker::Reader;
use super::client::{Client, Error, Metadata};
use super::error::ErrorKind;
use super::list::{BEGINNING, END, List, Position};

/// Uses the connections of a consumer, and keeps the consumer alive.
///
/// A consumer reads only committed records, unless a tool configures it otherwise. So the end of a partition
/// is the offset up to which the consumer can read now: the beginning of the first running transaction, or
/// the offset of the next record.
#[derive(Clone)]
pub struct KafkaReader {
    client: Arc<Client>,
}

impl KafkaReader {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// The end of a partition.
    pub fn end(&self, topic: &str, partition: i32, limit: Duration) -> Result<i64, Error> {
        Ok(self.range(topic, partition, limit)?.end)
    }

    /// The range of offsets of a partition.
    pub fn range(&self, topic: &str, partition: i32, limit: Duration) -> Result<Range<i64>, Error> {
        let found = self.ranges(&[Position::of(topic, partition)], limit)?;
        found.into_iter().next().ok_or_else(|| Error::new(ErrorKind::UnknownPartition, "there is no such partition"))
    }

    /// How many partitions a topic has. An error if the topic does not exist.
    pub fn partitions(&self, topic: &str, limit: Duration) -> Result<i32, Error> {
        self.metadata(&[topic.to_owned()], limit)?.partitions_of(topic)
    }

    /// For each partition, the offset of the first record that is not older than `time`, if there is one.
    /// Sends one request to each leader.
    fn look_up(&self, partitions: &[Position], time: i64, end: Instant) -> Result<Vec<Position>, Error> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let list = List::new(partitions)?;
        list.set_offsets(|_| time);
        let limit_ms = milliseconds(end.saturating_duration_since(Instant::now()));
        // SAFETY: the client and the list live. The offset field contains the time, and afterwards the offset.
        Error::check(unsafe { c::rd_kafka_offsets_for_times(self.client.pointer(), list.pointer(), limit_ms) })?;
        list.positions()
    }
}

/// Special times of the protocol, which mean the beginning and the end of a partition.
const FIRST: i64 = BEGINNING;
const NEXT: i64 = END;

impl Reader for KafkaReader {
    fn committed(&self, partitions: &[Position], limit: Duration) -> Result<Vec<Position>, Error> {
        let list = List::new(partitions)?;
        // SAFETY: the client and the list live.
        Error::check(unsafe { c::rd_kafka_committed(self.client.pointer(), list.pointer(), milliseconds(limit)) })?;
        list.positions()
    }

    fn at_time(&self, partitions: &[Position], timestamp_ms: i64, limit: Duration) -> Result<Vec<Position>, Error> {
        let end = Instant::now() + limit;
        let mut found = self.look_up(partitions, timestamp_ms, end)?;
        let without: Vec<_> = found.iter().filter(|position| position.offset.is_none()).cloned().collect();
        let mut ends = self.look_up(&without, NEXT, end)?.into_iter();
        for position in found.iter_mut().filter(|position| position.offset.is_none()) {
            position.offset = ends.next().and_then(|end| end.offset);
        }
        Ok(found)
    }

    fn ranges(&self, partitions: &[Position], limit: Duration) -> Result<Vec<Range<i64>>, Error> {
        let end = Instant::now() + limit;
        // The end is requested last. So a range never ends before it begins, even if records are deleted
        // meanwhile.
        let firsts = self.look_up(partitions, FIRST, end)?;
        let nexts = self.look_up(partitions, NEXT, end)?;
        let offset = |position: Position| position.offset.unwrap_or(0);
        Ok(firsts.into_iter().map(offset).zip(nexts.into_iter().map(offset)).map(|(first, next)| first..next).collect())
    }

    fn metadata(&self, topics: &[String], limit: Duration) -> Result<Metadata, Error> {
        Metadata::ask(self.client.pointer(), topics, limit)
    }
}

pub(super) fn milliseconds(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX)
}
