//! The registry: where components in S3 come from. Credentials are not its business: the AWS SDK finds them.

use std::borrow::Cow;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

use super::diagnostic::{Diagnostic, Report};
use super::raw::RawRegistry;

/// Where components in S3 come from, and how often to look for new ones. Credentials come from the default chain of
/// the AWS SDK: environment, profile, web identity, container, instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// The region of the buckets. Without it the AWS SDK finds one in the environment, in a profile, or of the
    /// instance.
    pub region: Option<String>,
    /// The address of a store that is not AWS's: http or https, no user, no query. Without it: AWS, in the region.
    pub endpoint: Option<Url>,
    /// Whether the bucket stands in the path of a URL and not in its host. Most stores that are not AWS's need it.
    pub path_style: bool,
    /// The SQS queue of the buckets' notifications: http or https, no user, no query. Without it the node only looks
    /// every `reconcile`.
    pub queue: Option<Url>,
    /// How often to look for new revisions without a notification, 1 s to 1 h.
    pub reconcile: Duration,
    /// The most bytes that a component may have, 1 KiB to 1 GiB.
    pub max_bytes: u64,
}

impl Default for Registry {
    fn default() -> Self {
        check(RawRegistry::default(), &mut Report::default())
    }
}

pub(super) fn check(raw: RawRegistry, report: &mut Report) -> Registry {
    Registry {
        region: raw.region.given(report).map(|region| region.value.0),
        endpoint: raw.endpoint.given(report).map(|endpoint| endpoint.value.0),
        path_style: raw.path_style.or_default(report),
        queue: raw.queue.given(report).map(|queue| queue.value.0),
        reconcile: raw.reconcile.or_default(report).0,
        max_bytes: raw.max_size.or_default(report).0,
    }
}

/// Keys that people know from other tools, with `aws-` or without.
const CREDENTIALS: &[&str] = &[
    "access-key",
    "access-key-id",
    "credentials",
    "password",
    "profile",
    "secret-access-key",
    "secret-key",
    "security-token",
    "session-token",
    "token",
];

/// Reports and removes keys that would hold credentials. Tidegate has no use for them, and they do not belong into a
/// file that many may read.
pub(super) fn refuse_credentials(manifest: &mut DeTable, report: &mut Report) {
    let Some(DeValue::Table(registry)) = manifest.get_mut("registry").map(Spanned::get_mut) else { return };
    let is_credential = |key: &&Spanned<Cow<str>>| {
        let name = key.get_ref().to_ascii_lowercase().replace('_', "-");
        CREDENTIALS.contains(&name.strip_prefix("aws-").unwrap_or(&name))
    };
    for key in registry.keys().filter(is_credential).cloned().collect::<Vec<_>>() {
        let help = "they come from the default chain of the AWS SDK: environment, profile, web identity, container, \
                    instance";
        report.add(Diagnostic::new(&key.span(), "no credentials in the manifest", "remove it").help(help));
        registry.remove(&**key.get_ref());
    }
}
