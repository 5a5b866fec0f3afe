//! The producer of a trigger: sends messages and collects their acknowledgements.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as c;
use rustc_hash::FxHashMap;

use super::broker::TopicsQuestion;
pub use super::broker::{Acknowledgement, Batching, Refusal, Sink};
use super::client::{Client, Error, Metadata, log};
use super::error::{Code, OK};
use super::murmur2::partition_of;
use super::produce::{Fields, is_plain, native_headers, raw};
use super::queue::{Queue, QueueEvent};
use super::settings;
use super::wake::WakeHandle;
use crate::manifest::Cluster;
use crate::record::{Header, Message};

/// How many messages may be unacknowledged with [`Batching::Single`]. The number is small, because when a
/// partition is revoked, the messages of its records may still be queued, and they would be sent after
/// another node has taken over the partition.
const MAX_SINGLE: usize = 1_000;

/// As a partition, this means that the client chooses the partition, by the same hash.
const CLIENT_CHOOSES: i32 = -1;
/// How long the brokers may take to answer [`Sink::ask`].
const ASK_LIMIT: Duration = Duration::from_secs(5);

struct Topic {
    handle: NonNull<c::rd_kafka_topic_t>,
    /// How many partitions the topic has. 0: not known yet, so the client chooses the partition.
    partitions: i32,
    /// For each partition, the indices of its messages in the list of the current call.
    runs: Vec<Vec<usize>>,
}

/// Produces to the topics of one trigger.
///
/// It chooses the partition of a key itself and groups the messages of a call by partition. A group of
/// messages of one partition is called a run. Passing runs to the client costs half as much CPU time as
/// passing the messages in their own order and letting the client choose the partitions.
pub struct KafkaSink {
    topics: Vec<Topic>,
    names: Vec<String>,
    reports: Queue,
    client: Arc<Client>,
    /// Name of the trigger, for log lines.
    owner: String,
    buffer: Vec<*const c::rd_kafka_message_t>,
    /// The topics and partitions of the runs of the current call that are not empty.
    filled: Vec<(usize, usize)>,
    run: Vec<c::rd_kafka_message_t>,
    /// Acknowledgements of messages that were refused before they were queued.
    refused: Vec<Acknowledgement>,
    outstanding: usize,
    /// The unacknowledged messages whose partition the function has set: their number for each token and
    /// partition. For all other messages the sink or the client has chosen the partition, so another
    /// partition would be correct too.
    named: FxHashMap<(u64, i32), u32>,
    /// See [`Sink::abandon`].
    abandoned: bool,
    connection_error: Option<Error>,
    batching: Batching,
    rng: fastrand::Rng,
}

// SAFETY: topic handles may be used from any thread; the buffers hold no pointers between calls.
unsafe impl Send for KafkaSink {}

impl KafkaSink {
    /// Creates a producer of `cluster` for these topics. `owner` is a name for log lines.
    pub fn new(
        cluster: &Cluster,
        owner: &str,
        client_id: &str,
        topics: &[String],
        batching: Batching,
        wake: &Arc<WakeHandle>,
    ) -> Result<Self, Error> {
        let client = Arc::new(Client::producer(&settings::producer(cluster, client_id, batching))?);
        // SAFETY: returns a new reference to the client's main queue, where reports arrive.
        let reports =
            unsafe { Queue::new(c::rd_kafka_queue_get_main(client.pointer()), client.clone(), wake.clone())? };
        let mut handles = Vec::with_capacity(topics.len());
        for topic in topics {
            let name = CString::new(topic.as_str()).map_err(Error::invalid)?;
            // SAFETY: the client lives; null settings mean that the topic uses those of the client.
            let handle = unsafe { c::rd_kafka_topic_new(client.pointer(), name.as_ptr(), ptr::null_mut()) };
            let handle = NonNull::new(handle)
                .ok_or_else(|| Error::invalid(format!("{topic:?} is not a valid name of a topic")))?;
            handles.push(Topic { handle, partitions: 0, runs: Vec::new() });
        }
        Ok(Self {
            topics: handles,
            names: topics.to_vec(),
            reports,
            client,
            owner: owner.to_owned(),
            buffer: vec![ptr::null(); 1_024],
            filled: Vec::new(),
            run: Vec::new(),
            refused: Vec::new(),
            outstanding: 0,
            named: FxHashMap::default(),
            abandoned: false,
            connection_error: None,
            batching,
            rng: fastrand::Rng::new(),
        })
    }

    /// A reader that may be used on another thread.
    pub fn reader(&self) -> SinkReader {
        SinkReader { client: self.client.clone(), topics: self.names.clone() }
    }

    /// The last error of a connection since the last call. The client connects again by itself.
    pub fn connection_error(&mut self) -> Option<Error> {
        self.connection_error.take()
    }

    fn partition(&mut self, message: &Message<'_>) -> i32 {
        if let Some(partition) = message.partition {
            *self.named.entry((message.token, partition)).or_default() += 1;
            return partition;
        }
        match (self.topics[message.topic].partitions, message.key) {
            (..=0, _) => CLIENT_CHOOSES,
            (partitions, Some(key)) => partition_of(key, partitions),
            (partitions, None) => self.rng.i32(0..partitions),
        }
    }

    /// Whether the function has set the partition of a message. Called when the message is acknowledged,
    /// because it also removes the message from `named`.
    fn was_named(&mut self, token: u64, partition: i32) -> bool {
        if self.named.is_empty() {
            return false;
        }
        match self.named.get_mut(&(token, partition)) {
            None => return false,
            Some(1) => drop(self.named.remove(&(token, partition))),
            Some(count) => *count -= 1,
        }
        true
    }

    /// Sends messages of one partition in order. Consecutive messages without headers and timestamp are
    /// passed to the client in one call.
    fn send_run(&mut self, topic: usize, partition: i32, run: &[usize], all: &[Message<'_>], headers: &[Header<'_>]) {
        let mut rest = run;
        while let Some(&first) = rest.first() {
            let plain = rest.iter().take_while(|&&place| is_plain(&all[place])).count();
            if plain > 0 {
                self.send_plain(topic, partition, &rest[..plain], all);
                rest = &rest[plain..];
            } else {
                self.send_one(partition, &all[first], headers);
                rest = &rest[1..];
            }
        }
    }

    fn send_plain(&mut self, topic: usize, partition: i32, places: &[usize], all: &[Message<'_>]) {
        self.run.clear();
        self.run.extend(places.iter().map(|&place| {
            let message = &all[place];
            let (key, key_len) = raw(message.key);
            let (payload, len) = raw(message.value);
            c::rd_kafka_message_t {
                err: OK,
                rkt: ptr::null_mut(),
                partition,
                payload,
                len,
                key,
                key_len,
                offset: 0,
                _private: ptr::without_provenance_mut(message.token as usize),
            }
        }));
        // SAFETY: keys and values live during the call, which copies them; the count is the length of the
        // run.
        unsafe {
            c::rd_kafka_produce_batch(
                self.topics[topic].handle.as_ptr(),
                partition,
                c::RD_KAFKA_MSG_F_COPY,
                self.run.as_mut_ptr(),
                self.run.len() as i32,
            );
        }
        // If the client does not accept all messages, it refuses the last ones. So the messages keep their
        // order when these are sent again.
        for (index, &place) in places.iter().enumerate() {
            match self.run[index].err {
                OK => {}
                code => self.refuse(&all[place], partition, code),
            }
        }
    }

    fn send_one(&mut self, partition: i32, message: &Message<'_>, headers: &[Header<'_>]) {
        let mut fields = Fields::to(self.topics[message.topic].handle.as_ptr(), partition);
        fields.fill(message, native_headers(headers.get(message.headers.clone()).unwrap_or_default()));
        // SAFETY: the client lives, and so does everything that was filled in.
        let produced = unsafe { fields.produce(self.client.pointer()) };
        if let Err(code) = produced {
            // SAFETY: the message was not produced, and its headers are destroyed once.
            unsafe { fields.destroy_headers() };
            self.refuse(message, partition, code);
        }
    }

    /// Stores the acknowledgement of a message that the client did not accept.
    fn refuse(&mut self, message: &Message<'_>, partition: i32, code: Code) {
        let named = self.was_named(message.token, partition);
        let result = Err(self.refusal(code, named));
        self.refused.push(Acknowledgement { token: message.token, result });
    }

    /// Calls `each` with the acknowledgement of a message.
    fn report(&mut self, message: &c::rd_kafka_message_t, each: &mut dyn FnMut(Acknowledgement)) {
        let token = message._private.addr() as u64;
        let named = self.was_named(token, message.partition);
        let code = message.err;
        self.outstanding -= 1;
        let result = match code {
            OK => Ok(()),
            code => Err(match (self.refusal(code, named), self.batching) {
                // The client itself found this error before the message was in a batch.
                (refusal, _) if code == Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => refusal,
                (Refusal::ForGood(error), Batching::Full) => Refusal::WithOthers(error),
                (refusal, _) => refusal,
            }),
        };
        each(Acknowledgement { token, result });
    }

    fn refusal(&self, code: Code, named: bool) -> Refusal {
        use Code as E;
        let error = Error::from_code(code);
        match code {
            E::RD_KAFKA_RESP_ERR__FATAL
            | E::RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE
            | E::RD_KAFKA_RESP_ERR__PURGE_QUEUE
            | E::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT
                if !self.abandoned =>
            {
                match self.client.fatal() {
                    E::RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE => Refusal::Following,
                    OK => Refusal::ForNow(error),
                    cause => Refusal::ForNow(Error::from_code(cause)),
                }
            }
            E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
            | E::RD_KAFKA_RESP_ERR_INVALID_MSG
            | E::RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE
            | E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP
            | E::RD_KAFKA_RESP_ERR_INVALID_RECORD
            | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT
            | E::RD_KAFKA_RESP_ERR__BAD_MSG => Refusal::ForGood(error),
            // If the function has not set the partition, the sink has chosen it from an outdated number of
            // partitions. That case is the last arm: another producer sends all messages again, in order.
            E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION if named => Refusal::ForGood(error),
            // The broker refused another message of the batch.
            E::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD => Refusal::WithOthers(error),
            _ => Refusal::ForNow(error),
        }
    }

    fn take_event(&mut self, event: &QueueEvent, each: &mut dyn FnMut(Acknowledgement)) {
        match event.kind() {
            c::RD_KAFKA_EVENT_DR => {
                let mut buffer = std::mem::take(&mut self.buffer);
                event.reports(&mut buffer, |message| self.report(message, each));
                self.buffer = buffer;
            }
            c::RD_KAFKA_EVENT_ERROR => {
                // After an error for each broker comes one that says that all brokers are down. The earlier
                // errors say more.
                let all = event.code() == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
                if !all || self.connection_error.is_none() {
                    self.connection_error = event.error().err().or(self.connection_error.take());
                }
            }
            c::RD_KAFKA_EVENT_LOG => {
                if let Some((level, facility, line)) = event.line() {
                    log(&self.owner, level, &facility, &line);
                }
            }
            _ => {}
        }
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]) {
        self.outstanding += messages.len();
        if self.abandoned {
            let abandoned = || Refusal::ForNow(Error::from_code(Code::RD_KAFKA_RESP_ERR__PURGE_QUEUE));
            let refused = |message: &Message<'_>| Acknowledgement { token: message.token, result: Err(abandoned()) };
            self.refused.extend(messages.iter().map(refused));
            return;
        }
        for (place, message) in messages.iter().enumerate() {
            let partition = self.partition(message);
            let known =
                usize::try_from(partition).ok().and_then(|index| self.topics[message.topic].runs.get_mut(index));
            match known {
                Some(run) => {
                    if run.is_empty() {
                        self.filled.push((message.topic, partition as usize));
                    }
                    run.push(place);
                }
                // A new partition, or one that does not exist. The client finds out.
                None => self.send_run(message.topic, partition, &[place], messages, headers),
            }
        }
        while let Some((topic, partition)) = self.filled.pop() {
            let mut run = std::mem::take(&mut self.topics[topic].runs[partition]);
            self.send_run(topic, partition as i32, &run, messages, headers);
            run.clear();
            self.topics[topic].runs[partition] = run;
        }
    }

    fn acknowledgements(&mut self, each: &mut dyn FnMut(Acknowledgement)) {
        for refused in self.refused.drain(..) {
            self.outstanding -= 1;
            each(refused);
        }
        while let Some(event) = self.reports.poll(0) {
            self.take_event(&event, each);
        }
    }

    fn set_wakes(&mut self, wakes: bool) {
        self.reports.set_wakes(wakes);
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn most_outstanding(&self) -> usize {
        match self.batching {
            Batching::Full | Batching::Separate => usize::MAX,
            Batching::Single => MAX_SINGLE,
        }
    }

    fn flush(&mut self) {
        // SAFETY: the client lives. A flush with timeout 0 only makes its threads send without lingering.
        unsafe { c::rd_kafka_flush(self.client.pointer(), 0) };
    }

    fn abandon(&mut self) {
        self.abandoned = true;
        let what = c::RD_KAFKA_PURGE_F_QUEUE | c::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // Messages that were sent are not purged, because the broker may accept them.
        // SAFETY: the client lives.
        unsafe { c::rd_kafka_purge(self.client.pointer(), what) };
    }

    fn update(&mut self, metadata: &Metadata) {
        for (topic, name) in self.topics.iter_mut().zip(&self.names) {
            if let Some(&partitions) = metadata.partitions.get(name) {
                topic.partitions = partitions;
                topic.runs.resize_with(usize::try_from(partitions).unwrap_or(0), Vec::new);
            }
        }
    }

    fn ask(&self, answer: TopicsQuestion) {
        let reader = self.reader();
        tokio::task::spawn_blocking(move || answer(reader.metadata(ASK_LIMIT)));
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        // Queued messages must not be sent after the sink is dropped, because another producer may send them
        // again.
        if self.outstanding > 0 {
            self.abandon();
        }
        for topic in &self.topics {
            // SAFETY: `self` owns the handle, and it is destroyed once, while the client lives.
            unsafe { c::rd_kafka_topic_destroy(topic.handle.as_ptr()) };
        }
    }
}

/// Requests to the brokers that block the calling thread.
#[derive(Clone)]
pub struct SinkReader {
    client: Arc<Client>,
    topics: Vec<String>,
}

impl SinkReader {
    /// The metadata of the sink's topics.
    pub fn metadata(&self, limit: Duration) -> Result<Metadata, Error> {
        Metadata::ask(self.client.pointer(), &self.topics, limit)
    }
}
