//! The threads that guests run on.
//!
//! Functions share them, but each function that has folders has its own. A disk that hangs keeps the
//! thread that asked it for as long as it likes, whatever became of the call. So it uses up the helper
//! threads of that function and of nobody else.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::manifest::{Function, Name};

/// Files of one function that are opened, read or written at once; further calls wait.
const FILE_THREADS: usize = 32;

/// Threads for guests. They end without waiting for guests when the last one who has them goes, on
/// whatever thread that is.
pub(super) struct Guests {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Guests {
    fn new(builder: &mut Builder, threads: usize) -> std::io::Result<Self> {
        let runtime = builder
            .worker_threads(threads.max(1))
            .thread_name("tidegate-guest")
            // A guest that spins gives its thread back at every tick; others and timers must
            // not wait for many such turns.
            .event_interval(4)
            .global_queue_interval(4)
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Deref for Guests {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Which function runs where.
pub(super) struct Threads {
    count: usize,
    shared: Arc<Guests>,
    with_folders: Mutex<HashMap<Name, Weak<Guests>>>,
}

impl Threads {
    pub(super) fn new(count: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Guests::new(&mut Builder::new_multi_thread(), count)?);
        Ok(Self { count, shared, with_folders: Mutex::default() })
    }

    /// Where a function runs. All its revisions and triggers run on the same threads.
    pub(super) fn of(&self, function: &Function) -> std::io::Result<Arc<Guests>> {
        if function.folders.is_empty() {
            return Ok(self.shared.clone());
        }
        let mut with_folders = self.with_folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guests) = with_folders.get(&function.name).and_then(Weak::upgrade) {
            return Ok(guests);
        }
        let mut builder = Builder::new_multi_thread();
        let guests = Arc::new(Guests::new(builder.max_blocking_threads(FILE_THREADS), self.count)?);
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
    fn a_function_with_folders_has_threads_of_its_own_as_long_as_somebody_has_them() {
        let manifest = manifest::parse(Path::new("tidegate.toml"), FUNCTIONS, &|_| None).expect("a manifest");
        let threads = Threads::new(1).expect("threads");
        let of = |name: &str| threads.of(&manifest.functions[name]).expect("threads");
        let (a, b, c) = (of("a"), of("b"), of("c"));
        assert!(Arc::ptr_eq(&c, &of("d")) && Arc::ptr_eq(&a, &of("a")));
        assert!(!Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));

        drop(a);
        let again = of("a");
        assert_eq!(Arc::strong_count(&again), 1);
    }
}
