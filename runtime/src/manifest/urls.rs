//! Addresses of services of AWS, and of what stands in for them, as a manifest spells them.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// The address of a store.
pub(super) struct Endpoint(pub(super) Url);

/// The address of an SQS queue.
pub(super) struct Queue(pub(super) Url);

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
