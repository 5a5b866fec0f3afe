//! What a guest sees of the world: its environment, clocks, randomness, its output streams, folders,
//! HTTP; and the limits on what it takes.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::ResourceLimiter;
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::http::{Client, Hooks, MAX_FIELDS_BYTES};
use super::log::{Lines, LogScope};
use crate::manifest::Function;

/// Streams, requests, heads and the like that one instance may have at once: what it takes on the host,
/// outside its `memory`. The largest is a request that is not sent yet, with 32 KiB of head, 16 KiB of
/// first line and 16 KiB of body; a body that is received holds up to 128 KiB, but is two resources. So
/// all of them take at most 256 MiB, and what crosses at one moment
/// [`MAX_OUTCOME_BYTES`](super::MAX_OUTCOME_BYTES) more. Without a bound is only the list of a
/// folder of the manifest, which is read whole.
const MAX_RESOURCES: usize = 4_096;

/// The state of one instance.
pub(super) struct Host {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    /// Dropped before the table, so that the bodies there do not seem to be finished.
    hooks: Hooks,
    pub(super) table: ResourceTable,
    pub(super) limits: Limits,
    pub(super) lines: Arc<Lines>,
}

impl Host {
    /// No files but those of the function's folders, no sockets, no arguments: what is not granted
    /// does not exist. `client` asks for what is granted by HTTP. Fails if a folder cannot be opened.
    pub(super) fn new(
        environment: &[(String, String)],
        function: &Function,
        client: Arc<Client>,
        scope: Arc<LogScope>,
    ) -> Result<Self, String> {
        let lines = Arc::new(Lines::new(scope));
        let mut wasi = WasiCtx::builder();
        wasi.envs(environment);
        wasi.stdout(lines.stream());
        wasi.stderr(lines.stream());
        wasi.allow_tcp(false).allow_udp(false);
        for (seen, folder) in &function.folders {
            let rights = if folder.is_writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            wasi.preopened_dir(&folder.path, seen, rights)
                .map_err(|error| format!("its folder {seen} cannot be opened: {}: {error:#}", folder.path.display()))?;
        }
        let memory_bytes = usize::try_from(function.memory_bytes).unwrap_or(usize::MAX);
        let limits = Limits { memory_bytes, used_bytes: 0, refused: false };
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Ok(Self { wasi: wasi.build(), http, hooks: Hooks::new(client), table, limits, lines })
    }

    /// A call begins that may take so long.
    pub(super) fn begin_call(&mut self, limit: Duration) {
        self.hooks.begin_call(limit);
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
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
