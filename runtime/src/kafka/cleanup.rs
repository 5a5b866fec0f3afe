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

/// Returns those of the topics that are compacted. It blocks for at most `limit`, and then waits
/// asynchronously for at most `limit`. It needs the permission to describe the settings of topics. The broker
/// of `tidegate dev` does not support such requests, but it compacts nothing, so the result is empty.
pub async fn compacted(cluster: &Cluster, topics: &[String], limit: Duration) -> Result<Vec<String>, Error> {
    let context = Context { owner: "cleanup" };
    let client: AdminClient<Context> =
        settings(cluster, "tidegate-cleanup", &[]).create_with_context(context).map_err(Error::invalid)?;
    if client.inner().fetch_cluster_id(limit).is_some_and(|id| embedded::is_cluster_id(&id)) {
        return Ok(Vec::new());
    }
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(limit));
    let described = client.describe_configs(&resources, &options).await.map_err(|error| match error {
        KafkaError::AdminOp(code) => Error::from_wrapper(code),
        other => Error::invalid(other),
    })?;
    let mut compacted = Vec::new();
    for (topic, described) in topics.iter().zip(described) {
        match described {
            Ok(settings) if is_compacted(&settings) => compacted.push(topic.clone()),
            Ok(_) => {}
            Err(code) => return Err(Error::from_wrapper(code)),
        }
    }
    Ok(compacted)
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
