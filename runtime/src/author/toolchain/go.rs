//! Go: the stock toolchain makes a core module for `wasip1`, and [`super::component`] makes a component out of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{Artifact, Error, component};

const INSTALL_GO: &str = "install Go from https://go.dev/dl";
/// The first version that can export functions of a module that stays loaded.
const OLDEST: (u32, u32) = (1, 24);
/// `c-shared` makes a module that is initialised once and called many times. Without it everything builds, but the
/// first call traps. `buildvcs=false` leaves the commit out, so that a component changes only if its source does,
/// and a checkout that belongs to another user builds.
const BUILD: [&str; 5] = ["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"];

/// Builds the package in a folder.
pub(super) fn build(folder: &Path) -> Result<Artifact, Error> {
    check_version(folder)?;
    let name = name(folder)?;
    let output = tempfile::tempdir().map_err(Error::file(&std::env::temp_dir()))?;
    let core = output.path().join("core.wasm");
    let status =
        go(folder).args(BUILD).arg("-o").arg(&core).arg(".").stdout(Stdio::inherit()).status().map_err(cannot_run)?;
    if !status.success() {
        return Err(Error::Build { folder: folder.to_owned(), status });
    }
    let core = fs::read(&core).map_err(Error::file(&core))?;
    let bytes = component::of_core(core).map_err(|reason| Error::NoFunction { folder: folder.to_owned(), reason })?;
    Ok(Artifact { bytes, name })
}

fn go(folder: &Path) -> Command {
    let mut go = Command::new("go");
    // Settings of the author's shell for other builds must not affect this one.
    go.env("GOOS", "wasip1").env("GOARCH", "wasm").env("CGO_ENABLED", "0").env_remove("GOWASM");
    go.current_dir(folder).stdin(Stdio::null());
    go
}

fn cannot_run(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::Missing { what: "there is no `go` on the PATH".to_owned(), remedy: INSTALL_GO }
        }
        _ => Error::Run { command: "go", error },
    }
}

/// Runs in the folder, because its go.mod may select another version than the one on the PATH.
fn check_version(folder: &Path) -> Result<(), Error> {
    let output = go(folder).args(["env", "GOVERSION"]).output().map_err(cannot_run)?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if is_too_old(&found) {
        let what = format!("{found} is too old: the first that makes functions is go{}.{}", OLDEST.0, OLDEST.1);
        return Err(Error::Missing { what, remedy: INSTALL_GO });
    }
    Ok(())
}

/// A version that cannot be read, such as that of a development build, counts as new.
fn is_too_old(version: &str) -> bool {
    let mut numbers = version.trim_start_matches("go").split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|digits| digits.parse::<u32>().ok());
    number().zip(number()).is_some_and(|found| found < OLDEST)
}

/// As the function is called: the last part of the package's path that is no version.
fn name(folder: &Path) -> Result<String, Error> {
    let output = go(folder).args(["list", "-f", "{{.Name}} {{.ImportPath}}", "."]).output().map_err(cannot_run)?;
    let listed = String::from_utf8_lossy(&output.stdout);
    match listed.trim().split_once(' ') {
        Some(("main", path)) => Ok(last_part(path).to_owned()),
        Some((package, _)) => Err(Error::NoMain { folder: folder.to_owned(), package: package.to_owned() }),
        None => Err(unlisted(folder, &output)),
    }
}

fn unlisted(folder: &Path, output: &Output) -> Error {
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    Error::Build { folder: folder.to_owned(), status: output.status }
}

fn last_part(path: &str) -> &str {
    let is_version = |part: &&str| part.strip_prefix('v').is_some_and(|rest| rest.parse::<u32>().is_ok());
    let mut parts = path.rsplit('/').filter(|part| !is_version(part));
    parts.next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_that_cannot_export_is_too_old() {
        let old = ["go1.23.4", "go1.9", "go1.23rc1"];
        let good = ["go1.24", "go1.24rc1", "go1.26.8", "go2.0", "devel go1.27-abc", ""];
        assert!(old.iter().all(|version| is_too_old(version)));
        assert!(good.iter().all(|version| !is_too_old(version)));
    }

    #[test]
    fn a_function_is_called_as_its_package() {
        assert_eq!(last_part("example.com/shop/enrich"), "enrich");
        assert_eq!(last_part("example.com/enrich/v2"), "enrich");
        assert_eq!(last_part("enrich"), "enrich");
        assert_eq!(last_part("v2"), "v2");
    }
}
