//! Reads partitions without a consumer group, for tools.
//!
//! librdkafka's older interface reads partitions from given offsets into one queue. Unlike an assignment, it
//! needs no `group.id`. So it commits nothing and disturbs no group, and a user who may read a topic needs no
//! permission for a group.
//!
//! Limit: up to [`QUEUE_BYTES`] of each partition are prefetched. If the records are not taken, the client
//! stops fetching.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as c;

use super::Partition;
use super::broker::Reader as _;
use super::client::{Client, Error, log};
use super::error::{Code, OK, text};
use super::fetched::Fetched;
use super::queue::Queue;
use super::reader::KafkaReader;
use super::settings::settings;
use super::wake::WakeHandle;
use crate::manifest::Cluster;

/// How many bytes of each partition are prefetched.
pub const QUEUE_BYTES: usize = 4 << 20;

/// The maximum number of messages that one [`Scan::take`] returns.
const BATCH: usize = 500;

/// Which records of transactions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Only those of committed transactions.
    Committed,
    /// All, including those of aborted and running transactions.
    Uncommitted,
}

/// One item that is read from a partition.
pub enum Found {
    Record(Fetched),
    /// All records before this offset were returned.
    End(i64),
    /// The record at the next offset was deleted. Reading of this partition stops until it is started again.
    Deleted,
    Failed(Error),
}

struct Topic {
    name: String,
    handle: NonNull<c::rd_kafka_topic_t>,
}

/// Reads partitions of some topics.
pub struct Scan {
    // The queues are dropped before the client: see `Queue`.
    records: Queue,
    events: Queue,
    topics: Vec<Topic>,
    client: Arc<Client>,
    running: Vec<Partition>,
    buffer: Vec<*mut c::rd_kafka_message_t>,
}

// SAFETY: topic handles may be used from any thread; the buffer holds no pointers between calls.
unsafe impl Send for Scan {}

impl Scan {
    /// Creates a client of `cluster` that does not read yet.
    pub fn new(
        cluster: &Cluster,
        topics: &[String],
        isolation: Isolation,
        wake: &Arc<WakeHandle>,
    ) -> Result<Self, Error> {
        Self::with(cluster, "tidegate", topics, isolation, Duration::from_millis(100), wake)
    }

    /// Creates a client with this id. A broker that has no new records answers a request after `fetch_wait`.
    pub(super) fn with(
        cluster: &Cluster,
        client_id: &str,
        topics: &[String],
        isolation: Isolation,
        fetch_wait: Duration,
        wake: &Arc<WakeHandle>,
    ) -> Result<Self, Error> {
        let (queue_kbytes, wait_ms) = ((QUEUE_BYTES >> 10).to_string(), fetch_wait.as_millis().to_string());
        let mut config = settings(
            cluster,
            client_id,
            &[
                ("auto.offset.reset", "error"),
                ("enable.partition.eof", "true"),
                ("queued.max.messages.kbytes", &queue_kbytes),
                ("queued.min.messages", "10000"),
                // How long fetching stops after the queue was full. With the default of 1 s the queue would run
                // empty.
                ("fetch.queue.backoff.ms", "10"),
                ("fetch.wait.max.ms", &wait_ms),
            ],
        );
        config.set(
            "isolation.level",
            match isolation {
                Isolation::Committed => "read_committed",
                Isolation::Uncommitted => "read_uncommitted",
            },
        );
        config.remove("group.id");
        let client = Arc::new(Client::consumer(&config)?);
        // SAFETY: both calls return new references to queues of this client.
        let (records, events) = unsafe {
            (
                Queue::new(c::rd_kafka_queue_new(client.pointer()), client.clone(), wake.clone())?,
                Queue::new(c::rd_kafka_queue_get_main(client.pointer()), client.clone(), wake.clone())?,
            )
        };
        let mut scan = Self {
            records,
            events,
            topics: Vec::with_capacity(topics.len()),
            client,
            running: Vec::new(),
            buffer: vec![ptr::null_mut(); BATCH],
        };
        for name in topics {
            scan.topics.push(scan.topic(name)?);
        }
        Ok(scan)
    }

    fn topic(&self, name: &str) -> Result<Topic, Error> {
        let text = CString::new(name).map_err(Error::invalid)?;
        // SAFETY: the client lives; null settings mean that the topic uses those of the client.
        let handle = unsafe { c::rd_kafka_topic_new(self.client.pointer(), text.as_ptr(), ptr::null_mut()) };
        let handle =
            NonNull::new(handle).ok_or_else(|| Error::invalid(format!("{name:?} is not a valid name of a topic")))?;
        Ok(Topic { name: name.to_owned(), handle })
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// A reader for requests that block the calling thread.
    pub fn reader(&self) -> KafkaReader {
        KafkaReader::new(self.client.clone())
    }

    /// Starts to read a partition from an offset. The partition must not be started already.
    pub fn start(&mut self, partition: Partition, offset: i64) -> Result<(), Error> {
        let topic = self.topics[partition.topic].handle.as_ptr();
        // SAFETY: the topic and the queue live until the partition is stopped.
        let result =
            unsafe { c::rd_kafka_consume_start_queue(topic, partition.number, offset, self.records.pointer()) };
        if result != 0 {
            // SAFETY: returns the error of the last call of this thread.
            return Err(Error::from_code(unsafe { c::rd_kafka_last_error() }));
        }
        self.running.push(partition);
        Ok(())
    }

    /// Stops reading a partition. Records that were already fetched may still be taken.
    pub fn stop(&mut self, partition: Partition) {
        let Some(place) = self.running.iter().position(|running| *running == partition) else { return };
        self.running.swap_remove(place);
        // SAFETY: the topic lives, and the partition was started.
        unsafe { c::rd_kafka_consume_stop(self.topics[partition.topic].handle.as_ptr(), partition.number) };
    }

    /// Takes the items that have arrived, without waiting, and returns their number.
    pub fn take(&mut self, mut each: impl FnMut(Partition, Found)) -> usize {
        let taken = self.records.take(&mut self.buffer);
        for index in 0..taken {
            let Some(message) = NonNull::new(self.buffer[index]) else { continue };
            // SAFETY: the message was just taken and lives until it is destroyed below.
            let (code, topic, number, offset) = unsafe {
                let message = message.as_ref();
                (message.err, message.rkt, message.partition, message.offset)
            };
            let topic = self.place(topic);
            let found = if code == OK {
                // SAFETY: this function owns the message, it has no error, and no other code destroys it.
                Found::Record(unsafe { Fetched::new(message, self.client.clone()) })
            } else {
                // SAFETY: this function owns the message, and it is destroyed once.
                unsafe { c::rd_kafka_message_destroy(message.as_ptr()) };
                match code {
                    Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => Found::End(offset),
                    Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET => Found::Deleted,
                    code => Found::Failed(Error::from_code(code)),
                }
            };
            if let Some(topic) = topic {
                each(Partition { topic, number }, found);
            }
        }
        taken
    }

    /// The index of the topic of a message. A client may have several handles for one topic, so this also
    /// compares the names.
    fn place(&self, topic: *mut c::rd_kafka_topic_t) -> Option<usize> {
        if topic.is_null() {
            return None;
        }
        if let Some(place) = self.topics.iter().position(|known| known.handle.as_ptr() == topic) {
            return Some(place);
        }
        // SAFETY: the topic handle belongs to a message that lives, or to `self`.
        let name = text(unsafe { c::rd_kafka_topic_name(topic) });
        self.topics.iter().position(|known| known.name == name)
    }

    /// The last error of a connection since the last call, for example a refused connection. The client
    /// connects again by itself.
    pub fn connection_error(&self) -> Option<Error> {
        let mut last = None;
        while let Some(event) = self.events.poll(0) {
            if let Some((level, facility, line)) = event.line() {
                log("scan", level, &facility, &line);
            }
            if event.kind() == c::RD_KAFKA_EVENT_ERROR {
                // After an error for each broker comes one that says that all brokers are down. The earlier
                // errors say more.
                let all = event.code() == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
                last = event.error().err().filter(|_| last.is_none() || !all).or(last);
            }
        }
        last
    }

    /// How many partitions a topic has. The inner error says why the topic cannot be used. Blocks for up to
    /// `limit`. The request does not create the topic.
    pub fn partitions(&self, topic: &str, limit: Duration) -> Result<Result<i32, Error>, Error> {
        let mut found = self.reader().metadata(&[topic.to_owned()], limit)?;
        Ok(match found.missing.remove(topic) {
            Some(error) => Err(error),
            None => found.partitions_of(topic),
        })
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        while let Some(partition) = self.running.last().copied() {
            self.stop(partition);
        }
        for topic in &self.topics {
            // SAFETY: `self` owns the handle, and it is destroyed once, while the client lives.
            unsafe { c::rd_kafka_topic_destroy(topic.handle.as_ptr()) };
        }
    }
}
