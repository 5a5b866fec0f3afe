//! Messages out, acknowledgements back.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as c;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::broker::TopicsQuestion;
use super::client::{Code, Context, Error, Metadata, OK, WakeEnd, settings};
use super::murmur2::partition_of;
use super::queue::Queue;
use crate::manifest::Cluster;
use crate::record::{Header, Message};

/// Where messages go. One implementation produces to Kafka; the other is the tests'.
pub trait Sink: Send + 'static {
    /// Produces messages. Those of one partition keep their order, also among several calls.
    /// Everything is copied before the call returns, and every message is acknowledged once.
    fn send(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]);

    /// Hands out the acknowledgements that came in, without waiting.
    fn acknowledgements(&mut self, each: &mut dyn FnMut(Acknowledgement));

    /// Messages that are not acknowledged.
    fn outstanding(&self) -> usize;

    /// How many messages may be unacknowledged.
    fn most_outstanding(&self) -> usize {
        usize::MAX
    }

    /// Asks for what is queued to be sent now.
    fn flush(&mut self);

    /// Gives up what was not sent yet: it is reported as refused for now. What is with the broker
    /// already is reported when its answer comes. Nothing may be sent any more.
    fn abandon(&mut self);

    /// Takes in how many partitions the topics have.
    fn update(&mut self, metadata: &Metadata);

    /// Has the brokers asked about the sink's topics, where that may wait.
    fn ask(&self, answer: TopicsQuestion);
}

/// What became of a message.
#[derive(Debug)]
pub struct Acknowledgement {
    pub token: u64,
    pub result: Result<(), Refusal>,
}

/// Why a message is not in its topic.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// It will never be accepted: too large, no such partition, malformed.
    ForGood(Error),
    /// It was in a batch of which the broker refuses a message for good, and does not say which.
    /// Nothing that is sent later reaches the broker.
    WithOthers(Error),
    /// The client gave up; another one may succeed.
    ForNow(Error),
    /// It was behind a message that was refused in one of the ways above, which is reported too.
    Following,
}

/// How many messages of a partition a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// As many as there are. When the broker refuses one for good, the producer ends: what follows
    /// in the same partition must not overtake what has to be sent again.
    Full,
    /// One, so that the broker refuses none for what is wrong with another.
    Single,
    /// As many as there are. What follows a refused message goes on all the same: for records that
    /// nobody sends again.
    Separate,
}

/// Requests of one message that may be under way or wait for it: a partition that goes should not
/// leave many behind, which are sent when it is another node's.
const MAX_SINGLE: usize = 1_000;

struct Producer {
    client: BaseProducer<Context>,
}

impl Producer {
    fn pointer(&self) -> *mut c::rd_kafka_t {
        self.client.client().native_ptr()
    }

    /// Why the client is of no use any more.
    fn fatal(&self) -> Code {
        // SAFETY: the client lives; without room for a text none is written.
        unsafe { c::rd_kafka_fatal_error(self.pointer(), ptr::null_mut(), 0) }
    }
}

struct Topic {
    handle: NonNull<c::rd_kafka_topic_t>,
    /// For each partition that is known the places of its messages among those of a call.
    runs: Vec<Vec<usize>>,
}

/// Produces to the topics of one trigger.
///
/// It chooses the partition of a key itself and hands the client runs of messages of one partition:
/// that costs half of what producing them by key in their own order costs.
pub struct KafkaSink {
    topics: Vec<Topic>,
    names: Vec<String>,
    reports: Queue<Producer>,
    producer: Arc<Producer>,
    buffer: Vec<*const c::rd_kafka_message_t>,
    /// The runs of a call that are not empty, by topic and partition.
    filled: Vec<(usize, usize)>,
    run: Vec<c::rd_kafka_message_t>,
    /// Refused before they were queued.
    refused: Vec<Acknowledgement>,
    outstanding: usize,
    batching: Batching,
    rng: fastrand::Rng,
}

// SAFETY: topic handles may be used from any thread; the buffers hold no pointers between calls.
unsafe impl Send for KafkaSink {}

impl KafkaSink {
    /// A producer of `cluster` for these topics. `owner` says whose it is, in log lines.
    pub fn new(
        cluster: &Cluster,
        owner: &str,
        client_id: &str,
        topics: &[String],
        batching: Batching,
        wake: &Arc<WakeEnd>,
    ) -> Result<Self, Error> {
        let mut config = settings(
            cluster,
            client_id,
            &[
                ("enable.idempotence", "true"),
                // A message is given up by us, not by a clock.
                ("message.timeout.ms", "0"),
                ("linger.ms", "5"),
                // The topic's own limit decides; requests stay below `batch.size` all the same.
                ("message.max.bytes", "67108864"),
                // The bound is ours, in bytes, all that is not acknowledged.
                ("queue.buffering.max.messages", "0"),
                ("queue.buffering.max.kbytes", "2097151"),
            ],
        );
        match batching {
            Batching::Full => drop(config.set("enable.gapless.guarantee", "true")),
            Batching::Single => drop(config.set("batch.num.messages", "1")),
            Batching::Separate => {}
        }
        let context = Context { owner: owner.to_owned() };
        let client: BaseProducer<Context> = config.create_with_context(context).map_err(Error::invalid)?;
        let producer = Arc::new(Producer { client });
        // SAFETY: returns a new reference to the client's main queue, where reports arrive.
        let reports =
            unsafe { Queue::new(c::rd_kafka_queue_get_main(producer.pointer()), producer.clone(), wake.clone())? };
        let mut handles = Vec::with_capacity(topics.len());
        for topic in topics {
            let name = CString::new(topic.as_str()).map_err(Error::invalid)?;
            // SAFETY: the client lives; without settings of its own a topic takes the client's.
            let handle = unsafe { c::rd_kafka_topic_new(producer.pointer(), name.as_ptr(), ptr::null_mut()) };
            let handle = NonNull::new(handle).ok_or_else(|| Error::invalid(format!("no topic {topic}")))?;
            handles.push(Topic { handle, runs: Vec::new() });
        }
        Ok(Self {
            topics: handles,
            names: topics.to_vec(),
            reports,
            producer,
            buffer: vec![ptr::null(); 1_024],
            filled: Vec::new(),
            run: Vec::new(),
            refused: Vec::new(),
            outstanding: 0,
            batching,
            rng: fastrand::Rng::new(),
        })
    }

    /// What may be asked from another thread.
    pub fn reader(&self) -> SinkReader {
        SinkReader { producer: self.producer.clone(), topics: self.names.clone() }
    }

    /// Takes in how many partitions the topics have.
    pub fn update(&mut self, metadata: &Metadata) {
        for (topic, name) in self.topics.iter_mut().zip(&self.names) {
            if let Some(&partitions) = metadata.partitions.get(name) {
                topic.runs.resize_with(usize::try_from(partitions).unwrap_or(0), Vec::new);
            }
        }
    }

    fn partition(&mut self, message: &Message<'_>) -> i32 {
        // Kafka counts partitions in signed 32 bits.
        let partitions = self.topics[message.topic].runs.len() as i32;
        match (message.partition, message.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, partitions),
            (None, None) => self.rng.i32(0..partitions.max(1)),
        }
    }

    /// Messages of one partition, in order. Consecutive ones that need neither headers nor a
    /// timestamp go to the client together.
    fn send_run(&mut self, topic: usize, partition: i32, run: &[usize], all: &[Message<'_>], headers: &[Header<'_>]) {
        let mut fields = Fields::to(self.topics[topic].handle, partition);
        let mut rest = run;
        while let Some(&first) = rest.first() {
            let plain = rest.iter().take_while(|&&place| is_plain(&all[place])).count();
            if plain > 0 {
                self.send_plain(topic, partition, &rest[..plain], all);
                rest = &rest[plain..];
            } else {
                self.send_one(&mut fields, &all[first], headers);
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
        // SAFETY: keys and values live during the call, which copies them; the count is right.
        unsafe {
            c::rd_kafka_produce_batch(
                self.topics[topic].handle.as_ptr(),
                partition,
                c::RD_KAFKA_MSG_F_COPY,
                self.run.as_mut_ptr(),
                self.run.len() as i32,
            );
        }
        for (message, &place) in self.run.iter().zip(places) {
            if message.err != OK {
                let result = Err(refusal(&self.producer, message.err));
                self.refused.push(Acknowledgement { token: all[place].token, result });
            }
        }
    }

    fn send_one(&mut self, fields: &mut Fields, message: &Message<'_>, headers: &[Header<'_>]) {
        let native = native_headers(&headers[message.headers.clone()]);
        fields.fill(message, native);
        // SAFETY: all pointers live during the call, which copies keys and values; the headers
        // become the client's unless it fails.
        let error = unsafe {
            let error = c::rd_kafka_produceva(self.producer.pointer(), fields.list.as_ptr(), fields.count());
            if error.is_null() {
                return;
            }
            if let Some(native) = native {
                c::rd_kafka_headers_destroy(native.as_ptr());
            }
            let code = c::rd_kafka_error_code(error);
            c::rd_kafka_error_destroy(error);
            code
        };
        let result = Err(refusal(&self.producer, error));
        self.refused.push(Acknowledgement { token: message.token, result });
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]) {
        self.outstanding += messages.len();
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
                // New, or there is none: the client knows.
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
        while let Some(event) = self.reports.poll() {
            if event.kind() != c::RD_KAFKA_EVENT_DR {
                continue;
            }
            let (producer, batching) = (&self.producer, self.batching);
            event.reports(&mut self.buffer, |message| {
                self.outstanding -= 1;
                let token = message._private.addr() as u64;
                let result = match message.err {
                    OK => Ok(()),
                    code => Err(match (refusal(producer, code), batching) {
                        (Refusal::ForGood(error), Batching::Full) => Refusal::WithOthers(error),
                        (refusal, _) => refusal,
                    }),
                };
                each(Acknowledgement { token, result });
            });
        }
    }

    fn update(&mut self, metadata: &Metadata) {
        KafkaSink::update(self, metadata)
    }
    fn ask(&self, _answer: TopicsQuestion) {}

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
        // SAFETY: the client lives. A flush without time makes its threads stop lingering.
        unsafe { c::rd_kafka_flush(self.producer.pointer(), 0) };
    }

    fn abandon(&mut self) {
        let what = c::RD_KAFKA_PURGE_F_QUEUE | c::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: the client lives. What is with the broker is left alone: it may be accepted.
        unsafe { c::rd_kafka_purge(self.producer.pointer(), what) };
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        for topic in &self.topics {
            // SAFETY: the handle is ours and destroyed once, while the client lives.
            unsafe { c::rd_kafka_topic_destroy(topic.handle.as_ptr()) };
        }
    }
}

/// Questions to the broker that block the calling thread.
#[derive(Clone)]
pub struct SinkReader {
    producer: Arc<Producer>,
    topics: Vec<String>,
}

impl SinkReader {
    /// The partitions of the sink's topics.
    pub fn metadata(&self, limit: std::time::Duration) -> Result<Metadata, Error> {
        Metadata::ask(self.producer.pointer(), &self.topics, limit)
    }
}

fn is_plain(message: &Message<'_>) -> bool {
    message.headers.is_empty() && message.timestamp_ms.is_none()
}

fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

fn memory(bytes: Option<&[u8]>) -> c::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    let (ptr, size) = raw(bytes);
    c::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size }
}

/// The tagged arguments of `rd_kafka_produceva`, the same list for all messages of a run.
struct Fields {
    list: [c::rd_kafka_vu_t; 8],
    /// The last one counts.
    has_headers: bool,
}

impl Fields {
    /// Messages of one partition.
    fn to(topic: NonNull<c::rd_kafka_topic_t>, partition: i32) -> Self {
        use c::rd_kafka_vtype_t as Kind;
        // SAFETY: zero is a valid tag (`RD_KAFKA_VTYPE_END`) and a valid value of every member.
        let mut list: [c::rd_kafka_vu_t; 8] = unsafe { std::mem::zeroed() };
        for (field, kind) in list.iter_mut().zip([
            Kind::RD_KAFKA_VTYPE_RKT,
            Kind::RD_KAFKA_VTYPE_PARTITION,
            Kind::RD_KAFKA_VTYPE_MSGFLAGS,
            Kind::RD_KAFKA_VTYPE_KEY,
            Kind::RD_KAFKA_VTYPE_VALUE,
            Kind::RD_KAFKA_VTYPE_OPAQUE,
            Kind::RD_KAFKA_VTYPE_TIMESTAMP,
            Kind::RD_KAFKA_VTYPE_HEADERS,
        ]) {
            field.vtype = kind;
        }
        list[0].u.rkt = topic.as_ptr();
        list[1].u.i32_ = partition;
        list[2].u.i = c::RD_KAFKA_MSG_F_COPY;
        Self { list, has_headers: false }
    }

    /// The fields of a message, which have to live until it is produced.
    fn fill(&mut self, message: &Message<'_>, headers: Option<NonNull<c::rd_kafka_headers_t>>) {
        self.list[3].u.mem = memory(message.key);
        self.list[4].u.mem = memory(message.value);
        self.list[5].u.ptr = ptr::without_provenance_mut(message.token as usize);
        // The client takes 0 as the time of producing.
        self.list[6].u.i64_ = message.timestamp_ms.unwrap_or(0);
        self.has_headers = headers.is_some();
        if let Some(headers) = headers {
            self.list[7].u.headers = headers.as_ptr();
        }
    }

    fn count(&self) -> usize {
        self.list.len() - usize::from(!self.has_headers)
    }
}

fn native_headers(headers: &[Header<'_>]) -> Option<NonNull<c::rd_kafka_headers_t>> {
    if headers.is_empty() {
        return None;
    }
    // SAFETY: names and values are copied with their lengths; a null value stays null.
    unsafe {
        let native = NonNull::new(c::rd_kafka_headers_new(headers.len()))?;
        for header in headers {
            let (value, length) = raw(header.value);
            c::rd_kafka_header_add(
                native.as_ptr(),
                header.name.as_ptr().cast(),
                header.name.len() as isize,
                value,
                length as isize,
            );
        }
        Some(native)
    }
}

fn refusal(producer: &Producer, code: Code) -> Refusal {
    use Code as E;
    let error = Error::from_code(code);
    match code {
        E::RD_KAFKA_RESP_ERR__FATAL
        | E::RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE
        | E::RD_KAFKA_RESP_ERR__PURGE_QUEUE
        | E::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT => match producer.fatal() {
            E::RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE => Refusal::Following,
            OK => Refusal::ForNow(error),
            cause => Refusal::ForNow(Error::from_code(cause)),
        },
        E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
        | E::RD_KAFKA_RESP_ERR_INVALID_MSG
        | E::RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE
        | E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP
        | E::RD_KAFKA_RESP_ERR_INVALID_RECORD
        | E::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT
        | E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
        | E::RD_KAFKA_RESP_ERR__BAD_MSG => Refusal::ForGood(error),
        // The broker named another message of the batch.
        E::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD => Refusal::WithOthers(error),
        _ => Refusal::ForNow(error),
    }
}
