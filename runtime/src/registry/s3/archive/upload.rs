//! Writes an object: a small one in one request, a large one in parts.
//!
//! Each request carries the SHA-256 of what it sends, and the store refuses it if something else arrives. Of a large
//! object, [`AT_ONCE`] parts are sent at once. If one fails, the parts are given up, and nothing was published.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use super::body::counted;
use super::{CONTENT_TYPE, PUBLISHER, SHA256, Sent, Upload, printable, written};
use crate::manifest::ObjectName;
use crate::record::revision::Origin;
use crate::registry::s3::client::{Failure, failure, origin};

/// The most bytes that are written in one request, and the size of the parts of more.
const PART_BYTES: usize = 8 << 20;
/// How many parts are sent at once.
const AT_ONCE: usize = 4;
/// How long the answer to a request may take that sends or copies much. The time that sending takes counts.
const ANSWER: Duration = Duration::from_secs(600);

/// Settings for requests that send or copy much.
pub(super) fn patient() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder().timeout_config(TimeoutConfig::builder().read_timeout(ANSWER).build())
}

/// Writes a version, and says which publication it is.
pub(super) async fn put(client: &Client, name: &ObjectName, upload: &Upload, sent: &Sent) -> Result<Origin, Failure> {
    if upload.bytes.len() > PART_BYTES {
        return in_parts(client, name, upload, sent).await;
    }
    let written_object = client
        .put_object()
        .bucket(name.bucket())
        .key(name.key())
        .content_type(CONTENT_TYPE)
        .content_length(length(&upload.bytes))
        .checksum_sha256(checksum(&upload.bytes))
        .metadata(SHA256, upload.digest.to_string())
        .metadata(PUBLISHER, printable(&upload.publisher))
        .body(counted(upload.bytes.clone(), sent))
        .customize()
        .config_override(patient())
        .send()
        .await
        .map_err(|error| failure(&error))?;
    written(name, origin(written_object.version_id(), written_object.e_tag()))
}

async fn in_parts(client: &Client, name: &ObjectName, upload: &Upload, sent: &Sent) -> Result<Origin, Failure> {
    let begun = client
        .create_multipart_upload()
        .bucket(name.bucket())
        .key(name.key())
        .content_type(CONTENT_TYPE)
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .metadata(SHA256, upload.digest.to_string())
        .metadata(PUBLISHER, printable(&upload.publisher))
        .send()
        .await
        .map_err(|error| failure(&error))?;
    let id = begun.upload_id().unwrap_or_default();
    let result = send_parts(client, name, id, &upload.bytes, sent).await;
    if result.is_err() {
        // What is left costs the bucket's owner money until somebody removes it.
        let given_up = client.abort_multipart_upload().bucket(name.bucket()).key(name.key()).upload_id(id).send().await;
        if let Err(error) = given_up {
            tracing::debug!("the parts that were sent stay in the bucket: {}", failure(&error).reason);
        }
    }
    result
}

async fn send_parts(
    client: &Client,
    name: &ObjectName,
    id: &str,
    bytes: &Bytes,
    sent: &Sent,
) -> Result<Origin, Failure> {
    let parts = (1_i32..).zip((0..bytes.len()).step_by(PART_BYTES)).map(|(number, start)| {
        let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
        async move {
            let checksum = checksum(&part);
            let request = client.upload_part().bucket(name.bucket()).key(name.key()).upload_id(id).part_number(number);
            let request = request.content_length(length(&part)).checksum_sha256(&checksum);
            let request = request.body(counted(part, sent)).customize().config_override(patient());
            let done = request.send().await.map_err(|error| failure(&error))?;
            let part = CompletedPart::builder().part_number(number).checksum_sha256(checksum);
            Ok(part.set_e_tag(done.e_tag().map(str::to_owned)).build())
        }
    });
    let parts: Vec<CompletedPart> = stream::iter(parts).buffered(AT_ONCE).try_collect().await?;
    let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let request = client.complete_multipart_upload().bucket(name.bucket()).key(name.key()).upload_id(id);
    let request = request.multipart_upload(all).customize().config_override(patient());
    let done = request.send().await.map_err(|error| failure(&error))?;
    written(name, origin(done.version_id(), done.e_tag()))
}

fn checksum(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}

fn length(bytes: &Bytes) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}
