//! A client of a cluster, and its end.
//!
//! The native client is ours, not the wrapper's: the wrapper's consumer polls at its end until the
//! brokers have answered, and librdkafka waits for them too. So nobody waits here: the last user of
//! a client leaves its end to a thread that nobody waits for either. The process may exit while
//! such a thread runs.

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

/// What a client tells in events, not in callbacks.
const EVENTS: i32 =
    c::RD_KAFKA_EVENT_DR | c::RD_KAFKA_EVENT_REBALANCE | c::RD_KAFKA_EVENT_OFFSET_COMMIT | c::RD_KAFKA_EVENT_ERROR;

/// A native client. Whatever lies in its memory, and each of its queues, keeps it alive.
pub(super) struct Client {
    native: Native,
}

/// The native client itself, which is destroyed once, by hand.
#[derive(Clone, Copy)]
struct Native(NonNull<c::rd_kafka_t>);

// SAFETY: librdkafka's clients may be used from any thread, several at a time.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Client {
    /// A consumer. If it has a group, all its events come on the consumer's queue.
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
        // SAFETY: the settings live, and are the client's once it is made; the reason has the length
        // that is told.
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
        // Log lines are events like others: a callback would run on the client's threads.
        // SAFETY: the client lives; null is its main queue.
        Error::check(unsafe { c::rd_kafka_set_log_queue(client.pointer(), ptr::null_mut()) })?;
        Ok(client)
    }

    pub(super) fn pointer(&self) -> *mut c::rd_kafka_t {
        self.native.0.as_ptr()
    }

    /// Why the client is of no use any more.
    pub(super) fn fatal(&self) -> Code {
        // SAFETY: the client lives; without room for a text none is written.
        unsafe { c::rd_kafka_fatal_error(self.pointer(), ptr::null_mut(), 0) }
    }

    /// Ends the client on this thread, if nobody else uses it. Waits for its brokers.
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
        // Without a thread it is left as it is: memory that is lost is better than a loop that hangs.
        if let Err(error) = thread::Builder::new().name("kafka-end".to_owned()).spawn(move || native.destroy()) {
            tracing::warn!("a Kafka client cannot be ended, and keeps its memory: {error}");
        }
    }
}

impl Native {
    fn destroy(self) {
        // No closing: who was a member has left, or given up on it. What is under way with a broker
        // that is away still takes the client up to `socket.timeout.ms`.
        // SAFETY: the last user has dropped the client; queues, topics and messages hold a reference.
        unsafe { c::rd_kafka_destroy_flags(self.0.as_ptr(), c::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
    }
}

/// Settings that the client does not take.
pub(super) fn refused(error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, _, _) => Error::invalid(reason),
        other => Error::invalid(other),
    }
}

/// What the wrapper's clients, which only ask about topics, do with their log lines.
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

/// Sends a line of the client's log to ours. Levels are those of syslog.
pub(super) fn log(owner: &str, level: i32, facility: &str, line: &str) {
    // librdkafka calls `enable.gapless.guarantee` experimental. We set it on purpose.
    let expected = facility == "CONFWARN" && line.contains("experimental");
    match level {
        _ if expected => tracing::debug!(target: "librdkafka", trigger = owner, facility, "{line}"),
        ..=3 => tracing::warn!(target: "librdkafka", trigger = owner, facility, "{line}"),
        4..=6 => tracing::info!(target: "librdkafka", trigger = owner, facility, "{line}"),
        _ => tracing::debug!(target: "librdkafka", trigger = owner, facility, "{line}"),
    }
}

/// Has the allocator keep what clients and batches need again and again, instead of giving it back
/// to the kernel, which has to clear it each time. A busy node takes some percent less CPU, and an
/// idle one keeps what it needed when it was busy: up to 128 MiB, and up to 64 MiB of each thread's
/// own heaps. For the process; only glibc needs it.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: known parameters, and no other thread is needed to stand still.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 20);
        libc::mallopt(libc::M_TOP_PAD, 16 << 20);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
    }
}
