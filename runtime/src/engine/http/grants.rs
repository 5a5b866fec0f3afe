//! Finds the origin of a URL and the entry of the manifest that allows it. Pure.

use hyper::Uri;

use crate::manifest::{Host, Http, Origin, Scheme};

/// The scheme, host and port of a URL. `None`: it is not a valid URL of HTTP or HTTPS.
pub(super) fn origin(uri: &Uri) -> Option<Origin> {
    let scheme = match uri.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let authority = uri.authority()?;
    let text = authority.as_str();
    // A user name would not be sent in a header, and it is a known way to make URLs misleading.
    if text.contains('@') {
        return None;
    }
    let host = Host::parse(authority.host())?;
    // After the host there may only be a port.
    let port = match text.strip_prefix(authority.host())?.strip_prefix(':') {
        None | Some("") => None,
        Some(_) => Some(authority.port_u16().filter(|port| *port > 0)?),
    };
    Some(Origin::new(scheme, host, port))
}

/// The origin of a URL, and its path with the query. `None`: it is not a valid URL of HTTP or HTTPS.
pub fn target(uri: &Uri) -> Option<(Origin, String)> {
    Some((origin(uri)?, path(uri)))
}

/// The path of a URL with its query. It begins with a slash.
pub(super) fn path(uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{slash}{path}")
}

/// The index of the entry of `allow-hosts` that allows an origin.
pub(super) fn find(policy: &Http, origin: &Origin) -> Option<usize> {
    policy.allow_hosts.iter().position(|entry| entry.covers(origin))
}
