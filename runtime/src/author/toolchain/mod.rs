//! From source to component: makes a project, builds it, and puts the component where the manifest finds it. It runs
//! the language's own tools, which are not part of Tidegate. An error about a missing tool says how to install it.
//!
//! Blocks while the tools run. Their messages go to standard error unchanged.

mod component;
mod go;
mod project;
mod rust;

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use project::{Project, Sdk, Template, create};

use crate::engine::{self, Inspection};
use crate::files::{self, Replacement};
use crate::record::revision::Digest;

/// Why there is no component, or no project.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{} is no project: there is neither a Cargo.toml nor a file of Go; `tidegate new NAME` makes one",
        whole(.0)
    )]
    NoProject(PathBuf),
    #[error("{what}; {remedy}")]
    Missing { what: String, remedy: &'static str },
    #[error("cannot run `{command}`: {error}")]
    Run { command: &'static str, error: io::Error },
    #[error("{} does not build ({status}); what is wrong stands above", whole(.folder))]
    Build { folder: PathBuf, status: std::process::ExitStatus },
    #[error(
        "{} builds no component: its Cargo.toml needs\n\n    [lib]\n    crate-type = [\"cdylib\"]\n",
        whole(.0)
    )]
    NoComponent(PathBuf),
    #[error(
        "{} holds the package {package}: a function is a `package main`, with an empty func main",
        whole(.folder)
    )]
    NoMain { folder: PathBuf, package: String },
    #[error("{} builds several components ({names}): give the folder of one", whole(.folder))]
    Several { folder: PathBuf, names: String },
    #[error("what {} builds is not a function: {reason}", whole(.folder))]
    NoFunction { folder: PathBuf, reason: String },
    #[error("no project can be called {name:?}: {reason}")]
    ProjectName { name: String, reason: String },
    #[error("{} is not empty: choose another folder with --path, or another name", .0.display())]
    NotEmpty(PathBuf),
    #[error(
        "the {language} SDK is not in {}, where this tidegate was built: name its folder in a checkout of Tidegate \
         with --sdk, or write version numbers with --released",
        .folder.display()
    )]
    NoSdk { language: Language, folder: PathBuf },
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
}

/// The absolute path: `.` or `rust` alone do not say which folder is meant.
fn whole(folder: &Path) -> String {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string()
}

impl Error {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::File { path: path.to_owned(), error }
    }
}

/// A language with an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    Go,
}

impl Language {
    /// The language of the project in a folder. `None`: there is no project.
    pub fn of(folder: &Path) -> Option<Self> {
        if folder.join("Cargo.toml").is_file() {
            return Some(Self::Rust);
        }
        // A go.mod is not needed here: it may be further up, because a module often has several functions.
        let is_go = |entry: fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "go");
        fs::read_dir(folder).ok()?.flatten().any(is_go).then_some(Self::Go)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::Go => "Go",
        })
    }
}

/// The result of the tools of a language.
struct Artifact {
    bytes: Vec<u8>,
    /// The name of the function.
    name: String,
}

/// A component that was built and put in its place.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its file.
    pub component: PathBuf,
    pub bytes: usize,
    pub digest: Digest,
    pub inspection: Inspection,
    /// Whether it differs from the old component. If not, the file was not touched.
    pub changed: bool,
}

/// Builds the project in a folder and puts its component at `output`. The default is `NAME.wasm` in the folder, with
/// the name of the crate, `-` in place of `_`, or the name of the Go package.
///
/// The file is replaced atomically, so a node that watches it sees the old component or the new one. A pipe or a
/// device is written into. A component that is not a function replaces nothing.
pub fn build(folder: &Path, output: Option<&Path>) -> Result<Built, Error> {
    // The folder of a path that is only a file name is empty.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Artifact { bytes, name } = match Language::of(folder) {
        Some(Language::Rust) => rust::build(folder)?,
        Some(Language::Go) => go::build(folder)?,
        None => return Err(Error::NoProject(folder.to_owned())),
    };
    let component = output.map_or_else(|| files::base(folder).join(format!("{name}.wasm")), Path::to_owned);
    let inspection = inspect(folder, &bytes)?;
    let changed = !holds(&component, &bytes);
    if changed {
        replace(&component, &bytes).map_err(Error::file(&component))?;
    }
    Ok(Built { component, bytes: bytes.len(), digest: Digest::of(&bytes), inspection, changed })
}

fn inspect(folder: &Path, bytes: &[u8]) -> Result<Inspection, Error> {
    let refused = |reason| Error::NoFunction { folder: folder.to_owned(), reason };
    let inspection = engine::inspect(bytes).map_err(|rejected| refused(rejected.reason))?;
    if inspection.handler().is_none() {
        let reason = "it exports no handler; put #[tidegate_sdk::function] on the function in its src/lib.rs";
        return Err(refused(reason.to_owned()));
    }
    Ok(inspection)
}

/// Whether a file has exactly this content. A pipe is not read, because nothing may ever come.
pub(crate) fn holds(path: &Path, bytes: &[u8]) -> bool {
    path.is_file() && fs::read(path).is_ok_and(|found| found == bytes)
}

/// Replaces a component atomically. Makes its folder if needed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    let mut file = Replacement::begin(path)?;
    file.write_all(bytes)?;
    file.finish()
}

#[cfg(test)]
mod tests;
