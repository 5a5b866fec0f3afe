//! The main job, end to end, with nothing but this binary: numbered records go through a function on
//! an embedded broker while the function is changed, built and taken on. At the end it is counted
//! what went in, what came out, what was lost, and how long the longest gap was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tidegate::author::dev::embed;
use tidegate::author::toolchain::{self, Language, Project, Sdk, Template};
use tidegate::engine::{Engine, Settings};
use tidegate::kafka::embedded::EmbeddedBroker;
use tidegate::manifest;
use tidegate::node::supervisor::{Options, Stopper, Supervisor};

const RECORDS: u64 = 50_000;
const PER_SECOND: u64 = 5_000;
const KEYS: u64 = 100;
const PARTITIONS: i32 = 4;
/// When the function is changed.
const CHANGE_AT: u64 = RECORDS / 3;
/// How long nothing may come out before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<()> {
    // The wrapper of the Kafka client calls a consumer an error that was closed before it was dropped.
    let quiet = "warn,rdkafka::consumer::base_consumer=off";
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| quiet.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let folder = tempfile::tempdir()?;
    let project = folder.path().join("shout");
    println!("A new function, as `tidegate new shout` makes it, is built.");
    let language = Language::Rust;
    let sdk = Sdk::of_this_build(language);
    toolchain::create(&Project { name: "shout", language, template: Template::Record, sdk }, &project)?;
    toolchain::build(&project, None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let broker = Arc::new(EmbeddedBroker::start()?);
    let address = broker.address();
    let (node, stopper) = runtime.block_on(start(&project, &broker))?;
    println!("{RECORDS} records of {KEYS} keys, {PER_SECOND} a second, go through it on {address}.");

    let produced = Arc::new(AtomicU64::new(0));
    let producer = std::thread::spawn({
        let (address, produced) = (address.clone(), produced.clone());
        move || produce(&address, &produced)
    });
    let changer = std::thread::spawn({
        let (project, produced) = (project.clone(), produced.clone());
        move || change(&project, &produced)
    });
    let seen = consume(&address)?;
    producer.join().map_err(|_| anyhow::anyhow!("the producer panicked"))??;
    changer.join().map_err(|_| anyhow::anyhow!("the change panicked"))??;
    let start = Instant::now();
    runtime.block_on(async {
        stopper.stop().await;
        node.await
    })?;
    report(&seen, start.elapsed())
}

async fn start(project: &Path, broker: &Arc<EmbeddedBroker>) -> anyhow::Result<(tokio::task::JoinHandle<()>, Stopper)> {
    let engine = Engine::new(&Settings { cache: None, threads: 2 })?;
    let manifest = manifest::load(&project.join("tidegate.toml"), &|_| None)?;
    let broker = broker.clone();
    let options = Options {
        engine,
        node: "demo".into(),
        environment: |_| None,
        kept: None,
        now_ms: Box::new(tidegate::node::relay::now_ms),
        adapt: Box::new(move |manifest| embed(manifest, &broker, PARTITIONS)),
    };
    let (supervisor, stopper, _) = Supervisor::new(manifest, options)?;
    Ok((tokio::spawn(supervisor.run()), stopper))
}

/// Numbered records, at a steady rate.
fn produce(address: &str, produced: &AtomicU64) -> anyhow::Result<()> {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", address).set("linger.ms", "5").create()?;
    let start = Instant::now();
    for number in 0..RECORDS {
        let due = Duration::from_nanos(1_000_000_000 / PER_SECOND * number);
        if let Some(early) = due.checked_sub(start.elapsed()).filter(|early| *early > Duration::from_millis(1)) {
            producer.poll(Duration::ZERO);
            std::thread::sleep(early);
        }
        let (key, value) = (format!("key-{}", number % KEYS), format!("Record {number}"));
        let record = BaseRecord::to("shout-in").key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error).context("cannot produce")?;
        produced.store(number + 1, Relaxed);
    }
    producer.flush(PATIENCE).context("cannot produce")
}

/// Changes one line of the function and builds it, while records flow.
fn change(project: &Path, produced: &AtomicU64) -> anyhow::Result<()> {
    while produced.load(Relaxed) < CHANGE_AT {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("The function is changed from upper to lower case and built while records flow.");
    let source = project.join("src").join("lib.rs");
    let text = fs::read_to_string(&source)?;
    ensure!(text.contains("to_ascii_uppercase"), "the new function is not what the demo expects");
    fs::write(&source, text.replace("to_ascii_uppercase", "to_ascii_lowercase"))?;
    let start = Instant::now();
    toolchain::build(project, None)?;
    println!("Built in {:.1} s; the node takes it on by itself.", start.elapsed().as_secs_f64());
    Ok(())
}

/// What came out.
#[derive(Default)]
struct Seen {
    records: BTreeMap<u64, u32>,
    upper: u64,
    lower: u64,
    out_of_order: u64,
    longest_gap: Duration,
}

fn consume(address: &str) -> anyhow::Result<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", "demo")
        .set("fetch.wait.max.ms", "10")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&["shout-out"])?;
    let mut seen = Seen::default();
    let mut last_of_key = vec![None; KEYS as usize];
    let mut last = None;
    let start = Instant::now();
    while (seen.records.len() as u64) < RECORDS {
        let now = Instant::now();
        // A poll also ends when it took part in a rebalance.
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            if now - last.unwrap_or(start) > PATIENCE {
                break;
            }
            continue;
        };
        let message = message.context("cannot consume")?;
        let now = Instant::now();
        seen.longest_gap = seen.longest_gap.max(last.map_or(Duration::ZERO, |last| now - last));
        last = Some(now);
        let value = std::str::from_utf8(message.payload().unwrap_or_default())?;
        let (word, number) = value.split_once(' ').context("an output is not what was expected")?;
        let number: u64 = number.parse()?;
        *seen.records.entry(number).or_default() += 1;
        *(if word == "RECORD" { &mut seen.upper } else { &mut seen.lower }) += 1;
        let of_key = &mut last_of_key[(number % KEYS) as usize];
        seen.out_of_order += u64::from(of_key.is_some_and(|before| before > number));
        *of_key = Some(number);
    }
    Ok(seen)
}

fn report(seen: &Seen, stop: Duration) -> anyhow::Result<()> {
    let lost = RECORDS - seen.records.len() as u64;
    let repeated: u32 = seen.records.values().map(|times| times - 1).sum();
    println!();
    println!("in             {RECORDS:>8}");
    println!(
        "out            {:>8}   {} by the first revision, {} by the second",
        seen.upper + seen.lower,
        seen.upper,
        seen.lower
    );
    println!("lost           {lost:>8}");
    println!("repeated       {repeated:>8}");
    println!("out of order   {:>8}   within a key", seen.out_of_order);
    println!("longest gap    {:>5} ms   between two outputs, over the whole run", seen.longest_gap.as_millis());
    println!("stopped in     {:>5} ms", stop.as_millis());
    ensure!(lost == 0 && seen.out_of_order == 0, "records were lost or reordered");
    ensure!(seen.upper > 0 && seen.lower > 0, "the change of the function was not seen");
    Ok(())
}
