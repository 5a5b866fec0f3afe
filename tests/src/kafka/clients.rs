//! Plain clients, configured so that a test learns the truth: every record acknowledged by all
//! replicas, every read from an assignment without a group.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::record::{Record, Stored};
use super::{Topic, raw};
use crate::wait;

/// A consumer for assignments, group offsets and metadata. The group is only a name that the
/// client insists on; nobody joins it.
pub(super) fn consumer(bootstrap: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.queue.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "500")
        .create()
        .expect("the consumer's settings are valid")
}

pub(super) fn wait_for_metadata(bootstrap: &str, limit: Duration) {
    let consumer = consumer(bootstrap, "tidegate-tests");
    wait::until("the broker answers with metadata", limit, || {
        consumer.fetch_metadata(None, Duration::from_secs(1)).is_ok_and(|metadata| !metadata.brokers().is_empty())
    });
}

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("the admin client's settings are valid")
}

pub(super) fn grow_topic(bootstrap: &str, name: &str, partitions: i32) {
    let wanted = NewPartitions::new(name, usize::try_from(partitions).expect("a number of partitions"));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let results = block_on(admin(bootstrap).create_partitions([&wanted], &options)).expect("the broker answers");
    for result in results {
        result.unwrap_or_else(|(topic, error)| panic!("topic {topic} cannot grow: {error}"));
    }
}

pub(super) fn delete_records(bootstrap: &str, topic: &str, partition: i32, before: i64) {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    block_on(admin(bootstrap).delete_records(&offsets, &options)).expect("the broker deletes them");
}

pub(super) fn create_topic(bootstrap: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let results = block_on(admin(bootstrap).create_topics([&topic], &options)).expect("the broker answers");
    for result in results {
        result.unwrap_or_else(|(topic, error)| panic!("topic {topic} cannot be created: {error}"));
    }
}

/// A producer that remembers what was acknowledged, and where.
pub(crate) struct AcknowledgingProducer {
    producer: BaseProducer<Acknowledgements>,
    sent: Vec<Record>,
    topic: Topic,
}

pub(crate) fn acknowledging_producer(topic: &Topic) -> AcknowledgingProducer {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", topic.bootstrap())
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random") // Java's, and so the world's
        .set("linger.ms", "2")
        .set("message.max.bytes", "20000000") // the topic has the say
        .set("queue.buffering.max.kbytes", "65536")
        .set("reconnect.backoff.max.ms", "500")
        .create_with_context(Acknowledgements::default())
        .expect("the producer's settings are valid");
    AcknowledgingProducer { producer, sent: Vec::new(), topic: topic.clone() }
}

impl AcknowledgingProducer {
    /// Hands a record over, waiting for room if there is none.
    pub(crate) fn send(&mut self, mut record: Record) {
        // Chosen here: after an outage a broker may report that of another record of the batch.
        record.timestamp.get_or_insert_with(now_ms);
        let mut message = BaseRecord::with_opaque_to(self.topic.name(), self.sent.len());
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        message.timestamp = record.timestamp;
        message.partition = record.partition;
        message.headers = (!record.headers.is_empty()).then(|| raw::headers_from(&record.headers));
        loop {
            message = match self.producer.send(message) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), message)) => message,
                Err((error, _)) => panic!("a record cannot be produced to {}: {error}", self.topic.name()),
            };
            self.producer.poll(Duration::from_millis(10));
        }
        self.sent.push(record);
    }

    /// Takes reports that have arrived.
    pub(crate) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits for acknowledgements so long, and throws away what has none then.
    pub(crate) fn give_up(self, limit: Duration) {
        if let Err(error) = self.producer.flush(limit) {
            println!("records to {} are not acknowledged and thrown away: {error}", self.topic.name());
        }
    }

    /// Waits for all acknowledgements: the records with their places, in the order of sending.
    #[track_caller]
    pub(crate) fn finish(self, limit: Duration) -> Vec<Stored> {
        let name = self.topic.name();
        self.producer.flush(limit).unwrap_or_else(|error| panic!("records to {name} are not acknowledged: {error}"));
        let mut places = std::mem::take(&mut *self.producer.context().taken.lock().expect("reports are complete"));
        assert_eq!(places.len(), self.sent.len(), "every record to {name} has a report");
        places.sort_unstable_by_key(|place| place.index);
        let topic: Arc<str> = name.into();
        places
            .into_iter()
            .zip(self.sent)
            .map(|(place, record)| Stored {
                topic: Arc::clone(&topic),
                partition: place.partition,
                offset: place.offset,
                record: Record {
                    timestamp: if self.topic.has_broker_time() { place.timestamp } else { record.timestamp },
                    partition: None,
                    ..record
                },
            })
            .collect()
    }
}

/// Milliseconds since 1970-01-01 UTC, as a broker on this machine tells the time.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292,000,000")
}

#[derive(Default)]
struct Acknowledgements {
    taken: Mutex<Vec<Acknowledged>>,
}

struct Acknowledged {
    index: usize,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        match result {
            Ok(message) => self.taken.lock().expect("no panic while holding it").push(Acknowledged {
                index,
                partition: message.partition(),
                offset: message.offset(),
                timestamp: message.timestamp().to_millis(),
            }),
            // Left out, so `finish` finds a report missing.
            Err((error, message)) => {
                eprintln!("record {index} to {} is refused: {error}", message.topic())
            }
        }
    }
}

/// Runs one future to its end on this thread; the admin client has no blocking interface.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
