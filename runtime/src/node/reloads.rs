//! What became of new revisions since the node started, for its metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::histogram::{Histogram, Snapshot};
use crate::manifest::{Manifest, Name};

/// Counts results. The supervisor writes, and whoever reads the metrics reads.
#[derive(Debug)]
pub struct Reloads {
    functions: Mutex<BTreeMap<Name, Results>>,
    compile_time: Histogram,
}

/// Of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Revisions that began to serve a trigger. One that serves two triggers counts twice.
    pub adopted: u64,
    /// Contents that were refused, before or at their start.
    pub refused: u64,
}

impl Default for Reloads {
    fn default() -> Self {
        Self { functions: Mutex::default(), compile_time: Histogram::of_times() }
    }
}

impl Reloads {
    /// A trigger serves another revision of a function.
    pub fn adopted(&self, function: &Name) {
        self.functions().entry(function.clone()).or_default().adopted += 1;
    }

    /// A revision of a function was refused.
    pub fn refused(&self, function: &Name) {
        self.functions().entry(function.clone()).or_default().refused += 1;
    }

    /// So long after a content came it was compiled, or refused by the compiler.
    pub fn compiled(&self, time: Duration) {
        self.compile_time.time(time);
    }

    /// Forgets functions that are not in the manifest.
    pub fn retain(&self, manifest: &Manifest) {
        self.functions().retain(|name, _| manifest.functions.contains_key(name));
    }

    pub fn of(&self, function: &str) -> Results {
        self.functions().get(function).copied().unwrap_or_default()
    }

    pub fn compile_time(&self) -> Snapshot {
        self.compile_time.snapshot()
    }

    fn functions(&self) -> MutexGuard<'_, BTreeMap<Name, Results>> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
