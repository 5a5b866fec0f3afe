//! Logs refused requests, and what to write in the manifest to allow them.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::manifest::{Name, Origin};
use crate::throttle::Throttle;

/// How many lines of one function are logged each second; further ones are counted and dropped.
const LINES_PER_SECOND: u32 = 2;

pub(super) struct Refusals {
    function: Name,
    throttle: Mutex<Throttle>,
}

impl Refusals {
    pub(super) fn new(function: Name) -> Self {
        Self { function, throttle: Mutex::new(Throttle::new(LINES_PER_SECOND, Instant::now())) }
    }

    pub(super) fn unlisted_host(&self, origin: &Origin) {
        let function = &self.function;
        self.warn(format_args!(
            "request to {origin} refused; to allow it, write in [function.{function}]: allow-hosts = [\"{origin}\"]"
        ));
    }

    pub(super) fn private_address(&self, origin: &Origin, addresses: &[SocketAddr]) {
        let function = &self.function;
        let Some(address) = addresses.first().map(SocketAddr::ip) else { return };
        self.warn(format_args!(
            "request to {origin} refused, because {address} is not a public address; to allow it, write in \
             [function.{function}]: allow-networks = [\"{address}\"]"
        ));
    }

    fn warn(&self, text: std::fmt::Arguments<'_>) {
        let passed = self.throttle.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now());
        if let Some(dropped) = passed {
            tracing::warn!(function = %self.function, dropped = (dropped > 0).then_some(dropped), "{text}");
        }
    }
}
