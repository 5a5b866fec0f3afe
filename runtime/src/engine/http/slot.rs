//! What a request holds while it runs: a permit of `http.connections`, and its connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hyper_util::client::legacy::connect::CaptureConnection;
use tokio::sync::OwnedSemaphorePermit;

/// Both bodies of a request hold the slot. It is released when both have ended.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    connection: CaptureConnection,
}

impl Slot {
    pub(super) fn new(permit: OwnedSemaphorePermit, connection: CaptureConnection) -> Self {
        Self { _permit: permit, connection }
    }

    /// Closes the connection, unless other requests may use it at the same time.
    pub(super) fn abort_connection(&self) {
        self.abort_if(|handle| !handle.is_shared);
    }

    fn abort_if(&self, wanted: impl FnOnce(&AbortHandle) -> bool) {
        let mut extensions = http::Extensions::new();
        if let Some(connected) = &*self.connection.connection_metadata() {
            connected.get_extras(&mut extensions);
        }
        if let Some(handle) = extensions.get::<AbortHandle>().filter(|handle| wanted(handle)) {
            handle.abort();
        }
    }
}

impl Drop for Slot {
    /// Closes a single-use connection. The client would keep an HTTP/2 connection open for a while, although
    /// it does not use the connection again.
    fn drop(&mut self) {
        self.abort_if(|handle| !handle.is_reusable);
    }
}

/// Closes a connection from another task, even if the server does not read from it.
#[derive(Clone)]
pub(super) struct AbortHandle {
    state: Arc<State>,
    /// Whether later requests may use the connection.
    pub(super) is_reusable: bool,
    /// Whether several requests use the connection at the same time.
    pub(super) is_shared: bool,
}

#[derive(Default)]
struct State {
    is_aborted: AtomicBool,
    waiting: AtomicWaker,
}

impl AbortHandle {
    pub(super) fn new(is_reusable: bool, is_shared: bool) -> Self {
        Self { state: Arc::default(), is_reusable, is_shared }
    }

    fn abort(&self) {
        self.state.is_aborted.store(true, Ordering::Release);
        self.state.waiting.wake();
    }

    /// Returns the result of an operation on the connection. If the operation would wait, it fails once the
    /// connection is aborted. One waker is enough, because one task owns a connection.
    pub(super) fn check<T>(&self, context: &Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        self.state.waiting.register(context.waker());
        if self.state.is_aborted.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}
