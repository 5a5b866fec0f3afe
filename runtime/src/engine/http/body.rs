//! Request and response bodies: counts their bytes and enforces the limits of size and time.

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

/// The body of a request. The guest may still send it after the response has ended, so it also holds the
/// slot of the request.
pub(super) struct Upload {
    state: Arc<Mutex<UploadState>>,
}

struct UploadState {
    /// `None`: the upload has ended.
    body: Option<WasiBody>,
    /// Why the upload was aborted. The next poll reports it once.
    failure: Option<Failure>,
    sent_bytes: u64,
    max_bytes: u64,
    /// Whether the instance was dropped. Then the end of the body does not mean that it is complete.
    instance_dropped: Arc<AtomicBool>,
    slot: Option<Arc<Slot>>,
    counts: Arc<HttpCounts>,
    /// The task that polls the body.
    sender: Option<Waker>,
    /// Dropped with the upload, which closes `UploadLimit::over`.
    _over: oneshot::Sender<()>,
}

/// Aborts an upload when it is dropped, or at a deadline.
pub(super) struct UploadLimit {
    state: Weak<Mutex<UploadState>>,
    over: oneshot::Receiver<()>,
}

impl Upload {
    pub(super) fn new(
        body: WasiBody,
        max_bytes: u64,
        instance_dropped: Arc<AtomicBool>,
        slot: Arc<Slot>,
        counts: Arc<HttpCounts>,
    ) -> (Self, UploadLimit) {
        let (closes, over) = oneshot::channel();
        let state = UploadState {
            body: Some(body),
            failure: None,
            sent_bytes: 0,
            max_bytes,
            instance_dropped,
            slot: Some(slot),
            counts,
            sender: None,
            _over: closes,
        };
        let state = Arc::new(Mutex::new(state));
        let limit = UploadLimit { state: Arc::downgrade(&state), over };
        (Self { state }, limit)
    }

    fn lock(&self) -> MutexGuard<'_, UploadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UploadLimit {
    /// Lets the upload continue until the deadline, and aborts it then.
    pub(super) fn end_at(mut self, deadline: Instant) {
        if self.state.strong_count() > 0 {
            tokio::spawn(async move { drop(timeout_at(deadline, &mut self.over).await) });
        }
    }
}

impl Drop for UploadLimit {
    fn drop(&mut self) {
        let Some(state) = self.state.upgrade() else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.body.take().is_none() {
            return;
        }
        state.failure = Some(Failure::Timeout);
        // The client polls the body only after the server has read the earlier data. So the failure alone
        // would not end a request whose server does not read.
        if let Some(slot) = state.slot.take() {
            slot.abort_connection();
        }
        if let Some(sender) = state.sender.take() {
            sender.wake();
        }
    }
}

impl UploadState {
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
            // The guest dropped the body before it was complete, or the instance was dropped.
            Some(Err(_)) => return Poll::Ready(Some(Err(Failure::Protocol))),
            None if self.instance_dropped.load(Ordering::Acquire) => return Poll::Ready(Some(Err(Failure::Protocol))),
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
        let mut state = self.lock();
        let frame = ready!(state.frame(context));
        if !matches!(frame, Some(Ok(_))) {
            state.body = None;
            state.slot = None;
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

/// The body of a response. When it ends for any reason, the connection is free again or closed.
pub(super) struct Download {
    /// Shared with the task that enforces the deadline. So a guest that keeps a response without reading it
    /// does not keep the connection.
    state: Arc<Mutex<DownloadState>>,
}

struct DownloadState {
    /// `None`: the download has ended.
    body: Option<Incoming>,
    /// Why the download was aborted. The next poll reports it once.
    failure: Option<Failure>,
    received_bytes: u64,
    max_bytes: u64,
    silence: Option<Silence>,
    slot: Option<Arc<Slot>>,
    counts: Arc<HttpCounts>,
    /// The task that polls the body.
    reader: Option<Waker>,
}

/// How long the server may send nothing, if the guest has set a limit.
struct Silence {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

/// Aborts a download at a deadline.
pub(super) struct DownloadLimit(Weak<Mutex<DownloadState>>);

impl Download {
    /// `slot` is released when the download ends.
    pub(super) fn new(
        body: Incoming,
        max_bytes: u64,
        between_bytes: Option<Duration>,
        slot: Arc<Slot>,
        counts: Arc<HttpCounts>,
    ) -> Self {
        let silence = between_bytes.map(|limit| Silence { limit, timer: Box::pin(tokio::time::sleep(limit)) });
        let state = DownloadState {
            body: Some(body),
            failure: None,
            received_bytes: 0,
            max_bytes,
            silence,
            slot: Some(slot),
            counts,
            reader: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn limit(&self) -> DownloadLimit {
        DownloadLimit(Arc::downgrade(&self.state))
    }
}

impl DownloadLimit {
    /// Waits for the deadline and aborts the download. Does nothing if the future is dropped before.
    pub(super) async fn end_at(self, deadline: Instant) {
        tokio::time::sleep_until(deadline).await;
        if let Some(state) = self.0.upgrade() {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.body.is_some() {
                state.failure = Some(Failure::Timeout);
                state.counts.failed.add(1);
                state.end();
            }
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(body) = &mut state.body else {
            return Poll::Ready(state.failure.take().map(|failure| Err(failure.into())));
        };
        let failure = match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => match state.count(&frame) {
                Ok(()) => return Poll::Ready(Some(Ok(frame))),
                Err(failure) => failure,
            },
            Poll::Ready(Some(Err(error))) => Failure::of_client_error(&error),
            Poll::Ready(None) => {
                state.end();
                return Poll::Ready(None);
            }
            Poll::Pending if state.is_silent(context) => Failure::Silence,
            Poll::Pending => {
                state.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
        };
        state.counts.failed.add(1);
        state.end();
        Poll::Ready(Some(Err(failure.into())))
    }
}

impl DownloadState {
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
        // At the last frame the slot is released at once, before the guest polls again. So the next request
        // does not wait for the guest.
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.end();
        }
        Ok(())
    }

    fn is_silent(&mut self, context: &mut Context<'_>) -> bool {
        self.silence.as_mut().is_some_and(|silence| silence.timer.as_mut().poll(context).is_ready())
    }

    /// Drops the body and releases the slot. If the body is not complete, dropping it closes the connection.
    fn end(&mut self) {
        self.body = None;
        self.slot = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
