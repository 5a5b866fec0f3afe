//! The instances of one revision for one trigger.
//!
//! The pool belongs to the loop of the trigger, which starts the calls. Each call runs as a task on the
//! runtime of the guests and returns its instance to the pool at its end. A call that is brief enough runs
//! completely on the thread that started it. An instance that trapped, exceeded its time or memory, or
//! returned an invalid outcome is not used again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use wasmtime::{PoolConcurrencyLimitError, Store};

use super::bindings::Runner;
use super::columns::{lifted_bytes, lower, lowered_bytes, outcome};
use super::compile::Compiled;
use super::fault::{classify, is_too_large};
use super::guests::GuestRuntime;
use super::host::Host;
use super::http::{Client, Clients};
use super::isolation::Scratch;
use super::log::{self, LogScope};
use super::{Call, CallError, Completion, Engine, Invoker, MAX_OUTCOME_BYTES};
use crate::manifest::{Function, Reuse, Trigger};
use crate::record::Topics;
use crate::record::outcome::{Cause, Checked, Fault};

/// A call that is expected to take at most this long starts on the thread of its caller, because moving it
/// to another thread would cost as much time. If it takes longer, it yields at the next tick and continues
/// on the guests' runtime.
const BRIEF: Duration = Duration::from_micros(100);
/// How long brief calls together may block their caller while it starts several calls in a row.
const INLINE_LIMIT: Duration = Duration::from_millis(1);
/// How long an instance may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long an instance above the minimum number is kept without a call.
const KEEP_IDLE: Duration = Duration::from_secs(60);
/// The largest record of a broker with default settings.
const LARGEST_RECORD_BYTES: u64 = 1 << 20;
/// If a batch is larger than expected, [`BATCH_BYTES`] of its instance is rounded up to a multiple of this,
/// so that the next larger batch may fit too.
const BATCH_STEP_BYTES: u64 = 1 << 20;
/// The environment variable for Go's soft memory limit. Near this limit Go collects garbage more often,
/// before the host refuses more memory.
const GO_MEMORY: &str = "GOMEMLIMIT";
/// The environment variable that tells a function the size of the largest batch.
const BATCH_BYTES: &str = "TIDEGATE_BATCH_BYTES";

/// Why a pool cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The function fails while it starts, and would fail again.
    #[error("{0}")]
    Function(String),
    /// The machine cannot start the function now: a folder is missing, or there is not enough memory or
    /// time.
    #[error("{0}")]
    Machine(String),
}

/// What a pool is made for.
#[derive(Clone)]
pub struct Setup {
    pub function: Arc<Function>,
    pub trigger: Arc<Trigger>,
    pub topics: Arc<Topics>,
    /// Nothing that the instances do may have an effect, because another revision does the same: their HTTP requests
    /// are refused, and in place of each folder that the function may write to they see an empty one, which is removed
    /// with the pool.
    pub isolated: bool,
}

/// Instances of one revision for one trigger.
pub struct Pool {
    shared: Arc<Shared>,
    /// The most recently used instance is at the end. It is used next, because its memory is most likely
    /// still in the CPU caches.
    idle: Vec<Instance>,
    running: usize,
    returned: mpsc::Receiver<Option<Instance>>,
    give_back: mpsc::Sender<Option<Instance>>,
    /// How long brief calls may still block their caller, until it calls [`Invoker::free`] again.
    inline_for: Duration,
}

struct Shared {
    engine: Engine,
    guests: Arc<GuestRuntime>,
    compiled: Compiled,
    setup: Setup,
    environment: Vec<(String, String)>,
    /// The expected size of the largest batch in the memory of a guest.
    batch_bytes: u64,
    http: Arc<Client>,
    _scratch: Scratch,
    scope: Arc<LogScope>,
    completions: mpsc::Sender<Completion>,
}

struct Instance {
    store: Store<Host>,
    runner: Runner,
    /// The value of [`BATCH_BYTES`] that this instance was started with.
    batch_bytes: u64,
    calls: u64,
    last_used: Instant,
}

/// Why an instance did not start.
enum NoStart {
    /// The node already has the maximum number of instances.
    Full(String),
    /// A folder of the function cannot be opened, or the operating system refused something.
    System(String),
    /// The function itself failed.
    Guest(Fault),
}

impl From<NoStart> for PoolError {
    fn from(no_start: NoStart) -> Self {
        match no_start {
            // A start that takes too long may be due to a busy machine.
            NoStart::Guest(Fault { cause, .. }) if cause != Cause::Deadline => Self::Function(no_start.reason()),
            NoStart::Full(_) | NoStart::System(_) | NoStart::Guest(_) => Self::Machine(no_start.reason()),
        }
    }
}

impl NoStart {
    fn reason(self) -> String {
        let (Self::Full(reason) | Self::System(reason) | Self::Guest(Fault { reason, .. })) = self;
        format!("it does not start: {reason}")
    }
}

impl Pool {
    /// Starts the minimum number of instances of the trigger, but at least one, to prove that the revision
    /// starts.
    pub async fn warm(
        engine: &Engine,
        compiled: Compiled,
        mut setup: Setup,
        completions: mpsc::Sender<Completion>,
    ) -> Result<Self, PoolError> {
        let scratch = if setup.isolated { Scratch::replace(&mut setup.function) } else { Ok(Scratch::default()) };
        let scratch = scratch.map_err(PoolError::Machine)?;
        let http = match setup.isolated {
            true => Clients::isolated(&setup.function),
            false => engine.http.get(&setup.function).map_err(PoolError::Machine)?,
        };
        let guests =
            engine.inner.runtimes.of(&setup.function).map_err(|error| PoolError::Machine(error.to_string()))?;
        let revision = compiled.digest;
        let scope = LogScope::new(&setup.trigger.name, &setup.function.name, &revision.short());
        let most = setup.trigger.instances.max.get() as usize;
        let (give_back, returned) = mpsc::channel(most);
        let shared = Arc::new(Shared {
            engine: engine.clone(),
            guests,
            environment: environment(&setup, &revision.to_string()),
            batch_bytes: batch_bytes(&setup.trigger),
            compiled,
            setup,
            http,
            _scratch: scratch,
            scope: Arc::new(scope),
            completions,
        });
        let mut idle = Vec::new();
        for _ in 0..(shared.setup.trigger.instances.min as usize).clamp(1, most) {
            let starting = shared.clone();
            let started = shared.guests.spawn(async move { starting.instantiate(0).await });
            idle.push(started.await.map_err(|error| PoolError::Machine(error.to_string()))??);
        }
        Ok(Self { shared, idle, running: 0, returned, give_back, inline_for: Duration::ZERO })
    }

    fn collect_returned(&mut self) {
        while let Ok(instance) = self.returned.try_recv() {
            self.running -= 1;
            self.idle.extend(instance);
        }
    }

    /// Takes a free instance that was started for batches of at least `batch_bytes`. If there is none, the
    /// caller starts a new one; if the pool already has the maximum number of instances, this drops a free
    /// one that was started for smaller batches.
    fn take(&mut self, batch_bytes: u64) -> Option<Instance> {
        let fitting = self.idle.iter().rposition(|instance| instance.batch_bytes >= batch_bytes);
        if fitting.is_none() && self.idle.len() + self.running > self.most() {
            self.idle.pop();
        }
        fitting.map(|at| self.idle.remove(at))
    }

    fn most(&self) -> usize {
        self.shared.setup.trigger.instances.max.get() as usize
    }
}

impl Invoker for Pool {
    fn free(&mut self) -> usize {
        self.collect_returned();
        self.inline_for = INLINE_LIMIT;
        self.most().saturating_sub(self.running)
    }

    fn instances(&self) -> usize {
        self.idle.len() + self.running
    }

    fn start(&mut self, call: Call) {
        self.collect_returned();
        self.running += 1;
        let instance = self.take(lowered_bytes(&call.batch));
        let guard = ReturnGuard { instance: None, to: self.give_back.clone() };
        let is_brief = instance.is_some() && call.expected <= BRIEF && !self.inline_for.is_zero();
        let mut run = Box::pin(self.shared.clone().run(instance, call, guard));
        let guests = &self.shared.guests;
        if is_brief {
            let (_entered, start) = (guests.enter(), Instant::now());
            let mut context = Context::from_waker(Waker::noop());
            let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(&mut context)));
            self.inline_for = self.inline_for.saturating_sub(start.elapsed());
            match polled {
                // The call takes longer than expected, and the next calls may too.
                Ok(Poll::Pending) => self.inline_for = Duration::ZERO,
                // After a panic, the `BugGuard` of the call has sent the completion.
                Ok(Poll::Ready(())) | Err(_) => return,
            }
        }
        guests.spawn(run);
    }

    fn shrink(&mut self) {
        self.collect_returned();
        let keep = (self.shared.setup.trigger.instances.min as usize).max(1);
        let surplus = (self.idle.len() + self.running).saturating_sub(keep).min(self.idle.len());
        let old = self.idle[..surplus].iter().take_while(|instance| instance.last_used.elapsed() > KEEP_IDLE).count();
        self.idle.drain(..old);
    }
}

/// Returns the instance of a call to the pool, also after a panic. `None` tells the pool that the instance
/// was dropped.
struct ReturnGuard {
    instance: Option<Instance>,
    to: mpsc::Sender<Option<Instance>>,
}

impl Drop for ReturnGuard {
    fn drop(&mut self) {
        // The channel has room for all instances. If the pool was dropped, the instance is dropped too.
        let _ = self.to.try_send(self.instance.take());
    }
}

/// Sends a completion with [`CallError::Bug`] if the call ends without sending one. The call removes
/// `completions` before it sends its own.
struct BugGuard {
    id: u64,
    completions: Option<mpsc::Sender<Completion>>,
}

impl Drop for BugGuard {
    fn drop(&mut self) {
        if let Some(completions) = self.completions.take() {
            let completion = Completion {
                id: self.id,
                batch: None,
                result: Err(CallError::Bug),
                started: None,
                elapsed: Duration::ZERO,
                outcome_bytes: 0,
            };
            let _ = completions.try_send(completion);
        }
    }
}

impl Shared {
    /// Starts an instance for batches of up to `batch_bytes`, and at least of the expected size.
    async fn instantiate(&self, batch_bytes: u64) -> Result<Instance, NoStart> {
        let batch_bytes = self.batch_bytes.max(batch_bytes.next_multiple_of(BATCH_STEP_BYTES));
        let mut environment = self.environment.clone();
        environment.push((BATCH_BYTES.to_owned(), batch_bytes.to_string()));
        let host = self.host(environment).await.map_err(NoStart::System)?;
        let mut store = Store::new(&self.engine.inner.wasmtime, host);
        store.limiter(|host| &mut host.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_hostcall_fuel(MAX_OUTCOME_BYTES);
        let guard = self.engine.inner.ticker.call();
        let started = within(START_LIMIT, self.compiled.pre.instantiate_async(&mut store)).await;
        drop(guard);
        let printed = store.data().lines.end();
        let runner = match started {
            Some(Ok(runner)) => runner,
            Some(Err(error)) => {
                let fault = classify(&error, store.data().limits.refused, &printed);
                return Err(if error.is::<PoolConcurrencyLimitError>() {
                    NoStart::Full(fault.reason)
                } else if is_system_error(&error) {
                    NoStart::System(fault.reason)
                } else {
                    NoStart::Guest(fault)
                });
            }
            None => {
                let reason = format!("it takes longer than {START_LIMIT:?}");
                return Err(NoStart::Guest(Fault::new(Cause::Deadline, reason)));
            }
        };
        Ok(Instance { store, runner, batch_bytes, calls: 0, last_used: Instant::now() })
    }

    /// The host side of an instance. Opening its folders may wait for a disk or a network.
    async fn host(&self, environment: Vec<(String, String)>) -> Result<Host, String> {
        let (setup, http, scope) = (self.setup.clone(), self.http.clone(), self.scope.clone());
        let opens_folders = !setup.function.folders.is_empty();
        let make = move || Host::new(&environment, &setup.function, http, scope);
        if !opens_folders {
            return make();
        }
        // A blocking thread that hangs keeps the runtime of the function alive. Otherwise the next start
        // would create a new runtime, and each could lose more threads in the same way.
        let guests = self.guests.clone();
        let mut opening = tokio::task::spawn_blocking(move || (make(), guests).0);
        let opened = within(START_LIMIT, &mut opening).await;
        opening.abort();
        match opened {
            Some(Ok(host)) => host,
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("its folders do not open within {START_LIMIT:?}")),
        }
    }

    async fn run(self: Arc<Self>, instance: Option<Instance>, call: Call, mut returning: ReturnGuard) {
        let mut guard = BugGuard { id: call.id, completions: Some(self.completions.clone()) };
        let mut started = None;
        let instance = match instance {
            Some(instance) => Ok(instance),
            None => {
                let start = Instant::now();
                let instance = self.instantiate(lowered_bytes(&call.batch)).await;
                started = Some(start.elapsed());
                instance
            }
        };
        let start = Instant::now();
        let mut outcome_bytes = 0;
        let result = match instance {
            // Instances for batches of the expected size do start. So only this batch is too large.
            Err(NoStart::Guest(fault))
                if fault.cause == Cause::Memory && lowered_bytes(&call.batch) > self.batch_bytes =>
            {
                let reason = format!("the memory of the function is too small for this batch: {}", fault.reason);
                Err(CallError::Fault(Fault::new(Cause::Memory, reason)))
            }
            Err(no_start) => Err(CallError::NoInstance(no_start.reason())),
            Ok(mut instance) => {
                let result = self.call_guest(&mut instance, &call, &mut outcome_bytes).await;
                if result.is_ok() && self.is_reusable(&instance) {
                    instance.last_used = Instant::now();
                    returning.instance = Some(instance);
                }
                result
            }
        };
        // The instance is returned before the completion is sent, so that the trigger finds it free when it
        // reads the completion.
        drop(returning);
        guard.completions = None;
        let elapsed = start.elapsed();
        let completion = Completion { id: call.id, batch: Some(call.batch), result, started, elapsed, outcome_bytes };
        // This fails if the trigger has ended. The trigger that replaces it reads these records again.
        let _ = self.completions.send(completion).await;
    }

    /// Calls the function in an instance. Sets `outcome_bytes` to the size of the outcome, if there is one.
    async fn call_guest(
        &self,
        instance: &mut Instance,
        call: &Call,
        outcome_bytes: &mut usize,
    ) -> Result<Checked, CallError> {
        let Instance { store, runner, calls, .. } = instance;
        let batch = &call.batch;
        *calls += 1;
        let first_offset = batch.offsets().first().copied().unwrap_or(-1);
        store.data().lines.begin(batch.topic(), batch.partition(), first_offset, batch.len());
        store.set_epoch_deadline(1);
        let granted = call.outcome_bytes.min(MAX_OUTCOME_BYTES);
        store.set_hostcall_fuel(granted);
        let deadline = self.setup.function.deadline;
        store.data_mut().begin_call(deadline);
        let ended = {
            let _yielding = self.engine.inner.ticker.call();
            let handler = runner.tidegate_function_handler();
            within(deadline, handler.call_handle(&mut *store, lower(batch))).await
        };
        let printed = store.data().lines.end();
        let fault = match ended {
            Some(Ok(lifted)) => {
                *outcome_bytes = lifted_bytes(&lifted);
                let checked = outcome(lifted).check(batch.len(), &self.setup.topics);
                return checked.and_then(|checked| checked.check_size(batch)).map_err(CallError::Fault);
            }
            Some(Err(error)) if granted < MAX_OUTCOME_BYTES && is_too_large(&error) => {
                return Err(CallError::OutcomeTooLarge { granted });
            }
            Some(Err(error)) => classify(&error, store.data().limits.refused, &printed),
            None => Fault::new(Cause::Deadline, format!("the call took longer than {deadline:?}")),
        };
        Err(CallError::Fault(fault))
    }

    fn is_reusable(&self, instance: &Instance) -> bool {
        match self.setup.function.reuse {
            Reuse::Fresh => false,
            Reuse::Pooled { max_calls } => max_calls.is_none_or(|most| instance.calls < most.get()),
        }
    }
}

/// Runs a guest for at most `limit`. After that it drops the guest and returns `None`. A guest that computes
/// is polled again after each yield, which also checks the time. For a guest that waits, a timer wakes this
/// task.
async fn within<T>(limit: Duration, guest: impl Future<Output = T>) -> Option<T> {
    let end = Instant::now() + limit;
    let mut guest = pin!(guest);
    // Most calls end at their first poll and need no timer.
    let first = std::future::poll_fn(|context| Poll::Ready(guest.as_mut().poll(context))).await;
    if let Poll::Ready(result) = first {
        return Some(result);
    }
    let mut timer = pin!(tokio::time::sleep_until(end.into()));
    // The first poll was just done. If the guest only yielded, it has already woken this task.
    let mut was_polled = true;
    std::future::poll_fn(|context| {
        if !std::mem::take(&mut was_polled)
            && let Poll::Ready(result) = guest.as_mut().poll(context)
        {
            return Poll::Ready(Some(result));
        }
        let late = Instant::now() >= end || timer.as_mut().poll(context).is_ready();
        if late { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// Whether the operating system refused something, such as memory. A function alone cannot cause this.
fn is_system_error(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.is::<std::io::Error>() || cause.is::<rustix::io::Errno>())
}

/// The expected size of the largest batch of a trigger. A batch is only larger if a record exceeds the default
/// size limit of brokers, or has many headers.
fn batch_bytes(trigger: &Trigger) -> u64 {
    let batch = &trigger.batch;
    batch.bytes.max(LARGEST_RECORD_BYTES) + u64::from(batch.records.get()) * 64
}

fn environment(setup: &Setup, revision: &str) -> Vec<(String, String)> {
    let function = &setup.function;
    let mut environment = vec![
        ("TIDEGATE_TRIGGER".to_owned(), setup.trigger.name.to_string()),
        ("TIDEGATE_FUNCTION".to_owned(), function.name.to_string()),
        ("TIDEGATE_REVISION".to_owned(), revision.to_owned()),
        ("TIDEGATE_LOG".to_owned(), log::level().to_owned()),
    ];
    if !function.env.contains_key(GO_MEMORY) && !function.secrets.contains_key(GO_MEMORY) {
        environment.push((GO_MEMORY.to_owned(), (function.memory_bytes / 5 * 4).to_string()));
    }
    environment.extend(function.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    environment.extend(function.secrets.iter().map(|(name, secret)| (name.clone(), secret.reveal().to_owned())));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_of_the_function_itself_are_its_fault() {
        let guest = |cause| PoolError::from(NoStart::Guest(Fault::new(cause, "why")));
        let reason = || "it does not start: why".to_owned();
        for cause in [Cause::Trap, Cause::Exit, Cause::Memory] {
            assert_eq!(guest(cause), PoolError::Function(reason()), "{cause:?}");
        }
        let machine = PoolError::Machine(reason());
        assert_eq!(guest(Cause::Deadline), machine, "the machine may be busy");
        assert_eq!(PoolError::from(NoStart::Full("why".to_owned())), machine);
        assert_eq!(PoolError::from(NoStart::System("why".to_owned())), machine);
    }

    #[test]
    fn a_system_error_is_found_in_the_chain_of_causes() {
        let refused = wasmtime::Error::from(rustix::io::Errno::NOMEM).context("mmap failed to allocate 0x1000 bytes");
        assert!(is_system_error(&refused));
        assert!(is_system_error(&wasmtime::Error::from(std::io::Error::from(std::io::ErrorKind::OutOfMemory))));
        assert!(!is_system_error(&wasmtime::Error::from(wasmtime::Trap::UnreachableCodeReached)));
    }
}
