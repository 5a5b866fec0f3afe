//! What the broker knows about a consumer group.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::{Kafka, Topic, clients};

const LIMIT: Duration = Duration::from_secs(10);

/// Progress of a group in one partition, as committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub partition: i32,
    /// None: nothing was committed.
    pub offset: Option<i64>,
    pub metadata: String,
}

/// A look at a group from outside, over one connection.
pub struct Group {
    consumer: BaseConsumer,
    name: String,
}

impl Kafka {
    /// The group of that name, whether there is one or not.
    pub fn group(&self, name: &str) -> Group {
        Group { consumer: clients::consumer(self.bootstrap(), name), name: name.to_owned() }
    }
}

impl Group {
    /// Offsets and metadata that it committed, by partition.
    #[track_caller]
    pub fn committed(&self, topic: &Topic) -> Vec<Committed> {
        self.try_committed(topic)
            .unwrap_or_else(|error| panic!("offsets of group {} cannot be read: {error}", self.name))
    }

    /// Records of the topic that it has not committed.
    #[track_caller]
    pub fn lag(&self, topic: &Topic) -> i64 {
        self.try_lag(topic).unwrap_or_else(|error| panic!("the lag of group {} cannot be read: {error}", self.name))
    }

    /// Whether it has committed the whole topic. Not so either when the broker is away.
    pub fn has_committed(&self, topic: &Topic) -> bool {
        self.try_lag(topic).is_ok_and(|lag| lag == 0)
    }

    /// Its member ids if it is of the classic protocols, sorted. A KIP-848 group shows none here.
    #[track_caller]
    pub fn members(&self) -> Vec<String> {
        let groups = self
            .consumer
            .fetch_group_list(Some(&self.name), LIMIT)
            .unwrap_or_else(|error| panic!("group {} cannot be described: {error}", self.name));
        let mut members: Vec<String> =
            groups.groups().iter().flat_map(|group| group.members()).map(|member| member.id().to_owned()).collect();
        members.sort();
        members
    }

    fn try_committed(&self, topic: &Topic) -> KafkaResult<Vec<Committed>> {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range(topic.name(), 0, topic.partitions() - 1);
        let committed = self.consumer.committed_offsets(wanted, LIMIT)?;
        Ok(committed
            .elements()
            .iter()
            .map(|element| Committed {
                partition: element.partition(),
                offset: match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                },
                metadata: element.metadata().to_owned(),
            })
            .collect())
    }

    fn try_lag(&self, topic: &Topic) -> KafkaResult<i64> {
        let mut lag = 0;
        for committed in self.try_committed(topic)? {
            let (_, end) = self.consumer.fetch_watermarks(topic.name(), committed.partition, LIMIT)?;
            lag += end - committed.offset.unwrap_or(0);
        }
        Ok(lag)
    }
}
