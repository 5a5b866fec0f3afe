//! The tokio runtimes that run guests.
//!
//! All functions without folders share one runtime. Each function with folders has its own runtime, because
//! an access to a disk that hangs blocks its thread, even after the call was dropped. So it can use up only
//! the blocking threads of that function.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::manifest::{Function, Name};

/// How many file operations of one function run at once; further ones wait.
const FILE_THREADS: usize = 32;

/// A runtime for guests. When it is dropped, its threads end without waiting for guests. It may be dropped
/// on any thread, even on one of a tokio runtime.
pub(super) struct GuestRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl GuestRuntime {
    fn new(builder: &mut Builder, threads: usize) -> std::io::Result<Self> {
        let runtime = builder
            .worker_threads(threads.max(1))
            .thread_name("tidegate-guest")
            // A guest that computes without end yields only at each tick. Other tasks and timers must not
            // wait for many ticks.
            .event_interval(4)
            .global_queue_interval(4)
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Deref for GuestRuntime {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The runtimes of all functions.
pub(super) struct GuestRuntimes {
    threads: usize,
    shared: Arc<GuestRuntime>,
    with_folders: Mutex<HashMap<Name, Weak<GuestRuntime>>>,
}

impl GuestRuntimes {
    /// Each runtime gets this number of threads.
    pub(super) fn new(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(GuestRuntime::new(&mut Builder::new_multi_thread(), threads)?);
        Ok(Self { threads, shared, with_folders: Mutex::default() })
    }

    /// The runtime of a function. All revisions and triggers of the function share it.
    pub(super) fn of(&self, function: &Function) -> std::io::Result<Arc<GuestRuntime>> {
        if function.folders.is_empty() {
            return Ok(self.shared.clone());
        }
        let mut with_folders = self.with_folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guests) = with_folders.get(&function.name).and_then(Weak::upgrade) {
            return Ok(guests);
        }
        let mut builder = Builder::new_multi_thread();
        let guests = Arc::new(GuestRuntime::new(builder.max_blocking_threads(FILE_THREADS), self.threads)?);
        with_folders.retain(|_, guests| guests.strong_count() > 0);
        with_folders.insert(function.name.clone(), Arc::downgrade(&guests));
        Ok(guests)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest;

    const FUNCTIONS: &str = r#"
        function.a = { component = "a.wasm", folders = { "/" = "data" } }
        function.b = { component = "b.wasm", folders = { "/" = "data" } }
        function.c = { component = "c.wasm" }
        function.d = { component = "d.wasm" }
    "#;

    #[test]
    fn a_function_with_folders_has_its_own_runtime_while_it_is_used() {
        let manifest = manifest::parse(Path::new("tidegate.toml"), FUNCTIONS, &|_| None).expect("a manifest");
        let runtimes = GuestRuntimes::new(1).expect("threads");
        let of = |name: &str| runtimes.of(&manifest.functions[name]).expect("threads");
        let (a, b, c) = (of("a"), of("b"), of("c"));
        assert!(Arc::ptr_eq(&c, &of("d")) && Arc::ptr_eq(&a, &of("a")));
        assert!(!Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));

        drop(a);
        let again = of("a");
        assert_eq!(Arc::strong_count(&again), 1);
    }
}
