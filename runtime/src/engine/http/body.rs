//! Bodies, counted and bounded, in both directions.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{Error, WasiBody};

use super::counts::HttpCounts;
use super::failure::Failure;

/// What a guest sends.
pub(super) struct Upload {
    body: WasiBody,
    sent_bytes: u64,
    max_bytes: u64,
    counts: Arc<HttpCounts>,
}

impl Upload {
    pub(super) fn new(body: WasiBody, max_bytes: u64, counts: Arc<HttpCounts>) -> Self {
        Self { body, sent_bytes: 0, max_bytes, counts }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            // The guest dropped its body before it was complete.
            Some(Err(_)) => return Poll::Ready(Some(Err(Failure::Protocol))),
            None => return Poll::Ready(None),
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.sent_bytes += bytes;
        if self.sent_bytes > self.max_bytes {
            return Poll::Ready(Some(Err(Failure::RequestSize(self.max_bytes))));
        }
        self.counts.bytes_out.add(bytes);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a guest receives. Whatever ends it gives the connection back, or closes it.
pub(super) struct Download {
    /// The task that watches over the time has a part in it too, so that a guest that keeps an
    /// answer without reading it keeps no connection.
    reading: Arc<Mutex<Reading>>,
}

struct Reading {
    /// None: it is over.
    body: Option<Incoming>,
    /// What it was cut short by, until that was told.
    failure: Option<Failure>,
    received_bytes: u64,
    max_bytes: u64,
    silence: Option<Silence>,
    slot: Option<OwnedSemaphorePermit>,
    counts: Arc<HttpCounts>,
    reader: Option<Waker>,
}

/// How long the other side may send nothing, if the guest wants a limit.
struct Silence {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

/// Ends a download at its time, however far it is.
pub(super) struct Watch(Weak<Mutex<Reading>>);

impl Download {
    /// `slot` is what the request holds until its answer is over.
    pub(super) fn new(
        body: Incoming,
        max_bytes: u64,
        between_bytes: Option<Duration>,
        slot: OwnedSemaphorePermit,
        counts: Arc<HttpCounts>,
    ) -> Self {
        let silence = between_bytes.map(|limit| Silence { limit, timer: Box::pin(tokio::time::sleep(limit)) });
        let reading = Reading {
            body: Some(body),
            failure: None,
            received_bytes: 0,
            max_bytes,
            silence,
            slot: Some(slot),
            counts,
            reader: None,
        };
        Self { reading: Arc::new(Mutex::new(reading)) }
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(Arc::downgrade(&self.reading))
    }
}

impl Watch {
    /// Returns at the end of the time, if it is not dropped before.
    pub(super) async fn until(self, deadline: Instant) {
        tokio::time::sleep_until(deadline).await;
        if let Some(reading) = self.0.upgrade() {
            let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
            if reading.body.is_some() {
                reading.failure = Some(Failure::Timeout);
                reading.counts.failed.add(1);
                reading.end();
            }
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(body) = &mut reading.body else {
            return Poll::Ready(reading.failure.take().map(|failure| Err(failure.into())));
        };
        let failure = match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => match reading.count(&frame) {
                Ok(()) => return Poll::Ready(Some(Ok(frame))),
                Err(failure) => failure,
            },
            Poll::Ready(Some(Err(error))) => Failure::behind(&error),
            Poll::Ready(None) => {
                reading.end();
                return Poll::Ready(None);
            }
            Poll::Pending if reading.is_silent(context) => Failure::Silence,
            Poll::Pending => {
                reading.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
        };
        reading.counts.failed.add(1);
        reading.end();
        Poll::Ready(Some(Err(failure.into())))
    }
}

impl Reading {
    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), Failure> {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.received_bytes += bytes;
        if self.received_bytes > self.max_bytes {
            return Err(Failure::ResponseSize(self.max_bytes));
        }
        self.counts.bytes_in.add(bytes);
        if let Some(silence) = &mut self.silence {
            silence.timer.as_mut().reset(Instant::now() + silence.limit);
        }
        // The next request need not wait until the guest has asked for more in vain.
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.end();
        }
        Ok(())
    }

    fn is_silent(&mut self, context: &mut Context<'_>) -> bool {
        self.silence.as_mut().is_some_and(|silence| silence.timer.as_mut().poll(context).is_ready())
    }

    /// A body that is dropped before its end closes the connection.
    fn end(&mut self) {
        self.body = None;
        self.slot = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
