//! Decides which clients get an answer from the admin listener.
//!
//! A page in a browser can make the browser send requests to this machine. Its own name can be made to stand for
//! 127.0.0.1, and then it may even read the answers. Such a request bears the name of the page in `Host`, so on a
//! loopback listener only names and addresses of the loopback interface are answered. The others get 421, because
//! they were meant for another server. A page that keeps its own name can still send a POST and not read the answer.
//! Browsers say in `Origin` where a POST comes from, so one of another host than it is sent to gets 403.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{StatusCode, Uri};

use super::problem::Problem;
use crate::manifest::Secret;
use crate::record::revision::Digest;

/// The clients that a route answers.
#[derive(Clone)]
pub struct Access {
    callers: Callers,
    /// Only this machine can connect.
    is_loopback: bool,
}

/// The clients that get more than whether the node is alive and ready.
#[derive(Clone)]
enum Callers {
    /// Everybody: only this machine can connect.
    All,
    /// Those that send the token. This is its digest. Digests are compared, so the time that this takes says nothing
    /// about the token.
    WithToken(Digest),
    /// Nobody: other machines can connect, and there is no token.
    None,
}

impl Access {
    pub fn new(listen: SocketAddr, token: Option<&Secret>) -> Self {
        let is_loopback = listen.ip().is_loopback();
        let callers = match token {
            Some(token) => Callers::WithToken(Digest::of(token.reveal().as_bytes())),
            None if is_loopback => Callers::All,
            None => Callers::None,
        };
        Self { callers, is_loopback }
    }

    /// Whether the request was meant for this server. A request without `Host` does not come from a browser.
    pub fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = headers.get(HOST).map(|host| host.to_str().unwrap_or_default());
        let named = host.into_iter().chain(uri.authority().map(|authority| authority.as_str()));
        let foreign = named.into_iter().find(|host| self.is_loopback && !is_loopback_host(host));
        foreign.map_or(Ok(()), |host| {
            let detail = format!(
                "this listener is on the loopback interface and {host:?} is not: send the header Host: localhost"
            );
            Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "foreign-host", "the host is not this one", detail))
        })
    }

    /// Whether a request that changes something comes from no page, or from one of the host that it is sent to.
    pub fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let host = headers.get(HOST).map(HeaderValue::as_bytes);
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
        if authority.is_some_and(|authority| host.is_some_and(|host| authority.as_bytes().eq_ignore_ascii_case(host))) {
            return Ok(());
        }
        let detail = "the header Origin names another host: pages of other hosts may change nothing here";
        Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", "the request comes from elsewhere", detail))
    }

    /// Whether the caller may ask for more than whether the node is alive and ready.
    pub fn check_caller(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match &self.callers {
            Callers::All => Ok(()),
            Callers::None => {
                let detail = "other machines can connect to this listener: set [admin] token in the manifest";
                Err(Problem::new(StatusCode::FORBIDDEN, "no-token", "this needs a token in the manifest", detail))
            }
            Callers::WithToken(expected) => {
                let given = headers.get(AUTHORIZATION);
                let given = given.and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()));
                let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
                if given.is_some_and(|(_, token)| Digest::of(token) == *expected) {
                    return Ok(());
                }
                let detail = "send the header Authorization: Bearer TOKEN";
                Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "the token is missing or wrong", detail))
            }
        }
    }
}

/// Whether a value of `Host` names the loopback interface, with or without a port.
fn is_loopback_host(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))),
        None => host.split_once(':').map_or((host, Some("")), |(name, port)| (name, Some(port))),
    };
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    port.is_some_and(is_port) && (is_loopback || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(hyper::header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn at(listen: &str) -> Access {
        Access::new(listen.parse().expect("an address"), None)
    }

    #[track_caller]
    fn check(access: &Access, authorization: Option<&'static str>, expected: Result<(), u16>) {
        let pairs: Vec<_> = authorization.map(|value| (AUTHORIZATION, value)).into_iter().collect();
        let found = access.check_caller(&headers(&pairs)).map_err(|problem| problem.status.as_u16());
        assert_eq!(found, expected, "{authorization:?}");
    }

    #[test]
    fn who_has_the_token_may_ask() {
        let access = Access { callers: Callers::WithToken(Digest::of(b"open sesame")), is_loopback: true };
        for good in ["Bearer open sesame", "bearer open sesame"] {
            check(&access, Some(good), Ok(()));
        }
        for bad in ["", "Bearer", "Bearer ", "Bearer open", "Basic open sesame", "Bearer  open sesame"] {
            check(&access, Some(bad), Err(401));
        }
        check(&access, None, Err(401));
    }

    #[test]
    fn without_a_token_only_this_machine_may_ask() {
        for own in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1"] {
            check(&at(own), None, Ok(()));
        }
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            check(&at(other), Some("Bearer x"), Err(403));
        }
    }

    #[track_caller]
    fn check_host(listen: &str, host: &'static str, is_good: bool) {
        let found = at(listen).check_host(&Uri::from_static("/health"), &headers(&[(HOST, host)]));
        let found = found.map_err(|problem| problem.status);
        assert_eq!(found, if is_good { Ok(()) } else { Err(StatusCode::MISDIRECTED_REQUEST) }, "{host}");
    }

    #[test]
    fn on_the_loopback_interface_only_its_own_names_are_answered() {
        for good in ["localhost", "LocalHost:80", "127.0.0.1:9000", "127.9.9.9", "[::1]", "[::1]:9000"] {
            check_host("127.0.0.1:1", good, true);
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "[::1]x",
            "localhost:x",
            "127.0.0.1@evil.example",
        ] {
            check_host("127.0.0.1:1", bad, false);
            check_host("0.0.0.0:1", bad, true);
        }
        let elsewhere = Uri::from_static("http://evil.example/health");
        assert!(at("[::1]:1").check_host(&elsewhere, &headers(&[(HOST, "localhost")])).is_err());
        assert!(at("[::1]:1").check_host(&Uri::from_static("/health"), &HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_page_of_another_host_changes_nothing() {
        let check = |pairs: &[_]| Access::check_origin(&headers(pairs)).map_err(|problem| problem.status.as_u16());
        assert_eq!(check(&[(HOST, "localhost:1")]), Ok(()), "no page");
        assert_eq!(check(&[(HOST, "localhost:1"), (ORIGIN, "http://localhost:1")]), Ok(()));
        for bad in ["null", "", "http://evil.example", "http://localhost:2", "http://localhost"] {
            assert_eq!(check(&[(HOST, "localhost:1"), (ORIGIN, bad)]), Err(403), "{bad}");
        }
    }
}
