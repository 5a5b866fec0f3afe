//! What authors and operators ask of a store: the history of an object, and to add to it. Nodes never do.
//!
//! Who published an object, and its digest, are in the metadata that `tidegate` writes with it. Other tools write
//! none, and anyone who may write objects may write any metadata. So it is shown, and nothing is run by it.

mod body;
mod upload;

use std::sync::Arc;

use aws_sdk_s3::types::MetadataDirective;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::NamedTempFile;

use super::client::{Failure, FailureKind, S3, Store as _, failure, origin};
use crate::manifest::ObjectName;
use crate::record::revision::{Digest, Origin};

/// Who published the object, such as `ann@laptop`.
const PUBLISHER: &str = "tidegate-publisher";
/// SHA-256 of the object, in hexadecimal digits.
const SHA256: &str = "tidegate-sha256";
/// The id of the version that this one is a copy of.
const COPY_OF: &str = "tidegate-copy-of";
/// The type of the content of a component.
const CONTENT_TYPE: &str = "application/wasm";
/// What stays as it is in the name of the source of a copy.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The most entries that S3 gives at once.
const PAGE: usize = 1_000;

/// One entry in the history of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Which publication it is. If the bucket keeps no versions, its entity tag.
    pub origin: Origin,
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub written_ms: Option<i64>,
    /// It says that the object was deleted, and has no content.
    pub is_deletion: bool,
}

impl Version {
    /// The id of the version. [`None`]: the bucket kept no versions when it was written.
    pub fn id(&self) -> Option<&str> {
        match &self.origin {
            Origin::Version(id) => Some(id),
            Origin::File | Origin::Tag(_) => None,
        }
    }
}

/// What the metadata of a version say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub digest: Option<Digest>,
    pub publisher: Option<String>,
    /// The id of the version that it is a copy of.
    pub copy_of: Option<String>,
}

/// A component to be published.
#[derive(Clone, Debug)]
pub struct Upload {
    pub bytes: Bytes,
    pub digest: Digest,
    /// Who publishes it. Characters that are not printable ASCII are replaced.
    pub publisher: String,
}

/// Is told how many more bytes were sent.
pub type Sent = Arc<dyn Fn(u64) + Send + Sync>;

/// What authors and operators ask of a store of objects.
pub trait Archive: Send + Sync {
    /// The newest entries of the history, the newest first, at most `most`. Empty: there never was such an object.
    fn history(&self, name: &ObjectName, most: usize) -> impl Future<Output = Result<Vec<Version>, Failure>> + Send;

    /// What the metadata of a version say, which must not be a deletion.
    fn facts(&self, name: &ObjectName, version: &Version) -> impl Future<Output = Result<Facts, Failure>> + Send;

    /// Downloads a version of at most so many bytes, for its digest.
    fn digest(
        &self,
        name: &ObjectName,
        version: &Version,
        most_bytes: u64,
    ) -> impl Future<Output = Result<Digest, Failure>> + Send;

    /// Writes a new version, and says which publication it is.
    fn put(
        &self,
        name: &ObjectName,
        upload: &Upload,
        sent: &Sent,
    ) -> impl Future<Output = Result<Origin, Failure>> + Send;

    /// Has the store copy an older version into a new one. Says which publication that is.
    fn copy(
        &self,
        name: &ObjectName,
        version_id: &str,
        digest: Digest,
        publisher: &str,
    ) -> impl Future<Output = Result<Origin, Failure>> + Send;
}

impl Archive for Arc<S3> {
    async fn history(&self, name: &ObjectName, most: usize) -> Result<Vec<Version>, Failure> {
        let request = self.client().await.list_object_versions().bucket(name.bucket()).prefix(name.key());
        let page = i32::try_from(most.min(PAGE)).unwrap_or(1);
        let listed = request.max_keys(page).send().await.map_err(|error| {
            let failure = failure(&error);
            Failure { reason: format!("cannot list the versions of {name}: {}", failure.reason), ..failure }
        })?;
        let millis = |time: Option<&aws_sdk_s3::primitives::DateTime>| time.and_then(|time| time.to_millis().ok());
        // Names that begin like this one are listed behind it.
        let versions = listed.versions().iter().filter(|version| version.key() == Some(name.key()));
        let versions = versions.filter_map(|version| {
            let found = Version {
                origin: origin(version.version_id(), version.e_tag())?,
                bytes: version.size().and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
                written_ms: millis(version.last_modified()),
                is_deletion: false,
            };
            Some((version.is_latest() == Some(true), found))
        });
        let deletions = listed.delete_markers().iter().filter(|marker| marker.key() == Some(name.key()));
        let deletions = deletions.filter_map(|marker| {
            let origin = origin(marker.version_id(), Some("deleted"))?;
            let written_ms = millis(marker.last_modified());
            Some((marker.is_latest() == Some(true), Version { origin, bytes: 0, written_ms, is_deletion: true }))
        });
        let mut all = merged(versions.collect(), deletions.collect());
        all.truncate(most);
        Ok(all)
    }

    async fn facts(&self, name: &ObjectName, version: &Version) -> Result<Facts, Failure> {
        let request = self.client().await.head_object().bucket(name.bucket()).key(name.key());
        let request = request.set_version_id(version.id().map(str::to_owned));
        let head = request.send().await.map_err(|error| {
            let failure = failure(&error);
            Failure { reason: format!("cannot look at {name}, {}: {}", version.origin, failure.reason), ..failure }
        })?;
        let said = |key: &str| head.metadata()?.get(key).cloned();
        Ok(Facts {
            digest: said(SHA256).and_then(|text| text.parse().ok()),
            publisher: said(PUBLISHER),
            copy_of: said(COPY_OF),
        })
    }

    async fn digest(&self, name: &ObjectName, version: &Version, most_bytes: u64) -> Result<Digest, Failure> {
        let into = NamedTempFile::new().map_err(|error| Failure {
            kind: FailureKind::Later,
            reason: format!("cannot write what is downloaded of {name}: {error}"),
        })?;
        Ok(self.fetch(name, &version.origin, most_bytes, into).await?.digest)
    }

    async fn put(&self, name: &ObjectName, upload: &Upload, sent: &Sent) -> Result<Origin, Failure> {
        upload::put(self.client().await, name, upload, sent)
            .await
            .map_err(|failure| Failure { reason: format!("cannot write {name}: {}", failure.reason), ..failure })
    }

    async fn copy(
        &self,
        name: &ObjectName,
        version_id: &str,
        digest: Digest,
        publisher: &str,
    ) -> Result<Origin, Failure> {
        let request = self.client().await.copy_object().bucket(name.bucket()).key(name.key());
        let request = request.copy_source(source(name, version_id)).content_type(CONTENT_TYPE);
        let copied = request
            .metadata_directive(MetadataDirective::Replace)
            .metadata(SHA256, digest.to_string())
            .metadata(PUBLISHER, printable(publisher))
            .metadata(COPY_OF, version_id)
            .customize()
            .config_override(upload::patient())
            .send()
            .await
            .map_err(|error| {
                let failure = failure(&error);
                Failure { reason: format!("cannot copy {name}, version {version_id}: {}", failure.reason), ..failure }
            })?;
        let tag = copied.copy_object_result().and_then(|result| result.e_tag());
        written(name, origin(copied.version_id(), tag))
    }
}

/// The name of the source of a copy, as the header has it.
fn source(name: &ObjectName, version_id: &str) -> String {
    let path = format!("{}/{}", name.bucket(), name.key());
    format!("{}?versionId={}", utf8_percent_encode(&path, PLAIN), utf8_percent_encode(version_id, PLAIN))
}

/// Which publication was written. A store that does not say is not one that can be followed.
fn written(name: &ObjectName, origin: Option<Origin>) -> Result<Origin, Failure> {
    origin.ok_or_else(|| Failure {
        kind: FailureKind::Later,
        reason: format!("{name} was written, and the store gave neither a version nor an entity tag"),
    })
}

/// A text that a header can carry.
fn printable(text: &str) -> String {
    text.chars().map(|each| if matches!(each, ' '..='~') { each } else { '?' }).collect()
}

/// Versions and deletions in one list, the newest first. Each comes with whether it is the newest of all. Times are
/// whole seconds, so within one second the order between versions and deletions is a guess.
fn merged(versions: Vec<(bool, Version)>, deletions: Vec<(bool, Version)>) -> Vec<Version> {
    let mut all: Vec<_> = versions.into_iter().chain(deletions).collect();
    // The store gives each list in the right order, which a stable sort keeps.
    all.sort_by_key(|(is_newest, version)| (!is_newest, std::cmp::Reverse(version.written_ms)));
    all.into_iter().map(|(_, version)| version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, written_ms: i64) -> Version {
        let origin = Origin::Version(id.to_owned());
        Version { origin, bytes: 1, written_ms: Some(written_ms), is_deletion: false }
    }

    #[test]
    fn a_history_has_versions_and_deletions_in_their_order() {
        let versions = vec![(false, version("v3", 3)), (false, version("v2", 2)), (false, version("v1", 2))];
        let all = merged(versions, vec![(true, version("gone", 3)), (false, version("was gone", 1))]);
        let ids: Vec<_> = all.iter().filter_map(Version::id).collect();
        assert_eq!(ids, ["gone", "v3", "v2", "v1", "was gone"]);
    }

    #[test]
    fn the_source_of_a_copy_is_encoded() {
        let name = ObjectName::new("bucket", "a b/ü+&?.wasm").expect("a name");
        assert_eq!(source(&name, "x=1.y_z"), "bucket/a%20b/%C3%BC%2B%26%3F.wasm?versionId=x%3D1.y_z");
    }

    #[test]
    fn who_published_fits_into_a_header() {
        assert_eq!(printable("jörg@höst\n"), "j?rg@h?st?");
    }
}
