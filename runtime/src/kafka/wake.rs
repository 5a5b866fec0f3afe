//! What wakes the loop that uses a client.
//!
//! librdkafka calls back when one of its queues is no longer empty, from whatever thread filled it. That
//! costs no descriptor and no system call unless somebody waits.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::bindings as c;
use tokio::sync::Notify;

/// Waits for all queues of some clients.
pub struct Wake {
    end: Arc<WakeEnd>,
}

/// What the queues ring.
#[derive(Default)]
pub struct WakeEnd {
    notify: Notify,
}

impl Wake {
    #[must_use]
    pub fn new() -> (Self, Arc<WakeEnd>) {
        let end = Arc::<WakeEnd>::default();
        (Self { end: end.clone() }, end)
    }

    /// Waits until one of the queues got something since the last call. Needs no runtime.
    pub async fn wait(&self) {
        self.end.notify.notified().await;
    }
}

/// The bell of one queue.
pub(super) struct Bell {
    end: Arc<WakeEnd>,
    rings: AtomicBool,
}

impl Bell {
    pub(super) fn new(end: Arc<WakeEnd>) -> Box<Self> {
        Box::new(Self { end, rings: AtomicBool::new(true) })
    }

    /// Whether it rings. What came while it did not rings no more: it has to be looked for.
    pub(super) fn set(&self, rings: bool) {
        self.rings.store(rings, Ordering::SeqCst);
    }

    /// What librdkafka is to call, with the bell.
    ///
    /// # Safety
    ///
    /// `bell` is the address of one that lives. Called under the lock of the queue.
    pub(super) unsafe extern "C" fn ring(_client: *mut c::rd_kafka_t, bell: *mut c_void) {
        // SAFETY: promised by who made the queue.
        let bell = unsafe { &*bell.cast_const().cast::<Self>() };
        if bell.rings.load(Ordering::SeqCst) {
            bell.end.notify.notify_one();
        }
    }
}
