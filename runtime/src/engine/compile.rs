//! Checks, compiles and links components.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;
use wasmparser::names::split_canonical_version;
use wasmtime::component::{Component, Linker};

use super::bindings::{RunnerPre, VERSION};
use super::cache::Cache;
use super::host::Host;
use super::http;
use super::queue::Queue;
use crate::manifest;
use crate::record::revision::Digest;

/// The prefix of the names of all interfaces of the contract.
const CONTRACT: &str = "tidegate:function/";
/// The interface a function exports, without its version.
const HANDLER: &str = "tidegate:function/handler";
/// How to build a component. Every error that refuses a component ends with it.
const HOW_TO_BUILD: &str = "build it with `tidegate build`, or `cargo build --release --target wasm32-wasip2`";

/// Why a component is refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    pub reason: String,
}

impl Rejected {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// The component imports something that functions may not import. `what` names the imports.
    pub fn ungranted(what: &str) -> Self {
        Self::new(format!(
            "it imports what it is not granted: {what}; a function may import cli, clocks, filesystem, http, io, \
             random and sockets of WASI 0.2, and nothing else (HTTP comes with the feature `http` of tidegate-sdk, \
             or the package `wasihttp` of sdk-go): leave out the dependency that brings it in, and {HOW_TO_BUILD}"
        ))
    }

    pub(super) fn machine(error: &wasmtime::Error) -> Self {
        Self::new(format!("this machine cannot run functions: {error:#}"))
    }
}

/// A compiled and linked function. Cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    pub(super) pre: RunnerPre<Host>,
    pub digest: Digest,
}

/// What a component exports and imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The exported interfaces, with versions.
    pub exports: Vec<String>,
    /// The imported interfaces, with versions.
    pub imports: Vec<String>,
}

impl Inspection {
    /// The version of the exported handler, even if this engine does not know that version. `None`: the
    /// component is not a function.
    pub fn handler(&self) -> Option<&str> {
        self.exports.iter().find_map(|name| name.strip_prefix(HANDLER)?.strip_prefix('@'))
    }

    /// Whether the engine accepts components that are built for this version of the contract. It accepts
    /// every patch version of one 0.x.
    pub fn knows(version: &str) -> bool {
        track(version) == track(VERSION)
    }

    /// Checks that the component is a function and that the engine knows its version of the contract, and
    /// returns this version. The engine calls this before it compiles a component, and `tidegate inspect`
    /// before it shows one. The linker checks the other imports.
    pub fn check(&self) -> Result<&str, Rejected> {
        let Some(version) = self.handler() else {
            return Err(Rejected::new(format!(
                "it does not export {HANDLER}@{VERSION} (it exports {}); {HOW_TO_BUILD}",
                list(&self.exports)
            )));
        };
        let exports = self.exports.iter().map(|name| ("exports", name));
        let imports = self.imports.iter().map(|name| ("imports", name));
        for (verb, name) in exports.chain(imports).filter(|(_, name)| name.starts_with(CONTRACT)) {
            let version = name.split_once('@').map_or("", |(_, version)| version);
            if !Self::knows(version) {
                return Err(Rejected::new(format!(
                    "it is built for another version of the contract: it {verb} {name}, and this tidegate knows \
                     {}.x; run the tidegate of its SDK, or take the SDK of this tidegate and {HOW_TO_BUILD}",
                    track(VERSION).unwrap_or(VERSION)
                )));
            }
        }
        Ok(version)
    }
}

/// The part of a version that is the same in all versions that are compatible with it, for example `0.1` of
/// `0.1.7`. A pre-release such as `0.1.0-rc.1` is compatible with no other version, so the result is all of
/// it. `None`: the text is not a version.
fn track(version: &str) -> Option<&str> {
    split_canonical_version(version).map(|(track, _)| track)
}

/// Reads what a component exports and imports, without compiling it.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Rejected> {
    use wasmparser::{Parser, Payload};
    if !Parser::is_component(bytes) {
        let what = if Parser::is_core_wasm(bytes) { "it is a core module" } else { "it is not WebAssembly" };
        return Err(Rejected::new(format!("not a component: {what}; {HOW_TO_BUILD}")));
    }
    let damaged = |error: wasmparser::BinaryReaderError| {
        Rejected::new(format!(
            "a damaged or truncated component: {} at byte {}; copy the whole of it, or {HOW_TO_BUILD}",
            error.message(),
            error.offset()
        ))
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

/// The thread that compiles. It has a low priority, so that a new revision does not slow down the calls.
pub(super) struct Compiler {
    shared: Arc<Shared>,
}

struct Shared {
    engine: wasmtime::Engine,
    linker: Linker<Host>,
    cache: Option<Cache>,
    queue: Queue<Job>,
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
        let cache = cache.and_then(|folder| Cache::open(&folder, engine));
        let shared = Arc::new(Shared { engine: engine.clone(), linker, cache, queue: Queue::new() });
        let compiling = shared.clone();
        std::thread::Builder::new()
            .name("tidegate-compile".to_owned())
            .spawn(move || compiling.run())
            .map_err(|error| Rejected::machine(&error.into()))?;
        Ok(Self { shared })
    }

    /// Loads the component from the cache, or compiles it. Loading does not wait for other compilations. A
    /// job that still waits is given up when a newer job of the same source comes.
    pub(super) async fn compile(
        &self,
        source: Option<manifest::Component>,
        bytes: Arc<[u8]>,
        digest: Digest,
    ) -> Result<Compiled, Rejected> {
        let (shared, looked_at) = (self.shared.clone(), bytes.clone());
        // If loading panics, the job goes to the thread that compiles. It loads again and reports the panic.
        if let Ok(loaded) = tokio::task::spawn_blocking(move || shared.load(&looked_at, digest)).await
            && let Some(compiled) = loaded?
        {
            return Ok(compiled);
        }
        let (answer, result) = oneshot::channel();
        if let Some(older) = self.shared.queue.push(source, Job { bytes, digest, answer }) {
            let _ = older
                .answer
                .send(Err(Rejected::new("a newer build of the component came before this one was compiled")));
        }
        result.await.map_err(|_| Rejected::new("the compiler thread has ended"))?
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

/// Lowers the priority of this thread. Only Linux can do this for one thread; elsewhere it would affect the
/// whole process.
fn lower_priority() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::setpriority_process(None, 10)
    {
        tracing::debug!("compiling with normal priority: {error}");
    }
}

impl Shared {
    fn run(&self) {
        lower_priority();
        while let Some(job) = self.queue.pop() {
            // A panic must not end the thread, because it also compiles the next components.
            let result = catch_unwind(AssertUnwindSafe(|| self.compile(&job))).unwrap_or_else(|_| {
                Err(Rejected::new("the compiler panicked, which is a bug in wasmtime or tidegate"))
            });
            // If the caller no longer waits, the result stays in the cache.
            let _ = job.answer.send(result);
        }
    }

    fn compile(&self, job: &Job) -> Result<Compiled, Rejected> {
        // An earlier job may have compiled the same component.
        if let Some(compiled) = self.load(&job.bytes, job.digest)? {
            return Ok(compiled);
        }
        let component = Component::new(&self.engine, &job.bytes)
            .map_err(|error| Rejected::new(format!("an invalid component: {error:#}; {HOW_TO_BUILD}")))?;
        if let Some(cache) = &self.cache {
            cache.store(&component, &job.digest);
        }
        self.link(&component, job.digest, inspect(&job.bytes)?.check()?)
    }

    /// Loads a component from the cache, if it is there. Refuses a component that is not a function.
    fn load(&self, bytes: &[u8], digest: Digest) -> Result<Option<Compiled>, Rejected> {
        let inspection = inspect(bytes)?;
        let version = inspection.check()?;
        let cached = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, &digest));
        cached.map(|component| self.link(&component, digest, version)).transpose()
    }

    fn link(&self, component: &Component, digest: Digest, version: &str) -> Result<Compiled, Rejected> {
        let pre = self.linker.instantiate_pre(component).map_err(|error| Rejected::ungranted(&format!("{error:#}")))?;
        let pre = RunnerPre::new(pre).map_err(|error| {
            Rejected::new(format!(
                "its export {HANDLER}@{version} has another shape than that of the contract: {error:#}; take the SDK \
                 of this tidegate and {HOW_TO_BUILD}"
            ))
        })?;
        Ok(Compiled { pre, digest })
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(exports: &[&str], imports: &[&str], expected: Result<&str, &str>) {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let inspection = Inspection { exports: names(exports), imports: names(imports) };
        let found = inspection.check().map_err(|rejected| rejected.reason);
        match expected {
            Ok(version) => assert_eq!(found, Ok(version)),
            Err(start) => {
                let reason = found.expect_err("refused");
                assert!(reason.starts_with(start) && reason.ends_with(HOW_TO_BUILD), "{reason}");
            }
        }
    }

    #[test]
    fn the_version_is_the_one_in_the_wit_file() {
        let contract = include_str!("../../../wit/function.wit");
        assert!(contract.contains(&format!("package tidegate:function@{VERSION};")));
    }

    #[test]
    fn only_patches_of_the_same_minor_version_are_known() {
        for version in ["0.1.0", "0.1.7", "0.1.12+build.3"] {
            assert!(Inspection::knows(version), "{version}");
        }
        for version in ["0.2.0", "0.0.1", "0.10.0", "1.1.0", "0.1.0-rc.1", "0.1", "0.1.x", ""] {
            assert!(!Inspection::knows(version), "{version}");
        }
    }

    #[test]
    fn the_version_of_a_function_is_that_of_its_handler() {
        let imports = ["tidegate:function/types@0.1.7", "wasi:cli/environment@0.2.6"];
        check(&["memory", "tidegate:function/handler@0.1.7"], &imports, Ok("0.1.7"));
        check(&["tidegate:function/handler@0.1.0"], &[], Ok("0.1.0"));
    }

    #[test]
    fn a_component_without_a_handler_is_refused() {
        let none = "it does not export tidegate:function/handler@0.1.0 (it exports nothing); ";
        check(&[], &[], Err(none));
        for name in ["tidegate:function/handler", "tidegate:function/handlers@0.1.0", "acme:function/handler@0.1.0"] {
            let other = format!("it does not export tidegate:function/handler@0.1.0 (it exports {name}); ");
            check(&[name], &[], Err(&other));
        }
    }

    #[test]
    fn a_refusal_names_the_interface_that_has_an_unknown_version() {
        let (other, known) = ("it is built for another version of the contract: it", "and this tidegate knows 0.1.x; ");
        let exported = format!("{other} exports tidegate:function/handler@0.2.0, {known}");
        check(&["tidegate:function/handler@0.2.0"], &["tidegate:function/types@0.2.0"], Err(&exported));
        let imported = format!("{other} imports tidegate:function/types@0.2.0, {known}");
        check(&["tidegate:function/handler@0.1.0"], &["tidegate:function/types@0.2.0"], Err(&imported));
    }
}
