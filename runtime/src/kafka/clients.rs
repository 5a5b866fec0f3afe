//! The clients of one trigger.

use std::sync::Arc;

use super::broker::Clients;
use super::client::Error;
use super::sink::{Batching, KafkaSink};
use super::source::{Membership, Source};
use super::wake::{Wake, WakeEnd};
use crate::manifest::Cluster;

/// What the clients of a trigger are made of.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub cluster: Arc<Cluster>,
    pub output_cluster: Arc<Cluster>,
    /// Name of the trigger, for log lines.
    pub trigger: String,
    pub group: String,
    /// Topics to read. [`Partition::topic`](super::Partition::topic) counts in them.
    pub topics: Vec<String>,
    /// Topics to write. [`Message::topic`](crate::record::Message::topic) counts in them.
    pub outputs: Vec<String>,
    /// Name of the node.
    pub node: String,
    /// Name of a static member of the group; `None`: a new member joins each time.
    pub instance: Option<String>,
}

/// Makes the clients, which all wake the same loop.
pub struct KafkaClients {
    blueprint: Blueprint,
    wake: Wake,
    /// Each queue of each client has it too, so clients may come and go.
    end: Arc<WakeEnd>,
}

impl KafkaClients {
    /// Makes no client yet.
    pub fn new(blueprint: Blueprint) -> Self {
        let (wake, end) = Wake::new();
        Self { blueprint, wake, end }
    }
}

impl Clients for KafkaClients {
    type Broker = Source;
    type Sink = KafkaSink;

    fn broker(&mut self, queue_bytes: u64) -> Result<Source, Error> {
        let Blueprint { cluster, trigger, group, topics, node, instance, .. } = &self.blueprint;
        let membership = Membership { owner: trigger, group, topics, queue_bytes, instance: instance.as_deref() };
        Source::new(cluster, &membership, node, &self.end)
    }

    fn sink(&mut self, batching: Batching) -> Result<KafkaSink, Error> {
        let Blueprint { output_cluster, trigger, outputs, node, .. } = &self.blueprint;
        KafkaSink::new(output_cluster, trigger, node, outputs, batching, &self.end)
    }

    async fn wait(&self) {
        self.wake.wait().await;
    }
}
