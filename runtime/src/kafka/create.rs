//! Creates topics.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Context, Error};
use super::settings::settings;
use crate::manifest::Cluster;

/// The result of [`create_topic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The topic was created. It may take a moment until its partitions have leaders.
    Now,
    /// The topic existed before and was not changed.
    Before,
    /// The broker does not support requests to create topics, or did not answer. The broker of
    /// `tidegate dev` creates a topic when a client that allows this asks for its metadata.
    Unsupported,
}

/// Creates a topic with the default number of replicas of the broker. Waits up to `limit`.
pub async fn create_topic(cluster: &Cluster, name: &str, partitions: i32, limit: Duration) -> Result<Created, Error> {
    create_topic_with(cluster, name, partitions, &[], limit).await
}

/// The same with settings of the topic, by Kafka's names.
pub async fn create_topic_with(
    cluster: &Cluster,
    name: &str,
    partitions: i32,
    settings_of_topic: &[(&str, &str)],
    limit: Duration,
) -> Result<Created, Error> {
    let options = AdminOptions::new();
    create(cluster, name, partitions, settings_of_topic, options, limit).await
}

/// Whether [`create_topic`] would create a topic. It creates none.
pub async fn may_create_topic(
    cluster: &Cluster,
    name: &str,
    partitions: i32,
    limit: Duration,
) -> Result<Created, Error> {
    create(cluster, name, partitions, &[], AdminOptions::new().validate_only(true), limit).await
}

async fn create(
    cluster: &Cluster,
    name: &str,
    partitions: i32,
    settings_of_topic: &[(&str, &str)],
    options: AdminOptions,
    limit: Duration,
) -> Result<Created, Error> {
    let context = Context { owner: "create" };
    let client: AdminClient<Context> =
        settings(cluster, "tidegate-create", &[]).create_with_context(context).map_err(Error::invalid)?;
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(BROKER_DEFAULT));
    for (key, value) in settings_of_topic {
        topic = topic.set(key, value);
    }
    let options = options.request_timeout(Some(limit)).operation_timeout(Some(limit));
    let results = match client.create_topics([&topic], &options).await {
        Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::OperationTimedOut)) => {
            return Ok(Created::Unsupported);
        }
        results => results.map_err(Error::invalid)?,
    };
    match results.into_iter().next() {
        Some(Ok(_)) => Ok(Created::Now),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(Created::Before),
        Some(Err((_, RDKafkaErrorCode::UnsupportedFeature))) => Ok(Created::Unsupported),
        Some(Err((_, code))) => Err(Error::from_wrapper(code)),
        None => Err(Error::invalid("the answer of the broker does not contain the topic")),
    }
}

/// As a number of replicas, this means the default of the broker.
const BROKER_DEFAULT: i32 = -1;
