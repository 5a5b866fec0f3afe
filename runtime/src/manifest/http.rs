//! Checks what a function may request by HTTP: hosts, networks, limits.

use std::num::NonZeroU32;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Report};
use super::field::{At, Field};
use super::hosts::{AllowedHost, Network};
use super::raw::RawHttp;

/// What a function may request by HTTP. The default is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The hosts, without repetitions. If there is none, every request is refused.
    pub allow_hosts: Vec<AllowedHost>,
    /// Networks that are not public in which those hosts may be.
    pub allow_networks: Vec<Network>,
    /// How long connecting may take, above zero.
    pub connect_timeout: Duration,
    /// How long the head of the answer may take after the connection is made, above zero.
    pub first_byte_timeout: Duration,
    /// How long a whole request may take, above zero.
    pub timeout: Duration,
    /// The most bytes in the body of a request.
    pub max_request_bytes: u64,
    /// The most bytes in the body of an answer.
    pub max_response_bytes: u64,
    /// The most requests at once to one entry of `allow_hosts`.
    pub connections: NonZeroU32,
}

impl Default for Http {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new(), RawHttp::default(), &mut Report::default())
    }
}

impl Http {
    fn new(allow_hosts: Vec<AllowedHost>, allow_networks: Vec<Network>, raw: RawHttp, report: &mut Report) -> Self {
        let connections = raw.connections.or_default(report).0;
        Self {
            allow_hosts,
            allow_networks,
            connect_timeout: raw.connect_timeout.or_default(report).0,
            first_byte_timeout: raw.first_byte_timeout.or_default(report).0,
            timeout: raw.timeout.or_default(report).0,
            max_request_bytes: raw.max_request.or_default(report).0,
            max_response_bytes: raw.max_response.or_default(report).0,
            connections: u32::try_from(connections).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
        }
    }
}

/// Checks hosts, networks and limits together.
pub(super) fn check(
    hosts: Field<Vec<Field<AllowedHost>>>,
    networks: Field<Vec<Field<Network>>>,
    raw: Field<RawHttp>,
    report: &mut Report,
) -> Http {
    let is_known = !hosts.is_broken();
    let hosts = distinct(hosts.or_default(report), "this host is listed twice", report);
    if is_known && hosts.is_empty() {
        refuse_networks_alone(&networks, report);
    }
    let networks = distinct(networks.or_default(report), "this network is listed twice", report);
    let values = |entries: Vec<At<AllowedHost>>| entries.into_iter().map(|at| at.value).collect();
    let networks = networks.into_iter().map(|at| at.value).collect();
    Http::new(values(hosts), networks, raw.or_default(report), report)
}

fn distinct<T: PartialEq>(fields: Vec<Field<T>>, title: &str, report: &mut Report) -> Vec<At<T>> {
    let mut found: Vec<At<T>> = Vec::new();
    for field in fields {
        let Some(at) = field.given(report) else { continue };
        if let Some(first) = found.iter().find(|other| other.value == at.value) {
            let diagnostic = Diagnostic::new(&at.span, title, "remove one of them");
            report.add(diagnostic.also(&first.span, "the other one"));
            continue;
        }
        found.push(at);
    }
    found
}

fn refuse_networks_alone(networks: &Field<Vec<Field<Network>>>, report: &mut Report) {
    if let Field::Given(networks) = networks
        && !networks.value.is_empty()
    {
        let title = "`allow-networks` without `allow-hosts` allows nothing";
        let diagnostic = Diagnostic::new(&networks.span, title, "says where hosts may be, not which");
        report.add(diagnostic.help("add allow-hosts = [\"http://name.internal:8080\"], or remove it"));
    }
}
