//! What is read, and from where on.

use std::time::Duration;

use crate::kafka::Partition;
use crate::kafka::scan::Isolation;
use crate::manifest::Cluster;

/// What is read.
pub struct Plan {
    pub cluster: Cluster,
    pub topics: Vec<String>,
    /// `None`: all, also those that are added while it is read without an end.
    pub partition: Option<i32>,
    pub from: Start,
    pub isolation: Isolation,
    /// To where the partitions end when reading begins.
    pub to_end: bool,
    /// The longest time without a record that the receiver takes. Read to an end, any record counts: on
    /// the way there a filter may reject for long.
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
    /// Behind what is there.
    Latest,
    /// The first record that is not older, in milliseconds since 1970.
    Time(i64),
    Offset(i64),
    /// So many before the end.
    Last(i64),
}
