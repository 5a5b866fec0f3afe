//! Connections: a name is looked up, each of its addresses is held against the manifest, and only
//! an address that passed is connected to. There is no second lookup that could say something else.

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
use super::slot::Cut;
use crate::manifest::{AllowedHost, Host, Http, Network, Origin, Scheme};

/// Names that are looked up at once for one function: each occupies a thread.
const MAX_LOOKUPS: usize = 16;

/// How a name is looked up. It may block.
pub(super) type LookUp = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// As the system does it.
pub(super) fn look_up(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (name, port).to_socket_addrs().map(Vec::from_iter)
}

/// Where connections lead.
pub(super) enum Reach {
    /// To whom DNS names. `tls` is needed if a host is allowed by https.
    Network { tls: Option<Arc<ClientConfig>>, look_up: LookUp },
    /// To what stands in for the network.
    Other(Arc<dyn HttpDialer>),
}

/// Makes the connections of one function. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    policy: Arc<Http>,
    reach: Reach,
    /// By the entries of `allow-hosts`.
    rooms: Vec<Room>,
    lookups: Arc<Semaphore>,
    refusals: Arc<Refusals>,
}

/// Bounds the connections of one entry. Those that wait for a further request, to whichever of the
/// hosts of a wildcard, never keep a request from getting one: it gets one that is not kept.
struct Room {
    kept: Arc<Semaphore>,
    /// Only requests under way have these, and of those there are no more, so that nobody waits
    /// longer than it takes to close one.
    passing: Arc<Semaphore>,
}

impl Room {
    fn new(connections: usize) -> Self {
        Self { kept: Arc::new(Semaphore::new(connections)), passing: Arc::new(Semaphore::new(connections)) }
    }

    /// Room for a connection, and whether it may be kept.
    async fn take(&self) -> Result<(OwnedSemaphorePermit, bool), AcquireError> {
        match self.kept.clone().try_acquire_owned() {
            Ok(permit) => Ok((permit, true)),
            Err(_) => Ok((self.passing.clone().acquire_owned().await?, false)),
        }
    }
}

impl Connector {
    pub(super) fn new(policy: Arc<Http>, reach: Reach, refusals: Arc<Refusals>) -> Self {
        let rooms = policy.allow_hosts.iter().map(|_| Room::new(policy.connections.get() as usize)).collect();
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Self { shared: Arc::new(Shared { policy, reach, rooms, lookups, refusals }) }
    }

    /// Connections that may still be made for an entry.
    #[cfg(test)]
    pub(super) fn free(&self, entry: usize) -> usize {
        let room = &self.shared.rooms[entry];
        room.kept.available_permits() + room.passing.available_permits()
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
        // It was allowed before it came here. Nothing may get around that.
        let entry = grants::find(&self.policy, &origin).ok_or(Failure::Denied)?;
        let deadline = Instant::now() + self.policy.connect_timeout;
        let room = timeout_at(deadline, self.rooms[entry].take()).await;
        let Ok(Ok((room, is_kept))) = room else { return Err(Failure::NoConnection) };
        let io = match &self.reach {
            Reach::Network { tls, look_up } => {
                let addresses = timeout_at(deadline, self.addresses(&origin, *look_up)).await;
                let addresses = addresses.map_err(|_| Failure::DnsTimeout)??;
                let tcp = dial(&self.allowed(entry, &origin, &addresses)?, deadline).await?;
                match origin.scheme {
                    Scheme::Http => Io::Plain(TokioIo::new(tcp)),
                    Scheme::Https => {
                        let agreed = timeout_at(deadline, agree_on_tls(tls.as_ref(), &origin, tcp)).await;
                        Io::Tls(Box::new(TokioIo::new(agreed.map_err(|_| Failure::ConnectTimeout)??)))
                    }
                }
            }
            Reach::Other(dialer) => Io::Other(TokioIo::new(dialer.clone().dial(&origin))),
        };
        let is_http2 = io.is_http2();
        Ok(Stream { io, is_http2, cut: Cut::new(is_kept, is_http2), _room: room })
    }

    /// Those of the addresses that may be connected to; at least one.
    fn allowed(&self, entry: usize, origin: &Origin, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, Failure> {
        let allowed = allowed_addresses(&self.policy.allow_hosts[entry], &self.policy.allow_networks, addresses);
        if allowed.is_empty() {
            self.refusals.private_address(origin, addresses);
            return Err(Failure::Prohibited);
        }
        Ok(allowed)
    }

    /// At least one.
    async fn addresses(&self, origin: &Origin, look_up: LookUp) -> Result<Vec<SocketAddr>, Failure> {
        let port = origin.port;
        let name = match &origin.host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
            Host::Name(name) => name.clone(),
        };
        let permit = self.lookups.clone().acquire_owned().await.map_err(|_| Failure::DnsTimeout)?;
        // The permit goes with the thread, which cannot be interrupted when nobody waits any more.
        let looked_up = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look_up(&name, port)
        });
        let found = looked_up.await.map_err(|error| Failure::Dns(error.to_string()))?;
        let found = found.map_err(|error| Failure::Dns(error.to_string()))?;
        if found.is_empty() { Err(Failure::Dns("it has no address".to_owned())) } else { Ok(found) }
    }
}

async fn agree_on_tls(
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

/// Those that the entry may be connected at.
pub(super) fn allowed_addresses(
    entry: &AllowedHost,
    networks: &[Network],
    addresses: &[SocketAddr],
) -> Vec<SocketAddr> {
    let is_allowed = |address: IpAddr| match &entry.origin.host {
        // The entry is this address.
        Host::Address(written) => address == *written,
        Host::Name(name) => {
            let is_local = name == "localhost" && !entry.is_wildcard && address.is_loopback();
            is_local || is_public(address) || networks.iter().any(|network| network.contains(address))
        }
    };
    addresses.iter().filter(|address| is_allowed(address.ip().to_canonical())).copied().collect()
}

/// Tries one address after the other, each with its share of the time that is left.
async fn dial(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Failure> {
    let mut failure = Failure::Unavailable;
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it a small request may wait for an acknowledgement.
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
    cut: Cut,
    _room: OwnedSemaphorePermit,
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
        let connected = Connected::new().extra(self.cut.clone());
        if !self.cut.is_kept {
            // That is how the client is told not to use it again.
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
        self.cut.pass(context, polled)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
            Io::Other(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.cut.pass(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            Io::Other(stream) => Pin::new(stream).poll_flush(context),
        };
        self.cut.pass(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            Io::Other(stream) => Pin::new(stream).poll_shutdown(context),
        };
        self.cut.pass(context, polled)
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
        self.cut.pass(context, polled)
    }
}
