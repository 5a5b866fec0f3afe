//! Topics: creating, producing, reading.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::record::{Record, Stored};
use super::{Kafka, clients, raw};
use crate::chance;

const LIMIT: Duration = Duration::from_secs(60);

/// A topic of one test, with a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    bootstrap: String,
    name: Arc<str>,
    partitions: i32,
    /// The broker dates its records.
    broker_time: bool,
}

impl Kafka {
    /// A new topic: `name` and a suffix.
    pub fn topic(&self, name: &str, partitions: i32) -> Topic {
        self.topic_with(name, partitions, &[])
    }

    /// A new topic with settings of its own, as `[("message.timestamp.type", "LogAppendTime")]`.
    pub fn topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Topic {
        let mut topic = self.missing_topic(name, partitions);
        topic.broker_time = settings.contains(&("message.timestamp.type", "LogAppendTime"));
        topic.create_with(settings);
        topic
    }

    /// A name, as yet without a topic. See [`Topic::create`].
    pub fn missing_topic(&self, name: &str, partitions: i32) -> Topic {
        Topic {
            bootstrap: self.bootstrap().to_owned(),
            name: format!("{name}-{}", chance::suffix()).into(),
            partitions,
            broker_time: false,
        }
    }
}

impl Topic {
    /// The name with its suffix.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// Whether the broker dates the records, whatever the producer says.
    pub(crate) fn has_broker_time(&self) -> bool {
        self.broker_time
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic that [`Kafka::missing_topic`] named.
    pub fn create(&self) {
        self.create_with(&[]);
    }

    /// Adds partitions, so that there are that many.
    pub fn grow(&mut self, partitions: i32) {
        clients::grow_topic(&self.bootstrap, &self.name, partitions);
        self.partitions = partitions;
    }

    /// Deletes the records of a partition below an offset, as retention does.
    pub fn delete_before(&self, partition: i32, offset: i64) {
        clients::delete_records(&self.bootstrap, &self.name, partition, offset);
    }

    fn create_with(&self, settings: &[(&str, &str)]) {
        clients::create_topic(&self.bootstrap, &self.name, self.partitions, settings);
    }

    /// Produces the records in order and waits until each is acknowledged; returns them with their
    /// places. Partitions are chosen by key as Kafka's own clients do.
    #[track_caller]
    pub fn produce(&self, records: impl IntoIterator<Item = Record>) -> Vec<Stored> {
        let mut producer = clients::acknowledging_producer(self);
        for record in records {
            producer.send(record);
            producer.poll();
        }
        producer.finish(LIMIT)
    }

    /// Starts reading at the beginning of every partition.
    pub fn reader(&self) -> Reader {
        Reader::new(self)
    }

    /// Everything in the topic now, each partition in order.
    #[track_caller]
    pub fn read_all(&self) -> Vec<Stored> {
        let mut reader = self.reader();
        reader.read_to_end();
        reader.records
    }

    /// Reads from the beginning until the records read satisfy the predicate, which must be cheap.
    #[track_caller]
    pub fn read_until(&self, what: &str, limit: Duration, enough: impl FnMut(&[Stored]) -> bool) -> Vec<Stored> {
        let mut reader = self.reader();
        reader.until(what, limit, enough);
        reader.records
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Reads a whole topic on an assignment of its own; a group could not disturb it. Sees committed
/// records only.
pub struct Reader {
    consumer: BaseConsumer,
    topic: Topic,
    records: Vec<Stored>,
    at_end: Vec<bool>,
}

impl Reader {
    fn new(topic: &Topic) -> Reader {
        let consumer = clients::consumer(&topic.bootstrap, "tidegate-tests");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..topic.partitions {
            assignment
                .add_partition_offset(&topic.name, partition, Offset::Beginning)
                .expect("the beginning is an offset");
        }
        consumer.assign(&assignment).expect("an assignment without a group is accepted");
        let at_end = vec![false; assignment.count()];
        Reader { consumer, topic: topic.clone(), records: Vec::new(), at_end }
    }

    /// Everything read so far.
    pub fn records(&self) -> &[Stored] {
        &self.records
    }

    /// Reads on until the records, all since the beginning, satisfy the predicate.
    #[track_caller]
    pub fn until(&mut self, what: &str, limit: Duration, mut enough: impl FnMut(&[Stored]) -> bool) -> &[Stored] {
        let deadline = Instant::now() + limit;
        while !enough(&self.records) {
            if Instant::now() >= deadline {
                let last = self.records.last();
                panic!(
                    "waited {limit:?} in vain: {what}; read {} records of {}, the last {last:?}",
                    self.records.len(),
                    self.topic,
                );
            }
            self.turn();
        }
        &self.records
    }

    /// Reads until there are that many records, or more.
    #[track_caller]
    pub fn count(&mut self, count: usize, limit: Duration) -> &[Stored] {
        self.until(&format!("{count} records"), limit, |records| records.len() >= count)
    }

    /// Only right on a new reader: the client says once that it is at the end.
    #[track_caller]
    fn read_to_end(&mut self) {
        let deadline = Instant::now() + LIMIT;
        while !self.at_end.iter().all(|end| *end) {
            assert!(Instant::now() < deadline, "{} cannot be read to its end: {:?}", self.topic, self.at_end);
            self.turn();
        }
    }

    fn turn(&mut self) {
        match self.consumer.poll(Duration::from_millis(10)) {
            None => {}
            Some(Ok(message)) => self.records.push(Stored {
                topic: Arc::clone(&self.topic.name),
                partition: message.partition(),
                offset: message.offset(),
                record: Record {
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: raw::headers_of(&message),
                    timestamp: message.timestamp().to_millis(),
                    partition: None,
                },
            }),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.at_end[usize::try_from(partition).expect("partitions count from 0")] = true;
            }
            // The broker is away, in a test that stops it, or the topic is too new: the client
            // tries again, and the caller has a limit.
            Some(Err(_)) => {}
        }
    }
}
