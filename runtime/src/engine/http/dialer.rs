//! A replacement of the network, for example by the recorded answers of golden cases.

use std::sync::Arc;

use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::manifest::Origin;

/// Replaces the network. All HTTP requests of functions go to the dialer, as HTTP/1.1 without TLS, and none
/// go to the network. Everything else works as in production: the allowed hosts, the number of requests at
/// once, the limits of time and size, and the reuse of connections. No name is looked up.
pub trait HttpDialer: Send + Sync + 'static {
    /// Called for each allowed request when the guest creates it. So the dialer sees the requests in the
    /// order in which the guest creates them, even if they are sent in another order. It may change the
    /// headers.
    fn admit(&self, origin: &Origin, method: &Method, path: &str, headers: &mut HeaderMap);

    /// Opens a connection to an origin. If the connection should end with a certain failure, it returns an
    /// [`io::Error`](std::io::Error) that contains an [`HttpFailure`](super::Failure).
    fn dial(self: Arc<Self>, origin: &Origin) -> Box<dyn HttpStream>;
}

/// The client's end of a connection.
pub trait HttpStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> HttpStream for T {}
