//! Who is asked, and whether the manifest allows it. Pure.

use hyper::Uri;

use crate::manifest::{Host, Http, Origin, Scheme};

/// The host that a URL addresses. `None`: it cannot be asked by HTTP.
pub(super) fn origin(uri: &Uri) -> Option<Origin> {
    let scheme = match uri.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let authority = uri.authority()?;
    let text = authority.as_str();
    // A user would end up in no header, and has misled readers of URLs before.
    if text.contains('@') {
        return None;
    }
    let host = Host::parse(authority.host())?;
    // What stands behind the host is a port or nothing.
    let port = match text.strip_prefix(authority.host())?.strip_prefix(':') {
        None | Some("") => None,
        Some(_) => Some(authority.port_u16().filter(|port| *port > 0)?),
    };
    Some(Origin::new(scheme, host, port))
}

/// The host that a URL addresses, and the path that it asks for. `None`: it cannot be asked by HTTP.
pub fn target(uri: &Uri) -> Option<(Origin, String)> {
    Some((origin(uri)?, path(uri)))
}

/// What a URL asks for there, with its query: it begins with a slash.
pub(super) fn path(uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{slash}{path}")
}

/// The place in `allow-hosts` of the entry that allows it.
pub(super) fn find(policy: &Http, origin: &Origin) -> Option<usize> {
    policy.allow_hosts.iter().position(|entry| entry.covers(origin))
}
