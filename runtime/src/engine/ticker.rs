//! A thread that advances the engine's epoch while calls run, which makes guests yield.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// How often a guest yields.
const TICK: Duration = Duration::from_millis(2);
/// The time to the next tick if no call ran at the last tick. It is longer, because if calls are brief, most
/// ticks would find no guest. So a guest may run up to this long before it yields for the first time.
const IDLE_TICK: Duration = Duration::from_millis(10);
/// After this number of ticks without a call the thread sleeps until the next call. So an idle node uses no
/// CPU time, and on a busy node a call need not wake the thread.
const TICKS_BEFORE_SLEEP: u32 = 20;

pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    _handle: JoinHandle<()>,
}

struct Shared {
    calls: AtomicUsize,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    pub(super) fn new(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            calls: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let theirs = shared.clone();
        let handle =
            std::thread::Builder::new().name("tidegate-ticker".to_owned()).spawn(move || theirs.run(&engine))?;
        Ok(Self { shared, thread: handle.thread().clone(), _handle: handle })
    }

    /// Guests yield as long as the returned guard lives.
    pub(super) fn call(&self) -> CallGuard<'_> {
        // Here and in `run`, the store comes before the load. So at least one of the two threads sees the
        // store of the other.
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        CallGuard { ticker: self }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self, engine: &wasmtime::Engine) {
        let mut idle_ticks = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            if idle_ticks < TICKS_BEFORE_SLEEP {
                std::thread::sleep(if idle_ticks == 0 { TICK } else { IDLE_TICK });
            } else {
                self.asleep.store(true, Ordering::SeqCst);
                if self.calls.load(Ordering::SeqCst) == 0 {
                    std::thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
            }
            idle_ticks = if self.calls.load(Ordering::SeqCst) == 0 { idle_ticks + 1 } else { 0 };
            engine.increment_epoch();
        }
    }
}

pub(super) struct CallGuard<'a> {
    ticker: &'a Ticker,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.ticker.shared.calls.fetch_sub(1, Ordering::SeqCst);
    }
}
