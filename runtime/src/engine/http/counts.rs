//! Counts of the HTTP requests of a function.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The counts of all revisions and triggers of a function together, since the node started.
#[derive(Debug, Default)]
pub struct HttpCounts {
    /// All requests of the function, including refused ones.
    pub(super) requests: Count,
    /// Requests that the manifest does not allow.
    pub(super) refused: Count,
    /// Requests that got no response, or an incomplete one, for any other reason.
    pub(super) failed: Count,
    /// Bytes of received bodies.
    pub(super) bytes_in: Count,
    /// Bytes of sent bodies.
    pub(super) bytes_out: Count,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A copy of [`HttpCounts`] at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HttpSnapshot {
    pub requests: u64,
    pub refused: u64,
    pub failed: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

impl HttpCounts {
    pub fn snapshot(&self) -> HttpSnapshot {
        let Self { requests, refused, failed, bytes_in, bytes_out } = self;
        HttpSnapshot {
            requests: requests.get(),
            refused: refused.get(),
            failed: failed.get(),
            bytes_in: bytes_in.get(),
            bytes_out: bytes_out.get(),
        }
    }
}

impl Serialize for HttpCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.snapshot().serialize(serializer)
    }
}
