//! Bodies, counted and bounded, in both directions.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, timeout_at};
use wasmtime_wasi_http::{Error, WasiBody};

use super::counts::HttpCounts;
use super::failure::Failure;
use super::slot::Slot;

/// What a guest sends. It may go on after the answer is over, and holds the connection's slot too.
pub(super) struct Upload {
    sending: Arc<Mutex<Sending>>,
}

struct Sending {
    /// None: it is over.
    body: Option<WasiBody>,
    /// What it was cut short by, until that was told.
    failure: Option<Failure>,
    sent_bytes: u64,
    max_bytes: u64,
    /// Whether the instance is: then a body that just ends was not finished by anybody.
    gone: Arc<AtomicBool>,
    slot: Option<Arc<Slot>>,
    counts: Arc<HttpCounts>,
    sender: Option<Waker>,
    /// It closes when the upload is over.
    _over: oneshot::Sender<()>,
}

/// Ends an upload, however far it is: when it is dropped, or at its time.
pub(super) struct Limit {
    sending: Weak<Mutex<Sending>>,
    over: oneshot::Receiver<()>,
}

impl Upload {
    pub(super) fn new(
        body: WasiBody,
        max_bytes: u64,
        gone: Arc<AtomicBool>,
        slot: Arc<Slot>,
        counts: Arc<HttpCounts>,
    ) -> (Self, Limit) {
        let (closes, over) = oneshot::channel();
        let sending = Sending {
            body: Some(body),
            failure: None,
            sent_bytes: 0,
            max_bytes,
            gone,
            slot: Some(slot),
            counts,
            sender: None,
            _over: closes,
        };
        let sending = Arc::new(Mutex::new(sending));
        let limit = Limit { sending: Arc::downgrade(&sending), over };
        (Self { sending }, limit)
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limit {
    /// Lets the upload go on until then.
    pub(super) fn at(mut self, deadline: Instant) {
        if self.sending.strong_count() > 0 {
            tokio::spawn(async move { drop(timeout_at(deadline, &mut self.over).await) });
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let Some(sending) = self.sending.upgrade() else { return };
        let mut sending = sending.lock().unwrap_or_else(PoisonError::into_inner);
        if sending.body.take().is_none() {
            return;
        }
        sending.failure = Some(Failure::Timeout);
        // The client asks for no more before the other side has read what it has.
        if let Some(slot) = sending.slot.take() {
            slot.cut();
        }
        if let Some(sender) = sending.sender.take() {
            sender.wake();
        }
    }
}

impl Sending {
    fn frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(self.failure.take().map(Err));
        };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
            self.sender = Some(context.waker().clone());
            return Poll::Pending;
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            // The guest dropped its body before it was complete, or was ended itself.
            Some(Err(_)) => return Poll::Ready(Some(Err(Failure::Protocol))),
            None if self.gone.load(Ordering::Acquire) => return Poll::Ready(Some(Err(Failure::Protocol))),
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
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut sending = self.lock();
        let frame = ready!(sending.frame(context));
        if !matches!(frame, Some(Ok(_))) {
            sending.body = None;
            sending.slot = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.as_ref().map(Body::size_hint).unwrap_or_default()
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
    slot: Option<Arc<Slot>>,
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
        slot: Arc<Slot>,
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
