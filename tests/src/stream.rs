//! Records that flow all the time, and what came out of them: each in the order of its key, and when.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than a group waits for members that were killed.
const PATIENCE: Duration = Duration::from_secs(180);
const TICK: Duration = Duration::from_millis(4);
/// How many keys there are.
pub const KEYS: u64 = 2_000;

/// A record that came out.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When, since the stream began.
    pub at: Duration,
    pub sequence: u64,
    /// In capitals: `uppercase` made it.
    pub is_upper: bool,
}

/// What the output said about the promises.
#[derive(Clone, Copy, Debug, Default)]
pub struct Books {
    pub sent: u64,
    pub lost: u64,
    /// Came out more than once.
    pub repeated: u64,
    /// Came out for the first time behind a later one of its key.
    pub disordered: u64,
}

impl std::fmt::Display for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, lost, repeated, disordered } = self;
        write!(f, "{sent} records: {lost} lost, {repeated} repeated, {disordered} out of order")
    }
}

#[derive(Debug, Default)]
struct Log {
    seen: Vec<Seen>,
    repeated: u64,
    disordered: u64,
}

/// The stream. Its sender and its reader are threads.
#[derive(Debug)]
pub struct Stream {
    start: Instant,
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Log>>,
    sender: JoinHandle<u64>,
    reader: JoinHandle<()>,
    due: Arc<Mutex<Option<u64>>>,
}

impl Stream {
    /// From one topic to another, with the same number of partitions. `word` begins the value of each record, by
    /// its number.
    pub fn start(
        brokers: &str,
        [input, output]: [&str; 2],
        partitions: i32,
        per_second: u64,
        word: fn(u64) -> &'static str,
    ) -> Self {
        let (start, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let (log, due) = (Arc::new(Mutex::new(Log::default())), Arc::new(Mutex::new(None)));
        let reader = {
            let (consumer, log, due) = (reader(brokers, output, partitions), log.clone(), due.clone());
            thread::spawn(move || read(&consumer, start, &log, &due))
        };
        let sender = {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .set("linger.ms", "0")
                .set("enable.idempotence", "true")
                .create()
                .expect("a producer");
            let (topic, stop) = (input.to_owned(), stop.clone());
            thread::spawn(move || {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    let wanted = start.elapsed().as_micros() as u64 * per_second / 1_000_000;
                    while sent < wanted {
                        let key = format!("key-{}", sent % KEYS);
                        let partition = i32::try_from(sent % KEYS % partitions as u64).expect("few partitions");
                        let value = format!("{};{sent}", word(sent));
                        let record = BaseRecord::to(&topic).partition(partition);
                        send(&producer, record.key(key.as_bytes()).payload(value.as_bytes()));
                        sent += 1;
                    }
                    producer.poll(Duration::ZERO);
                    thread::sleep(TICK);
                }
                producer.flush(LIMIT).expect("produced");
                sent
            })
        };
        Self { start, stop, log, sender, reader, due }
    }

    /// Since when it runs.
    pub fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// What came out since then.
    pub fn since(&self, from: Duration) -> Vec<Seen> {
        let log = lock(&self.log);
        let at = log.seen.partition_point(|seen| seen.at < from);
        log.seen[at..].to_vec()
    }

    /// The longest time without any output, in ms.
    pub fn longest_gap(&self, from: Duration, to: Duration) -> f64 {
        let log = lock(&self.log);
        let within = log.seen.iter().filter(|seen| (from..to).contains(&seen.at)).map(|seen| seen.at);
        let (mut last, mut longest) = (from, Duration::ZERO);
        for at in within {
            longest = longest.max(at.saturating_sub(last));
            last = at;
        }
        longest.as_secs_f64() * 1e3
    }

    /// Ends it, and waits for all to come out.
    pub fn end(self) -> Books {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender ends well");
        *lock(&self.due) = Some(sent);
        self.reader.join().expect("the reader ends well");
        let log = lock(&self.log);
        let came = log.seen.len() as u64;
        Books { sent, lost: sent - came, repeated: log.repeated, disordered: log.disordered }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panicked")
}

fn send(producer: &BaseProducer, mut record: BaseRecord<'_, [u8], [u8]>) {
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                producer.poll(Duration::from_millis(1));
                record = same;
            }
            Err((error, _)) => panic!("cannot produce: {error}"),
        }
    }
}

fn reader(brokers: &str, topic: &str, partitions: i32) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "stream-reader")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()
        .expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&all).expect("assigned");
    consumer
}

fn read(consumer: &BaseConsumer, start: Instant, log: &Mutex<Log>, due: &Mutex<Option<u64>>) {
    let (mut last, mut came, mut last_of) = (Instant::now(), Vec::new(), HashMap::new());
    loop {
        let message = consumer.poll(Duration::from_millis(20));
        let is_due = lock(due).is_some_and(|due| lock(log).seen.len() as u64 >= due);
        // What stays away for so long is lost, and counted as that.
        if is_due || message.is_none() && lock(due).is_some() && last.elapsed() > PATIENCE {
            return;
        }
        let Some(message) = message else { continue };
        last = Instant::now();
        let message = message.expect("a record");
        let value = std::str::from_utf8(message.payload().expect("a value")).expect("text");
        let number = value.rsplit([';', ':']).next().and_then(|text| text.parse::<u64>().ok());
        let sequence = number.unwrap_or_else(|| panic!("{value:?} has no number"));
        let place = sequence as usize;
        if came.len() <= place {
            came.resize(place + 1, false);
        }
        let mut log = lock(log);
        if std::mem::replace(&mut came[place], true) {
            log.repeated += 1;
            continue;
        }
        let before = last_of.insert(sequence % KEYS, sequence);
        log.disordered += u64::from(before.is_some_and(|before| before > sequence));
        let is_upper = value.starts_with(|c: char| c.is_ascii_uppercase());
        log.seen.push(Seen { at: start.elapsed(), sequence, is_upper });
    }
}
