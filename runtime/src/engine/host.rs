//! The host side of an instance: the environment variables, clocks, random numbers, output streams, folders
//! and HTTP that the guest can use, and the limits of its memory and resources.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::ResourceLimiter;
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::http::{Client, Hooks, MAX_FIELDS_BYTES};
use super::log::{Lines, LogScope};
use crate::manifest::Function;

/// The maximum number of host resources of one instance, such as streams, requests and headers. They use
/// memory of the host, which does not count towards the `memory` of the function. The largest resource is a
/// request that is not sent yet, with up to 32 KiB of headers, 16 KiB of request line and 16 KiB of body. A
/// response body holds up to 128 KiB, but takes two resources. So all resources together take at most
/// 256 MiB. A transfer between guest and host takes up to [`MAX_OUTCOME_BYTES`](super::MAX_OUTCOME_BYTES)
/// more. Only the list of the files in a folder of the manifest has no limit, because it is read as a whole.
const MAX_RESOURCES: usize = 4_096;

/// The state of one instance.
pub(super) struct Host {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    /// Dropped before the table. Otherwise the request bodies in the table would look complete when they are
    /// dropped.
    hooks: Hooks,
    pub(super) table: ResourceTable,
    pub(super) limits: Limits,
    pub(super) lines: Arc<Lines>,
}

impl Host {
    /// The guest can open only files in the folders of the function. It has no sockets and no arguments.
    /// `client` sends the HTTP requests that the manifest allows. Fails if a folder cannot be opened.
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

    /// A call begins that may take up to `deadline`.
    pub(super) fn begin_call(&mut self, deadline: Duration) {
        self.hooks.begin_call(deadline);
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

/// Limits the memory of an instance; all its linear memories count together.
pub(super) struct Limits {
    memory_bytes: usize,
    used_bytes: usize,
    /// Whether the instance was ever refused memory. If it then fails, lack of memory is the cause.
    pub(super) refused: bool,
}

/// The maximum number of elements of one table. Compiled Rust and Go code keeps its function pointers in a
/// table with thousands of elements.
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
