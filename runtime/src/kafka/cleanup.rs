//! The cleanup policy of topics. A tool that looks for missing records needs it, because compaction removes
//! records.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::error::KafkaError;

use super::client::{Context, Error};
use super::embedded;
use super::settings::settings;
use crate::manifest::Cluster;

/// A setting of topics. Its value is `delete`, `compact`, or both, separated by a comma.
const POLICY: &str = "cleanup.policy";

/// Whether a topic is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    On,
    Off,
    /// The broker of `tidegate dev` does not say. It compacts nothing, but it does not run for long either.
    Unknown,
}

/// Returns those of the topics that are compacted. It blocks for at most `limit`, and then waits
/// asynchronously for at most `limit`. It needs the permission to describe the settings of topics. The broker
/// of `tidegate dev` does not support such requests, but it compacts nothing, so the result is empty.
pub async fn compacted(cluster: &Cluster, topics: &[String], limit: Duration) -> Result<Vec<String>, Error> {
    let found = compactions(cluster, topics, limit).await?;
    let compacted = topics.iter().zip(found).filter(|(_, compaction)| *compaction == Compaction::On);
    Ok(compacted.map(|(topic, _)| topic.clone()).collect())
}

/// Whether a topic is compacted. Blocks and waits as [`compacted`] does.
pub async fn compaction(cluster: &Cluster, topic: &str, limit: Duration) -> Result<Compaction, Error> {
    let found = compactions(cluster, &[topic.to_owned()], limit).await?;
    Ok(found.into_iter().next().unwrap_or(Compaction::Unknown))
}

async fn compactions(cluster: &Cluster, topics: &[String], limit: Duration) -> Result<Vec<Compaction>, Error> {
    let context = Context { owner: "cleanup" };
    let client: AdminClient<Context> =
        settings(cluster, "tidegate-cleanup", &[]).create_with_context(context).map_err(Error::invalid)?;
    if client.inner().fetch_cluster_id(limit).is_some_and(|id| embedded::is_cluster_id(&id)) {
        return Ok(vec![Compaction::Unknown; topics.len()]);
    }
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(limit));
    let described = client.describe_configs(&resources, &options).await.map_err(|error| match error {
        KafkaError::AdminOp(code) => Error::from_wrapper(code),
        other => Error::invalid(other),
    })?;
    let compaction = |settings: &ConfigResource| if is_compacted(settings) { Compaction::On } else { Compaction::Off };
    let found = described.into_iter().map(|topic| topic.map(|settings| compaction(&settings)));
    found.map(|found| found.map_err(Error::from_wrapper)).collect()
}

fn is_compacted(settings: &ConfigResource) -> bool {
    let policy = settings.get(POLICY).and_then(|entry| entry.value.as_deref());
    policy.is_some_and(|policy| policy.split(',').any(|word| word.trim() == "compact"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::kafka::embedded::EmbeddedBroker;
    use crate::manifest::Name;

    #[tokio::test]
    async fn an_embedded_broker_compacts_nothing() {
        let broker = EmbeddedBroker::start().expect("it starts");
        broker.create_topic("t", 1).expect("created");
        let name = Name::new("dev").expect("a name");
        let cluster = Cluster { name, brokers: broker.address(), properties: BTreeMap::new() };
        let found = compacted(&cluster, &["t".to_owned()], Duration::from_secs(30)).await;
        assert!(found.as_ref().is_ok_and(Vec::is_empty), "{found:?}");
    }
}
