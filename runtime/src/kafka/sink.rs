//! Messages out, acknowledgements back.

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
use super::wake::WakeEnd;
use crate::manifest::Cluster;
use crate::record::{Header, Message};

/// Requests of one message that may be under way or wait for it: a partition that goes should not
/// leave many behind, which are sent when it is another node's.
const MAX_SINGLE: usize = 1_000;

/// As a partition: the client chooses it, by the same hash.
const CHOOSE: i32 = -1;
/// How long the brokers may take to answer [`Sink::ask`].
const ASK_LIMIT: Duration = Duration::from_secs(5);

struct Topic {
    handle: NonNull<c::rd_kafka_topic_t>,
    /// How many partitions there are; 0: the client knows better.
    partitions: i32,
    /// For each partition the places of its messages among those of a call.
    runs: Vec<Vec<usize>>,
}

/// Produces to the topics of one trigger.
///
/// It chooses the partition of a key itself and hands the client runs of messages of one partition:
/// that costs half of what producing them by key in their own order costs.
pub struct KafkaSink {
    topics: Vec<Topic>,
    names: Vec<String>,
    reports: Queue,
    client: Arc<Client>,
    /// Whose the producer is, for log lines.
    owner: String,
    buffer: Vec<*const c::rd_kafka_message_t>,
    /// The runs of a call that are not empty, by topic and partition.
    filled: Vec<(usize, usize)>,
    run: Vec<c::rd_kafka_message_t>,
    /// Refused before they were queued.
    refused: Vec<Acknowledgement>,
    outstanding: usize,
    /// Messages under way whose partition was named by the function: how many of a token and a
    /// partition. For all others the partition was chosen here, and another one would do.
    named: FxHashMap<(u64, i32), u32>,
    /// See [`Sink::abandon`].
    abandoned: bool,
    trouble: Option<Error>,
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
        let client = Arc::new(Client::producer(&settings::producer(cluster, client_id, batching))?);
        // SAFETY: returns a new reference to the client's main queue, where reports arrive.
        let reports =
            unsafe { Queue::new(c::rd_kafka_queue_get_main(client.pointer()), client.clone(), wake.clone())? };
        let mut handles = Vec::with_capacity(topics.len());
        for topic in topics {
            let name = CString::new(topic.as_str()).map_err(Error::invalid)?;
            // SAFETY: the client lives; without settings of its own a topic takes the client's.
            let handle = unsafe { c::rd_kafka_topic_new(client.pointer(), name.as_ptr(), ptr::null_mut()) };
            let handle = NonNull::new(handle).ok_or_else(|| Error::invalid(format!("no topic {topic}")))?;
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
            trouble: None,
            batching,
            rng: fastrand::Rng::new(),
        })
    }

    /// What may be asked from another thread.
    pub fn reader(&self) -> SinkReader {
        SinkReader { client: self.client.clone(), topics: self.names.clone() }
    }

    /// What went wrong with a connection since the last call. The client goes on by itself.
    pub fn trouble(&mut self) -> Option<Error> {
        self.trouble.take()
    }

    fn partition(&mut self, message: &Message<'_>) -> i32 {
        if let Some(partition) = message.partition {
            *self.named.entry((message.token, partition)).or_default() += 1;
            return partition;
        }
        match (self.topics[message.topic].partitions, message.key) {
            (..=0, _) => CHOOSE,
            (partitions, Some(key)) => partition_of(key, partitions),
            (partitions, None) => self.rng.i32(0..partitions),
        }
    }

    /// Whether the function named the partition of a message, which is not under way any more.
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

    /// Messages of one partition, in order. Consecutive ones that need neither headers nor a
    /// timestamp go to the client together.
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
        // Those that were not taken are the last ones, so they keep their order when they are sent
        // again.
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
        // SAFETY: the client lives, and all that was filled in.
        let produced = unsafe { fields.produce(self.client.pointer()) };
        if let Err(code) = produced {
            // SAFETY: it was not produced, and its headers are destroyed once.
            unsafe { fields.destroy_headers() };
            self.refuse(message, partition, code);
        }
    }

    /// Reports a message that the client did not take.
    fn refuse(&mut self, message: &Message<'_>, partition: i32, code: Code) {
        let named = self.was_named(message.token, partition);
        let result = Err(self.refusal(code, named));
        self.refused.push(Acknowledgement { token: message.token, result });
    }

    /// Hands out what became of a message.
    fn report(&mut self, message: &c::rd_kafka_message_t, each: &mut dyn FnMut(Acknowledgement)) {
        let token = message._private.addr() as u64;
        let named = self.was_named(token, message.partition);
        let code = message.err;
        self.outstanding -= 1;
        let result = match code {
            OK => Ok(()),
            code => Err(match (self.refusal(code, named), self.batching) {
                // That the client itself found: it was in no batch.
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
            // Chosen here, the count of partitions was out of date: everything is sent again, in order.
            E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION if named => Refusal::ForGood(error),
            // The broker named another message of the batch.
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
                // That all brokers are away is said behind what became of each.
                let all = event.code() == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
                if !all || self.trouble.is_none() {
                    self.trouble = event.error().err().or(self.trouble.take());
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
        // SAFETY: the client lives. A flush without time makes its threads stop lingering.
        unsafe { c::rd_kafka_flush(self.client.pointer(), 0) };
    }

    fn abandon(&mut self) {
        self.abandoned = true;
        let what = c::RD_KAFKA_PURGE_F_QUEUE | c::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: the client lives. What is with the broker is left alone: it may be accepted.
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
        // What nobody waits for any more is not sent behind the back of who comes next.
        if self.outstanding > 0 {
            self.abandon();
        }
        for topic in &self.topics {
            // SAFETY: the handle is ours and destroyed once, while the client lives.
            unsafe { c::rd_kafka_topic_destroy(topic.handle.as_ptr()) };
        }
    }
}

/// Questions to the broker that block the calling thread.
#[derive(Clone)]
pub struct SinkReader {
    client: Arc<Client>,
    topics: Vec<String>,
}

impl SinkReader {
    /// The partitions of the sink's topics.
    pub fn metadata(&self, limit: Duration) -> Result<Metadata, Error> {
        Metadata::ask(self.client.pointer(), &self.topics, limit)
    }
}
