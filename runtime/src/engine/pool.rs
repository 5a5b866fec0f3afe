//! The instances of one revision for one trigger.
//!
//! The pool belongs to the trigger's loop, which starts calls; each call runs as a task on the
//! guests' runtime, unless it is so brief that it ends where it was started, and brings its instance
//! back. An instance that trapped, ran out of time or memory, or answered nonsense is never used
//! again.

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
use super::guests::Guests;
use super::host::Host;
use super::http::Client;
use super::log::{self, LogScope};
use super::{Call, CallError, Completion, Engine, Invoker, MAX_OUTCOME_BYTES};
use crate::manifest::{Function, Reuse, Trigger};
use crate::record::Topics;
use crate::record::outcome::{Cause, Checked, Fault};

/// A call that will be over so soon begins on the caller's thread: handing it to another one would
/// cost as much. What takes longer after all yields at the next tick and goes on on the guests'
/// threads.
const BRIEF: Duration = Duration::from_micros(100);
/// How long all calls together may keep their caller that it starts one after another.
const INLINE_LIMIT: Duration = Duration::from_millis(1);
/// How long an instance may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long an instance beyond the minimum is kept without a call.
const KEEP_IDLE: Duration = Duration::from_secs(60);
/// The largest record of a broker with default settings.
const LARGEST_RECORD_BYTES: u64 = 1 << 20;
/// Larger batches than expected are told of in such steps, so that the next one may fit too.
const BATCH_STEP_BYTES: u64 = 1 << 20;
/// From where on Go collects more often, rather than be refused memory.
const GO_MEMORY: &str = "GOMEMLIMIT";
/// How a function is told of the largest batch.
const BATCH_BYTES: &str = "TIDEGATE_BATCH_BYTES";

/// Why a pool cannot serve, by what is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The function does not start, and will not start another time either.
    #[error("{0}")]
    Function(String),
    /// The machine cannot start it now: a folder is not there, memory or time is short.
    #[error("{0}")]
    Machine(String),
}

/// What a pool is made for.
#[derive(Clone)]
pub struct Setup {
    pub function: Arc<Function>,
    pub trigger: Arc<Trigger>,
    pub topics: Arc<Topics>,
}

/// Instances of one revision for one trigger.
pub struct Pool {
    shared: Arc<Shared>,
    /// The last one used is at the end, and is used next: its memory is warm.
    idle: Vec<Instance>,
    running: usize,
    returned: mpsc::Receiver<Option<Instance>>,
    give_back: mpsc::Sender<Option<Instance>>,
    /// How long brief calls may still keep their caller, until it asks again what is free.
    inline_for: Duration,
}

struct Shared {
    engine: Engine,
    guests: Arc<Guests>,
    compiled: Compiled,
    setup: Setup,
    environment: Vec<(String, String)>,
    /// The largest batch that is to be expected, as lowered.
    batch_bytes: u64,
    http: Arc<Client>,
    scope: Arc<LogScope>,
    completions: mpsc::Sender<Completion>,
}

struct Instance {
    store: Store<Host>,
    runner: Runner,
    /// The largest batch that it was told to expect.
    batch_bytes: u64,
    calls: u64,
    last_used: Instant,
}

/// Why an instance did not start.
enum NoStart {
    /// The node has as many instances as it may.
    Full(String),
    /// What it would see of the world is not there, or the system lacks something.
    World(String),
    /// The function itself.
    Guest(Fault),
}

impl From<NoStart> for PoolError {
    fn from(no_start: NoStart) -> Self {
        match no_start {
            // A busy machine is slow as well.
            NoStart::Guest(Fault { cause, .. }) if cause != Cause::Deadline => Self::Function(no_start.reason()),
            NoStart::Full(_) | NoStart::World(_) | NoStart::Guest(_) => Self::Machine(no_start.reason()),
        }
    }
}

impl NoStart {
    fn reason(self) -> String {
        let (Self::Full(reason) | Self::World(reason) | Self::Guest(Fault { reason, .. })) = self;
        format!("it does not start: {reason}")
    }
}

impl Pool {
    /// Starts as many instances as the trigger wants at least, and at least one: that proves that
    /// the revision starts.
    pub async fn warm(
        engine: &Engine,
        compiled: Compiled,
        setup: Setup,
        completions: mpsc::Sender<Completion>,
    ) -> Result<Self, PoolError> {
        let http = engine.http.get(&setup.function).map_err(PoolError::Machine)?;
        let guests = engine.inner.threads.of(&setup.function).map_err(|error| PoolError::Machine(error.to_string()))?;
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

    fn take_back(&mut self) {
        while let Ok(instance) = self.returned.try_recv() {
            self.running -= 1;
            self.idle.extend(instance);
        }
    }

    /// An instance that a batch of so many bytes fits, if one is free. If there are as many as may be,
    /// one that was started for smaller batches gives way to the one that has to be started now.
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
        self.take_back();
        self.inline_for = INLINE_LIMIT;
        self.most().saturating_sub(self.running)
    }

    fn start(&mut self, call: Call) {
        self.take_back();
        self.running += 1;
        let instance = self.take(lowered_bytes(&call.batch));
        let giving = GivingBack { instance: None, to: self.give_back.clone() };
        let is_brief = instance.is_some() && call.expected <= BRIEF && !self.inline_for.is_zero();
        let mut run = Box::pin(self.shared.clone().run(instance, call, giving));
        let guests = &self.shared.guests;
        if is_brief {
            let (_world, start) = (guests.enter(), Instant::now());
            let mut context = Context::from_waker(Waker::noop());
            let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(&mut context)));
            self.inline_for = self.inline_for.saturating_sub(start.elapsed());
            match polled {
                // It takes longer than it should, and so may the next ones.
                Ok(Poll::Pending) => self.inline_for = Duration::ZERO,
                // A panic was reported by the call's guard.
                Ok(Poll::Ready(())) | Err(_) => return,
            }
        }
        guests.spawn(run);
    }

    fn shrink(&mut self) {
        self.take_back();
        let keep = (self.shared.setup.trigger.instances.min as usize).max(1);
        let surplus = (self.idle.len() + self.running).saturating_sub(keep).min(self.idle.len());
        let old = self.idle[..surplus].iter().take_while(|instance| instance.last_used.elapsed() > KEEP_IDLE).count();
        self.idle.drain(..old);
    }
}

/// Brings an instance, or the news that there is none any more, back to the pool, whatever happens.
struct GivingBack {
    instance: Option<Instance>,
    to: mpsc::Sender<Option<Instance>>,
}

impl Drop for GivingBack {
    fn drop(&mut self) {
        // There is room for every instance; a pool that is gone needs none.
        let _ = self.to.try_send(self.instance.take());
    }
}

/// Reports that a call vanished, unless it is defused: then the call reported itself.
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
    /// Starts an instance for batches of up to so many bytes, and for all that are to be expected.
    async fn instantiate(&self, batch_bytes: u64) -> Result<Instance, NoStart> {
        let batch_bytes = self.batch_bytes.max(batch_bytes.next_multiple_of(BATCH_STEP_BYTES));
        let mut environment = self.environment.clone();
        environment.push((BATCH_BYTES.to_owned(), batch_bytes.to_string()));
        let host = self.host(environment).await.map_err(NoStart::World)?;
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
                } else if is_of_the_system(&error) {
                    NoStart::World(fault.reason)
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

    /// The world of an instance. Opening its folders may wait for a disk or a network.
    async fn host(&self, environment: Vec<(String, String)>) -> Result<Host, String> {
        let (setup, http, scope) = (self.setup.clone(), self.http.clone(), self.scope.clone());
        let opens_folders = !setup.function.folders.is_empty();
        let make = move || Host::new(&environment, &setup.function, http, scope);
        if !opens_folders {
            return make();
        }
        // A thread that hangs keeps the threads it is one of, so that they are not begun anew.
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

    async fn run(self: Arc<Self>, instance: Option<Instance>, call: Call, mut giving: GivingBack) {
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
            // Others start: it is this batch that the function has no room for.
            Err(NoStart::Guest(fault))
                if fault.cause == Cause::Memory && lowered_bytes(&call.batch) > self.batch_bytes =>
            {
                let reason = format!("the function has no room for a batch of this size: {}", fault.reason);
                Err(CallError::Fault(Fault::new(Cause::Memory, reason)))
            }
            Err(no_start) => Err(CallError::NoInstance(no_start.reason())),
            Ok(mut instance) => {
                let result = self.cross(&mut instance, &call, &mut outcome_bytes).await;
                if result.is_ok() && self.is_reusable(&instance) {
                    instance.last_used = Instant::now();
                    giving.instance = Some(instance);
                }
                result
            }
        };
        // First the instance, then the completion: who reads the completion finds the instance free.
        drop(giving);
        guard.completions = None;
        let elapsed = start.elapsed();
        let completion = Completion { id: call.id, batch: Some(call.batch), result, started, elapsed, outcome_bytes };
        // A trigger that is gone takes its records from its successor.
        let _ = self.completions.send(completion).await;
    }

    /// One call. `outcome_bytes` is what its outcome took, if it has one.
    async fn cross(
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

/// Runs a guest for at most `limit`; then it is dropped and `None` is the answer. A guest that never
/// waits is polled each time it yields, a guest that waits is woken by a timer.
async fn within<T>(limit: Duration, guest: impl Future<Output = T>) -> Option<T> {
    let end = Instant::now() + limit;
    let mut guest = pin!(guest);
    // Most calls end at their first poll and need no timer.
    let first = std::future::poll_fn(|context| Poll::Ready(guest.as_mut().poll(context))).await;
    if let Poll::Ready(result) = first {
        return Some(result);
    }
    let mut timer = pin!(tokio::time::sleep_until(end.into()));
    // It was just polled, and has woken this task if it only yielded.
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

/// Whether the system refused something, such as memory. A function cannot cause that by itself.
fn is_of_the_system(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.is::<std::io::Error>() || cause.is::<rustix::io::Errno>())
}

/// What calls of a trigger take, unless a record is larger than brokers allow by default, or has many
/// headers.
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
    fn only_what_the_function_does_itself_is_its_fault() {
        let guest = |cause| PoolError::from(NoStart::Guest(Fault::new(cause, "why")));
        let reason = || "it does not start: why".to_owned();
        for cause in [Cause::Trap, Cause::Exit, Cause::Memory] {
            assert_eq!(guest(cause), PoolError::Function(reason()), "{cause:?}");
        }
        let machine = PoolError::Machine(reason());
        assert_eq!(guest(Cause::Deadline), machine, "a busy machine is slow as well");
        assert_eq!(PoolError::from(NoStart::Full("why".to_owned())), machine);
        assert_eq!(PoolError::from(NoStart::World("why".to_owned())), machine);
    }

    #[test]
    fn what_the_system_refuses_is_known_by_its_cause() {
        let refused = wasmtime::Error::from(rustix::io::Errno::NOMEM).context("mmap failed to allocate 0x1000 bytes");
        assert!(is_of_the_system(&refused));
        assert!(is_of_the_system(&wasmtime::Error::from(std::io::Error::from(std::io::ErrorKind::OutOfMemory))));
        assert!(!is_of_the_system(&wasmtime::Error::from(wasmtime::Trap::UnreachableCodeReached)));
    }
}
