//! Tries the queue of a manifest.

use url::Url;

use super::finding::Finding;
use super::{answered, denied};
use crate::registry::hints::probe::{QueueFacts, attributes, receive};
use crate::registry::s3::probe::Why;

/// How long a node may take to act upon a message. A shorter visibility timeout makes another node do it again.
const LEAST_VISIBILITY_S: u64 = 30;

/// Tries the queue. Returns its ARN too, if it is known.
pub async fn check(queue: &Url, region: Option<&str>) -> (Vec<Finding>, Option<String>) {
    let region = || region.map(str::to_owned);
    let (facts, received) =
        tokio::join!(answered(Box::pin(attributes(queue, region()))), answered(Box::pin(receive(queue, region()))));
    // A policy needs the ARN, and who may not ask for it does not know it.
    let arn = facts.as_ref().ok().and_then(|facts: &QueueFacts| facts.arn.clone());
    let named = arn.clone().unwrap_or_else(|| "arn:aws:sqs:REGION:ACCOUNT:QUEUE".to_owned());
    let mut findings = Vec::new();
    match &facts {
        Ok(facts) => {
            findings.push(Finding::good(format!("queue {queue}: it is there")));
            if let Some(seconds) = facts.visibility_s.filter(|seconds| *seconds < LEAST_VISIBILITY_S) {
                let text = format!(
                    "queue {queue}: a message comes again after {seconds} s, so several nodes act upon the same one"
                );
                findings.push(Finding::warning(text).remedy(format!(
                    "aws sqs set-queue-attributes --queue-url {queue} \\\n  --attributes VisibilityTimeout={LEAST_VISIBILITY_S}"
                )));
            }
        }
        Err(refusal) => match refusal.why {
            Why::Missing => findings.push(
                Finding::wrong(format!("queue {queue}: there is none"))
                    .remedy(format!("aws sqs create-queue --queue-name {}", name(queue))),
            ),
            // A node does not need it.
            Why::Denied => {
                findings.push(Finding::unknown(format!("queue {queue}: its attributes may not be asked for")));
            }
            _ => findings.push(Finding::wrong(format!("queue {queue}: {}", refusal.reason))),
        },
    }
    match received {
        Ok(()) => findings.push(Finding::good(format!("queue {queue}: it can be received from"))),
        Err(refusal) if refusal.why == Why::Denied => findings.push(denied(
            &format!("queue {queue}"),
            "be received from",
            &["sqs:ReceiveMessage", "sqs:DeleteMessage"],
            &named,
        )),
        // The answer above said why.
        Err(_) if facts.is_err() => {}
        Err(refusal) => findings.push(Finding::wrong(format!("queue {queue}: {}", refusal.reason))),
    }
    (findings, arn)
}

fn name(queue: &Url) -> &str {
    queue.path().rsplit('/').next().unwrap_or_default()
}
