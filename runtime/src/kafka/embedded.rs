//! The broker of `tidegate dev` and of demos: librdkafka's mock cluster, inside this process.
//!
//! It speaks the Kafka protocol with any client, but it is not a complete broker: it keeps only 5 MiB of each
//! partition, loses all data when it ends, and does not enforce transactions.

use rdkafka::bindings as c;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::{ClientConfig, ClientContext};

use super::client::Error;

/// The limits of an embedded broker, as a text for users who start one.
pub const LIMITS: &str = "keeps 5 MiB of each partition, forgets everything at exit, does not enforce transactions";

/// Properties without which clients of an embedded broker are slow.
pub const CLIENT_PROPERTIES: &[(&str, &str)] =
    &[("fetch.wait.max.ms", "10"), ("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];

/// Whether a cluster with this id is an embedded broker.
pub(super) fn is_cluster_id(id: &str) -> bool {
    id.starts_with("mockCluster")
}

/// A Kafka cluster of one broker on a free loopback port.
pub struct EmbeddedBroker {
    /// The client that contains the mock cluster. It is used for nothing else.
    host: BaseProducer,
}

impl EmbeddedBroker {
    /// Starts a broker. It is ready at once, and stops when it is dropped.
    pub fn start() -> Result<Self, Error> {
        let host: BaseProducer =
            ClientConfig::new().set("test.mock.num.brokers", "1").create().map_err(Error::invalid)?;
        // By default the first member of a group waits three seconds for other members.
        // SAFETY: the client lives, and so does its mock cluster.
        unsafe {
            let cluster = c::rd_kafka_handle_mock_cluster(host.client().native_ptr());
            c::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
        }
        Ok(Self { host })
    }

    fn cluster(&self) -> Result<MockCluster<'_, impl ClientContext>, Error> {
        self.host.client().mock_cluster().ok_or_else(|| Error::invalid("the embedded broker has stopped"))
    }

    /// The address of the broker, `host:port`.
    pub fn address(&self) -> String {
        self.cluster().map_or_else(|_| String::new(), |cluster| cluster.bootstrap_servers())
    }

    /// Creates a topic. If it exists, it is not changed.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), Error> {
        use rdkafka::error::KafkaError::MockCluster as Refused;
        match self.cluster()?.create_topic(name, partitions, 1) {
            Ok(()) | Err(Refused(rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            Err(error) => Err(Error::invalid(error)),
        }
    }
}
