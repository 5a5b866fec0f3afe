//! Records of partitions, read without a group: for tools.
//!
//! librdkafka's older interface reads partitions from given offsets into one queue of ours. Unlike an
//! assignment it needs no `group.id`, so nothing is committed, no group is disturbed, and a user who
//! may read a topic may do so without any right on a group.
//!
//! What bounds it: [`QUEUE_BYTES`] of each partition are fetched ahead. Who does not take makes the
//! client stop fetching.

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
use super::wake::WakeEnd;
use crate::manifest::Cluster;

/// How much of a partition is fetched ahead.
pub const QUEUE_BYTES: usize = 4 << 20;

/// Most messages of one [`Scan::take`].
const BATCH: usize = 500;

/// Which records of transactions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed ones.
    Committed,
    /// All, also of aborted ones and of those that are under way.
    Uncommitted,
}

/// What comes of a partition.
pub enum Found {
    Record(Fetched),
    /// There is nothing now before this offset that was not handed out.
    End(i64),
    /// The record that is read next is there no longer, and nothing more comes of the partition until
    /// it is started again.
    Deleted,
    Failed(Error),
}

struct Topic {
    name: String,
    handle: NonNull<c::rd_kafka_topic_t>,
}

/// Reads partitions of some topics.
pub struct Scan {
    // Queues before the client: see `Queue`.
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
    /// A client of `cluster` that reads nothing yet.
    pub fn new(cluster: &Cluster, topics: &[String], isolation: Isolation, wake: &Arc<WakeEnd>) -> Result<Self, Error> {
        let queue_kbytes = (QUEUE_BYTES >> 10).to_string();
        let mut config = settings(
            cluster,
            "tidegate",
            &[
                ("auto.offset.reset", "error"),
                ("enable.partition.eof", "true"),
                ("queued.max.messages.kbytes", &queue_kbytes),
                ("queued.min.messages", "10000"),
                // How long fetching stops after the queue was full; the default of 1 s starves it.
                ("fetch.queue.backoff.ms", "10"),
                ("fetch.wait.max.ms", "100"),
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
        // SAFETY: the client lives; without settings of its own a topic takes the client's.
        let handle = unsafe { c::rd_kafka_topic_new(self.client.pointer(), text.as_ptr(), ptr::null_mut()) };
        let handle = NonNull::new(handle).ok_or_else(|| Error::invalid(format!("no topic can be named {name:?}")))?;
        Ok(Topic { name: name.to_owned(), handle })
    }

    /// What may be asked; it blocks the calling thread.
    pub fn reader(&self) -> KafkaReader {
        KafkaReader::new(self.client.clone())
    }

    /// Starts reading a partition that is not read yet.
    pub fn start(&mut self, partition: Partition, offset: i64) -> Result<(), Error> {
        let topic = self.topics[partition.topic].handle.as_ptr();
        // SAFETY: topic and queue live, and both do so until the partition is stopped.
        let result =
            unsafe { c::rd_kafka_consume_start_queue(topic, partition.number, offset, self.records.pointer()) };
        if result != 0 {
            // SAFETY: reads the error of this thread's last call.
            return Err(Error::from_code(unsafe { c::rd_kafka_last_error() }));
        }
        self.running.push(partition);
        Ok(())
    }

    /// Stops reading a partition. What was fetched of it already may still be taken.
    pub fn stop(&mut self, partition: Partition) {
        let Some(place) = self.running.iter().position(|running| *running == partition) else { return };
        self.running.swap_remove(place);
        // SAFETY: the topic lives, and the partition was started.
        unsafe { c::rd_kafka_consume_stop(self.topics[partition.topic].handle.as_ptr(), partition.number) };
    }

    /// Takes what came, without waiting. Returns how much it was; 0 means that there is nothing now.
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
                // SAFETY: it is ours, has no error, and nobody else destroys it.
                Found::Record(unsafe { Fetched::new(message, self.client.clone()) })
            } else {
                // SAFETY: it is ours and destroyed once.
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

    /// The topic of a message. A client's handles for one topic may differ, their names do not.
    fn place(&self, topic: *mut c::rd_kafka_topic_t) -> Option<usize> {
        if topic.is_null() {
            return None;
        }
        if let Some(place) = self.topics.iter().position(|known| known.handle.as_ptr() == topic) {
            return Some(place);
        }
        // SAFETY: the topic belongs to a message that lives, or to one of ours.
        let name = text(unsafe { c::rd_kafka_topic_name(topic) });
        self.topics.iter().position(|known| known.name == name)
    }

    /// What went wrong since the last call: connections that are refused, brokers that are away. The
    /// client goes on by itself.
    pub fn trouble(&self) -> Option<Error> {
        let mut last = None;
        while let Some(event) = self.events.poll(0) {
            if let Some((level, facility, line)) = event.line() {
                log("scan", level, &facility, &line);
            }
            if event.kind() == c::RD_KAFKA_EVENT_ERROR {
                // That all brokers are away is said behind what became of each.
                let all = event.code() == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
                last = event.error().err().filter(|_| last.is_none() || !all).or(last);
            }
        }
        last
    }

    /// How many partitions a topic has, or why there is no such topic. Waits for the brokers up to
    /// `limit`, and does not make them create the topic.
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
            // SAFETY: the handle is ours and destroyed once, while the client lives.
            unsafe { c::rd_kafka_topic_destroy(topic.handle.as_ptr()) };
        }
    }
}
