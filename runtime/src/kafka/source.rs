//! Records and events of a consumer group.
//!
//! One loop takes both, without waiting, from two queues of the client: events (rebalances, ends of
//! commits, errors) from the consumer's own queue, records of all assigned partitions from one
//! application queue. A rebalance may be answered by a later turn of the loop; until then
//! librdkafka hands out no record of any partition, and none of an earlier assignment can follow
//! the event that revokes it.

use std::ffi::CString;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::consumer::BaseConsumer;

use super::Partition;
use super::client::{Code, Consumer, Context, Error, Metadata, OK, WakeEnd, settings, text};
use super::fetched::Fetched;
use super::list::{BEGINNING, List, Position};
use super::queue::Queue;
use crate::manifest::Cluster;

/// Most records of one [`Source::take`].
const BATCH: usize = 500;

/// What a [`Source`] reports beside records.
#[derive(Debug)]
pub enum Event {
    /// These partitions are ours once [`Source::assign`] is called with them.
    Assigned(Vec<Position>),
    /// These partitions go once [`Source::unassign`] is called with them. `lost`: they are gone
    /// already, and nothing may be committed for them.
    Revoked { partitions: Vec<Position>, lost: bool },
    /// A commit ended.
    Committed(Result<(), Error>),
    /// Something is wrong. The client goes on by itself unless the error is fatal.
    Error(Error),
}

/// What a [`Source`] is a member of.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// Whose the source is, for log lines.
    pub owner: &'a str,
    pub group: &'a str,
    /// What [`Partition::topic`] counts in. All topics that are ever subscribed to.
    pub topics: &'a [String],
    /// Bound of what the client fetches ahead in one queue: of all partitions together that flow, or
    /// of one that is held back.
    pub queue_bytes: u64,
}

/// A member of a consumer group.
pub struct Source {
    // Queues before the client: see `Queue`.
    events: Queue<Consumer>,
    records: Queue<Consumer>,
    consumer: Arc<Consumer>,
    topics: Vec<String>,
    buffer: Vec<*mut c::rd_kafka_message_t>,
    /// The topic of the last record, so that its name is looked up once per run of records.
    last_topic: (*mut c::rd_kafka_topic_t, usize),
}

// SAFETY: the buffer is empty between calls, and the topic's pointer is only compared.
unsafe impl Send for Source {}

impl Source {
    /// Joins the group when it [subscribes](Self::subscribe).
    pub fn new(
        cluster: &Cluster,
        membership: &Membership<'_>,
        client_id: &str,
        wake: &Arc<WakeEnd>,
    ) -> Result<Self, Error> {
        let config = consumer_settings(cluster, membership, client_id);
        let context = Context { owner: membership.owner.to_owned() };
        let client: BaseConsumer<Context> = config.create_with_context(context).map_err(Error::invalid)?;
        let consumer = Arc::new(Consumer::new(client));
        // SAFETY: both calls return new references to queues of this client.
        let (events, records) = unsafe {
            (
                Queue::new(c::rd_kafka_queue_get_consumer(consumer.pointer()), consumer.clone(), wake.clone())?,
                Queue::new(c::rd_kafka_queue_new(consumer.pointer()), consumer.clone(), wake.clone())?,
            )
        };
        Ok(Self {
            events,
            records,
            consumer,
            topics: membership.topics.to_vec(),
            buffer: vec![ptr::null_mut(); BATCH],
            last_topic: (ptr::null_mut(), 0),
        })
    }

    /// Replaces the subscription.
    pub fn subscribe(&self, topics: &[&str]) -> Result<(), Error> {
        self.consumer.subscribe(topics)
    }

    /// The next event, without waiting.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let event = self.events.poll()?;
            return Some(match event.kind() {
                c::RD_KAFKA_EVENT_REBALANCE if event.code() == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                    Event::Assigned(event.positions())
                }
                c::RD_KAFKA_EVENT_REBALANCE => Event::Revoked { partitions: event.positions(), lost: self.is_lost() },
                c::RD_KAFKA_EVENT_OFFSET_COMMIT => match event.code() {
                    // Everything was committed already.
                    Code::RD_KAFKA_RESP_ERR__NO_OFFSET => Event::Committed(Ok(())),
                    _ => Event::Committed(event.error().and_then(|()| event.partition_error())),
                },
                c::RD_KAFKA_EVENT_ERROR => match event.error() {
                    Err(error) => Event::Error(error),
                    Ok(()) => continue,
                },
                _ => continue,
            });
        }
    }

    /// Takes the next records, without waiting. Returns how many there were; fewer than `at_most`
    /// (500 if it is more) means that there are no more now.
    pub fn take(
        &mut self,
        at_most: usize,
        mut record: impl FnMut(Partition, Fetched),
        mut error: impl FnMut(Error),
    ) -> usize {
        let at_most = at_most.min(BATCH);
        // Of an earlier call, the topic may be gone and its address be another one's.
        self.last_topic = (ptr::null_mut(), 0);
        let taken = self.records.take(&mut self.buffer[..at_most]);
        for index in 0..taken {
            let Some(message) = NonNull::new(self.buffer[index]) else { continue };
            // SAFETY: the message was just taken and lives until it is destroyed below.
            let (code, topic, number) =
                unsafe { (message.as_ref().err, message.as_ref().rkt, message.as_ref().partition) };
            if code == OK {
                let topic = self.topic_place(topic);
                // SAFETY: it is ours, has no error, and nobody else destroys it.
                let fetched = unsafe { Fetched::new(message, self.consumer.clone()) };
                record(Partition { topic, number }, fetched);
            } else {
                // SAFETY: it is ours and destroyed once.
                unsafe { c::rd_kafka_message_destroy(message.as_ptr()) };
                error(Error::from_code(code));
            }
        }
        taken
    }

    fn topic_place(&mut self, topic: *mut c::rd_kafka_topic_t) -> usize {
        if topic != self.last_topic.0 {
            // SAFETY: the topic belongs to a message that lives.
            let name = text(unsafe { c::rd_kafka_topic_name(topic) });
            let place = self.topics.iter().position(|known| *known == name);
            self.last_topic = (topic, place.expect("the client fetches subscribed topics only"));
        }
        self.last_topic.1
    }

    /// Answers an assignment. A partition without an offset starts at its beginning.
    pub fn assign(&self, positions: &[Position]) -> Result<(), Error> {
        for position in positions {
            self.forward(&position.topic, position.partition, true)?;
        }
        let list = List::new(positions)?;
        // SAFETY: the client and the list live; the list is not kept.
        unsafe {
            let elements = list.pointer();
            for element in 0..(*elements).cnt as usize {
                let element = &mut *(*elements).elems.add(element);
                element.offset = element.offset.max(BEGINNING);
            }
            if self.is_cooperative() {
                Error::check_object(c::rd_kafka_incremental_assign(self.consumer.pointer(), elements))
            } else {
                Error::check(c::rd_kafka_assign(self.consumer.pointer(), elements))
            }
        }
    }

    /// Answers a revocation.
    pub fn unassign(&self, partitions: &[Position]) -> Result<(), Error> {
        let list = List::new(partitions)?;
        // SAFETY: the client and the list live; the list is not kept.
        unsafe {
            if self.is_cooperative() {
                Error::check_object(c::rd_kafka_incremental_unassign(self.consumer.pointer(), list.pointer()))
            } else {
                Error::check(c::rd_kafka_assign(self.consumer.pointer(), ptr::null()))
            }
        }
    }

    /// Whether the broker has given the assignment to others already.
    pub fn is_lost(&self) -> bool {
        // SAFETY: the client lives.
        unsafe { c::rd_kafka_assignment_lost(self.consumer.pointer()) != 0 }
    }

    /// Lets the records of a partition come, or keeps them back at once, without throwing away what
    /// was fetched. What came before the call is still taken.
    pub fn flow(&self, partition: Partition, flows: bool) -> Result<(), Error> {
        self.forward(&self.topics[partition.topic], partition.number, flows)
    }

    /// Stops fetching a partition and throws away what was fetched of it and not taken, or goes on
    /// behind the last record taken.
    pub fn pause(&self, partition: Partition, pauses: bool) -> Result<(), Error> {
        let topic = self.topics[partition.topic].clone();
        let list =
            List::new(&[Position { topic, partition: partition.number, offset: None, metadata: String::new() }])?;
        // SAFETY: the client and the list live; the list is dropped before the client.
        Error::check(unsafe {
            if pauses {
                c::rd_kafka_pause_partitions(self.consumer.pointer(), list.pointer())
            } else {
                c::rd_kafka_resume_partitions(self.consumer.pointer(), list.pointer())
            }
        })
    }

    fn forward(&self, topic: &str, partition: i32, to_us: bool) -> Result<(), Error> {
        let topic = CString::new(topic).map_err(Error::invalid)?;
        // SAFETY: the client and both queues live; the reference to the partition's queue is
        // returned. A null target ends the forwarding.
        unsafe {
            let queue = c::rd_kafka_queue_get_partition(self.consumer.pointer(), topic.as_ptr(), partition);
            if queue.is_null() {
                return Err(Error::invalid("no such partition"));
            }
            c::rd_kafka_queue_forward(queue, if to_us { self.records.pointer() } else { ptr::null_mut() });
            c::rd_kafka_queue_destroy(queue);
        }
        Ok(())
    }

    /// Starts to commit; [`Event::Committed`] tells how it ended.
    pub fn commit(&self, positions: &[Position]) -> Result<(), Error> {
        let list = List::new(positions)?;
        // With a queue to answer to: the plain asynchronous commit tells its end to a callback only.
        // SAFETY: client, queue and list live; the list is copied; no callback, so no opaque.
        Error::check(unsafe {
            c::rd_kafka_commit_queue(
                self.consumer.pointer(),
                list.pointer(),
                self.events.pointer(),
                None,
                ptr::null_mut(),
            )
        })
    }

    /// Leaves the group. Blocks until that is done, or up to `limit` if the broker is away.
    pub fn close(&mut self, limit: Duration) {
        let consumer = self.consumer.clone();
        consumer.close(limit, || {
            while let Some(event) = self.next_event() {
                let answered = match event {
                    Event::Assigned(positions) => self.assign(&positions),
                    Event::Revoked { partitions, .. } => self.unassign(&partitions),
                    Event::Committed(_) | Event::Error(_) => Ok(()),
                };
                if let Err(error) = answered {
                    tracing::debug!("while leaving the group: {error}");
                }
            }
        });
    }

    /// What may be asked from another thread.
    pub fn reader(&self) -> Reader {
        Reader { consumer: self.consumer.clone() }
    }

    fn is_cooperative(&self) -> bool {
        // SAFETY: the client lives; the string is static.
        text(unsafe { c::rd_kafka_rebalance_protocol(self.consumer.pointer()) }) == "COOPERATIVE"
    }
}

/// Questions to the broker that block the calling thread.
#[derive(Clone)]
pub struct Reader {
    consumer: Arc<Consumer>,
}

impl Reader {
    pub(super) fn new(consumer: Arc<Consumer>) -> Self {
        Self { consumer }
    }

    /// The committed positions of these partitions, once no transaction that is under way can
    /// change them.
    pub fn committed(&self, partitions: &[Position], limit: Duration) -> Result<Vec<Position>, Error> {
        let list = List::new(partitions)?;
        // SAFETY: the client and the list live.
        Error::check(unsafe { c::rd_kafka_committed(self.consumer.pointer(), list.pointer(), milliseconds(limit)) })?;
        list.positions()
    }

    /// The first offset of each partition whose record is not older than `timestamp_ms`; the end of
    /// the partition where there is none.
    pub fn at_time(&self, partitions: &[Position], timestamp_ms: i64, limit: Duration) -> Result<Vec<Position>, Error> {
        let asked: Vec<_> =
            partitions.iter().map(|position| Position { offset: Some(timestamp_ms), ..position.clone() }).collect();
        let list = List::new(&asked)?;
        // SAFETY: the client and the list live.
        Error::check(unsafe {
            c::rd_kafka_offsets_for_times(self.consumer.pointer(), list.pointer(), milliseconds(limit))
        })?;
        let mut found = list.positions()?;
        for position in found.iter_mut().filter(|position| position.offset.is_none()) {
            position.offset = Some(self.end(&position.topic, position.partition, limit)?);
        }
        Ok(found)
    }

    /// The offset that the partition's next record will have.
    pub fn end(&self, topic: &str, partition: i32, limit: Duration) -> Result<i64, Error> {
        Ok(self.range(topic, partition, limit)?.end)
    }

    /// The offsets that the partition has: from its first record to where its next one will be.
    pub fn range(&self, topic: &str, partition: i32, limit: Duration) -> Result<Range<i64>, Error> {
        let name = CString::new(topic).map_err(Error::invalid)?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: the client lives; both numbers are written before the call returns.
        Error::check(unsafe {
            c::rd_kafka_query_watermark_offsets(
                self.consumer.pointer(),
                name.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
                milliseconds(limit),
            )
        })?;
        Ok(low..high)
    }

    /// How many partitions a topic has. An error also if it is not there.
    pub fn partitions(&self, topic: &str, limit: Duration) -> Result<i32, Error> {
        let found = self.metadata(&[topic.to_owned()], limit)?;
        let missing = || found.missing.get(topic).cloned().unwrap_or_default();
        found.partitions.get(topic).copied().ok_or_else(|| Error::invalid(format!("topic {topic}: {}", missing())))
    }

    /// The partitions of topics.
    pub fn metadata(&self, topics: &[String], limit: Duration) -> Result<Metadata, Error> {
        Metadata::ask(self.consumer.pointer(), topics, limit)
    }
}

fn milliseconds(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX)
}

/// The settings of the consumer of a trigger.
pub(super) fn consumer_settings(cluster: &Cluster, membership: &Membership<'_>, client_id: &str) -> ClientConfig {
    let queue_kbytes = (membership.queue_bytes / 1_024).max(1).to_string();
    // The client counts content only, and takes about half a KiB for each record beside it.
    let queue_records = (membership.queue_bytes / 1_024).clamp(1_000, 10_000_000).to_string();
    let mut ours = vec![
        ("group.id", membership.group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // Only for offsets that the broker no longer has: what is left of the partition.
        ("auto.offset.reset", "earliest"),
        ("isolation.level", "read_committed"),
        ("queued.max.messages.kbytes", queue_kbytes.as_str()),
        ("queued.min.messages", queue_records.as_str()),
        // How long fetching stops after the prefetch was full; the default of 1 s starves it.
        ("fetch.queue.backoff.ms", "10"),
        ("fetch.wait.max.ms", "100"),
    ];
    // The newer protocol (KIP-848) has its assignment and its time-outs on the broker.
    if cluster.properties.get("group.protocol").is_none_or(|protocol| protocol != "consumer") {
        ours.push(("partition.assignment.strategy", "cooperative-sticky"));
    }
    settings(cluster, client_id, &ours)
}
