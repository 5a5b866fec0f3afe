//! A native client of librdkafka, and how it is destroyed.
//!
//! This module does not use the clients of the rdkafka crate, because dropping a consumer of that crate
//! blocks until the brokers have answered. Destroying a client of librdkafka waits for the brokers too. So
//! when the last user drops a client, a separate thread destroys it, and no other thread waits for that
//! thread. The process may exit while it runs.

use std::ffi::c_char;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::thread;

use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::error::Code;
pub use super::error::{Error, ErrorKind};
pub use super::metadata::Metadata;

/// The kinds of events that a client puts on its queues instead of calling callbacks.
const EVENTS: i32 =
    c::RD_KAFKA_EVENT_DR | c::RD_KAFKA_EVENT_REBALANCE | c::RD_KAFKA_EVENT_OFFSET_COMMIT | c::RD_KAFKA_EVENT_ERROR;

/// A native client. Each of its queues holds a reference to it, and so does each object in its memory, such
/// as a fetched record.
pub(super) struct Client {
    native: Native,
}

/// The pointer to the native client. It has no `Drop`; [`Client`] destroys the client once.
#[derive(Clone, Copy)]
struct Native(NonNull<c::rd_kafka_t>);

// SAFETY: clients of librdkafka may be used from any thread, and from several threads at the same time.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Client {
    /// Creates a consumer. If it has a group, all its events arrive on the consumer queue.
    pub(super) fn consumer(config: &ClientConfig) -> Result<Self, Error> {
        let client = Self::new(c::rd_kafka_type_t::RD_KAFKA_CONSUMER, config)?;
        if config.get("group.id").is_some() {
            // SAFETY: the client lives.
            Error::check(unsafe { c::rd_kafka_poll_set_consumer(client.pointer()) })?;
        }
        Ok(client)
    }

    pub(super) fn producer(config: &ClientConfig) -> Result<Self, Error> {
        Self::new(c::rd_kafka_type_t::RD_KAFKA_PRODUCER, config)
    }

    fn new(kind: c::rd_kafka_type_t, config: &ClientConfig) -> Result<Self, Error> {
        let native = config.create_native_config().map_err(refused)?;
        let mut reason = [0; 512];
        // SAFETY: the settings live, and the client owns them once it is created; the length of the reason
        // buffer is the one that is passed.
        let client = unsafe {
            c::rd_kafka_conf_set_events(native.ptr(), EVENTS);
            c::rd_kafka_new(kind, native.ptr(), reason.as_mut_ptr().cast::<c_char>(), reason.len())
        };
        let Some(client) = NonNull::new(client) else {
            let reason = reason.split(|byte| *byte == 0).next().unwrap_or_default();
            return Err(Error::invalid(String::from_utf8_lossy(reason)));
        };
        let _ = ManuallyDrop::new(native);
        let client = Self { native: Native(client) };
        // Log lines arrive as events, because a callback would run on the threads of the client.
        // SAFETY: the client lives; null means its main queue.
        Error::check(unsafe { c::rd_kafka_set_log_queue(client.pointer(), ptr::null_mut()) })?;
        Ok(client)
    }

    pub(super) fn pointer(&self) -> *mut c::rd_kafka_t {
        self.native.0.as_ptr()
    }

    /// The fatal error of the client, which makes it unusable.
    pub(super) fn fatal(&self) -> Code {
        // SAFETY: the client lives; no text is written, because the buffer is null with length 0.
        unsafe { c::rd_kafka_fatal_error(self.pointer(), ptr::null_mut(), 0) }
    }

    /// Destroys the client on this thread if this is the last reference. Waits for its brokers.
    pub(super) fn end(this: Arc<Self>) {
        if let Some(client) = Arc::into_inner(this) {
            let native = client.native;
            let _ = ManuallyDrop::new(client);
            native.destroy();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let native = self.native;
        // If no thread can be started, the client is leaked. A memory leak is better than a loop that hangs.
        if let Err(error) = thread::Builder::new().name("kafka-end".to_owned()).spawn(move || native.destroy()) {
            tracing::warn!("leaking a Kafka client, because no thread can be started to destroy it: {error}");
        }
    }
}

impl Native {
    fn destroy(self) {
        // The consumer is not closed here: a member has left its group before, or has given up leaving. A
        // request to a broker that does not answer still delays this for up to `socket.timeout.ms`.
        // SAFETY: the last user has dropped the client; queues, topics and messages hold a reference.
        unsafe { c::rd_kafka_destroy_flags(self.0.as_ptr(), c::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
    }
}

/// The error for settings that the client does not accept.
pub(super) fn refused(error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, _, _) => Error::invalid(reason),
        other => Error::invalid(other),
    }
}

/// Handles the log lines and errors of clients of the rdkafka crate. Only administrative requests about
/// topics use such clients.
pub(super) struct Context {
    pub owner: &'static str,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(self.owner, level as i32, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::info!(target: "librdkafka", trigger = self.owner, "{error}: {reason}");
    }
}

/// Writes a log line of the client to the log of the node. The levels are those of syslog.
pub(super) fn log(owner: &str, level: i32, facility: &str, line: &str) {
    // librdkafka warns that `enable.gapless.guarantee` is experimental. Tidegate sets it on purpose.
    let expected = facility == "CONFWARN" && line.contains("experimental");
    match level {
        _ if expected => tracing::debug!(target: "librdkafka", trigger = owner, facility, "{line}"),
        ..=3 => tracing::warn!(target: "librdkafka", trigger = owner, facility, "{line}"),
        4..=6 => tracing::info!(target: "librdkafka", trigger = owner, facility, "{line}"),
        _ => tracing::debug!(target: "librdkafka", trigger = owner, facility, "{line}"),
    }
}

/// Sets up the allocator to keep memory that clients and batches need again and again. Otherwise the memory
/// goes back to the kernel, which clears it each time. A busy node then needs some percent less CPU time. An
/// idle node keeps memory that it needed when it was busy: up to 128 MiB, and up to 64 MiB in the heaps of
/// each thread. This affects the whole process. Only glibc needs it.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the parameters are valid, and other threads may allocate at the same time.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 20);
        libc::mallopt(libc::M_TOP_PAD, 16 << 20);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
    }
}
