//! The source folders of functions: built at the start and when something in them is saved, golden
//! cases too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::golden;
use crate::toolchain::Language;

/// Folders that hold no source.
const SKIPPED: [&str; 3] = ["target", "node_modules", "functions"];
/// How deep folders are looked into.
const DEPTH: usize = 8;

/// The state of a folder: what changes when a file is saved, added or removed.
type State = (usize, Option<SystemTime>);

/// What is built: the project in a folder, into a component of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub folder: PathBuf,
    pub component: PathBuf,
}

/// The source folders behind the components of a manifest.
#[derive(Debug, Default)]
pub struct Sources {
    targets: BTreeMap<Target, Option<[State; 2]>>,
}

impl Sources {
    /// Finds the folder of each component: the nearest one above it that is a project. A component
    /// without one is not built here.
    pub fn of<'a>(components: impl IntoIterator<Item = &'a Path>) -> Self {
        let target = |component: &Path| Some(Target { folder: project(component)?, component: component.to_owned() });
        Self { targets: components.into_iter().filter_map(target).map(|target| (target, None)).collect() }
    }

    /// What is to be built because something changed since the last look; at first everything.
    pub fn changed(&mut self) -> Vec<Target> {
        let mut changed = Vec::new();
        for (target, known) in &mut self.targets {
            let state = [state(&target.folder, DEPTH), cases(&target.folder)];
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

/// Counts the files of a folder, and finds when the newest was written.
fn state(folder: &Path, depth: usize) -> State {
    let mut state = (0, None);
    let Ok(entries) = fs::read_dir(folder) else { return state };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Ok(metadata) = entry.metadata() else { continue };
        let (files, newest) = if metadata.is_dir() {
            if depth == 0 || name.starts_with('.') || SKIPPED.contains(&&*name) {
                continue;
            }
            self::state(&entry.path(), depth - 1)
        } else if is_source(&name) {
            (1, metadata.modified().ok())
        } else {
            continue;
        };
        state = (state.0 + files, state.1.max(newest));
    }
    state
}

/// The same of the golden cases of a project.
fn cases(folder: &Path) -> State {
    let cases = golden::find(folder).unwrap_or_default();
    let written = cases.iter().filter_map(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    (cases.len(), written.max())
}

fn is_source(name: &str) -> bool {
    let name = Path::new(name);
    let extension = name.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "toml" | "wit" | "go" | "mod")) && name != Path::new("tidegate.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_source_is_a_change_and_a_built_component_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("src")).expect("a folder");
        fs::create_dir_all(path("target/wasm32-wasip2/release")).expect("a folder");
        fs::write(path("Cargo.toml"), "").expect("written");
        fs::write(path("src/lib.rs"), "one").expect("written");
        let component = path("target/wasm32-wasip2/release/x.wasm");
        let mut sources = Sources::of([component.as_path()]);
        let target = Target { folder: folder.path().to_owned(), component: component.clone() };
        assert_eq!(sources.changed(), std::slice::from_ref(&target), "the first look");
        fs::write(&component, "built").expect("written");
        fs::write(path("Cargo.lock"), "locked").expect("written");
        assert_eq!(sources.changed(), []);
        fs::write(path("src/more.rs"), "two").expect("written");
        assert_eq!(sources.changed(), std::slice::from_ref(&target));
        fs::write(path("records.ndjson"), "{}").expect("written");
        assert_eq!(sources.changed(), []);
        fs::create_dir(path("cases")).expect("a folder");
        fs::write(path("cases/one.ndjson"), "{}").expect("written");
        assert_eq!(sources.changed(), [target]);
    }
}
