//! Asks the brokers what a topic is now, without waiting for the answer.
//!
//! A topic that is deleted and created again has the same name and another id. librdkafka 2.12 notices this
//! only if the offset that it reads next does not exist in the new topic. Otherwise it goes on in the middle
//! of the new topic and does not say so. So whoever must not miss a record compares the ids.

use std::ffi::CString;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as c;

use super::client::{Client, Error};
use super::error::{Code, ErrorKind, OK};
use super::queue::{Queue, QueueEvent};
use super::reader::milliseconds;
use super::wake::WakeHandle;

/// The id that a broker gives to a topic when the topic is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TopicId {
    high: i64,
    low: i64,
}

impl TopicId {
    /// Brokers older than Kafka 2.8 have no ids.
    pub(super) const UNKNOWN: Self = Self { high: 0, low: 0 };

    /// Whether both are known and differ.
    pub(super) fn is_another(self, other: Self) -> bool {
        self != other && self != Self::UNKNOWN && other != Self::UNKNOWN
    }
}

/// What the brokers say about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub id: TopicId,
    pub partitions: usize,
}

/// Asks about topics. There is at most one question at a time.
pub(super) struct Describer {
    // Dropped before the client: see `Queue`.
    answers: Queue,
    client: Arc<Client>,
    is_waiting: bool,
}

impl Describer {
    /// Uses the connections of a client. Answers wake the loop of `wake`.
    pub(super) fn new(client: &Arc<Client>, wake: &Arc<WakeHandle>) -> Result<Self, Error> {
        // SAFETY: returns a new queue of this client, and the reference to it is passed on.
        let answers = unsafe { Queue::new(c::rd_kafka_queue_new(client.pointer()), client.clone(), wake.clone())? };
        Ok(Self { answers, client: client.clone(), is_waiting: false })
    }

    /// Whether the last question is not answered yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Asks about a topic. If no broker answers within `limit`, the answer is an error.
    pub(super) fn ask(&mut self, topic: &str, limit: Duration) -> Result<(), Error> {
        let name = CString::new(topic).map_err(Error::invalid)?;
        let mut names = [name.as_ptr()];
        // SAFETY: client and queue live; the names live until the collection has copied them; collection and
        // options are destroyed once, after the request has copied them. A refused time-out would leave the
        // default in place; the buffer for its reason is null with length 0.
        unsafe {
            let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = c::rd_kafka_AdminOptions_new(self.client.pointer(), operation);
            c::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds(limit), ptr::null_mut(), 0);
            let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            c::rd_kafka_DescribeTopics(self.client.pointer(), topics, options, self.answers.pointer());
            c::rd_kafka_TopicCollection_destroy(topics);
            c::rd_kafka_AdminOptions_destroy(options);
        }
        self.is_waiting = true;
        Ok(())
    }

    /// The answer to the question, if it has arrived. [`ErrorKind::UnknownTopic`]: there is no such topic.
    pub(super) fn answer(&mut self) -> Option<Result<Description, Error>> {
        let event = self.answers.poll(0)?;
        self.is_waiting = false;
        Some(event.error().and_then(|()| read(&event)))
    }
}

/// Reads the answer about the only topic of a question.
fn read(event: &QueueEvent) -> Result<Description, Error> {
    let missing = || Error::new(ErrorKind::Other, "the answer of the broker does not contain the topic");
    // SAFETY: the event lives, and everything that these functions return belongs to it and is copied. If the
    // event is of another kind, the result is null.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(event.pointer());
        if result.is_null() {
            return Err(missing());
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count == 0 {
            return Err(missing());
        }
        let topic = *topics;
        let error = c::rd_kafka_TopicDescription_error(topic);
        let code: Code = if error.is_null() { OK } else { c::rd_kafka_error_code(error) };
        Error::check(code)?;
        let mut partitions = 0;
        c::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let id = c::rd_kafka_TopicDescription_topic_id(topic);
        let id = TopicId {
            high: c::rd_kafka_Uuid_most_significant_bits(id),
            low: c::rd_kafka_Uuid_least_significant_bits(id),
        };
        Ok(Description { id, partitions })
    }
}
