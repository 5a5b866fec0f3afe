//! Tries what a node needs of a bucket and an object, each thing by itself, and writes nothing.

use std::sync::Arc;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{BucketVersioningStatus, FilterRuleName, QueueConfiguration};

use super::client::{S3, failure};
use crate::manifest::ObjectName;

/// Why a question has no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    pub why: Why,
    pub reason: String,
}

/// What a refusal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no such thing.
    Missing,
    /// The credentials lack a right.
    Denied,
    /// The bucket is in another region, which is named if the store said so.
    OtherRegion(Option<String>),
    /// No answer came, or one that says nothing about the question.
    Unanswered,
}

/// The notices that a bucket sends into a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    pub queues: Vec<Notice>,
    /// It sends some to topics of SNS or to EventBridge, and they may reach a queue from there.
    pub has_others: bool,
}

/// One rule for notices into a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub queue_arn: String,
    /// Such as `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// How the keys of the objects begin that it is for.
    pub prefix: String,
    /// How they end.
    pub suffix: String,
}

/// Tries a store.
pub struct Probe {
    store: Arc<S3>,
}

impl Probe {
    pub fn new(store: Arc<S3>) -> Self {
        Self { store }
    }

    /// Whether the bucket is there, in the region that is asked.
    pub async fn bucket(&self, bucket: &str) -> Result<(), Refusal> {
        let asked = self.store.client().await.head_bucket().bucket(bucket).send().await;
        asked.map(drop).map_err(|error| refusal(&error))
    }

    /// Whether the bucket keeps versions.
    pub async fn keeps_versions(&self, bucket: &str) -> Result<bool, Refusal> {
        let asked = self.store.client().await.get_bucket_versioning().bucket(bucket).send().await;
        asked.map(|said| said.status() == Some(&BucketVersioningStatus::Enabled)).map_err(|error| refusal(&error))
    }

    /// Reads the beginning of an object, or of a version of it.
    pub async fn read(&self, name: &ObjectName, version: Option<&str>) -> Result<(), Refusal> {
        let request = self.store.client().await.get_object().bucket(name.bucket()).key(name.key());
        let asked = request.set_version_id(version.map(str::to_owned)).range("bytes=0-0").send().await;
        match asked {
            Ok(_) => Ok(()),
            // An object without content has no first byte.
            Err(error) if status(&error) == Some(416) => Ok(()),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// The id of the newest version. [`None`]: there is no version, or the bucket keeps none.
    pub async fn newest_version(&self, name: &ObjectName) -> Result<Option<String>, Refusal> {
        let request = self.store.client().await.list_object_versions().bucket(name.bucket()).prefix(name.key());
        let listed = request.max_keys(10).send().await.map_err(|error| refusal(&error))?;
        let own = listed.versions().iter().find(|version| version.key() == Some(name.key()));
        Ok(own.and_then(|version| version.version_id()).filter(|id| *id != "null").map(str::to_owned))
    }

    /// The notices that the bucket sends.
    pub async fn notices(&self, bucket: &str) -> Result<Notices, Refusal> {
        let request = self.store.client().await.get_bucket_notification_configuration().bucket(bucket);
        let said = request.send().await.map_err(|error| refusal(&error))?;
        let has_others = !said.topic_configurations().is_empty() || said.event_bridge_configuration().is_some();
        Ok(Notices { queues: said.queue_configurations().iter().map(notice).collect(), has_others })
    }
}

fn notice(rule: &QueueConfiguration) -> Notice {
    let filters = rule.filter().and_then(|filter| filter.key()).map(|key| key.filter_rules()).unwrap_or_default();
    let filter = |name: &FilterRuleName| {
        let rule = filters.iter().find(|rule| {
            // Stores write the name in different cases.
            rule.name().is_some_and(|own| own.as_str().eq_ignore_ascii_case(name.as_str()))
        });
        rule.and_then(|rule| rule.value()).unwrap_or_default().to_owned()
    };
    Notice {
        queue_arn: rule.queue_arn().to_owned(),
        events: rule.events().iter().map(|event| event.as_str().to_owned()).collect(),
        prefix: filter(&FilterRuleName::Prefix),
        suffix: filter(&FilterRuleName::Suffix),
    }
}

impl Notice {
    /// Whether it tells of each new version of this object.
    pub fn covers(&self, name: &ObjectName) -> bool {
        let created = self.events.iter().any(|event| event == "s3:ObjectCreated:*");
        created && name.key().starts_with(&self.prefix) && name.key().ends_with(&self.suffix)
    }
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// What an error of S3 or SQS says about a question.
pub(crate) fn refusal<E>(error: &SdkError<E, HttpResponse>) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().unwrap_or_default();
    let region = || {
        let header = error.raw_response().and_then(|response| response.headers().get("x-amz-bucket-region"));
        header.map(str::to_owned)
    };
    let why = match status(error) {
        Some(301 | 307) => Why::OtherRegion(region()),
        Some(400) if code == "AuthorizationHeaderMalformed" => Why::OtherRegion(region()),
        Some(403) => Why::Denied,
        _ if code.contains("AccessDenied") => Why::Denied,
        Some(404) => Why::Missing,
        _ if code.contains("NonExistentQueue") || code.contains("QueueDoesNotExist") => Why::Missing,
        _ => Why::Unanswered,
    };
    Refusal { why, reason: failure(error).reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_for_notices_covers_objects_by_prefix_and_suffix() {
        let check = |event: &str, prefix: &str, suffix: &str, expected: bool| {
            let name = ObjectName::new("bucket", "fns/a.wasm").expect("a name");
            let (prefix, suffix) = (prefix.to_owned(), suffix.to_owned());
            let notice = Notice { queue_arn: String::new(), events: vec![event.to_owned()], prefix, suffix };
            assert_eq!(notice.covers(&name), expected, "{notice:?}");
        };
        check("s3:ObjectCreated:*", "", "", true);
        check("s3:ObjectCreated:*", "fns/", ".wasm", true);
        check("s3:ObjectCreated:*", "functions/", "", false);
        check("s3:ObjectCreated:*", "", ".zip", false);
        check("s3:ObjectCreated:Put", "", "", false);
    }
}
