//! A steady stream of records into one topic, and how long each takes to come out of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tidegate_tests::kafka::{Kafka, Topic};

use super::native::{LIMIT, producer, send};

/// Records come in bursts, as often as this.
const TICK: Duration = Duration::from_millis(4);
const BYTES: usize = 100;
const KEYS: u64 = 5_000;

/// A record that came out: when it was sent, since the traffic began, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    pub sent: Duration,
    pub took: Duration,
}

pub struct Traffic {
    start: Instant,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    /// Given the count when all is sent.
    reader: JoinHandle<Vec<Passed>>,
    /// How many records are to come out, once that is known.
    due: Arc<std::sync::Mutex<Option<u64>>>,
}

impl Traffic {
    pub fn start(kafka: &Kafka, input: &Topic, output: &Topic, per_second: u64) -> Self {
        let (start, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let due = Arc::new(std::sync::Mutex::new(None));
        let reader = {
            let consumer = reader(kafka, output);
            let due = due.clone();
            thread::spawn(move || read(&consumer, start, &due))
        };
        let sender = {
            let producer = producer(kafka.bootstrap(), "0");
            let (topic, partitions, stop) = (input.name().to_owned(), input.partitions(), stop.clone());
            thread::spawn(move || {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    let wanted = start.elapsed().as_micros() as u64 * per_second / 1_000_000;
                    while sent < wanted {
                        let key = sent % KEYS;
                        let partition = i32::try_from(key % partitions as u64).expect("few partitions");
                        let (key, mut value) = (format!("key-{key}"), vec![b'x'; BYTES]);
                        value[..8].copy_from_slice(&(start.elapsed().as_micros() as u64).to_be_bytes());
                        value[8..16].copy_from_slice(&sent.to_be_bytes());
                        let record =
                            BaseRecord::to(&topic).partition(partition).key(key.as_bytes()).payload(&value[..]);
                        send(&producer, record);
                        sent += 1;
                    }
                    producer.poll(Duration::ZERO);
                    thread::sleep(TICK);
                }
                producer.flush(LIMIT).expect("produced");
                sent
            })
        };
        Self { start, stop, sender, reader, due }
    }

    /// Since when it runs.
    pub fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// Ends it and waits for all records to come out. The first time of each counts.
    pub fn end(self) -> Vec<Passed> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender ends well");
        *self.due.lock().expect("nobody panicked") = Some(sent);
        self.reader.join().expect("the reader ends well")
    }
}

fn reader(kafka: &Kafka, topic: &Topic) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "bench-reader")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..topic.partitions() {
        all.add_partition_offset(topic.name(), partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&all).expect("assigned");
    consumer
}

fn read(consumer: &BaseConsumer, start: Instant, due: &std::sync::Mutex<Option<u64>>) -> Vec<Passed> {
    let (mut passed, mut last, mut count) = (Vec::new(), Instant::now(), 0);
    loop {
        let message = consumer.poll(Duration::from_millis(50));
        if due.lock().expect("nobody panicked").is_some_and(|due| count >= due) {
            return passed.into_iter().flatten().collect();
        }
        let Some(message) = message else {
            assert!(last.elapsed() < LIMIT, "{count} records came out, and no more");
            continue;
        };
        last = Instant::now();
        let message = message.expect("a record");
        let value = message.payload().expect("a value");
        let number = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().expect("8 bytes"));
        let (sent, place) = (Duration::from_micros(number(0)), number(8) as usize);
        if passed.len() <= place {
            passed.resize(place + 1, None);
        }
        if passed[place].is_none() {
            passed[place] = Some(Passed { sent, took: start.elapsed().saturating_sub(sent) });
            count += 1;
        }
    }
}

/// What part of them took at most how long, in ms: of the median, 99 of 100, all.
pub fn percentiles(passed: &[Passed]) -> [f64; 3] {
    let mut times: Vec<Duration> = passed.iter().map(|passed| passed.took).collect();
    times.sort_unstable();
    [50, 99, 100].map(|percent| {
        let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    })
}
