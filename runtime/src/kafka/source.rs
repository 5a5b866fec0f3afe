//! Records and events of a consumer group.
//!
//! One loop takes both, without waiting, from two queues of the client: events (rebalances, ends of
//! commits, errors) from the consumer's own queue, records of all assigned partitions from one
//! application queue. A rebalance may be answered by a later turn of the loop; until then
//! librdkafka hands out no record of any partition, and none of an earlier assignment can follow
//! the event that revokes it.

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
use super::wake::WakeEnd;
use crate::manifest::Cluster;

/// Most records that are taken from the client in one call.
const BATCH: usize = 500;

/// How long a seek may wait for the client's own thread, which takes well below a millisecond unless
/// the machine is short of CPU.
const SEEK_LIMIT_MS: i32 = 10;

/// A member of a consumer group.
///
/// Dropped, it leaves the group by itself, on a thread that nobody waits for. Records that were
/// taken stay good, and keep the client's memory, but not its membership.
pub struct Source {
    /// `None` only while it is dropped.
    member: Option<Member>,
    topics: Vec<String>,
    buffer: Vec<*mut c::rd_kafka_message_t>,
    /// The topic of the last record, so that its name is looked up once per run of records.
    last_topic: (*mut c::rd_kafka_topic_t, usize),
}

// SAFETY: the buffer is empty between calls, and the topic's pointer is only compared.
unsafe impl Send for Source {}

impl Source {
    /// Joins the group when it [subscribes](Broker::subscribe).
    pub fn new(
        cluster: &Cluster,
        membership: &Membership<'_>,
        client_id: &str,
        wake: &Arc<WakeEnd>,
    ) -> Result<Self, Error> {
        let client = Client::consumer(&settings::member(cluster, membership, client_id))?;
        Ok(Self {
            member: Some(Member::new(client, membership.owner, membership.group, wake)?),
            topics: membership.topics.to_vec(),
            buffer: vec![ptr::null_mut(); BATCH],
            last_topic: (ptr::null_mut(), 0),
        })
    }

    /// What may be asked from another thread.
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

    /// Takes messages in one call.
    fn take_some(&mut self, at_most: usize, each: &mut impl FnMut(Partition, Taken<Fetched>)) -> usize {
        // Of an earlier call, the topic may be gone and its address be another one's.
        self.last_topic = (ptr::null_mut(), 0);
        let member = self.member.as_ref().expect("a source is a member until it is dropped");
        let taken = member.records.take(&mut self.buffer[..at_most]);
        for index in 0..taken {
            let Some(message) = NonNull::new(self.buffer[index]) else { continue };
            // SAFETY: the message was just taken and lives until it is destroyed or handed out below.
            let (code, topic, number, offset) = unsafe {
                let message = message.as_ref();
                (message.err, message.rkt, message.partition, message.offset)
            };
            let topic = self.topic_place(topic);
            let what = if code == OK {
                // SAFETY: it is ours, has no error, and nobody else destroys it.
                Taken::Record(unsafe { Fetched::new(message, self.member().client.clone()) })
            } else {
                let mut error = Error::from_code(code);
                // SAFETY: its text is copied; it is ours and destroyed once.
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
                // That there is nothing more now is no failure; the manifest may ask for it.
                _ if code == Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => {}
                Some(topic) => each(Partition { topic, number }, what),
                None => tracing::debug!("a message of no topic of ours: {number}/{offset}: {:?}", code),
            }
        }
        taken
    }

    fn topic_place(&mut self, topic: *mut c::rd_kafka_topic_t) -> Option<usize> {
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

    fn forward(&self, topic: &str, partition: i32, to_us: bool) -> Result<(), Error> {
        let topic = CString::new(topic).map_err(Error::invalid)?;
        // SAFETY: the client and both queues live; the reference to the partition's queue is
        // returned. A null target ends the forwarding.
        unsafe {
            let queue = c::rd_kafka_queue_get_partition(self.client(), topic.as_ptr(), partition);
            if queue.is_null() {
                return Err(Error::from_code(Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
            }
            c::rd_kafka_queue_forward(queue, if to_us { self.member().records.pointer() } else { ptr::null_mut() });
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
        self.member_mut().joins();
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
        self.member_mut().answer(|member| unsafe {
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
        self.member_mut().answer(|member| unsafe {
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

    /// The call itself makes all that was fetched outdated, before it returns and whatever it
    /// returns: the client counts a version of each partition up and drops messages of older ones
    /// when they are taken. Then it waits a little for the client's thread, to hear of a partition
    /// that is not fetched. [`ErrorKind::Timeout`](super::client::ErrorKind::Timeout) means that the seek
    /// is still to come; it may be asked for again.
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
        // With a queue to answer to: the plain asynchronous commit tells its end to a callback only.
        // SAFETY: client, queue and list live; the list is copied; the number is only handed back.
        Error::check(unsafe {
            let answers = self.member().events.pointer();
            c::rd_kafka_commit_queue(self.client(), list.pointer(), answers, None, number)
        })
    }

    /// Answered on a thread of tokio's that may block, so it needs a runtime.
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
            member.leave_behind();
        }
    }
}

/// A subscription is to topics as a whole.
const NO_PARTITION: i32 = -1;
