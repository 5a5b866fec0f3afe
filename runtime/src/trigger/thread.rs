//! The thread of a trigger.
//!
//! Each trigger turns on a thread of its own: what wakes it is one signal to that thread, where a
//! scheduler would wake two of its own and ask the kernel which event it was.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::clock::Now;
use super::driver::{Driver, Parts, Turn};
use super::status::{State, Status};
use crate::kafka::Clients;

/// How soon it is tried again to start a thread.
const NO_THREAD: Duration = Duration::from_secs(5);

/// Turns a trigger until it is gone, on a thread of its own. While the system has none, the trigger says so, and
/// ends when it is told to stop by `stopping`; with a thread the driver hears of that by its commands.
pub async fn drive<C: Clients>(parts: Parts<C>, stopping: Arc<Notify>) {
    let (name, status) = (parts.context.trigger.name.to_string(), parts.status.clone());
    let parts = Arc::new(Mutex::new(Some(parts)));
    loop {
        let (over, ended) = oneshot::channel::<()>();
        let (parts, world) = (parts.clone(), Handle::current());
        let main = move || {
            let _over = over;
            let _world = world.enter();
            if let Some(parts) = parts.lock().unwrap_or_else(PoisonError::into_inner).take() {
                run(Driver::new(parts, Now::read()));
            }
        };
        match thread::Builder::new().name(format!("t:{name}")).spawn(main) {
            Ok(_) => {
                // The sender is dropped at the end of the thread, also by a panic.
                let _ = ended.await;
                return;
            }
            Err(error) => {
                tracing::warn!(
                    trigger = name,
                    "no thread can be started, which is tried again in {NO_THREAD:?}: {error}"
                );
                let reason = format!("no thread can be started: {error}");
                status.send_modify(|status: &mut Status| {
                    (status.state, status.reason) = (State::Degraded, Some(reason));
                });
                tokio::select! {
                    () = tokio::time::sleep(NO_THREAD) => {}
                    () = stopping.notified() => return,
                }
            }
        }
    }
}

/// A panic is a bug of ours: everything is built again from what is committed.
fn run<C: Clients>(mut driver: Driver<C>) {
    loop {
        let turned = std::panic::catch_unwind(AssertUnwindSafe(|| driver.turn(Now::read())));
        match turned {
            Ok(Turn::Over) => return,
            Ok(Turn::Again) => {}
            Ok(Turn::Park(until)) => wait_until(until, driver.park()),
            Err(panic) => driver.recover(&*panic, Now::read()),
        }
    }
}

/// Waits on this thread for a future, or until a time.
fn wait_until(until: Instant, future: impl Future<Output = ()>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    thread_local! {
        static WAKER: Waker = Arc::new(Unpark(thread::current())).into();
    }
    WAKER.with(|waker| {
        let mut future = pin!(future);
        while future.as_mut().poll(&mut Context::from_waker(waker)).is_pending() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    });
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    #[test]
    fn a_wait_ends_when_another_thread_wakes_it_or_the_time_has_come() {
        let far = Instant::now() + Duration::from_secs(600);
        let (ours, theirs) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let other = {
            let (ours, theirs) = (ours.clone(), theirs.clone());
            thread::spawn(move || {
                theirs.notify_one();
                wait_until(far, ours.notified());
            })
        };
        wait_until(far, theirs.notified());
        ours.notify_one();
        other.join().expect("it ends");

        let soon = Instant::now() + Duration::from_millis(1);
        wait_until(soon, std::future::pending());
        assert!(Instant::now() >= soon);
    }
}
