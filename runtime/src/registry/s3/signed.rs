//! The signatures of an object, and versions of it for which there is none yet.
//!
//! Object and signature are uploaded one after the other, so a version without a signature that fits may get one
//! soon. All versions of the signature are tried, because an older one may be that of an older version of the object,
//! which is published again by a rollback.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Common;
use super::client::{Download, Failure, FailureKind, Head, Store};
use crate::manifest::ObjectName;
use crate::record::revision::Origin;
use crate::registry::signature::{self, Required, Unsigned};

/// How long the newest version may be there without a signature that fits, before it is refused.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause after the first look that found none. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How many versions of a signature are tried at most.
const MOST: usize = 20;

/// A version that was downloaded and is not reported yet: its signature is looked for.
pub(super) struct Pending {
    pub head: Head,
    /// What was downloaded of it.
    pub download: Download,
    since: Instant,
    pause: Duration,
}

impl Pending {
    pub(super) fn new(head: Head, download: Download, now: Instant) -> Self {
        Self { head, download, since: now, pause: FIRST_PAUSE }
    }

    /// Whether it is to be refused.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.since + PATIENCE
    }

    /// The pause until the next look.
    pub(super) fn next_pause(&mut self, now: Instant) -> Duration {
        let pause = self.pause;
        self.pause *= 2;
        pause.min((self.since + PATIENCE).saturating_duration_since(now)).max(FIRST_PAUSE)
    }
}

/// What was found beside an object.
pub(super) struct Beside {
    /// The newest signature, if there is one.
    pub newest: Option<Origin>,
    /// The signatures that fit, or why none does.
    pub fitting: Result<Vec<String>, Unsigned>,
}

/// The newest signature of an object.
pub(super) async fn newest<S: Store>(common: &Common<S>, name: &ObjectName) -> Result<Option<Head>, Failure> {
    let Some(name) = signature::beside_object(name) else { return Ok(None) };
    match common.store.newest(&name).await {
        Ok(head) => Ok(Some(head)),
        Err(failure) if failure.kind == FailureKind::Missing => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Looks for signatures that fit a content of an object, among all versions of its signature.
pub(super) async fn verify<S: Store>(
    common: &Common<S>,
    name: &ObjectName,
    required: &Arc<[Required]>,
    bytes: &Arc<[u8]>,
) -> Result<Beside, Failure> {
    let newest = newest(common, name).await?;
    let mut signatures = Vec::new();
    if let Some(head) = &newest {
        signatures.extend(text(common, name, head).await?);
    }
    let origin = newest.map(|head| head.origin);
    let fitting = compare(name, required, &signatures, bytes).await?;
    if fitting.is_ok() {
        return Ok(Beside { newest: origin, fitting });
    }
    let Some(beside) = signature::beside_object(name) else { return Ok(Beside { newest: origin, fitting }) };
    let versions = common.store.versions(&beside).await?;
    let older = versions.iter().filter(|version| Some(&version.origin) != origin.as_ref()).take(MOST - 1);
    for head in older {
        signatures.extend(text(common, name, head).await?);
    }
    let fitting = compare(name, required, &signatures, bytes).await?;
    Ok(Beside { newest: origin, fitting })
}

/// A version of a signature. [`None`]: it is too large for one, or was removed meanwhile.
async fn text<S: Store>(common: &Common<S>, name: &ObjectName, head: &Head) -> Result<Option<String>, Failure> {
    let Some(name) = signature::beside_object(name).filter(|_| head.bytes <= signature::MOST_BYTES) else {
        return Ok(None);
    };
    let failed = |error: std::io::Error| Failure { kind: FailureKind::Later, reason: format!("{name}: {error}") };
    let into = common.kept.temporary().map_err(failed)?;
    match common.store.fetch(&name, &head.origin, signature::MOST_BYTES, into).await {
        Ok(download) => {
            let bytes = std::fs::read(download.file.path()).map_err(failed)?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Err(failure) if failure.kind == FailureKind::Later => Err(failure),
        Err(_) => Ok(None),
    }
}

/// Verifies on a helper thread, since a large content takes a while.
async fn compare(
    name: &ObjectName,
    required: &Arc<[Required]>,
    signatures: &[String],
    bytes: &Arc<[u8]>,
) -> Result<Result<Vec<String>, Unsigned>, Failure> {
    let (name, required, bytes) = (name.clone(), required.clone(), bytes.clone());
    let signatures = signatures.to_vec();
    let verified = tokio::task::spawn_blocking(move || signature::verify(&name, &required, &signatures, &bytes)).await;
    verified.map_err(|error| Failure { kind: FailureKind::Later, reason: error.to_string() })
}
