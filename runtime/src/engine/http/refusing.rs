//! A network that refuses everything, for revisions that must not do anything: see
//! [`Setup::isolated`](crate::engine::Setup).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dialer::{HttpDialer, HttpStream};
use super::failure::Failure;
use crate::manifest::Origin;

/// What the function is told.
const REASON: &str = "this revision is tried as a shadow, so its requests are refused";

/// Opens connections that break before anything is sent.
pub(super) struct Refusing;

impl HttpDialer for Refusing {
    fn admit(&self, _: &Origin, _: &Method, _: &str, _: &mut HeaderMap) {}

    fn dial(self: Arc<Self>, _: &Origin) -> Box<dyn HttpStream> {
        Box::new(Broken)
    }
}

struct Broken;

fn refused<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::Error::other(Failure::Internal(REASON.to_owned()))))
}

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        refused()
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        refused()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        refused()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;
    use crate::engine::http::testing::Guest;
    use crate::manifest;

    #[tokio::test]
    async fn a_request_that_the_manifest_allows_is_refused_and_the_function_is_told_why() {
        let text = "[function.f]\ncomponent = \"f.wasm\"\nallow-hosts = [\"http://api.example.com\"]\n";
        let manifest = manifest::parse(Path::new("tidegate.toml"), text, &|_| None).expect("a good manifest");
        let guest = Guest::new(&manifest.functions["f"], Arc::new(Refusing));
        let request =
            |url: &str| http::Request::post(url).body(Full::new(Bytes::from_static(b"x"))).expect("a request");
        for _ in 0..3 {
            let refused = guest.send(request("http://api.example.com/")).await.map(drop);
            assert_eq!(refused, Err(Failure::Internal(REASON.to_owned())));
        }
        let unlisted = guest.send(request("http://other.example.com/")).await.map(drop);
        assert_eq!(unlisted, Err(Failure::Denied));
    }
}
