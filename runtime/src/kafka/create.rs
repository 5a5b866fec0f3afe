//! Topics that a tool is told to create.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Context, Error};
use super::settings::settings;
use crate::manifest::Cluster;

/// What became of a topic that was to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is new. Its partitions may take a moment until they have leaders.
    Now,
    /// There was one of this name, and it stays as it is.
    Before,
    /// The broker does not create topics on request, or does not answer such a request. That of
    /// `tidegate dev` creates a topic when a client asks about it that allows it.
    Unsupported,
}

/// Creates a topic with as many replicas as the broker is set to. Waits up to `limit`.
pub async fn create_topic(cluster: &Cluster, name: &str, partitions: i32, limit: Duration) -> Result<Created, Error> {
    let context = Context { owner: "create" };
    let client: AdminClient<Context> =
        settings(cluster, "tidegate-create", &[]).create_with_context(context).map_err(Error::invalid)?;
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(BROKERS_CHOICE));
    let options = AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit));
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
        None => Err(Error::invalid("the broker does not answer for the topic")),
    }
}

/// As a number of replicas.
const BROKERS_CHOICE: i32 = -1;
