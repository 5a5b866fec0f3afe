//! From the bytes of a component to code that is known to be a function.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{Component, Linker};

use super::bindings::RunnerPre;
use super::cache::Cache;
use super::host::Host;
use super::http;
use crate::revision::Digest;

/// The interface a function exports, without its version.
const HANDLER: &str = "tidegate:function/handler";
/// How a component is built, for errors about what is none.
const HOW_TO_BUILD: &str = "build it with `tidegate build`, or `cargo build --release --target wasm32-wasip2`";

/// Why a component is not taken on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    pub reason: String,
}

impl Rejected {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    pub(super) fn machine(error: &wasmtime::Error) -> Self {
        Self::new(format!("this machine cannot run functions: {error:#}"))
    }
}

/// A function that is compiled and linked. Cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    pub(super) pre: RunnerPre<Host>,
    pub digest: Digest,
}

/// What a component says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Interfaces it exports, with versions.
    pub exports: Vec<String>,
    /// Interfaces it imports, with versions.
    pub imports: Vec<String>,
}

impl Inspection {
    /// The version of the contract that it was built against.
    pub fn handler(&self) -> Option<&str> {
        self.exports.iter().map(String::as_str).find(|name| name.split('@').next() == Some(HANDLER))
    }
}

/// Reads what a component exports and imports, without compiling it.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Rejected> {
    use wasmparser::{Parser, Payload};
    if !Parser::is_component(bytes) {
        let what = if Parser::is_core_wasm(bytes) { "it is a core module" } else { "it is not WebAssembly" };
        return Err(Rejected::new(format!("not a component: {what}; {HOW_TO_BUILD}")));
    }
    let damaged = |error: wasmparser::BinaryReaderError| {
        Rejected::new(format!("a damaged or truncated component: {} at byte {}", error.message(), error.offset()))
    };
    let mut inspection = Inspection { exports: Vec::new(), imports: Vec::new() };
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(damaged)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    inspection.imports.push(import.map_err(damaged)?.name.name.to_string());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    inspection.exports.push(export.map_err(damaged)?.name.name.to_string());
                }
            }
            _ => {}
        }
    }
    Ok(inspection)
}

/// The thread that compiles. Its priority is low: taking on a revision must not slow the records.
pub(super) struct Compiler {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    bytes: Arc<[u8]>,
    digest: Digest,
    answer: oneshot::Sender<Result<Compiled, Rejected>>,
}

impl Compiler {
    pub(super) fn new(engine: &wasmtime::Engine, cache: Option<PathBuf>) -> Result<Self, Rejected> {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(|error| Rejected::machine(&error))?;
        http::add_to_linker(&mut linker).map_err(|error| Rejected::machine(&error))?;
        let (jobs, mut queue) = mpsc::channel::<Job>(16);
        let engine = engine.clone();
        std::thread::Builder::new()
            .name("tidegate-compile".to_owned())
            .spawn(move || {
                lower_priority();
                let cache = cache.and_then(|folder| Cache::open(&folder, &engine));
                while let Some(job) = queue.blocking_recv() {
                    // A component that breaks the compiler must not keep the next ones from it.
                    let compiling = AssertUnwindSafe(|| compile(&engine, &linker, cache.as_ref(), &job));
                    let result = catch_unwind(compiling)
                        .unwrap_or_else(|_| Err(Rejected::new("the compiler panicked: a bug in wasmtime or tidegate")));
                    // Nobody waits for it any more: it is in the cache now.
                    let _ = job.answer.send(result);
                }
            })
            .map_err(|error| Rejected::machine(&error.into()))?;
        Ok(Self { jobs })
    }

    pub(super) async fn compile(&self, bytes: Arc<[u8]>, digest: Digest) -> Result<Compiled, Rejected> {
        let (answer, result) = oneshot::channel();
        let gone = || Rejected::new("the compiler ended");
        self.jobs.send(Job { bytes, digest, answer }).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!("compiles at normal priority: {error}");
    }
}

fn compile(
    engine: &wasmtime::Engine,
    linker: &Linker<Host>,
    cache: Option<&Cache>,
    job: &Job,
) -> Result<Compiled, Rejected> {
    let inspection = inspect(&job.bytes)?;
    if inspection.handler().is_none() {
        return Err(Rejected::new(format!(
            "it does not export {HANDLER}@0.1.0 (it exports {}); {HOW_TO_BUILD}",
            list(&inspection.exports)
        )));
    }
    let cached = cache.and_then(|cache| cache.load(engine, &job.digest));
    let component = match cached {
        Some(component) => component,
        None => {
            let component = Component::new(engine, &job.bytes)
                .map_err(|error| Rejected::new(format!("an invalid component: {error:#}")))?;
            if let Some(cache) = cache {
                cache.store(&component, &job.digest);
            }
            component
        }
    };
    let pre = linker.instantiate_pre(&component).map_err(|error| {
        Rejected::new(format!(
            "it imports what it is not granted (it imports {}): {error:#}",
            list(&inspection.imports)
        ))
    })?;
    let pre =
        RunnerPre::new(pre).map_err(|error| Rejected::new(format!("its handler has another shape: {error:#}")))?;
    Ok(Compiled { pre, digest: job.digest })
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
