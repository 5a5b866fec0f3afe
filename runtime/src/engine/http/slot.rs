//! What a request holds while it is under way: its share of `http.connections`, and its connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hyper_util::client::legacy::connect::CaptureConnection;
use tokio::sync::OwnedSemaphorePermit;

/// Held by both bodies of a request, and free again when both are over.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    connection: CaptureConnection,
}

impl Slot {
    pub(super) fn new(permit: OwnedSemaphorePermit, connection: CaptureConnection) -> Self {
        Self { _permit: permit, connection }
    }

    /// Closes the connection, unless others may be using it too.
    pub(super) fn cut(&self) {
        self.cut_if(|cut| !cut.is_shared);
    }

    fn cut_if(&self, wanted: impl FnOnce(&Cut) -> bool) {
        let mut extensions = http::Extensions::new();
        if let Some(connected) = &*self.connection.connection_metadata() {
            connected.get_extras(&mut extensions);
        }
        if let Some(cut) = extensions.get::<Cut>().filter(|cut| wanted(cut)) {
            cut.now();
        }
    }
}

impl Drop for Slot {
    /// A connection that is not kept ends with its request: the client would keep one of HTTP/2 for a
    /// while, even though it does not use it again.
    fn drop(&mut self) {
        self.cut_if(|cut| !cut.is_kept);
    }
}

/// Ends a connection from outside, also one whose other side does not read.
#[derive(Clone)]
pub(super) struct Cut {
    state: Arc<State>,
    /// For further requests.
    pub(super) is_kept: bool,
    /// By requests at the same time.
    pub(super) is_shared: bool,
}

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    waiting: AtomicWaker,
}

impl Cut {
    pub(super) fn new(is_kept: bool, is_shared: bool) -> Self {
        Self { state: Arc::default(), is_kept, is_shared }
    }

    fn now(&self) {
        self.state.is_cut.store(true, Ordering::Release);
        self.state.waiting.wake();
    }

    /// What an operation of the connection comes to: one that would wait ends once it is cut. One task
    /// owns a connection, so that there is one to wake.
    pub(super) fn pass<T>(&self, context: &Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        self.state.waiting.register(context.waker());
        if self.state.is_cut.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}
