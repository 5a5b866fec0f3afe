//! The clients of one trigger.

use std::sync::Arc;

use super::broker::Clients;
use super::client::{Error, Wake, WakeEnd};
use super::sink::{Batching, KafkaSink};
use super::source::{Membership, Source};
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
    /// Made with the first client. Each queue of each client has the end too, so clients may come and go.
    wake: Option<(Wake, Arc<WakeEnd>)>,
}

impl KafkaClients {
    /// Makes no client yet. The clients need a tokio runtime with IO.
    pub fn new(blueprint: Blueprint) -> Self {
        Self { blueprint, wake: None }
    }

    /// An error if the machine has no more file descriptors, and the next client tries again.
    fn end(&mut self) -> Result<Arc<WakeEnd>, Error> {
        if let Some((_, end)) = &self.wake {
            return Ok(end.clone());
        }
        let (wake, end) = Wake::new().map_err(|error| Error::local(&error))?;
        self.wake = Some((wake, end.clone()));
        Ok(end)
    }
}

impl Clients for KafkaClients {
    type Broker = Source;
    type Sink = KafkaSink;

    fn broker(&mut self, queue_bytes: u64) -> Result<Source, Error> {
        let end = self.end()?;
        let Blueprint { cluster, trigger, group, topics, node, instance, .. } = &self.blueprint;
        let membership = Membership { owner: trigger, group, topics, queue_bytes, instance: instance.as_deref() };
        Source::new(cluster, &membership, node, &end)
    }

    fn sink(&mut self, batching: Batching) -> Result<KafkaSink, Error> {
        let end = self.end()?;
        let Blueprint { output_cluster, trigger, outputs, node, .. } = &self.blueprint;
        KafkaSink::new(output_cluster, trigger, node, outputs, batching, &end)
    }

    async fn wait(&self) {
        match &self.wake {
            Some((wake, _)) => wake.wait().await,
            None => std::future::pending().await,
        }
    }
}
