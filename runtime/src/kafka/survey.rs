//! Asks the brokers about several topics at once, and what may be done with them.

use std::ffi::CString;
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as c;

use super::client::{Client, Error};
use super::error::{Code, ErrorKind, OK};
use super::queue::{Queue, QueueEvent};
use super::reader::milliseconds;
use super::scan::{Isolation, Scan};
use super::settings::settings;
use super::wake::{Wake, WakeHandle};
use crate::manifest::Cluster;

/// What the brokers say about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    pub partitions: usize,
    /// What this client may do with it. [`None`]: the brokers do not say.
    pub rights: Option<Rights>,
}

/// What a client may do with a topic. Where the brokers check nothing, it may do everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    pub read: bool,
    pub write: bool,
}

/// What the brokers say about each topic, in the same order. Blocks, at most for about three times `limit`.
///
/// # Errors
///
/// No broker answers, or it answers with an error that is not about a topic. Those about topics stand in their place.
pub fn survey(cluster: &Cluster, topics: &[String], limit: Duration) -> Result<Vec<Result<TopicFacts, Error>>, Error> {
    let (_wake, handle) = Wake::new();
    let (brief, end) = (limit.min(Duration::from_secs(3)), Instant::now() + limit);
    // A question that every broker knows, also to learn whether one answers at all.
    let scan = Scan::new(cluster, &[], Isolation::Uncommitted, &handle)?;
    let mut plain = Vec::new();
    for topic in topics {
        let left = end.saturating_duration_since(Instant::now()).max(brief);
        let asked = scan.partitions(topic, left).map_err(|error| {
            let why = scan.connection_error().filter(|_| error.kind.is_unavailable());
            why.unwrap_or(error)
        })?;
        let facts = |partitions| TopicFacts { partitions: usize::try_from(partitions).unwrap_or(0), rights: None };
        plain.push(asked.map(facts));
    }
    // Brokers before Kafka 2.3, and the one of `tidegate dev`, do not know this one.
    Ok(described(cluster, topics, brief, &handle).unwrap_or(plain))
}

fn described(
    cluster: &Cluster,
    topics: &[String],
    limit: Duration,
    wake: &Arc<WakeHandle>,
) -> Result<Vec<Result<TopicFacts, Error>>, Error> {
    let mut config = settings(cluster, "tidegate-survey", &[]);
    config.remove("group.id");
    let client = Arc::new(Client::consumer(&config)?);
    // SAFETY: returns a new queue of this client, and the reference to it is passed on.
    let answers = unsafe { Queue::new(c::rd_kafka_queue_new(client.pointer()), client.clone(), wake.clone())? };
    let names: Vec<CString> =
        topics.iter().map(|topic| CString::new(topic.as_str()).map_err(Error::invalid)).collect::<Result<_, _>>()?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: client and queue live; the names live until the collection has copied them; collection and options are
    // destroyed once, after the request has copied them. A refused option leaves its default in place, and its error
    // is destroyed; the buffer for a reason is null with length 0.
    unsafe {
        let operation = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = c::rd_kafka_AdminOptions_new(client.pointer(), operation);
        c::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds(limit), ptr::null_mut(), 0);
        let _ = Error::check_object(c::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1));
        let collection = c::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        c::rd_kafka_DescribeTopics(client.pointer(), collection, options, answers.pointer());
        c::rd_kafka_TopicCollection_destroy(collection);
        c::rd_kafka_AdminOptions_destroy(options);
    }
    let none = || Error::new(ErrorKind::Timeout, "the brokers do not describe topics");
    let event = answers.poll(milliseconds(limit * 2)).ok_or_else(none)?;
    event.error()?;
    let found = read(&event);
    if found.len() == topics.len() { Ok(found) } else { Err(none()) }
}

/// Reads the answers, which have the order of the question.
fn read(event: &QueueEvent) -> Vec<Result<TopicFacts, Error>> {
    // SAFETY: the event lives, and everything that these functions return belongs to it and is copied. If the event is
    // of another kind, the result is null.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(event.pointer());
        if result.is_null() {
            return Vec::new();
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        (0..count).map(|at| facts(*topics.add(at))).collect()
    }
}

/// Reads the answer about one topic.
///
/// # Safety
///
/// `topic` belongs to an event that lives.
unsafe fn facts(topic: *const c::rd_kafka_TopicDescription_t) -> Result<TopicFacts, Error> {
    // SAFETY: as the caller says. The operations are an array of the length that is returned beside it.
    unsafe {
        let error = c::rd_kafka_TopicDescription_error(topic);
        let code: Code = if error.is_null() { OK } else { c::rd_kafka_error_code(error) };
        Error::check(code)?;
        let (mut partitions, mut operations) = (0, 0);
        c::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let allowed = c::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut operations);
        let rights = (!allowed.is_null()).then(|| rights(slice::from_raw_parts(allowed, operations)));
        Ok(TopicFacts { partitions, rights })
    }
}

fn rights(allowed: &[c::rd_kafka_AclOperation_t]) -> Rights {
    use c::rd_kafka_AclOperation_t as Operation;
    let has = |operation| allowed.contains(&operation) || allowed.contains(&Operation::RD_KAFKA_ACL_OPERATION_ALL);
    Rights { read: has(Operation::RD_KAFKA_ACL_OPERATION_READ), write: has(Operation::RD_KAFKA_ACL_OPERATION_WRITE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::embedded::EmbeddedBroker;

    #[test]
    fn topics_that_are_there_and_missing_are_told_apart() {
        let broker = EmbeddedBroker::start().expect("it starts");
        broker.create_topic("t", 3).expect("created");
        let cluster = Cluster::at(&broker.address()).expect("a cluster");
        let found = survey(&cluster, &["t".to_owned()], Duration::from_secs(30)).expect("an answer");
        assert_eq!(found[0].as_ref().map(|facts| facts.partitions), Ok(3));
    }

    #[test]
    fn rights_are_read_from_the_operations_that_are_allowed() {
        use c::rd_kafka_AclOperation_t as Operation;
        let read = [Operation::RD_KAFKA_ACL_OPERATION_READ, Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE];
        assert_eq!(rights(&read), Rights { read: true, write: false });
        assert_eq!(rights(&[Operation::RD_KAFKA_ACL_OPERATION_ALL]), Rights { read: true, write: true });
        assert_eq!(rights(&[]), Rights::default());
    }
}
