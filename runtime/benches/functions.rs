//! What a function costs by itself, without Kafka: `functions COMPONENT.wasm …`.
//!
//! One line for each component: its size, how long it takes to compile and an instance to start,
//! how long a call of 512 records takes for each of them, and what an instance occupies. The crossing
//! and the checks of the outcome are included, as in the data plane.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context as _, ensure};
use tidegate::batch::Batch;
use tidegate::engine::{Call, Compiled, Completion, Engine, Invoker as _, Pool, Settings, Setup};
use tidegate::invoke;
use tidegate::kafka::keep_memory;
use tidegate::manifest::{Function, Reuse};
use tidegate::record::OwnedRecord;
use tidegate::revision::Digest;
use tokio::sync::mpsc;

/// Instances of one pool.
const INSTANCES: u32 = 64;
/// Calls that each start an instance.
const STARTS: u64 = 10_000;
/// So many of them at a time, as on a busy node: its threads do not sleep between calls.
const IN_FLIGHT: u64 = 8;
const RECORDS: usize = 512;
const CALLS: usize = 1_000;
/// The fastest of so many rounds counts: what disturbs a machine only ever adds.
const ROUNDS: usize = 5;

fn main() -> anyhow::Result<()> {
    keep_memory();
    let paths: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    ensure!(!paths.is_empty(), "which components? functions COMPONENT.wasm …");
    println!(
        "{RECORDS} records of 100 B with keys of 16 B in a call; memory of an instance that started, and that worked"
    );
    println!(
        "{:<24} {:>8} {:>10} {:>18} {:>10} {:>10} {:>9} {:>9}",
        "component", "size", "compile", "start p50, p99", "record", "3 headers", "started", "worked"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for path in paths {
        runtime.block_on(measure(Path::new(&path))).with_context(|| path.clone())?;
    }
    Ok(())
}

async fn measure(path: &Path) -> anyhow::Result<()> {
    let engine = Engine::new(&Settings { cache: None, threads: 1 })?;
    let bytes: Arc<[u8]> = fs::read(path)?.into();
    let size = bytes.len();
    let start = Instant::now();
    let digest = Digest::of(&bytes);
    let bench = Bench { compiled: engine.compile(bytes, digest).await?, engine, setup: setup()? };
    let compile = start.elapsed();
    let (started, worked) = bench.memory().await?;
    let starts = bench.starts().await?;
    let (plain, headers) = (bench.call(0).await?, bench.call(3).await?);
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let percentile = |percent: usize| starts[(starts.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    println!(
        "{name:<24} {:>5} kB {:>7.2} s {:>9.0}, {:>4.0} us {plain:>7.0} ns {headers:>7.0} ns {started:>5.1} MiB {worked:>5.1} MiB",
        size.div_ceil(1000),
        compile.as_secs_f64(),
        percentile(50),
        percentile(99),
    );
    Ok(())
}

/// The defaults of the manifest, but for the size of the pool.
fn setup() -> anyhow::Result<Setup> {
    let (function, mut trigger) = invoke::stand_in()?;
    trigger.instances.min = INSTANCES;
    trigger.instances.max = INSTANCES.try_into()?;
    let topics = invoke::topics(&trigger, &[]);
    Ok(Setup { function: Arc::new(function), trigger: Arc::new(trigger), topics: Arc::new(topics) })
}

struct Bench {
    engine: Engine,
    compiled: Compiled,
    setup: Setup,
}

impl Bench {
    async fn pool(&self, setup: &Setup) -> anyhow::Result<(Pool, mpsc::Receiver<Completion>)> {
        let (completions, done) = mpsc::channel(INSTANCES as usize);
        Ok((Pool::warm(&self.engine, self.compiled.clone(), setup.clone(), completions).await?, done))
    }

    /// How long instances took to start, ascending, where every call gets a new one.
    async fn starts(&self) -> anyhow::Result<Vec<Duration>> {
        let function = Function { reuse: Reuse::Fresh, ..Function::clone(&self.setup.function) };
        let (mut pool, mut done) = self.pool(&Setup { function: Arc::new(function), ..self.setup.clone() }).await?;
        let mut times = Vec::new();
        for id in 0..STARTS {
            if id >= IN_FLIGHT {
                let completion = done.recv().await.context("the call vanished")?;
                times.extend(completion.started);
            }
            ensure!(pool.free() > 0, "no instance is free");
            pool.start(Call { id, batch: records(1, 0), expected: Duration::MAX });
        }
        times.sort_unstable();
        Ok(times)
    }

    /// Nanoseconds for each record of a call.
    async fn call(&self, headers: usize) -> anyhow::Result<f64> {
        let (mut pool, mut done) = self.pool(&self.setup).await?;
        let mut batch = records(RECORDS, headers);
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for id in 0..CALLS as u64 {
                ensure!(pool.free() > 0, "no instance is free");
                pool.start(Call { id, batch, expected: Duration::ZERO });
                batch = finished(done.recv().await)?;
            }
            best = best.min(start.elapsed());
        }
        Ok(best.as_nanos() as f64 / (CALLS * RECORDS) as f64)
    }

    /// MiB that an instance occupies after its start, and after a few calls.
    async fn memory(&self) -> anyhow::Result<(f64, f64)> {
        const CALLS_EACH: u64 = 20;
        let before = resident_bytes()?;
        let (mut pool, mut done) = self.pool(&self.setup).await?;
        let each = |bytes: u64| bytes.saturating_sub(before) as f64 / f64::from(INSTANCES) / f64::from(1 << 20);
        let started = each(resident_bytes()?);
        for _ in 0..CALLS_EACH {
            ensure!(pool.free() == INSTANCES as usize, "not every instance is free");
            for id in 0..u64::from(INSTANCES) {
                pool.start(Call { id, batch: records(RECORDS, 0), expected: Duration::MAX });
            }
            for _ in 0..INSTANCES {
                finished(done.recv().await)?;
            }
        }
        Ok((started, each(resident_bytes()?)))
    }
}

fn records(count: usize, headers: usize) -> Batch {
    let mut batch = Batch::new("input".into(), 0);
    let names = (0..headers).map(|number| (format!("header-{number}").into_bytes(), Some(b"a value".to_vec())));
    let mut record = OwnedRecord { value: Some(vec![b'v'; 100]), headers: names.collect(), ..OwnedRecord::default() };
    for offset in 0..count as i64 {
        record.offset = offset;
        record.key = Some(format!("key-{offset:012}").into_bytes());
        batch.push(&record, 1);
    }
    batch
}

fn finished(completion: Option<Completion>) -> anyhow::Result<Batch> {
    let completion = completion.context("the call vanished")?;
    let outcome = completion.result.map_err(|error| anyhow::anyhow!("the call failed: {error:?}"))?;
    ensure!(outcome.failures().is_empty(), "a record failed: {:?}", outcome.failures()[0]);
    completion.batch.context("the call lost its records")
}

fn resident_bytes() -> anyhow::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).context("no resident pages")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
