//! Runs the guests: compiles components, keeps pools of instances, and calls functions in them.
//!
//! Guests run on their own tokio runtime. So a guest that blocks a thread or computes without end does not
//! stop the data path, the health report or the handling of signals. Only a call that is expected to be brief
//! starts on the thread of its caller. While a call runs, a ticker makes every guest yield every 2 to 10 ms.
//! A call that reaches its deadline is dropped together with its instance.
//!
//! One thread of low priority compiles the components. The compiled code is cached on disk, and the engine
//! loads only code that this node compiled.

mod bindings;
mod cache;
mod columns;
mod compile;
mod fault;
mod guests;
mod host;
mod http;
mod isolation;
mod log;
mod pool;
mod printed;
mod queue;
mod ticker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use compile::{Compiled, Inspection, Rejected, inspect};
#[cfg(test)]
pub(crate) use http::testing;
pub use http::{Failure as HttpFailure, HttpCounts, HttpDialer, HttpSnapshot, HttpStream, target as http_target};
pub use pool::{Pool, PoolError, Setup};

use crate::manifest::{Component, Name};
use crate::record::batch::Batch;
use crate::record::outcome::{Checked, Fault};
use crate::record::revision::Digest;

/// Calls functions. A node uses a [`Pool`]; tests use fakes.
pub trait Invoker: Send + 'static {
    /// How many calls can be started now.
    fn free(&mut self) -> usize;

    /// Instances that exist, those that run calls included. 0 if there are none to count.
    fn instances(&self) -> usize {
        0
    }

    /// Starts a call. The completion goes to the channel that the invoker was created with.
    fn start(&mut self, call: Call);

    /// Drops instances that have not been called for a while.
    fn shrink(&mut self);
}

/// A call of a function with a batch of records.
#[derive(Debug)]
pub struct Call {
    /// The completion carries the same id.
    pub id: u64,
    pub batch: Batch,
    /// The expected duration, estimated from earlier calls.
    pub expected: Duration,
    /// How many bytes the outcome may take on this node, at most [`MAX_OUTCOME_BYTES`]. The same limit
    /// applies to each single transfer from the guest to the host, for example to one write of output. A
    /// call that needs more ends in [`CallError::OutcomeTooLarge`]. If it already has the maximum, it ends
    /// in a fault of its record.
    pub outcome_bytes: usize,
}

/// The maximum size of an outcome in bytes.
pub const MAX_OUTCOME_BYTES: usize = 64 << 20;

/// How a call ended.
#[derive(Debug)]
pub struct Completion {
    pub id: u64,
    /// The records of the call. `None` only together with [`CallError::Bug`].
    pub batch: Option<Batch>,
    pub result: Result<Checked, CallError>,
    /// How long the start of an instance took, if none was free.
    pub started: Option<Duration>,
    /// How long the call took, without the start of the instance.
    pub elapsed: Duration,
    /// How many bytes the outcome took; 0 if there is none. A call that is granted this many bytes can
    /// return the same outcome again.
    pub outcome_bytes: usize,
}

/// Why a call has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The function failed on one of the records.
    Fault(Fault),
    /// No instance could be started. No record is at fault.
    NoInstance(String),
    /// The guest sent more to the host at once than [`Call::outcome_bytes`] granted, and the grant was
    /// below the maximum. No record is at fault: the caller repeats the call with a larger grant.
    OutcomeTooLarge { granted: usize },
    /// The call ended inside the engine without a result, for example by a panic. The trigger starts again
    /// from the committed offsets.
    Bug,
}

/// The settings of an engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder for compiled components. `None`: they are not cached.
    pub cache: Option<PathBuf>,
    /// The number of threads that run guests.
    pub threads: usize,
}

/// Compiles components and runs guests. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    http: Arc<http::Clients>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    compiler: compile::Compiler,
    ticker: ticker::Ticker,
    runtimes: guests::GuestRuntimes,
}

/// The maximum number of instances of all functions together. Each one reserves address space when the
/// engine starts, but takes memory only when it is used.
const MAX_INSTANCES: u32 = 4_000;

/// The most memory that the manifest can give to a function.
pub const MAX_MEMORY_BYTES: u64 = 4 << 30;

impl Engine {
    /// Fails if this machine cannot run guests.
    pub fn new(settings: &Settings) -> Result<Self, Rejected> {
        let wasmtime = match wasmtime::Engine::new(&config(true)) {
            Ok(engine) => engine,
            Err(error) => {
                tracing::warn!(
                    "instances start slower, because there is not enough address space for an instance pool: \
                     {error:#}; raise the limit of virtual memory (ulimit -v)"
                );
                wasmtime::Engine::new(&config(false)).map_err(|error| Rejected::machine(&error))?
            }
        };
        let runtimes =
            guests::GuestRuntimes::new(settings.threads).map_err(|error| Rejected::machine(&error.into()))?;
        let compiler = compile::Compiler::new(&wasmtime, settings.cache.clone())?;
        let ticker = ticker::Ticker::new(wasmtime.clone()).map_err(|error| Rejected::machine(&error.into()))?;
        Ok(Self { inner: Arc::new(Inner { wasmtime, compiler, ticker, runtimes }), http: Arc::default() })
    }

    /// The same engine, but all HTTP requests of functions go to this dialer and none to the network.
    pub fn through(&self, dialer: Arc<dyn HttpDialer>) -> Self {
        Self { inner: self.inner.clone(), http: Arc::new(http::Clients::through(dialer)) }
    }

    /// Counts of a function's HTTP requests since the engine was created. The returned counts keep changing.
    pub fn http_counts(&self, function: &Name) -> Arc<HttpCounts> {
        self.http.counts(function)
    }

    /// Compiles a component, or loads it from the cache, and checks that it is a function. One thread
    /// compiles for all callers.
    pub async fn compile(&self, bytes: Arc<[u8]>, digest: Digest) -> Result<Compiled, Rejected> {
        self.inner.compiler.compile(None, bytes, digest).await
    }

    /// Like [`Engine::compile`], for a source whose content may change. If newer bytes of the same source come while
    /// these wait for the thread, these are refused and never compiled.
    pub async fn compile_newest(
        &self,
        source: &Component,
        bytes: Arc<[u8]>,
        digest: Digest,
    ) -> Result<Compiled, Rejected> {
        self.inner.compiler.compile(Some(source.clone()), bytes, digest).await
    }
}

fn config(pooling: bool) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.wasm_component_model(true);
    config.epoch_interruption(true);
    // Backtraces are never shown, and the names in them come from the component: see `fault`.
    config.wasm_backtrace_max_frames(None);
    // Without concurrency support, a call costs a fifth of what it costs with it. Functions of this contract
    // never run concurrently.
    config.concurrency_support(false);
    config.memory_init_cow(true);
    if pooling {
        let mut pool = wasmtime::PoolingAllocationConfig::default();
        pool.total_component_instances(MAX_INSTANCES)
            .total_core_instances(MAX_INSTANCES * 4)
            .total_memories(MAX_INSTANCES)
            .total_tables(MAX_INSTANCES * 4)
            .total_stacks(MAX_INSTANCES)
            .max_component_instance_size(16 << 20)
            .max_core_instance_size(16 << 20)
            .table_elements(1 << 20)
            .max_memory_size(usize::try_from(MAX_MEMORY_BYTES).unwrap_or(usize::MAX))
            .linear_memory_keep_resident(256 << 10)
            .table_keep_resident(16 << 10);
        config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

#[cfg(test)]
mod tests;
