//! Wakes the loop that uses a client.
//!
//! When a queue of librdkafka is no longer empty, the thread that filled it runs a callback. The callback
//! needs no file descriptor, and it makes a system call only if the loop is waiting.

use std::ffi::c_void;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::bindings as c;
use tokio::sync::Notify;

/// Waits for the queues of one or more clients.
pub struct Wake {
    handle: Arc<WakeHandle>,
}

/// Wakes a [`Wake`]. All queues of its clients share it.
#[derive(Default)]
pub struct WakeHandle {
    notify: Notify,
}

impl Wake {
    #[must_use]
    pub fn new() -> (Self, Arc<WakeHandle>) {
        let handle = Arc::<WakeHandle>::default();
        (Self { handle: handle.clone() }, handle)
    }

    /// Waits until one of the queues got something after the last call. Works without a tokio runtime.
    pub async fn wait(&self) {
        self.handle.notify.notified().await;
    }
}

/// The callback of one queue.
pub(super) struct WakeCallback {
    handle: Arc<WakeHandle>,
    enabled: AtomicBool,
}

impl WakeCallback {
    pub(super) fn new(handle: Arc<WakeHandle>) -> Box<Self> {
        Box::new(Self { handle, enabled: AtomicBool::new(true) })
    }

    /// Whether the callback wakes the loop. After turning it on again, the loop must poll for what arrived
    /// meanwhile, because the callback does not run again for that.
    pub(super) fn set(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::SeqCst);
    }

    /// The function that librdkafka calls.
    ///
    /// # Safety
    ///
    /// `callback` is the address of a `WakeCallback` that lives. librdkafka calls it under the lock of the
    /// queue.
    pub(super) unsafe extern "C" fn call(_client: *mut c::rd_kafka_t, callback: *mut c_void) {
        // SAFETY: `Queue` guarantees it.
        let callback = unsafe { &*callback.cast_const().cast::<Self>() };
        if callback.enabled.load(Ordering::SeqCst) {
            callback.handle.notify.notify_one();
        }
    }
}

/// Waits on this thread for a future, or until a time. `None`: the time came first. Needs no tokio runtime,
/// unless the future needs one.
pub fn block_until<T>(until: Instant, future: impl Future<Output = T>) -> Option<T> {
    struct Unpark(Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    thread_local! {
        static WAKER: Waker = Arc::new(Unpark(thread::current())).into();
    }
    WAKER.with(|waker| {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) {
                return Some(output);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return None;
            }
            thread::park_timeout(left);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_another_thread_wakes_it_or_the_time_has_come() {
        let far = Instant::now() + Duration::from_secs(600);
        let (ours, theirs) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let other = {
            let (ours, theirs) = (ours.clone(), theirs.clone());
            thread::spawn(move || {
                theirs.notify_one();
                block_until(far, ours.notified())
            })
        };
        assert_eq!(block_until(far, theirs.notified()), Some(()));
        ours.notify_one();
        assert_eq!(other.join().expect("it ends"), Some(()));

        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(block_until(soon, std::future::pending::<()>()), None);
        assert!(Instant::now() >= soon);
    }
}
