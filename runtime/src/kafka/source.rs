//! The consumer of a trigger: records and events of a group member.
//!
//! One loop takes both without waiting, from two queues of the client. The events (rebalances, results of
//! commits, errors) arrive on the consumer queue. The records of all assigned partitions arrive on one
//! application queue. The loop may answer a rebalance later. Until then librdkafka returns no record of any
//! partition. After the event that revokes an assignment, it returns no record of this assignment.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as c;

use super::Partition;
use super::broker::{Broker, Event, Question, Taken};
use super::client::{Client, Error};
use super::error::{Code, OK, text};
use super::fetched::Fetched;
use super::list::{BEGINNING, List, Position};
use super::member::Member;
use super::reader::KafkaReader;
use super::settings;
pub use super::settings::Membership;
use super::wake::WakeHandle;
use crate::manifest::Cluster;

/// The maximum number of records that one call of the client returns.
const BATCH: usize = 500;

/// How long a seek may wait for the main thread of the client. It normally takes much less than a
/// millisecond, unless the machine is short of CPU time.
const SEEK_LIMIT_MS: i32 = 10;

/// A member of a consumer group.
///
/// When it is dropped, it leaves the group on a separate thread. Records that were taken stay valid. They
/// keep the memory of the client alive, but not the membership.
pub struct Source {
    /// `None` only while the source is dropped.
    member: Option<Member>,
    topics: Vec<String>,
    buffer: Vec<*mut c::rd_kafka_message_t>,
    /// The handle and index of the topic of the last record, so that the topic is looked up only once for
    /// consecutive records of one topic.
    last_topic: (*mut c::rd_kafka_topic_t, usize),
}

// SAFETY: the buffer is not used between calls, and the pointer to the topic is only compared.
unsafe impl Send for Source {}

impl Source {
    /// Creates a member. It joins the group when it [subscribes](Broker::subscribe).
    pub fn new(
        cluster: &Cluster,
        membership: &Membership<'_>,
        client_id: &str,
        wake: &Arc<WakeHandle>,
    ) -> Result<Self, Error> {
        let client = Client::consumer(&settings::member(cluster, membership, client_id))?;
        Ok(Self {
            member: Some(Member::new(client, membership.owner, membership.group, wake)?),
            topics: membership.topics.to_vec(),
            buffer: vec![ptr::null_mut(); BATCH],
            last_topic: (ptr::null_mut(), 0),
        })
    }

    /// A reader that may be used on another thread.
    pub fn reader(&self) -> KafkaReader {
        KafkaReader::new(self.member().client.clone())
    }

    fn member(&self) -> &Member {
        self.member.as_ref().expect("a source is a member until it is dropped")
    }

    fn member_mut(&mut self) -> &mut Member {
        self.member.as_mut().expect("a source is a member until it is dropped")
    }

    fn client(&self) -> *mut c::rd_kafka_t {
        self.member().client.pointer()
    }

    /// Takes messages with one call of the client.
    fn take_some(&mut self, at_most: usize, each: &mut impl FnMut(Partition, Taken<Fetched>)) -> usize {
        // The topic handle of an earlier call may have been freed, and its address may belong to another topic
        // now.
        self.last_topic = (ptr::null_mut(), 0);
        let member = self.member.as_ref().expect("a source is a member until it is dropped");
        let taken = member.records.take(&mut self.buffer[..at_most]);
        for index in 0..taken {
            let Some(message) = NonNull::new(self.buffer[index]) else { continue };
            // SAFETY: the message was just taken and lives until it is destroyed or passed on below.
            let (code, topic, number, offset) = unsafe {
                let message = message.as_ref();
                (message.err, message.rkt, message.partition, message.offset)
            };
            let topic = self.topic_index(topic);
            let what = if code == OK {
                // SAFETY: this function owns the message, it has no error, and no other code destroys it.
                Taken::Record(unsafe { Fetched::new(message, self.member().client.clone()) })
            } else {
                let mut error = Error::from_code(code);
                // SAFETY: this function owns the message; its text is copied, and it is destroyed once.
                unsafe {
                    let reason = text(c::rd_kafka_message_errstr(message.as_ptr()));
                    c::rd_kafka_message_destroy(message.as_ptr());
                    if !reason.is_empty() {
                        error.reason = reason;
                    }
                }
                Taken::Failed { offset, error }
            };
            match topic {
                // The end of a partition is not a failure. A property in the manifest may enable this message.
                _ if code == Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => {}
                Some(topic) => each(Partition { topic, number }, what),
                None => tracing::debug!("message of an unknown topic: {number}/{offset}: {:?}", code),
            }
        }
        taken
    }

    fn topic_index(&mut self, topic: *mut c::rd_kafka_topic_t) -> Option<usize> {
        if topic.is_null() {
            return None;
        }
        if topic != self.last_topic.0 {
            // SAFETY: the topic belongs to a message that lives.
            let name = text(unsafe { c::rd_kafka_topic_name(topic) });
            let place = self.topics.iter().position(|known| *known == name)?;
            self.last_topic = (topic, place);
        }
        Some(self.last_topic.1)
    }

    /// Forwards the queue of a partition to the shared queue of records, or stops that.
    fn forward(&self, topic: &str, partition: i32, to_shared: bool) -> Result<(), Error> {
        let topic = CString::new(topic).map_err(Error::invalid)?;
        // SAFETY: the client and both queues live; the reference to the partition's queue is released. A null
        // target ends the forwarding.
        unsafe {
            let queue = c::rd_kafka_queue_get_partition(self.client(), topic.as_ptr(), partition);
            if queue.is_null() {
                return Err(Error::from_code(Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
            }
            let target = if to_shared { self.member().records.pointer() } else { ptr::null_mut() };
            c::rd_kafka_queue_forward(queue, target);
            c::rd_kafka_queue_destroy(queue);
        }
        Ok(())
    }
}

impl Broker for Source {
    type Record = Fetched;

    fn partition(&self, topic: &str, number: i32) -> Option<Partition> {
        let topic = self.topics.iter().position(|known| known == topic)?;
        Some(Partition { topic, number })
    }

    fn next_event(&mut self) -> Option<Event> {
        self.member_mut().next_event()
    }

    fn take(&mut self, at_most: usize, mut each: impl FnMut(Partition, Taken<Fetched>)) -> usize {
        let mut taken = 0;
        while taken < at_most {
            let wanted = (at_most - taken).min(BATCH);
            let some = self.take_some(wanted, &mut each);
            taken += some;
            if some < wanted {
                break;
            }
        }
        taken
    }

    fn subscribe(&mut self, topics: &[String]) -> Result<(), Error> {
        self.member_mut().set_joined();
        let topics: Vec<_> = topics.iter().map(|topic| Position::of(topic, NO_PARTITION)).collect();
        let list = List::new(&topics)?;
        // SAFETY: the client and the list live; the list is copied.
        Error::check(unsafe { c::rd_kafka_subscribe(self.client(), list.pointer()) })
    }

    fn assign(&mut self, positions: &[Position]) -> Result<(), Error> {
        for position in positions {
            self.forward(&position.topic, position.partition, true)?;
        }
        let list = List::new(positions)?;
        list.set_offsets(|offset| offset.max(BEGINNING));
        // SAFETY: the client and the list live; the list is not kept.
        self.member_mut().answer_rebalance(|member| unsafe {
            if member.is_cooperative() {
                Error::check_object(c::rd_kafka_incremental_assign(member.client.pointer(), list.pointer()))
            } else {
                Error::check(c::rd_kafka_assign(member.client.pointer(), list.pointer()))
            }
        })
    }

    fn unassign(&mut self, partitions: &[Position]) -> Result<(), Error> {
        let list = List::new(partitions)?;
        // SAFETY: the client and the list live; the list is not kept.
        self.member_mut().answer_rebalance(|member| unsafe {
            if member.is_cooperative() {
                Error::check_object(c::rd_kafka_incremental_unassign(member.client.pointer(), list.pointer()))
            } else {
                Error::check(c::rd_kafka_assign(member.client.pointer(), ptr::null()))
            }
        })
    }

    fn is_lost(&self) -> bool {
        self.member().is_lost()
    }

    fn flow(&mut self, partition: Partition, flows: bool) -> Result<(), Error> {
        self.forward(&self.topics[partition.topic], partition.number, flows)
    }

    fn pause(&mut self, partition: Partition, pauses: bool) -> Result<(), Error> {
        let list = List::new(&[Position::of(&self.topics[partition.topic], partition.number)])?;
        // SAFETY: the client and the list live; the list is dropped before the client.
        Error::check(unsafe {
            if pauses {
                c::rd_kafka_pause_partitions(self.client(), list.pointer())
            } else {
                c::rd_kafka_resume_partitions(self.client(), list.pointer())
            }
        })
    }

    /// Before this call returns, with any result, all records that were fetched before are outdated: the
    /// client increments a version number of each partition, and drops messages of older versions when they
    /// are taken. The call then waits a short time for the main thread of the client, which reports partitions
    /// that are not fetched. [`ErrorKind::Timeout`](super::client::ErrorKind::Timeout) means that the seek has
    /// not been done yet; the call may be repeated.
    fn seek(&mut self, positions: &[Position]) -> Result<(), Error> {
        if positions.is_empty() {
            return Ok(());
        }
        let list = List::new(positions)?;
        list.set_offsets(|offset| offset.max(BEGINNING));
        // SAFETY: the client and the list live; the list is not kept.
        Error::check_object(unsafe { c::rd_kafka_seek_partitions(self.client(), list.pointer(), SEEK_LIMIT_MS) })?;
        list.positions().map(drop)
    }

    fn commit(&mut self, number: u64, positions: &[Position]) -> Result<(), Error> {
        let list = List::new(positions)?;
        let number = ptr::without_provenance_mut(usize::try_from(number).map_err(Error::invalid)?);
        // This function reports the result on a queue. The plain asynchronous commit reports it only to a
        // callback.
        // SAFETY: client, queue and list live; the list is copied; the number is only returned in the event.
        Error::check(unsafe {
            let answers = self.member().events.pointer();
            c::rd_kafka_commit_queue(self.client(), list.pointer(), answers, None, number)
        })
    }

    fn end(&self, partition: Partition) -> Option<i64> {
        let topic = CString::new(self.topics[partition.topic].as_str()).ok()?;
        let (mut low, mut high) = (UNKNOWN, UNKNOWN);
        // SAFETY: client and text live, the numbers are written before the call returns. It asks no broker.
        let code = unsafe {
            c::rd_kafka_get_watermark_offsets(
                self.client(),
                topic.as_ptr(),
                partition.number,
                &raw mut low,
                &raw mut high,
            )
        };
        (code == OK && high >= 0).then_some(high)
    }

    /// Runs the question on a blocking thread of tokio, so it must be called within a tokio runtime.
    fn ask(&mut self, question: Question) {
        let reader = self.reader();
        tokio::task::spawn_blocking(move || question(&reader));
    }

    fn close(&mut self) {
        self.member_mut().close();
    }

    fn is_closed(&self) -> bool {
        self.member().is_closed()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            member.leave_in_background();
        }
    }
}

/// An offset that the client does not know.
const UNKNOWN: i64 = -1001;
/// The partition in a subscription, which is for all partitions of a topic.
const NO_PARTITION: i32 = -1;
