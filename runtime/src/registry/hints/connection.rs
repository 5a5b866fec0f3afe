//! How a queue is reached.

use std::time::Duration;

use aws_sdk_sqs::Client;
use url::Url;

use crate::registry::s3::sdk_config;

/// How long a poll waits for messages: the longest that SQS allows.
pub(super) const POLL_S: i32 = 20;
/// How long an answer may take: longer than a poll waits.
const ANSWER: Duration = Duration::from_secs(POLL_S as u64 + 10);

/// The address of the queue says where it is served and in which region.
pub(super) async fn client(queue: &Url, region: Option<String>) -> Client {
    let config = sdk_config(region_of(queue).or(region)).await;
    let timeouts = aws_sdk_sqs::config::timeout::TimeoutConfig::builder().read_timeout(ANSWER).build();
    let endpoint = queue.origin().ascii_serialization();
    let config = aws_sdk_sqs::config::Builder::from(&config).endpoint_url(endpoint).timeout_config(timeouts);
    Client::from_conf(config.build())
}

/// The region in the address of a queue of AWS, such as `https://sqs.eu-west-1.amazonaws.com/1234/events`.
fn region_of(queue: &Url) -> Option<String> {
    let mut parts = queue.host_str()?.split('.');
    let (service, region, domain) = (parts.next()?, parts.next()?, parts.next()?);
    (service == "sqs" && domain == "amazonaws").then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_in_the_address_of_a_queue_of_aws() {
        let region = |queue: &str| region_of(&queue.parse().expect("a URL"));
        assert_eq!(region("https://sqs.eu-west-1.amazonaws.com/1234/events").as_deref(), Some("eu-west-1"));
        assert_eq!(region("https://sqs.cn-north-1.amazonaws.com.cn/1234/events").as_deref(), Some("cn-north-1"));
        assert_eq!(region("http://127.0.0.1:4566/000000000000/events"), None);
        assert_eq!(region("https://vpce-1-sqs.example.com/1234/events"), None);
    }
}
