//! Opens connections: it looks up a name, checks each address against the manifest, and connects only to
//! allowed addresses. There is no second lookup, which could return other addresses.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::address::is_public;
use super::dialer::{HttpDialer, HttpStream};
use super::failure::Failure;
use super::grants;
use super::refusals::Refusals;
use super::slot::AbortHandle;
use crate::manifest::{AllowedHost, Host, Http, Network, Origin, Scheme};

/// How many names are looked up at once for one function. Each lookup blocks a thread.
const MAX_LOOKUPS: usize = 16;

/// Looks up the addresses of a name. It may block.
pub(super) type LookUp = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Asks the resolver of the operating system.
pub(super) fn look_up(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (name, port).to_socket_addrs().map(Vec::from_iter)
}

/// Where connections lead.
pub(super) enum Backend {
    /// To the addresses that `look_up` finds. `tls` is required if an allowed host uses https.
    Network { tls: Option<Arc<ClientConfig>>, look_up: LookUp },
    /// To a replacement of the network.
    Dialer(Arc<dyn HttpDialer>),
}

/// Opens the connections of one function. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    policy: Arc<Http>,
    backend: Backend,
    /// One for each entry of `allow-hosts`.
    limits: Vec<ConnectionLimit>,
    lookups: Arc<Semaphore>,
    refusals: Arc<Refusals>,
}

/// Limits the connections of one entry of `allow-hosts`. Idle connections count as reusable ones. With a
/// wildcard they may all belong to other hosts than the next request. So if no permit for a reusable
/// connection is free, the request gets a single-use connection.
struct ConnectionLimit {
    reusable: Arc<Semaphore>,
    /// Only running requests hold these permits, and there are as many as running requests may be. So a
    /// request waits for one only while another connection closes.
    single_use: Arc<Semaphore>,
}

impl ConnectionLimit {
    fn new(connections: usize) -> Self {
        Self { reusable: Arc::new(Semaphore::new(connections)), single_use: Arc::new(Semaphore::new(connections)) }
    }

    /// A permit for a connection, and whether the connection may be used again.
    async fn take(&self) -> Result<(OwnedSemaphorePermit, bool), AcquireError> {
        match self.reusable.clone().try_acquire_owned() {
            Ok(permit) => Ok((permit, true)),
            Err(_) => Ok((self.single_use.clone().acquire_owned().await?, false)),
        }
    }
}

impl Connector {
    pub(super) fn new(policy: Arc<Http>, backend: Backend, refusals: Arc<Refusals>) -> Self {
        let limits =
            policy.allow_hosts.iter().map(|_| ConnectionLimit::new(policy.connections.get() as usize)).collect();
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Self { shared: Arc::new(Shared { policy, backend, limits, lookups, refusals }) }
    }

    /// How many more connections may be opened for an entry.
    #[cfg(test)]
    pub(super) fn free(&self, entry: usize) -> usize {
        let limit = &self.shared.limits[entry];
        limit.reusable.available_permits() + limit.single_use.available_permits()
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Failure>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move { shared.connect(&uri).await })
    }
}

impl Shared {
    async fn connect(&self, uri: &Uri) -> Result<Stream, Failure> {
        let origin = grants::origin(uri).ok_or(Failure::Url)?;
        // The client has checked this before. It is checked again, so that no code path can skip it.
        let entry = grants::find(&self.policy, &origin).ok_or(Failure::Denied)?;
        let deadline = Instant::now() + self.policy.connect_timeout;
        let permit = timeout_at(deadline, self.limits[entry].take()).await;
        let Ok(Ok((permit, is_reusable))) = permit else { return Err(Failure::NoConnection) };
        let io = match &self.backend {
            Backend::Network { tls, look_up } => {
                let addresses = timeout_at(deadline, self.addresses(&origin, *look_up)).await;
                let addresses = addresses.map_err(|_| Failure::DnsTimeout)??;
                let tcp = dial(&self.allowed(entry, &origin, &addresses)?, deadline).await?;
                match origin.scheme {
                    Scheme::Http => Io::Plain(TokioIo::new(tcp)),
                    Scheme::Https => {
                        let tls = timeout_at(deadline, tls_handshake(tls.as_ref(), &origin, tcp)).await;
                        Io::Tls(Box::new(TokioIo::new(tls.map_err(|_| Failure::ConnectTimeout)??)))
                    }
                }
            }
            Backend::Dialer(dialer) => Io::Other(TokioIo::new(dialer.clone().dial(&origin))),
        };
        let is_http2 = io.is_http2();
        Ok(Stream { io, is_http2, abort: AbortHandle::new(is_reusable, is_http2), _permit: permit })
    }

    /// The addresses that the manifest allows. An error if there is none.
    fn allowed(&self, entry: usize, origin: &Origin, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, Failure> {
        let allowed = allowed_addresses(&self.policy.allow_hosts[entry], &self.policy.allow_networks, addresses);
        if allowed.is_empty() {
            self.refusals.private_address(origin, addresses);
            return Err(Failure::Prohibited);
        }
        Ok(allowed)
    }

    /// The addresses of the host. An error if there is none.
    async fn addresses(&self, origin: &Origin, look_up: LookUp) -> Result<Vec<SocketAddr>, Failure> {
        let port = origin.port;
        let name = match &origin.host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
            Host::Name(name) => name.clone(),
        };
        let permit = self.lookups.clone().acquire_owned().await.map_err(|_| Failure::DnsTimeout)?;
        // The lookup holds the permit until it ends, even if the request was dropped: a blocking thread
        // cannot be interrupted.
        let looked_up = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look_up(&name, port)
        });
        let found = looked_up.await.map_err(|error| Failure::Dns(error.to_string()))?;
        let found = found.map_err(|error| Failure::Dns(error.to_string()))?;
        if found.is_empty() { Err(Failure::Dns("it has no address".to_owned())) } else { Ok(found) }
    }
}

async fn tls_handshake(
    config: Option<&Arc<ClientConfig>>,
    origin: &Origin,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    let config = config.cloned().ok_or(Failure::Tls)?;
    let name = match &origin.host {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Failure::Url)?,
        Host::Address(address) => ServerName::from(*address),
    };
    TlsConnector::from(config).connect(name, tcp).await.map_err(|error| Failure::of_tls(&error))
}

/// The addresses to which a connection for the entry is allowed.
pub(super) fn allowed_addresses(
    entry: &AllowedHost,
    networks: &[Network],
    addresses: &[SocketAddr],
) -> Vec<SocketAddr> {
    let is_allowed = |address: IpAddr| match &entry.origin.host {
        // The entry names an address itself.
        Host::Address(written) => address == *written,
        Host::Name(name) => {
            let is_local = name == "localhost" && !entry.is_wildcard && address.is_loopback();
            is_local || is_public(address) || networks.iter().any(|network| network.contains(address))
        }
    };
    addresses.iter().filter(|address| is_allowed(address.ip().to_canonical())).copied().collect()
}

/// Tries one address after another. Each gets an equal share of the remaining time.
async fn dial(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Failure> {
    let mut failure = Failure::Unavailable;
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without this, a small request may wait for a TCP acknowledgement.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => failure = Failure::of_connect(&error),
            Err(_) => failure = Failure::ConnectTimeout,
        }
    }
    Err(failure)
}

/// A connection.
pub(super) struct Stream {
    io: Io,
    is_http2: bool,
    abort: AbortHandle,
    _permit: OwnedSemaphorePermit,
}

enum Io {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
    Other(TokioIo<Box<dyn HttpStream>>),
}

impl Io {
    fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Other(_) => false,
            Self::Tls(stream) => stream.inner().get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.abort.clone());
        if !self.abort.is_reusable {
            // A poisoned connection is not used again.
            connected.poison();
        }
        if self.is_http2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Io::Other(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        self.abort.check(context, polled)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
            Io::Other(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.abort.check(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            Io::Other(stream) => Pin::new(stream).poll_flush(context),
        };
        self.abort.check(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            Io::Other(stream) => Pin::new(stream).poll_shutdown(context),
        };
        self.abort.check(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
            Io::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, parts),
            Io::Other(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        };
        self.abort.check(context, polled)
    }
}
