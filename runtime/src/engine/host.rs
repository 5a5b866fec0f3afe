//! What a guest sees of the world: its environment, clocks, randomness, its output streams; and
//! the limits on what it takes.

use std::sync::Arc;

use wasmtime::ResourceLimiter;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use super::log::{Lines, LogScope};

/// The state of one instance.
pub(super) struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) limits: Limits,
    pub(super) lines: Arc<Lines>,
}

impl Host {
    /// No files, no sockets, no arguments: what is not granted does not exist.
    pub(super) fn new(environment: &[(String, String)], memory_bytes: u64, scope: Arc<LogScope>) -> Self {
        let lines = Arc::new(Lines::new(scope));
        let mut wasi = WasiCtx::builder();
        wasi.envs(environment);
        wasi.stdout(lines.stream());
        wasi.stderr(lines.stream());
        wasi.allow_tcp(false).allow_udp(false);
        let limits =
            Limits { memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX), used_bytes: 0, refused: false };
        Self { wasi: wasi.build(), table: ResourceTable::new(), limits, lines }
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Bounds what an instance takes, all its memories together.
pub(super) struct Limits {
    memory_bytes: usize,
    used_bytes: usize,
    /// Whether the instance was ever refused memory: then its end is for want of memory.
    pub(super) refused: bool,
}

/// Most elements of one table. Rust and Go keep their functions in one; theirs have thousands.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used_bytes - current.min(self.used_bytes) + desired;
        if used > self.memory_bytes {
            self.refused = true;
            return Ok(false);
        }
        self.used_bytes = used;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }
}
