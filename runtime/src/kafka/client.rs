//! Settings of a client, its errors, and what it knows about topics.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tokio::net::unix::pipe;

use crate::manifest::Cluster;

pub(super) use c::rd_kafka_resp_err_t as Code;

pub(super) const OK: Code = Code::RD_KAFKA_RESP_ERR_NO_ERROR;

/// An error of the client or the broker.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason} ({name})")]
pub struct Error {
    /// librdkafka's name of it, such as `_ALL_BROKERS_DOWN`.
    pub name: String,
    /// For people.
    pub reason: String,
    /// The client is of no use any more.
    pub fatal: bool,
}

impl Error {
    pub(super) fn from_code(code: Code) -> Self {
        // SAFETY: both functions return static strings for any code.
        let (name, reason) = unsafe { (c::rd_kafka_err2name(code), c::rd_kafka_err2str(code)) };
        Self { name: text(name), reason: text(reason), fatal: code == Code::RD_KAFKA_RESP_ERR__FATAL }
    }

    pub(super) fn check(code: Code) -> Result<(), Self> {
        if code == OK { Ok(()) } else { Err(Self::from_code(code)) }
    }

    /// Takes ownership of what librdkafka's newer functions return; null is no error.
    pub(super) fn check_object(error: *mut c::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: `error` is not null and ours; it is destroyed once, after its strings are copied.
        unsafe {
            let copied = Self {
                name: text(c::rd_kafka_error_name(error)),
                reason: text(c::rd_kafka_error_string(error)),
                fatal: c::rd_kafka_error_is_fatal(error) != 0,
            };
            c::rd_kafka_error_destroy(error);
            Err(copied)
        }
    }

    /// An error of this machine.
    pub fn local(error: &std::io::Error) -> Self {
        Self { name: "_FAIL".to_owned(), reason: error.to_string(), fatal: false }
    }

    #[allow(clippy::needless_pass_by_value)] // so that `map_err` takes it as it is
    pub fn invalid(reason: impl ToString) -> Self {
        Self { name: "_INVALID_ARG".to_owned(), reason: reason.to_string(), fatal: false }
    }
}

/// Copies a C string.
pub(super) fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's strings end in a null byte, and this one is not null.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Sends the client's log lines to ours.
pub(super) struct Context {
    /// Name of the trigger.
    pub owner: String,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let trigger = self.owner.as_str();
        // Of `enable.gapless.guarantee`, which is set on purpose.
        if facility == "CONFWARN" && line.contains("experimental") {
            tracing::debug!(target: "librdkafka", trigger, facility, "{line}");
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", trigger, facility, "{line}")
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", trigger, facility, "{line}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", trigger, facility, "{line}"),
        }
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::info!(target: "librdkafka", trigger = self.owner.as_str(), "{error}: {reason}");
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, _opaque: ()) {}
}

/// How often a consumer that closes is looked at.
const CLOSE_PAUSE: Duration = Duration::from_millis(2);

/// A consumer's native client. Whatever lies in its memory keeps it alive.
pub(super) struct Consumer {
    client: BaseConsumer<Context>,
}

impl Consumer {
    pub(super) fn new(client: BaseConsumer<Context>) -> Self {
        Self { client }
    }

    pub(super) fn pointer(&self) -> *mut c::rd_kafka_t {
        self.client.client().native_ptr()
    }

    /// Leaves the group, and waits for it up to `limit`. Without this the client would stay a member
    /// as long as anything lies in its memory. `answer` polls and answers its events.
    pub(super) fn close(&self, limit: Duration, mut answer: impl FnMut()) {
        if let Err(error) = self.client.close_queue() {
            tracing::debug!("a consumer was closed already: {error}");
            return;
        }
        let end = Instant::now() + limit;
        while !self.client.closed() && Instant::now() < end {
            answer();
            std::thread::sleep(CLOSE_PAUSE);
        }
    }

    pub(super) fn subscribe(&self, topics: &[&str]) -> Result<(), Error> {
        self.client.subscribe(topics).map_err(Error::invalid)
    }
}

/// The settings that both kinds of client share. What the manifest says wins, except over what
/// [`crate::manifest`] refuses.
pub(super) fn settings(cluster: &Cluster, node: &str, ours: &[(&str, &str)]) -> ClientConfig {
    let mut all: BTreeMap<&str, &str> = BTreeMap::from([
        ("client.id", node),
        ("allow.auto.create.topics", "false"),
        // The probe asks every few seconds; a stale view of leaders costs a failed request at most.
        ("topic.metadata.refresh.interval.ms", "60000"),
        ("reconnect.backoff.max.ms", "2000"),
        ("log.connection.close", "false"),
    ]);
    all.extend(ours.iter().copied());
    all.extend(cluster.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let mut config = ClientConfig::new();
    for (key, value) in all {
        config.set(key, value);
    }
    config.set("bootstrap.servers", &cluster.brokers);
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

/// Whether librdkafka knows the properties of a cluster. Needs no broker.
pub fn check_properties(cluster: &Cluster) -> Result<(), Error> {
    settings(cluster, "check", &[]).create_native_config().map(drop).map_err(|error| match error {
        rdkafka::error::KafkaError::ClientConfig(_, reason, _, _) => Error::invalid(reason),
        other => Error::invalid(other),
    })
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

/// One descriptor that becomes readable whenever one of the client's queues has something.
///
/// A pipe, so that it runs wherever tokio does. Both ends live as long as the clients that write to
/// it: they hold the [`WakeEnd`].
pub struct Wake {
    receiver: pipe::Receiver,
}

/// The end that librdkafka's threads write to.
pub struct WakeEnd {
    sender: OwnedFd,
}

impl Wake {
    /// Needs a tokio runtime with IO.
    pub fn new() -> std::io::Result<(Self, std::sync::Arc<WakeEnd>)> {
        let (sender, receiver) = pipe::pipe()?;
        let sender = sender.into_nonblocking_fd()?;
        Ok((Self { receiver }, std::sync::Arc::new(WakeEnd { sender })))
    }

    /// Waits until one of the queues got something since the last call.
    pub async fn wait(&self) {
        let mut bytes = [0; 64];
        loop {
            if self.receiver.readable().await.is_err() {
                return std::future::pending().await;
            }
            match self.receiver.try_read(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }
}

impl WakeEnd {
    pub(super) fn descriptor(&self) -> RawFd {
        self.sender.as_raw_fd()
    }
}

/// The number of partitions of each topic that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub partitions: BTreeMap<String, i32>,
    /// Topics that cannot be used, and why.
    pub missing: BTreeMap<String, String>,
    /// Partitions that cannot be read or written now.
    pub leaderless: Vec<String>,
}

impl Metadata {
    /// How many partitions a topic has. An error if it cannot be used.
    pub fn partitions_of(&self, topic: &str) -> Result<i32, Error> {
        let missing = || self.missing.get(topic).cloned().unwrap_or_default();
        self.partitions.get(topic).copied().ok_or_else(|| Error::invalid(format!("topic {topic}: {}", missing())))
    }

    /// Asks the brokers about topics. Blocks up to `limit` for each of them.
    ///
    /// `client` has to be a live client.
    pub(super) fn ask(client: *mut c::rd_kafka_t, topics: &[String], limit: Duration) -> Result<Self, Error> {
        let mut found = Self::default();
        for topic in topics {
            match partitions_of(client, topic, limit)? {
                Ok(leaders) => {
                    let leaderless = (0..).zip(&leaders).filter(|(_, leader)| **leader < 0);
                    found.leaderless.extend(leaderless.map(|(partition, _): (i32, _)| format!("{topic}/{partition}")));
                    found.partitions.insert(topic.clone(), i32::try_from(leaders.len()).unwrap_or(i32::MAX));
                }
                Err(reason) => drop(found.missing.insert(topic.clone(), reason)),
            }
        }
        Ok(found)
    }
}

/// For each partition of a topic its leader, -1 if it has none; or why there is no such topic.
fn partitions_of(client: *mut c::rd_kafka_t, topic: &str, limit: Duration) -> Result<Result<Vec<i32>, String>, Error> {
    let name = CString::new(topic).map_err(Error::invalid)?;
    let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives for the call; the topic handle and the metadata are destroyed once,
    // after everything was read out of them; counts and pointers of the metadata belong together.
    unsafe {
        let handle = c::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut());
        if handle.is_null() {
            return Err(Error::from_code(c::rd_kafka_last_error()));
        }
        let mut metadata = ptr::null();
        let code = c::rd_kafka_metadata(client, 0, handle, &raw mut metadata, limit_ms);
        c::rd_kafka_topic_destroy(handle);
        Error::check(code)?;
        let answer = if (*metadata).topic_cnt == 1 {
            let topic = &*(*metadata).topics;
            match topic.err {
                OK if topic.partition_cnt > 0 => {
                    let mut leaders = vec![-1; topic.partition_cnt as usize];
                    for partition in std::slice::from_raw_parts(topic.partitions, leaders.len()) {
                        if let Some(leader) = leaders.get_mut(partition.id as usize) {
                            *leader = partition.leader;
                        }
                    }
                    Ok(leaders)
                }
                OK => Err("it has no partitions yet".to_owned()),
                code => Err(Error::from_code(code).reason),
            }
        } else {
            Err("the broker does not answer for it".to_owned())
        };
        c::rd_kafka_metadata_destroy(metadata);
        Ok(answer)
    }
}
