//! The broker of `tidegate dev` and of demos: librdkafka's mock cluster, inside this process.
//!
//! It speaks the Kafka protocol to any client, and is no Kafka: it keeps 5 MiB of each partition,
//! forgets everything at its end, and enforces no transactions.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::client::Error;

/// What an embedded broker is wrong about, for people who start one.
pub const LIMITS: &str = "keeps 5 MiB of each partition, forgets everything at exit, does not enforce transactions";

/// Properties without which clients of an embedded broker are slow.
pub const CLIENT_PROPERTIES: &[(&str, &str)] =
    &[("fetch.wait.max.ms", "10"), ("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];

/// A Kafka cluster of one broker on a free loopback port.
pub struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

// SAFETY: librdkafka takes a lock, or asks the mock cluster's own thread, in each of its functions.
unsafe impl Send for EmbeddedBroker {}
// SAFETY: as above.
unsafe impl Sync for EmbeddedBroker {}

impl EmbeddedBroker {
    /// Starts it; it is there at once, and ends when it is dropped.
    pub fn start() -> Result<Self, Error> {
        Ok(Self { cluster: MockCluster::new(1).map_err(Error::invalid)? })
    }

    /// Its address, `host:port`.
    pub fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Creates a topic. One that exists stays as it is.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), Error> {
        use rdkafka::error::KafkaError::MockCluster as Refused;
        match self.cluster.create_topic(name, partitions, 1) {
            Ok(()) | Err(Refused(rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            Err(error) => Err(Error::invalid(error)),
        }
    }
}
