//! Creates the Kafka clients of one trigger.

use std::sync::Arc;

use super::broker::Clients;
use super::client::Error;
use super::sink::{Batching, KafkaSink};
use super::source::{Membership, Source};
use super::wake::{Wake, WakeHandle};
use crate::manifest::Cluster;

/// The settings of the clients of a trigger.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub cluster: Arc<Cluster>,
    pub output_cluster: Arc<Cluster>,
    /// Name of the trigger, for log lines.
    pub trigger: String,
    pub group: String,
    /// Topics to read. [`Partition::topic`](super::Partition::topic) is an index into this list.
    pub topics: Vec<String>,
    /// Topics to write. [`Message::topic`](crate::record::Message::topic) is an index into this list.
    pub outputs: Vec<String>,
    /// Name of the node.
    pub node: String,
    /// Name of a static member of the group. `None`: each start joins as a new member.
    pub instance: Option<String>,
}

/// Creates the clients. All of them wake the same loop.
pub struct KafkaClients {
    blueprint: Blueprint,
    wake: Wake,
    /// Each queue of each client holds this too. So clients may be created and dropped at any time.
    handle: Arc<WakeHandle>,
}

impl KafkaClients {
    /// Does not create a client yet.
    pub fn new(blueprint: Blueprint) -> Self {
        let (wake, handle) = Wake::new();
        Self { blueprint, wake, handle }
    }
}

impl Clients for KafkaClients {
    type Broker = Source;
    type Sink = KafkaSink;

    fn broker(&mut self, queue_bytes: u64) -> Result<Source, Error> {
        let Blueprint { cluster, trigger, group, topics, node, instance, .. } = &self.blueprint;
        let membership = Membership { owner: trigger, group, topics, queue_bytes, instance: instance.as_deref() };
        Source::new(cluster, &membership, node, &self.handle)
    }

    fn sink(&mut self, batching: Batching) -> Result<KafkaSink, Error> {
        let Blueprint { output_cluster, trigger, outputs, node, .. } = &self.blueprint;
        KafkaSink::new(output_cluster, trigger, node, outputs, batching, &self.handle)
    }

    async fn wait(&self) {
        self.wake.wait().await;
    }
}
