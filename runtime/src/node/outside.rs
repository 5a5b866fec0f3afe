//! Where a node hears of new revisions, as its manifest says.

use std::sync::Arc;

use url::Url;

use crate::manifest::{Cluster, Manifest, Name};

/// Where news come from, as the manifest says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outside {
    pub queue: Option<Queue>,
    /// The topic of the relay.
    pub topic: Option<Topic>,
}

/// The queue of events.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    pub url: Url,
    pub region: Option<String>,
}

/// The topic of the relay between nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    pub cluster: Arc<Cluster>,
    pub topic: String,
    pub fleet: Name,
}

impl Outside {
    pub fn of(manifest: &Manifest) -> Self {
        let registry = &manifest.registry;
        let topic = manifest.control.as_ref().and_then(|control| {
            let cluster = manifest.clusters.get(&control.cluster)?.clone();
            Some(Topic { cluster, topic: control.topic.clone(), fleet: control.fleet.clone() })
        });
        Self { queue: registry.queue.clone().map(|url| Queue { url, region: registry.region.clone() }), topic }
    }
}
