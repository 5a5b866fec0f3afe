//! Tries what a manifest needs of the world: buckets and objects, the queue of events, topics, and rights. All of it
//! is tried, and each thing that is missing is named with what grants it. Nothing is written, created or deleted.

mod finding;
mod objects;
mod policy;
mod queue;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use finding::{Finding, Level};

use crate::manifest::{Component, Manifest, ObjectName};
use crate::registry::s3::S3;
use crate::registry::s3::probe::{Probe, Refusal, Why};

/// How long an answer of S3 or SQS may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Tries everything that a manifest names.
pub async fn check(manifest: &Manifest) -> Vec<Finding> {
    let (mut findings, topics) = tokio::join!(stores(manifest), topics::check(manifest));
    findings.extend(topics);
    if manifest.control.is_none() {
        findings.push(Finding::warning(
            "there is no [control], so nodes do not hear of each other, and `tidegate status` knows nothing",
        ));
    }
    findings
}

async fn stores(manifest: &Manifest) -> Vec<Finding> {
    let registry = &manifest.registry;
    let region = registry.region.as_deref();
    let (mut findings, mut arn) = (Vec::new(), None);
    if let Some(queue) = &registry.queue {
        (findings, arn) = queue::check(queue, region).await;
    }
    let mut buckets: BTreeMap<&str, Vec<&ObjectName>> = BTreeMap::new();
    for function in manifest.functions.values() {
        if let Component::Object(object) = &function.component {
            let objects = buckets.entry(object.bucket()).or_default();
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
    }
    if !buckets.is_empty() && registry.queue.is_none() {
        findings.push(Finding::warning(format!(
            "there is no [registry] queue, so nodes find new versions only by looking every {}",
            humantime::format_duration(registry.reconcile)
        )));
    }
    let probe = Probe::new(Arc::new(S3::new(registry.clone())));
    for (bucket, objects) in buckets {
        findings.extend(objects::check(&probe, region, bucket, &objects, arn.as_deref()).await);
    }
    findings
}

/// An answer, or that none came in time.
async fn answered<T>(asking: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    tokio::time::timeout(LIMIT, asking).await.unwrap_or_else(|_| {
        Err(Refusal { why: Why::Unanswered, reason: format!("no answer within {} s", LIMIT.as_secs()) })
    })
}

/// A right is missing.
fn denied(what: &str, done: &str, actions: &[&str], resource: &str) -> Finding {
    Finding::wrong(format!("{what}: it may not {done}")).remedy(policy::statement(actions, resource))
}
