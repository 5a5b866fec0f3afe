//! What is asked of S3, and what its answers mean.

use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::ChecksumMode;
use aws_smithy_http_client::tls;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OnceCell;

use crate::manifest::{self, ObjectName};
use crate::record::revision::{Digest, Origin};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the first byte of an answer may take. The body of a download has a limit of its own in the SDK, which
/// gives up one that does not move.
const ANSWER: Duration = Duration::from_secs(15);
/// How often one request is sent. What still fails is tried again by whoever asked, after a longer pause.
const ATTEMPTS: u32 = 3;
/// How many versions of an object are asked for at most.
const VERSIONS: i32 = 1_000;

/// The newest version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub origin: Origin,
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub written_ms: Option<i64>,
}

/// A version that was downloaded.
#[derive(Debug)]
pub struct Download {
    pub file: NamedTempFile,
    pub digest: Digest,
}

/// Why S3 did not give what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    pub kind: FailureKind,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// There is no such object or version.
    Missing,
    /// It may not be taken, now or later.
    Refused,
    /// Another answer may come later.
    Later,
}

impl Failure {
    fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

/// What a registry asks of a store of objects.
pub trait Store: Send + Sync + 'static {
    /// The newest version.
    fn newest(&self, name: &ObjectName) -> impl Future<Output = Result<Head, Failure>> + Send;

    /// All versions, the newest first, without deletions. Empty if the bucket keeps none.
    fn versions(&self, name: &ObjectName) -> impl Future<Output = Result<Vec<Head>, Failure>> + Send;

    /// Writes a version into a file, at most so many bytes.
    fn fetch(
        &self,
        name: &ObjectName,
        origin: &Origin,
        most_bytes: u64,
        into: NamedTempFile,
    ) -> impl Future<Output = Result<Download, Failure>> + Send;
}

/// S3, or what speaks its protocol. Connections begin with the first question.
pub struct S3 {
    settings: manifest::Registry,
    client: OnceCell<Client>,
}

impl S3 {
    pub fn new(settings: manifest::Registry) -> Self {
        Self { settings, client: OnceCell::new() }
    }

    pub async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| async {
                let config = sdk_config(self.settings.region.clone()).await;
                let mut builder = aws_sdk_s3::config::Builder::from(&config).force_path_style(self.settings.path_style);
                if let Some(endpoint) = &self.settings.endpoint {
                    builder = builder.endpoint_url(endpoint.as_str());
                }
                Client::from_conf(builder.build())
            })
            .await
    }
}

/// The settings of all clients of AWS: credentials and region by the SDK's default chain, unless the manifest names
/// the region.
pub async fn sdk_config(region: Option<String>) -> aws_config::SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(ANSWER).build());
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    loader.load().await
}

impl Store for Arc<S3> {
    async fn newest(&self, name: &ObjectName) -> Result<Head, Failure> {
        let request = self.client().await.head_object().bucket(name.bucket()).key(name.key());
        let head = request.send().await.map_err(|error| {
            let is_marker = error.raw_response().is_some_and(|it| it.headers().get("x-amz-delete-marker").is_some());
            match failure(&error) {
                failure if failure.kind == FailureKind::Missing && is_marker => {
                    Failure::new(FailureKind::Missing, format!("{name} was deleted"))
                }
                failure if failure.kind == FailureKind::Missing => {
                    Failure::new(FailureKind::Missing, format!("there is no {name}"))
                }
                failure => Failure { reason: format!("cannot look at {name}: {}", failure.reason), ..failure },
            }
        })?;
        let Some(origin) = origin(head.version_id(), head.e_tag()) else {
            return Err(Failure::new(FailureKind::Later, format!("{name} has neither a version nor an entity tag")));
        };
        Ok(Head {
            origin,
            bytes: head.content_length().and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
            written_ms: head.last_modified().and_then(|time| time.to_millis().ok()),
        })
    }

    async fn versions(&self, name: &ObjectName) -> Result<Vec<Head>, Failure> {
        let request = self.client().await.list_object_versions().bucket(name.bucket()).prefix(name.key());
        let listed = request.max_keys(VERSIONS).send().await.map_err(|error| {
            let failure = failure(&error);
            Failure { reason: format!("cannot list the versions of {name}: {}", failure.reason), ..failure }
        })?;
        // Names that begin like this one are listed behind it.
        let own = listed.versions().iter().filter(|version| version.key() == Some(name.key()));
        let head = |version: &aws_sdk_s3::types::ObjectVersion| {
            Some(Head {
                origin: origin(version.version_id(), None)?,
                bytes: version.size().and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
                written_ms: version.last_modified().and_then(|time| time.to_millis().ok()),
            })
        };
        Ok(own.filter_map(head).collect())
    }

    async fn fetch(
        &self,
        name: &ObjectName,
        origin: &Origin,
        most_bytes: u64,
        into: NamedTempFile,
    ) -> Result<Download, Failure> {
        let about = |text: String| format!("cannot download {name}, {origin}: {text}");
        let later = |text: String| Failure::new(FailureKind::Later, about(text));
        let request = self.client().await.get_object().bucket(name.bucket()).key(name.key());
        let request = request.checksum_mode(ChecksumMode::Enabled);
        let request = match origin {
            Origin::Version(id) => request.version_id(id),
            Origin::Tag(tag) => request.if_match(format!("\"{tag}\"")),
            Origin::File => request,
        };
        let mut answer = request.send().await.map_err(|error| {
            let failure = failure(&error);
            Failure { reason: about(failure.reason), ..failure }
        })?;
        let expected = answer.content_length().and_then(|bytes| u64::try_from(bytes).ok());
        let file = into.reopen().map_err(|error| later(error.to_string()))?;
        let mut file = tokio::fs::File::from_std(file);
        let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
        // The SDK checks the checksum that was stored with the object, and fails at the end.
        while let Some(chunk) = answer.body.try_next().await.map_err(|error| later(error.to_string()))? {
            bytes += chunk.len() as u64;
            if bytes > most_bytes {
                let text = format!("it has more than {most_bytes} bytes ([registry] max-size)");
                return Err(Failure::new(FailureKind::Refused, about(text)));
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(|error| later(error.to_string()))?;
        }
        if expected.is_some_and(|expected| expected != bytes) {
            return Err(later(format!("{bytes} bytes came of {}", expected.unwrap_or(0))));
        }
        file.flush().await.map_err(|error| later(error.to_string()))?;
        Ok(Download { file: into, digest: Digest::from(hash) })
    }
}

/// Which publication it is. A bucket that never had versions gives none, or `null`.
pub(super) fn origin(version: Option<&str>, tag: Option<&str>) -> Option<Origin> {
    match (version, tag) {
        (Some(id), _) if id != "null" && !id.is_empty() => Some(Origin::Version(id.to_owned())),
        (_, Some(tag)) => Some(Origin::Tag(tag.trim_matches('"').to_owned())),
        _ => None,
    }
}

/// What an error means. Nothing of a request is in the text, so no credentials are.
pub fn failure<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let kind = match status {
        Some(404) => FailureKind::Missing,
        // The method is not allowed on the marker of a deletion.
        Some(405) => FailureKind::Missing,
        _ => FailureKind::Later,
    };
    if let Some(status) = status {
        let said = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => "no reason given".to_owned(),
        };
        let remedy = match status {
            403 => {
                "; the credentials lack a right, or the object is missing and they lack s3:ListBucket, \
                 without which S3 does not say so"
            }
            301 | 307 => "; the bucket is in another region: set [registry] region",
            _ => "",
        };
        return Failure::new(kind, format!("status {status}, {said}{remedy}"));
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    Failure::new(kind, text)
}
