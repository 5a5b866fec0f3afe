//! All that touches guests: compiling components, keeping instances, crossing into them.
//!
//! Guests run on a tokio runtime of their own, so that whatever they do, the data path, health
//! and signals go on; only a call that is expected to be brief begins on its caller's thread. While a
//! call is under way a ticker lets every guest yield every 2 to 10 ms; at its deadline a call is dropped
//! and its instance with it.
//!
//! Components are compiled on one thread of low priority and cached on disk; only code that this
//! node compiled is ever loaded.

mod bindings;
mod cache;
mod columns;
mod compile;
mod fault;
mod guests;
mod host;
mod http;
mod log;
mod pool;
mod printed;
mod queue;
mod ticker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use compile::{Compiled, Inspection, Rejected, inspect};
#[cfg(test)]
pub(crate) use http::testing;
pub use http::{Failure as HttpFailure, HttpCounts, HttpDialer, HttpStream, target as http_target};
pub use pool::{Pool, PoolError, Setup};

use crate::manifest::Name;
use crate::record::batch::Batch;
use crate::record::outcome::{Checked, Fault};
use crate::record::revision::Digest;

/// Where functions are called. One implementation is [`Pool`]; the other is the tests'.
pub trait Invoker: Send + 'static {
    /// How many calls could be started now.
    fn free(&mut self) -> usize;

    /// Starts a call. Its completion goes to the channel that the invoker was made with.
    fn start(&mut self, call: Call);

    /// Lets go of what is no longer needed after a while without calls.
    fn shrink(&mut self);
}

/// Records for a function.
#[derive(Debug)]
pub struct Call {
    /// Comes back with the completion.
    pub id: u64,
    pub batch: Batch,
    /// How long it will take, going by earlier calls.
    pub expected: Duration,
    /// How much its outcome may take on this node, at most [`MAX_OUTCOME_BYTES`]. So much at most crosses
    /// in any one transfer of the call, what it prints or writes at once included. A call that needs more
    /// ends in [`CallError::OutcomeTooLarge`], or at the maximum in a fault of its record.
    pub outcome_bytes: usize,
}

/// Most bytes that an outcome may take.
pub const MAX_OUTCOME_BYTES: usize = 64 << 20;

/// How a call ended.
#[derive(Debug)]
pub struct Completion {
    pub id: u64,
    /// The records of the call. None only with [`CallError::Bug`].
    pub batch: Option<Batch>,
    pub result: Result<Checked, CallError>,
    /// How long an instance took to start, where none was free.
    pub started: Option<Duration>,
    /// How long the call took, without that.
    pub elapsed: Duration,
    /// How much its outcome took, if it had one: a call that is granted so much can have the same again.
    pub outcome_bytes: usize,
}

/// Why a call has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The function is at fault, with one of the records.
    Fault(Fault),
    /// No instance could be started. No record is at fault.
    NoInstance(String),
    /// More crossed to the host at once than [`Call::outcome_bytes`] granted, and less than may be granted.
    /// No record is at fault: the call is to be made again with a larger grant.
    OutcomeTooLarge { granted: usize },
    /// The engine broke. The trigger starts again from what is committed.
    Bug,
}

/// What bounds an engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where compiled components are kept; `None`: nowhere.
    pub cache: Option<PathBuf>,
    /// Threads that guests run on.
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
    threads: guests::Threads,
}

/// Most instances of all functions together. A slot costs address space only.
const MAX_INSTANCES: u32 = 4_000;

/// Most memory that a function may be granted.
pub const MAX_MEMORY_BYTES: u64 = 4 << 30;

impl Engine {
    /// Fails when the machine lacks what guests need.
    pub fn new(settings: &Settings) -> Result<Self, Rejected> {
        let wasmtime = match wasmtime::Engine::new(&config(true)) {
            Ok(engine) => engine,
            Err(error) => {
                tracing::warn!(
                    "no address space for an instance pool, so instances start slower: {error:#}; \
                     raise the limit of virtual memory (ulimit -v)"
                );
                wasmtime::Engine::new(&config(false)).map_err(|error| Rejected::machine(&error))?
            }
        };
        let threads = guests::Threads::new(settings.threads).map_err(|error| Rejected::machine(&error.into()))?;
        let compiler = compile::Compiler::new(&wasmtime, settings.cache.clone())?;
        let ticker = ticker::Ticker::new(wasmtime.clone()).map_err(|error| Rejected::machine(&error.into()))?;
        Ok(Self { inner: Arc::new(Inner { wasmtime, compiler, ticker, threads }), http: Arc::default() })
    }

    /// The same engine, but what functions ask by HTTP goes to this dialer, and nobody else is asked.
    pub fn through(&self, dialer: Arc<dyn HttpDialer>) -> Self {
        Self { inner: self.inner.clone(), http: Arc::new(http::Clients::through(dialer)) }
    }

    /// What a function does by HTTP, counted since the engine was made. Stays fresh.
    pub fn http_counts(&self, function: &Name) -> Arc<HttpCounts> {
        self.http.counts(function)
    }

    /// Compiles a component, or loads it from the cache, and checks that it is a function. Runs on
    /// one thread, whoever asks.
    pub async fn compile(&self, bytes: Arc<[u8]>, digest: Digest) -> Result<Compiled, Rejected> {
        self.inner.compiler.compile(None, bytes, digest).await
    }

    /// The same for the newest bytes of a file that changes now and then. If newer bytes of it come
    /// while these wait for the thread, these are refused and never compiled.
    pub async fn compile_newest(&self, file: &Path, bytes: Arc<[u8]>, digest: Digest) -> Result<Compiled, Rejected> {
        self.inner.compiler.compile(Some(file.to_owned()), bytes, digest).await
    }
}

fn config(pooling: bool) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.wasm_component_model(true);
    config.epoch_interruption(true);
    // Nobody is shown a backtrace, and its names come from the component: see `fault`.
    config.wasm_backtrace_max_frames(None);
    // A call costs a fifth without it, and functions of this contract never run concurrently.
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
