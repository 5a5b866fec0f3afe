//! The thread of a trigger.
//!
//! Each trigger turns on a thread of its own: what wakes it is one signal to that thread, where a
//! scheduler would wake two of its own and ask the kernel which event it was.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::clock::Now;
use super::driver::{Driver, Parts, Turn};
use super::status::{State, Status};
use crate::kafka::{Clients, block_until};

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
            Ok(Turn::Park(until)) => drop(block_until(until, driver.park())),
            Err(panic) => driver.recover(&*panic, Now::read()),
        }
    }
}
