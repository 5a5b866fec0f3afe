//! Tries what a node needs of a queue. It deletes nothing, and what it receives can be received again at once.

use aws_sdk_sqs::types::QueueAttributeName;
use url::Url;

use super::connection::client;
use crate::registry::s3::probe::{Refusal, refusal};

/// What a queue says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFacts {
    pub arn: Option<String>,
    /// After how many seconds a message comes again that was received and not deleted.
    pub visibility_s: Option<u64>,
}

/// Asks a queue for its attributes.
pub async fn attributes(queue: &Url, region: Option<String>) -> Result<QueueFacts, Refusal> {
    let request = client(queue, region).await.get_queue_attributes().queue_url(queue.as_str());
    let request = request.attribute_names(QueueAttributeName::QueueArn);
    let request = request.attribute_names(QueueAttributeName::VisibilityTimeout);
    let said = request.send().await.map_err(|error| refusal(&error))?;
    let attribute = |name| said.attributes()?.get(name).cloned();
    Ok(QueueFacts {
        arn: attribute(&QueueAttributeName::QueueArn),
        visibility_s: attribute(&QueueAttributeName::VisibilityTimeout).and_then(|text| text.parse().ok()),
    })
}

/// Receives at most one message, which stays in the queue.
pub async fn receive(queue: &Url, region: Option<String>) -> Result<(), Refusal> {
    let request = client(queue, region).await.receive_message().queue_url(queue.as_str());
    let received = request.wait_time_seconds(0).visibility_timeout(0).max_number_of_messages(1).send().await;
    received.map(drop).map_err(|error| refusal(&error))
}
