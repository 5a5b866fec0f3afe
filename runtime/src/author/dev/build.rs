//! Builds a component in a temporary folder, runs the golden cases with it, and only then puts it where the node
//! finds it. If a step fails, the old component stays.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::lines::say;
use super::terminal::Running;
use super::{Sources, Target};
use crate::author::golden::{self, Case, Paint, Suite};
use crate::author::toolchain;
use crate::engine::Engine;
use crate::log;
use crate::manifest::{self, Component, Function, Manifest};

/// How often the source folders are checked for changes.
const LOOK: Duration = Duration::from_millis(300);

/// Builds components and tests them. It blocks.
pub struct Builder {
    pub engine: Engine,
    /// The newest valid manifest. The node reports what is wrong with invalid ones.
    pub manifest: Manifest,
    pub environment: fn(&str) -> Option<String>,
    pub paint: Paint,
    /// The runtime that calls run on.
    pub runtime: Handle,
}

impl Builder {
    /// Builds whatever changes, until it is stopped.
    pub fn build_on_save(mut self, mut sources: Sources, mut running: Running, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            if running.has_changed().unwrap_or_default() {
                sources.follow(&running.borrow_and_update());
            }
            self.build_all(&sources.changed());
        }
    }

    /// Builds components one after another, and tells the author how it goes.
    pub fn build_all(&mut self, targets: &[Target]) {
        for target in targets {
            let name = target.component.display();
            // A line of its own and no progress line, because log lines and records come in between.
            if io::stderr().is_terminal() {
                say(&format!("building {name} …"));
            }
            // What builds it writes to standard error by itself.
            log::flush();
            match self.build(target, &mut |line| log::tell(line)) {
                Ok(bytes) => say(&format!("built {name} ({} KiB)", bytes >> 10)),
                Err(error) => {
                    say(&format!("error: {error}"));
                    say(&format!("{name} stays as it is"));
                }
            }
        }
    }

    /// Builds a component, tests it, and puts it in place. Returns its size.
    ///
    /// # Errors
    ///
    /// The reason why the old component stays. `say` was given the cases that failed.
    pub fn build(&mut self, target: &Target, say: &mut dyn FnMut(&str)) -> Result<usize, String> {
        let aside = tempfile::tempdir().map_err(|error| format!("no place to build: {error}"))?;
        let path = aside.path().join("function.wasm");
        toolchain::build(&target.folder, Some(&path)).map_err(|error| error.to_string())?;
        let bytes = fs::read(&path).map_err(|error| format!("what was built is gone: {error}"))?;
        self.test(target, &bytes, say)?;
        if !toolchain::holds(&target.component, &bytes) {
            let placed = toolchain::replace(&target.component, &bytes);
            placed.map_err(|error| format!("{}: {error}", target.component.display()))?;
        }
        Ok(bytes.len())
    }

    fn test(&mut self, target: &Target, component: &[u8], say: &mut dyn FnMut(&str)) -> Result<(), String> {
        let paths = golden::find(&target.folder)
            .map_err(|error| format!("{}: {error}", target.folder.join(golden::FOLDER).display()))?;
        if paths.is_empty() {
            return Ok(());
        }
        if let Ok(manifest) = manifest::load(&self.manifest.path, &self.environment) {
            self.manifest = manifest;
        }
        let is_its = |function: &&Arc<Function>| match &function.component {
            Component::File(path) => *path == target.component,
            Component::Object(_) => false,
        };
        let functions: Vec<&Arc<Function>> = self.manifest.functions.values().filter(is_its).collect();
        let [function] = functions.as_slice() else {
            let names: Vec<&str> = functions.iter().map(|function| &*function.name).collect();
            say(&format!("golden cases are not run: of several functions ({})", names.join(", ")));
            return Ok(());
        };
        let called = golden::Target::new(Some((&self.manifest, function)), &[]).map_err(|error| error.to_string())?;
        let suite = self.runtime.block_on(Suite::new(&self.engine, component.to_vec(), called));
        let suite = suite.map_err(|error| format!("the function cannot be called: {error}"))?;
        let (mut failed, mut unfit) = (0, 0);
        for (text, is_unfit) in paths.iter().filter_map(|path| self.run(&suite, path)) {
            say(&text);
            failed += 1;
            unfit += usize::from(is_unfit);
        }
        match (failed, paths.len()) {
            (0, 1) => say("1 golden case passed"),
            (0, all) => say(&format!("{all} golden cases passed")),
            (failed, all) => {
                let hint = golden::hint(failed == unfit);
                return Err(format!("{failed} of {all} golden cases failed; {hint}"));
            }
        }
        Ok(())
    }

    /// The report of a case that failed, and whether its HTTP does not fit. `None`: the case passed.
    fn run(&self, suite: &Suite, path: &std::path::Path) -> Option<(String, bool)> {
        let case = match Case::read(path) {
            Ok(case) => case,
            Err(broken) => return Some((golden::broken(path, &broken, self.paint), false)),
        };
        match self.runtime.block_on(suite.run(&case)) {
            Ok(verdict) if verdict.passed() => None,
            Ok(verdict) => Some((golden::verdict(&case, &verdict, self.paint), !verdict.http_fits())),
            Err(error) => Some((golden::broken(path, &error, self.paint), false)),
        }
    }
}
