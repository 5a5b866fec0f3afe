//! Which records are read.

use std::time::Duration;

use crate::kafka::Partition;
use crate::kafka::scan::Isolation;
use crate::manifest::Cluster;

/// Which records are read, and how long.
pub struct Plan {
    pub cluster: Cluster,
    pub topics: Vec<String>,
    /// `None`: all partitions. Without an end, partitions that are added later are read too.
    pub partition: Option<i32>,
    pub from: Start,
    pub isolation: Isolation,
    /// Stop at the ends that the partitions have at the start.
    pub to_end: bool,
    /// The longest time without a record that the receiver takes. When reading to the end, every record counts,
    /// because a filter may reject many in a row on the way.
    pub timeout: Option<Duration>,
}

impl Plan {
    /// The name of a partition, such as `orders/2`.
    pub(super) fn place(&self, partition: Partition) -> String {
        format!("{}/{}", self.topics[partition.topic], partition.number)
    }
}

/// Where reading a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    /// After the last record.
    Latest,
    /// At the first record that is not older than this, in milliseconds since 1970.
    Time(i64),
    Offset(i64),
    /// This many records before the end.
    Last(i64),
}
