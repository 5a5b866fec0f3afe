//! Tries the buckets and objects of a manifest.

use super::finding::Finding;
use super::policy;
use super::{answered, denied};
use crate::manifest::ObjectName;
use crate::registry::s3::probe::{Probe, Why};

/// Tries a bucket and the objects in it. `queue_arn` is that of the queue which is to hear of changes.
pub async fn check(
    probe: &Probe,
    region: Option<&str>,
    bucket: &str,
    objects: &[&ObjectName],
    queue_arn: Option<&str>,
) -> Vec<Finding> {
    let mut findings = vec![bucket_is_there(probe, region, bucket).await];
    if findings[0].level == super::finding::Level::Wrong {
        return findings;
    }
    findings.push(versioning(probe, bucket).await);
    for object in objects {
        findings.extend(object_is_there(probe, region, object).await);
    }
    if let Some(arn) = queue_arn {
        findings.extend(notices(probe, bucket, objects, arn).await);
    }
    findings
}

async fn bucket_is_there(probe: &Probe, region: Option<&str>, bucket: &str) -> Finding {
    match answered(Box::pin(probe.bucket(bucket))).await {
        Ok(()) => Finding::good(format!("bucket {bucket}: it is there")),
        Err(refusal) => match refusal.why {
            Why::Missing => Finding::wrong(format!("bucket {bucket}: there is none"))
                .remedy(format!("aws s3api create-bucket --bucket {bucket}")),
            Why::OtherRegion(Some(other)) => Finding::wrong(format!("bucket {bucket}: it is in the region {other}"))
                .remedy(format!("[registry]\nregion = \"{other}\"")),
            Why::OtherRegion(None) => {
                Finding::wrong(format!("bucket {bucket}: it is in another region: {}", refusal.reason))
                    .remedy("[registry]\nregion = \"…\"")
            }
            // The right to list belongs to a node: without it a missing object looks like a forbidden one.
            Why::Denied => Finding::warning(format!(
                "bucket {bucket}: it may not be listed, so an object that is missing looks like one that is forbidden"
            ))
            .remedy(policy::statement(&["s3:ListBucket"], &policy::bucket(bucket, region))),
            Why::Unanswered => Finding::wrong(format!("bucket {bucket}: {}", refusal.reason)),
        },
    }
}

async fn versioning(probe: &Probe, bucket: &str) -> Finding {
    match answered(Box::pin(probe.keeps_versions(bucket))).await {
        Ok(true) => Finding::good(format!("bucket {bucket}: it keeps versions")),
        Ok(false) => Finding::warning(format!(
            "bucket {bucket}: it keeps no versions, so there is no way back to an older component"
        ))
        .remedy(format!(
            "aws s3api put-bucket-versioning --bucket {bucket} \\\n  --versioning-configuration Status=Enabled"
        )),
        Err(refusal) => Finding::unknown(format!("bucket {bucket}: whether it keeps versions: {}", refusal.reason)),
    }
}

async fn object_is_there(probe: &Probe, region: Option<&str>, object: &ObjectName) -> Vec<Finding> {
    let arn = policy::object(object, region);
    let mut findings = vec![match answered(Box::pin(probe.read(object, None))).await {
        Ok(()) => Finding::good(format!("{object}: it can be read")),
        Err(refusal) => match refusal.why {
            Why::Missing => Finding::wrong(format!("{object}: it was never published, or was deleted"))
                .remedy(format!("tidegate publish FILE.wasm {object}")),
            Why::Denied => denied(&object.to_string(), "be read", &["s3:GetObject"], &arn),
            _ => Finding::wrong(format!("{object}: {}", refusal.reason)),
        },
    }];
    let bucket_arn = policy::bucket(object.bucket(), region);
    match answered(Box::pin(probe.newest_version(object))).await {
        Ok(None) => {}
        Ok(Some(id)) => findings.push(match answered(Box::pin(probe.read(object, Some(&id)))).await {
            Ok(()) => Finding::good(format!("{object}: its versions can be listed and read")),
            Err(refusal) if refusal.why == Why::Denied => {
                denied(&object.to_string(), "be read by version", &["s3:GetObjectVersion"], &arn)
            }
            Err(refusal) => Finding::unknown(format!("{object}: whether versions can be read: {}", refusal.reason)),
        }),
        Err(refusal) if refusal.why == Why::Denied => findings.push(denied(
            &object.to_string(),
            "be asked for its versions",
            &["s3:ListBucketVersions"],
            &bucket_arn,
        )),
        Err(refusal) => findings.push(Finding::unknown(format!("{object}: its versions: {}", refusal.reason))),
    }
    findings
}

async fn notices(probe: &Probe, bucket: &str, objects: &[&ObjectName], arn: &str) -> Vec<Finding> {
    let notices = match answered(Box::pin(probe.notices(bucket))).await {
        Ok(notices) => notices,
        Err(refusal) => {
            let text =
                format!("bucket {bucket}: whether it tells the queue of changes was not checked: {}", refusal.reason);
            return vec![Finding::unknown(text)];
        }
    };
    let is_told = |object: &ObjectName| notices.queues.iter().any(|rule| rule.queue_arn == arn && rule.covers(object));
    let untold: Vec<String> =
        objects.iter().filter(|object| !is_told(object)).map(|object| object.to_string()).collect();
    let found = match (untold.is_empty(), notices.has_others) {
        (true, _) => Finding::good(format!("bucket {bucket}: it tells the queue of new versions")),
        (false, true) => Finding::unknown(format!(
            "bucket {bucket}: it tells SNS or EventBridge of changes; whether these tell the queue was not checked"
        )),
        (false, false) => {
            let text = format!(
                "bucket {bucket}: it does not tell the queue of new versions of {}, so nodes find them only every \
                 [registry] reconcile",
                untold.join(", ")
            );
            let rule = serde_json::json!({
                "QueueConfigurations": [{ "QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"] }],
            });
            Finding::warning(text).remedy(format!(
                "this replaces all notifications of the bucket:\naws s3api put-bucket-notification-configuration \
                 --bucket {bucket} \\\n  --notification-configuration '{rule}'"
            ))
        }
    };
    vec![found]
}
