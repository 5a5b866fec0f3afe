//! The registry: where components in S3 come from. Credentials are not its business: the AWS SDK finds them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
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

/// The address of a store.
pub(super) struct Endpoint(Url);

/// The address of an SQS queue.
pub(super) struct Queue(Url);

impl FromStr for Endpoint {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        url(text).map(Self)
    }
}

impl FromStr for Queue {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let url = url(text)?;
        if url.path() == "/" { Err(NO_QUEUE) } else { Ok(Self(url)) }
    }
}

/// Why a text is no address, and what is expected instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidUrl(&'static str);

const SCHEME: InvalidUrl = InvalidUrl("not a URL for HTTP, expected \"https://\" or \"http://\" and a host");
const HOST: InvalidUrl = InvalidUrl("invalid URL, expected \"https://\" or \"http://\", a host, and a port if need be");
const USER: InvalidUrl = InvalidUrl(
    "a URL with a user, expected none: credentials come from the default chain of the AWS SDK (environment, profile, \
     web identity, container, instance)",
);
const QUERY: InvalidUrl = InvalidUrl("a URL with a query or fragment, expected neither '?' nor '#'");
const NO_QUEUE: InvalidUrl = InvalidUrl(
    "a URL without a queue, expected one such as \"https://sqs.eu-central-1.amazonaws.com/123456789012/tidegate\"",
);

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn url(text: &str) -> Result<Url, InvalidUrl> {
    let (scheme, rest) = text.split_once("://").ok_or(SCHEME)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(SCHEME);
    }
    // The parser would pass over these.
    if rest.starts_with('/') || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(HOST);
    }
    let url = Url::parse(text).map_err(|_| HOST)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(USER);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(QUERY);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_of_http_and_nothing_more() {
        for good in ["http://localhost:9000", "HTTPS://s3.example.com/base/", "http://[::1]:9000", "http://10.0.0.7"] {
            assert!(url(good).is_ok(), "{good}");
        }
        let check = |text: &str, why: InvalidUrl| assert_eq!(url(text), Err(why), "{text}");
        for text in ["", "localhost:9000", "ftp://a", "arn:aws:sqs:eu-central-1:1:q", "http:/a", "://"] {
            check(text, SCHEME);
        }
        for text in ["http://", "https:///a", "http://a b", "http://a:99999", "http://a\\b", " https://a"] {
            assert!(url(text).is_err(), "{text}");
        }
        check("http:///a", HOST);
        for text in ["https://user:password@a/", "https://user@a/", "https://:password@a/"] {
            check(text, USER);
        }
        check("https://a/?x=y", QUERY);
        check("https://a/#x", QUERY);
    }

    #[test]
    fn a_queue_has_a_path() {
        assert_eq!("https://sqs.eu-central-1.amazonaws.com".parse::<Queue>().map(|_| ()), Err(NO_QUEUE));
        assert!("http://localhost:9324/queue/tidegate".parse::<Queue>().is_ok());
    }
}
