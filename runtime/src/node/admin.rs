//! The admin listener: reports whether the process is alive and ready, and the reason if it is not ready.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 as long as the process answers |
//! | `/readyz` | 200 if every trigger has a serving revision and no condition stops it, otherwise 503 |
//! | `/health` | the same code, with the reasons: JSON with the state of every trigger and function |
//!
//! It has no authentication, so it listens on the loopback interface unless told otherwise.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::node::overview::Overview;

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

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, overview: watch::Receiver<Overview>) {
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
        let overview = overview.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(&request, &overview.borrow());
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

fn answer(request: &Request<Incoming>, overview: &Overview) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD are allowed\n".to_owned());
    }
    let code = if overview.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match request.uri().path() {
        "/livez" => respond(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => respond(code, "text/plain", if code.is_success() { "ready\n" } else { "not ready\n" }.to_owned()),
        "/health" => respond(code, "application/json", format!("{:#}\n", overview.to_json())),
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
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
