//! The body of a request that says how much of it was sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Sent;

/// How many bytes are handed over at once.
const PIECE: usize = 64 << 10;

/// These bytes as the body of a request. If the request is sent again, its bytes count again.
pub(super) fn counted(bytes: Bytes, sent: &Sent) -> ByteStream {
    let sent = sent.clone();
    ByteStream::new(SdkBody::retryable(move || {
        SdkBody::from_body_1_x(Counted { rest: bytes.clone(), sent: sent.clone() })
    }))
}

struct Counted {
    rest: Bytes,
    sent: Sent,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        (this.sent)(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
