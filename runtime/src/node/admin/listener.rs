//! Accepts connections and bounds them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::answers::Admin;

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
pub async fn serve(listener: TcpListener, admin: Admin) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let admin = Arc::new(admin);
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
        let admin = admin.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let admin = admin.clone();
                async move { Ok::<_, Infallible>(admin.answer(request).await) }
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
