//! Measures one component.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tidegate::engine::{Call, Compiled, Completion, Engine, Invoker as _, MAX_OUTCOME_BYTES, Pool, Settings, Setup};
use tidegate::manifest::{Function, Instances, Reuse, Trigger};
use tidegate::record::batch::Batch;
use tidegate::record::outcome::Cause;
use tidegate::record::revision::Digest;
use tokio::sync::mpsc;

/// Starts, and how long they may take together: of those of a large runtime there are fewer.
const STARTS: usize = 10_000;
const STARTS_LIMIT: Duration = Duration::from_secs(5);
/// The fastest of so many rounds counts: what disturbs a machine only ever adds.
const ROUNDS: usize = 5;
/// Calls follow each other for so long.
const ROUND: Duration = Duration::from_millis(300);
/// No call is late: those of many instances share a thread.
const DEADLINE: Duration = Duration::from_secs(600);
/// Instances whose memory is measured, and calls of each with each batch.
const INSTANCES: u32 = 64;
const CALLS: usize = 20;

/// A component that is compiled, and what it is called with.
pub(crate) struct Bench {
    engine: Engine,
    compiled: Compiled,
    setup: Setup,
}

impl Bench {
    /// Compiles a component, and tells how long that took.
    pub(crate) async fn compile(bytes: Vec<u8>, setup: Setup) -> anyhow::Result<(Self, Duration)> {
        let engine = Engine::new(&Settings { cache: None, threads: 1 })?;
        let start = Instant::now();
        let digest = Digest::of(&bytes);
        let compiled = engine.compile(bytes.into(), digest).await?;
        Ok((Self { engine, compiled, setup }, start.elapsed()))
    }

    /// A pool of so many instances, that have all started.
    async fn pool(&self, instances: u32, reuse: Reuse) -> anyhow::Result<(Pool, mpsc::Receiver<Completion>)> {
        let (completions, done) = mpsc::channel(instances as usize);
        let function = Function { reuse, deadline: DEADLINE, ..Function::clone(&self.setup.function) };
        let instances = Instances { min: instances, max: instances.try_into()? };
        let trigger = Trigger { instances, ..Trigger::clone(&self.setup.trigger) };
        let setup = Setup { function: Arc::new(function), trigger: Arc::new(trigger), ..self.setup.clone() };
        Ok((Pool::warm(&self.engine, self.compiled.clone(), setup, completions).await?, done))
    }

    /// How long instances took to start, ascending. One after another: of those that start at once on one
    /// thread each waits for the others too.
    pub(crate) async fn starts(&self) -> anyhow::Result<Vec<Duration>> {
        let (mut pool, mut done) = self.pool(1, Reuse::Fresh).await?;
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < STARTS && begin.elapsed() < STARTS_LIMIT {
            ensure!(pool.free() > 0, "no instance is free");
            // Without records: only the start counts.
            pool.start(call(0, Batch::new("input".into(), 0), Duration::MAX));
            times.extend(done.recv().await.context("the call vanished")?.started);
        }
        ensure!(!times.is_empty(), "no instance started in {STARTS_LIMIT:?}");
        times.sort_unstable();
        Ok(times)
    }

    /// Nanoseconds of a call for each of its records. `None`: the function refuses one.
    pub(crate) async fn record_ns(&self, mut batch: Batch) -> anyhow::Result<Option<f64>> {
        let (mut pool, mut done) = self.pool(1, POOLED).await?;
        let records = batch.len() as f64;
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let (start, mut calls) = (Instant::now(), 0);
            while start.elapsed() < ROUND {
                ensure!(pool.free() > 0, "no instance is free");
                pool.start(call(calls, batch, Duration::ZERO));
                calls += 1;
                batch = match finished(done.recv().await)? {
                    (_, Answer::Refused) => return Ok(None),
                    (batch, Answer::Good) => batch,
                };
            }
            best = best.min(start.elapsed().as_nanos() as f64 / calls as f64 / records);
        }
        Ok(Some(best))
    }

    /// MiB that an instance occupies after its start, and after a few calls of each batch.
    pub(crate) async fn memory_mib(&self, batches: &[Batch]) -> anyhow::Result<(f64, Option<f64>)> {
        let instances = INSTANCES as usize;
        // What is called next comes first. They are made now, so that they do not count.
        let mut calls: Vec<Batch> = batches.iter().flat_map(|batch| vec![batch.clone(); instances]).collect();
        let before = resident_bytes()?;
        let (mut pool, mut done) = self.pool(INSTANCES, POOLED).await?;
        let each = |bytes: u64| bytes.saturating_sub(before) as f64 / f64::from(INSTANCES) / f64::from(1 << 20);
        let started = each(resident_bytes()?);
        for _ in 0..batches.len() * CALLS {
            ensure!(pool.free() == instances, "not every instance is free");
            // At once, so that each instance gets one.
            for (id, batch) in (0..).zip(calls.drain(..instances)) {
                pool.start(call(id, batch, Duration::MAX));
            }
            for _ in 0..instances {
                calls.push(finished(done.recv().await)?.0);
            }
        }
        let worked = each(resident_bytes()?);
        Ok((started, (!batches.is_empty()).then_some(worked)))
    }
}

const POOLED: Reuse = Reuse::Pooled { max_calls: None };

fn call(id: u64, batch: Batch, expected: Duration) -> Call {
    Call { id, batch, expected, outcome_bytes: MAX_OUTCOME_BYTES }
}

/// What a function says of the records of a call.
enum Answer {
    Good,
    Refused,
}

/// The records of a call, and the answer to them. A failure that the function did not choose is an error.
fn finished(completion: Option<Completion>) -> anyhow::Result<(Batch, Answer)> {
    let completion = completion.context("the call vanished")?;
    let outcome = completion.result.map_err(|error| anyhow::anyhow!("the call failed: {error:?}"))?;
    let answer = match outcome.failures().first() {
        None => Answer::Good,
        Some((_, fault)) if matches!(fault.cause, Cause::Reject) => Answer::Refused,
        Some((_, fault)) => bail!("a record failed: {fault:?}"),
    };
    Ok((completion.batch.context("the call lost its records")?, answer))
}

fn resident_bytes() -> anyhow::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).context("no resident pages")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
