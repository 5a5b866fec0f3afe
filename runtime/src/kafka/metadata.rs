//! Metadata of topics.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as c;

use super::error::{Error, ErrorKind, OK};

/// The brokers' answer about some topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The number of partitions of each topic that exists.
    pub partitions: BTreeMap<String, i32>,
    /// The topics that cannot be used, each with the reason.
    pub missing: BTreeMap<String, Error>,
    /// The partitions without a leader, which cannot be read or written now.
    pub leaderless: Vec<String>,
}

impl Metadata {
    /// How many partitions a topic has. An error if the topic cannot be used.
    pub fn partitions_of(&self, topic: &str) -> Result<i32, Error> {
        match (self.partitions.get(topic), self.missing.get(topic)) {
            (Some(&partitions), _) => Ok(partitions),
            (None, Some(error)) => Err(error.clone().of(&format!("topic {topic}"))),
            (None, None) => Err(Error::new(ErrorKind::UnknownTopic, format!("topic {topic}: there is no metadata"))),
        }
    }

    /// Asks the brokers for the metadata of topics. Blocks for up to `limit` for each topic.
    ///
    /// `client` must be a live client.
    pub(super) fn ask(client: *mut c::rd_kafka_t, topics: &[String], limit: Duration) -> Result<Self, Error> {
        let mut found = Self::default();
        for topic in topics {
            match partitions_of(client, topic, limit)? {
                Ok(leaders) => {
                    let leaderless = (0..).zip(&leaders).filter(|(_, leader)| **leader < 0);
                    found.leaderless.extend(leaderless.map(|(partition, _): (i32, _)| format!("{topic}/{partition}")));
                    found.partitions.insert(topic.clone(), i32::try_from(leaders.len()).unwrap_or(i32::MAX));
                }
                Err(error) => drop(found.missing.insert(topic.clone(), error)),
            }
        }
        Ok(found)
    }
}

/// The leader of each partition of a topic, -1 if a partition has none. The inner error says why the topic
/// cannot be used.
fn partitions_of(client: *mut c::rd_kafka_t, topic: &str, limit: Duration) -> Result<Result<Vec<i32>, Error>, Error> {
    let name = CString::new(topic).map_err(Error::invalid)?;
    let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives during the call; the topic handle and the metadata are destroyed once, after
    // everything was copied from them; each count in the metadata is the length of its array.
    unsafe {
        let handle = c::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut());
        if handle.is_null() {
            return Err(Error::from_code(c::rd_kafka_last_error()));
        }
        let mut metadata = ptr::null();
        let code = c::rd_kafka_metadata(client, 0, handle, &raw mut metadata, limit_ms);
        c::rd_kafka_topic_destroy(handle);
        Error::check(code)?;
        let answer = if (*metadata).topic_cnt == 1 {
            let topic = &*(*metadata).topics;
            match topic.err {
                OK if topic.partition_cnt > 0 => {
                    let mut leaders = vec![-1; topic.partition_cnt as usize];
                    for partition in std::slice::from_raw_parts(topic.partitions, leaders.len()) {
                        if let Some(leader) = leaders.get_mut(partition.id as usize) {
                            *leader = partition.leader;
                        }
                    }
                    Ok(leaders)
                }
                OK => Err(Error::new(ErrorKind::UnknownPartition, "the topic has no partitions yet")),
                code => Err(Error::from_code(code)),
            }
        } else {
            Err(Error::new(ErrorKind::Other, "the answer of the broker does not contain the topic"))
        };
        c::rd_kafka_metadata_destroy(metadata);
        Ok(answer)
    }
}
