//! The source folders of functions, which are built at the start and whenever a source or a golden case is saved.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::components;
use crate::author::golden;
use crate::author::toolchain::Language;
use crate::files::own_output;
use crate::manifest::Manifest;

/// How many levels of folders are searched.
const DEPTH: usize = 16;
/// Files that builds write, or that the node watches itself.
const NO_SOURCES: [&str; 3] = ["Cargo.lock", "go.sum", "tidegate.toml"];
/// The endings of files that programs write.
const WRITTEN: [&str; 3] = [".wasm", ".ndjson", ".log"];

/// A project, and the component of the manifest that it is built into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub folder: PathBuf,
    pub component: PathBuf,
}

/// The source folders that the components of a manifest are built from.
///
/// Every file is a source, because a source may include any other file. The exceptions are files that builds and
/// functions write: hidden files and folders, Cargo's `target`, `node_modules`, components, NDJSON that is not a
/// golden case, logs, lock files, everything in a folder that a function may write to, and the files that this
/// process writes to.
#[derive(Debug, Default)]
pub struct Sources {
    /// Each with its state at the last look.
    targets: BTreeMap<Target, Option<u64>>,
    written: BTreeSet<PathBuf>,
}

impl Sources {
    /// Follows the components of this manifest from now on. The project of a component is in the nearest folder
    /// above it that is a project. A component without a project is not built.
    pub fn follow(&mut self, manifest: &Manifest) {
        let folders = manifest.functions.values().flat_map(|function| function.folders.values());
        let written = folders.filter(|folder| folder.is_writable);
        self.written = written.filter_map(|folder| folder.path.canonicalize().ok()).collect();
        self.build(components(manifest));
    }

    fn build<'a>(&mut self, components: impl IntoIterator<Item = &'a Path>) {
        let target = |component: &Path| Some(Target { folder: project(component)?, component: component.to_owned() });
        let mut known = std::mem::take(&mut self.targets);
        let known = |target: Target| {
            let state = known.remove(&target).flatten();
            (target, state)
        };
        self.targets = components.into_iter().filter_map(target).map(known).collect();
    }

    /// The targets that changed since the last look. The first look returns all of them.
    pub fn changed(&mut self) -> Vec<Target> {
        let mut changed = Vec::new();
        for (target, known) in &mut self.targets {
            let state = state(&target.folder, &self.written);
            if known.replace(state) != Some(state) {
                changed.push(target.clone());
            }
        }
        changed
    }
}

/// The folder of the project that a component lies in: the nearest one above it.
pub fn project(component: &Path) -> Option<PathBuf> {
    let folders = component.ancestors().skip(1);
    let here = |folder: &Path| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() };
    folders.map(here).find(|folder| Language::of(folder).is_some())
}

/// A hash that changes when a source or a golden case is saved, added, renamed or removed.
fn state(project: &Path, written: &BTreeSet<PathBuf>) -> u64 {
    let mut files = Vec::new();
    collect(project, DEPTH, written, &mut files);
    files.extend(golden::find(project).unwrap_or_default());
    files.sort_unstable();
    let mut hasher = DefaultHasher::new();
    for file in files {
        // For a symbolic link this is the file that it points to.
        let Ok(metadata) = fs::metadata(&file) else { continue };
        // The log of a build must not start the next build. A pipe changes with everything that passes through it.
        if !metadata.is_file() || own_output(&metadata).is_some() {
            continue;
        }
        (file, metadata.modified().ok(), metadata.len()).hash(&mut hasher);
    }
    hasher.finish()
}

fn collect(folder: &Path, depth: usize, written: &BTreeSet<PathBuf>, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        // Links to folders are not followed, because they may form a cycle.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                let is_built = match &*name {
                    "node_modules" => true,
                    "target" => folder.join("Cargo.toml").is_file(),
                    _ => false,
                };
                if !is_built && depth > 0 && !path.canonicalize().is_ok_and(|path| written.contains(&path)) {
                    collect(&path, depth - 1, written, files);
                }
            }
            Ok(_) if !NO_SOURCES.contains(&&*name) && !WRITTEN.iter().any(|end| name.ends_with(end)) => {
                files.push(path);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_a_change_and_what_is_built_or_written_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let save = |name: &str, text: &str| {
            fs::create_dir_all(path(name).parent().expect("a folder")).expect("made");
            fs::write(path(name), text).expect("written");
        };
        save("Cargo.toml", "");
        save("src/lib.rs", "one");
        save("target/wasm32-wasip2/release/x.wasm", "");
        save("scratch/note", "");
        save("tools/x/Cargo.toml", "");
        let component = path("target/wasm32-wasip2/release/x.wasm");
        let written = path("scratch").canonicalize().expect("there");
        let mut sources = Sources { written: BTreeSet::from([written]), ..Sources::default() };
        sources.build([component.as_path()]);
        let target = Target { folder: folder.path().to_owned(), component: component.clone() };
        assert_eq!(sources.changed(), std::slice::from_ref(&target), "the first look");
        let mut check = |is_change: bool, what: &str| {
            let expected = if is_change { vec![target.clone()] } else { Vec::new() };
            assert_eq!(sources.changed(), expected, "{what}");
            sources.build([component.as_path()]);
            assert_eq!(sources.changed(), [], "{what}, once");
        };
        let no_sources = [
            "x.wasm",
            "target/more/y.rs",
            "tools/x/target/y.rs",
            "dev.log",
            "Cargo.lock",
            "records.ndjson",
            "scratch/deep/more",
            ".git/index",
        ];
        for name in no_sources.into_iter().chain(["node_modules/x.js", "src/lib.rs~", "tidegate.toml"]) {
            save(name, "new");
            check(false, name);
        }
        for name in ["src/more.rs", "src/target/mod.rs", "functions/mod.rs", "src/prices.sql", "cases/one.ndjson"] {
            save(name, "new");
            check(true, name);
        }
        fs::rename(path("src/more.rs"), path("src/less.rs")).expect("renamed");
        check(true, "another name");
        let old = fs::metadata(path("src/lib.rs")).and_then(|found| found.modified()).expect("a time");
        save("src/less.rs", "older");
        let file = fs::File::options().write(true).open(path("src/less.rs")).expect("there");
        file.set_modified(old).expect("set");
        check(true, "another content with an older time");
        fs::remove_file(path("src/less.rs")).expect("removed");
        check(true, "one less");
    }
}
