//! The admin listener: reports whether the process is alive and ready, and the reason if it is not ready.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 as long as the process answers |
//! | `/readyz` | 200 if every trigger has a serving revision and no condition stops it, otherwise 503 |
//! | `/health` | the same code, with the reasons: JSON with the state of every trigger and function |
//!
//! `/livez` and `/readyz` are for everybody, because probes have no secrets. `/health` tells more: if the manifest
//! sets a token, it wants that as `Authorization: Bearer TOKEN` ([RFC 6750]); if not, it answers only on the loopback
//! interface.
//!
//! [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::manifest::Secret;
use crate::node::overview::Overview;
use crate::record::revision::Digest;

/// The maximum number of connections; further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send the head of a request.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// The pause after accepting a connection failed, for example because there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the listener. A node does this first, so that it fails early if the port is in use.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Who may ask for more than whether the node is alive and ready.
#[derive(Clone)]
pub enum Access {
    /// Everybody: only this machine can connect.
    Open,
    /// Who has the token, of which this is a digest. Digests are compared, so the time that this takes says nothing
    /// about the token.
    Token(Digest),
    /// Nobody: other machines can connect, and there is no token.
    Closed,
}

impl Access {
    pub fn new(listen: SocketAddr, token: Option<&Secret>) -> Self {
        match token {
            Some(token) => Self::Token(Digest::of(token.reveal().as_bytes())),
            None if listen.ip().is_loopback() => Self::Open,
            None => Self::Closed,
        }
    }

    /// The answer for somebody who may not ask.
    fn refusal(&self, authorization: Option<&HeaderValue>) -> Option<Response<Full<Bytes>>> {
        match self {
            Self::Open => None,
            Self::Closed => Some(respond(
                StatusCode::FORBIDDEN,
                "text/plain",
                "other machines can connect to this listener: set [admin] token in the manifest\n".to_owned(),
            )),
            Self::Token(expected) => {
                let given = authorization.and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()));
                let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
                if given.is_some_and(|(_, token)| Digest::of(token) == *expected) {
                    return None;
                }
                let text = "send the header Authorization: Bearer TOKEN\n".to_owned();
                let mut response = respond(StatusCode::UNAUTHORIZED, "text/plain", text);
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                Some(response)
            }
        }
    }
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, access: Access, overview: watch::Receiver<Overview>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut is_failing = false;
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => {
                is_failing = false;
                stream
            }
            Err(error) => {
                // Logged only once, and not ten times a second until it works again.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!("the admin listener cannot accept connections and keeps trying: {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (overview, access) = (overview.clone(), access.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(&request, &access, &overview.borrow());
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_LIMIT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!("admin connection failed: {error}");
            }
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, access: &Access, overview: &Overview) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD are allowed\n".to_owned());
    }
    let code = if overview.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match request.uri().path() {
        "/livez" => respond(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => respond(code, "text/plain", if code.is_success() { "ready\n" } else { "not ready\n" }.to_owned()),
        "/health" => access
            .refusal(request.headers().get(AUTHORIZATION))
            .unwrap_or_else(|| respond(code, "application/json", format!("{:#}\n", overview.to_json()))),
        _ => respond(
            StatusCode::NOT_FOUND,
            "text/plain",
            "not found; the paths are /livez, /readyz and /health\n".to_owned(),
        ),
    }
}

fn respond(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(access: &Access, authorization: Option<&'static str>, expected: Result<(), u16>) {
        let value = authorization.map(HeaderValue::from_static);
        let found = access.refusal(value.as_ref()).map_or(Ok(()), |response| Err(response.status().as_u16()));
        assert_eq!(found, expected, "{authorization:?}");
    }

    #[test]
    fn who_has_the_token_may_ask() {
        let access = Access::Token(Digest::of(b"open sesame"));
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
        let access = |listen: &str| Access::new(listen.parse().expect("an address"), None);
        for own in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1"] {
            check(&access(own), None, Ok(()));
        }
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            check(&access(other), Some("Bearer x"), Err(403));
        }
    }
}
