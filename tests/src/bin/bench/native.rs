//! What an engineer writes by hand: poll, produce, commit once a second. In a process of its own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _};
use tidegate_tests::kafka::{Kafka, Topic};

use super::cpu;

pub const LIMIT: Duration = Duration::from_secs(300);

/// Starts it. It ends after so many records and prints the CPU that it took since the first one.
pub fn start(kafka: &Kafka, input: &Topic, output: &Topic, linger_ms: &str, count: u64) -> Child {
    let program = std::env::current_exe().expect("this program");
    Command::new(program)
        .args(["native", kafka.bootstrap(), input.name(), output.name(), linger_ms, &count.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the native loop runs")
}

pub fn main(brokers: &str, input: &str, output: &str, linger_ms: &str, count: &str) {
    let mut count: u64 = count.parse().expect("a count");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("native-{output}"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[input]).expect("subscribed");
    let producer = producer(brokers, linger_ms);
    let mut start = None;
    let mut committed = Instant::now();
    while count > 0 {
        // A poll also ends, with nothing, when it took part in a rebalance.
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("a record");
            start.get_or_insert_with(|| cpu::of_process(std::process::id()));
            let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
            send(&producer, BaseRecord::to(output).key(key).payload(value));
            count -= 1;
        }
        producer.poll(Duration::ZERO);
        if start.is_some() && committed.elapsed() > Duration::from_secs(1) {
            // Not by `flush`, which looks only every 100 ms whether all is acknowledged.
            while producer.in_flight_count() > 0 {
                producer.poll(Duration::from_millis(1));
            }
            consumer.commit_consumer_state(CommitMode::Async).expect("committed");
            committed = Instant::now();
        }
    }
    producer.flush(LIMIT).expect("produced");
    println!("{}", (cpu::of_process(std::process::id()) - start.unwrap_or_default()).as_nanos());
}

pub fn producer(brokers: &str, linger_ms: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", linger_ms)
        .set("enable.idempotence", "true")
        .create()
        .expect("a producer")
}

pub fn send(producer: &BaseProducer, mut record: BaseRecord<'_, [u8], [u8]>) {
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
