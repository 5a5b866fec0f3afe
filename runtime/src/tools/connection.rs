//! The first contact with the brokers, and the errors if they do not answer.

use std::time::Duration;

use super::Failure;
use crate::kafka::scan::{Isolation, Scan};
use crate::kafka::{Error, Wake};
use crate::manifest::Cluster;

/// How long brokers have for an answer.
pub const LIMIT: Duration = Duration::from_secs(8);

/// The failure for a topic that does not exist or may not be used. The cluster decides which topics there are,
/// so it is not only the user's mistake: exit code 1.
pub fn missing(topic: &str, done: &str, reason: &str) -> Failure {
    Failure::Failed(anyhow::anyhow!("topic {topic} cannot be {done}: {reason}"))
}

/// The partitions of a topic, in words.
pub fn partitions(count: i32) -> String {
    if count == 1 { "partition 0 only".to_owned() } else { format!("the partitions 0 to {}", count - 1) }
}

/// A client that reads, and its wake-up signal.
pub struct Connection {
    pub scan: Scan,
    pub wake: Wake,
    brokers: String,
}

impl Connection {
    /// Needs a tokio runtime with IO. Does not talk to a broker yet.
    pub fn new(cluster: &Cluster, topics: &[String], isolation: Isolation) -> anyhow::Result<Self> {
        let (wake, end) = Wake::new();
        let scan = Scan::new(cluster, topics, isolation, &end)?;
        Ok(Self { scan, wake, brokers: cluster.brokers.clone() })
    }

    /// How many partitions a topic has, or why there is no such topic. This is the first question to a broker.
    pub fn partitions(&self, topic: &str) -> anyhow::Result<Result<i32, Error>> {
        self.scan.partitions(topic, LIMIT).map_err(|error| self.unanswered(error))
    }

    /// Explains why a question failed. If no broker answered, it adds what the client knows about its connections.
    pub fn unanswered(&self, error: Error) -> anyhow::Error {
        if !error.kind.is_unavailable() {
            return error.into();
        }
        let why = self.scan.connection_error().unwrap_or(error);
        anyhow::anyhow!("no broker answers at {} within {}s: {}", self.brokers, LIMIT.as_secs(), why.reason)
    }
}
