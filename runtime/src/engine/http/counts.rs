//! What a function does by HTTP, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Since the node started, all revisions and triggers of a function together.
#[derive(Debug, Default)]
pub struct HttpCounts {
    /// Requests that a function made, also those that were refused.
    pub(super) requests: Count,
    /// Those that the manifest does not allow.
    pub(super) refused: Count,
    /// Those that got no answer, or none to its end, for any other reason.
    pub(super) failed: Count,
    /// Bytes of bodies that were received.
    pub(super) bytes_in: Count,
    /// Bytes of bodies that were sent.
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

/// The numbers at one moment.
#[derive(Serialize)]
struct Snapshot {
    requests: u64,
    refused: u64,
    failed: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Serialize for HttpCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { requests, refused, failed, bytes_in, bytes_out } = self;
        let snapshot = Snapshot {
            requests: requests.get(),
            refused: refused.get(),
            failed: failed.get(),
            bytes_in: bytes_in.get(),
            bytes_out: bytes_out.get(),
        };
        snapshot.serialize(serializer)
    }
}
