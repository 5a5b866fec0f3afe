//! What may stand in for the network, such as the answers of golden cases.

use std::sync::Arc;

use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::manifest::Origin;

/// Stands in for the network: what functions ask goes here and nowhere else, by HTTP/1.1 without TLS.
/// All else is as in production: which hosts may be asked, how many requests at once, times, sizes,
/// connections that are used again. No name is looked up.
pub trait HttpDialer: Send + Sync + 'static {
    /// Sees an allowed request at the moment when the guest makes it. So requests come here in the order
    /// in which the guest makes them, whichever is sent first. It may change the headers.
    fn admit(&self, origin: &Origin, method: &Method, path: &str, headers: &mut HeaderMap);

    /// Makes a connection to an origin. To end it in a failure of its choice, it reports an
    /// [`io::Error`](std::io::Error) that holds an [`HttpFailure`](super::Failure).
    fn dial(self: Arc<Self>, origin: &Origin) -> Box<dyn HttpStream>;
}

/// The client's end of a connection.
pub trait HttpStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> HttpStream for T {}
