//! Rust: cargo, and the target `wasm32-wasip2`, which links components.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Artifact, Error};

const TARGET: &str = "wasm32-wasip2";
const ADD_TARGET: &str = "install it with `rustup target add wasm32-wasip2`";
const NO_RUSTUP: &str = "there is no rustup to install it: install Rust with `curl -sSf https://sh.rustup.rs | sh`";
const INSTALL_RUST: &str = "install Rust with `curl -sSf https://sh.rustup.rs | sh`";

/// Builds the package in a folder for release. In a folder that is only a workspace it builds all packages.
pub(super) fn build(folder: &Path) -> Result<Artifact, Error> {
    ensure_target(folder)?;
    let mut cargo = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot_run("cargo"))?;
    let messages = cargo.stdout.take().map(BufReader::new);
    let lines = messages.into_iter().flat_map(|messages| messages.split(b'\n').map_while(Result::ok));
    let artifacts: Vec<Message> = lines.filter_map(|line| component(&line)).collect();
    let status = cargo.wait().map_err(|error| Error::Run { command: "cargo build", error })?;
    if !status.success() {
        return Err(Error::Build { folder: folder.to_owned(), status });
    }
    let (path, name) = choose(folder, &artifacts)?;
    let bytes = std::fs::read(&path).map_err(Error::file(&path))?;
    Ok(Artifact { bytes, name })
}

/// Makes sure that cargo's compiler in this folder can make components.
fn ensure_target(folder: &Path) -> Result<(), Error> {
    if has_target(folder)? {
        return Ok(());
    }
    tracing::info!("the Rust target {TARGET} is missing, installing it: rustup target add {TARGET}");
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let remedy = match added {
        Ok(status) if status.success() && has_target(folder)? => return Ok(()),
        Ok(_) => ADD_TARGET,
        Err(_) => NO_RUSTUP,
    };
    Err(Error::Missing { what: format!("the Rust target {TARGET} is missing"), remedy })
}

fn has_target(folder: &Path) -> Result<bool, Error> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(cannot_run("rustc"))?;
    if !output.status.success() {
        let what = String::from_utf8_lossy(&output.stderr);
        let what = format!("rustc does not know the target {TARGET}: {}", what.trim());
        return Err(Error::Missing { what, remedy: "Rust 1.82 is the first that does: `rustup update`" });
    }
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn cannot_run(command: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::Missing { what: format!("there is no `{command}` on the PATH"), remedy: INSTALL_RUST }
        }
        _ => Error::Run { command, error },
    }
}

/// A message of cargo about an artifact. Other lines of its output do not parse.
#[derive(serde::Deserialize)]
struct Message {
    reason: String,
    manifest_path: PathBuf,
    target: Target,
    filenames: Vec<PathBuf>,
}

#[derive(serde::Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

/// The message, if it is about a component of a library.
fn component(line: &[u8]) -> Option<Message> {
    let message: Message = serde_json::from_slice(line).ok()?;
    let built = message.reason == "compiler-artifact" && message.target.crate_types.iter().any(|kind| kind == "cdylib");
    (built && wasm(&message).is_some()).then_some(message)
}

fn wasm(message: &Message) -> Option<&PathBuf> {
    message.filenames.iter().find(|path| path.extension().is_some_and(|extension| extension == "wasm"))
}

/// The component of the package in this folder. In a folder that is only a workspace, the workspace must have exactly
/// one component.
fn choose(folder: &Path, artifacts: &[Message]) -> Result<(PathBuf, String), Error> {
    let manifest = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).map_err(Error::file(&manifest))?;
    let is_package = text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("package"));
    let own = manifest.canonicalize().ok();
    let is_own = |message: &&Message| !is_package || message.manifest_path.canonicalize().ok() == own;
    let candidates: Vec<&Message> = artifacts.iter().filter(is_own).collect();
    match candidates.as_slice() {
        [] => Err(Error::NoComponent(folder.to_owned())),
        [message] => {
            let path = wasm(message).cloned().unwrap_or_default();
            Ok((path, message.target.name.replace('_', "-")))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|message| message.target.name.as_str()).collect();
            Err(Error::Several { folder: folder.to_owned(), names: names.join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(folder: &Path, name: &str, kind: &str, file: &str) -> String {
        let manifest = folder.join("Cargo.toml");
        serde_json::json!({
            "reason": "compiler-artifact",
            "manifest_path": manifest,
            "target": { "name": name, "crate_types": [kind], "kind": [kind] },
            "filenames": [folder.join(file)],
        })
        .to_string()
    }

    /// What is chosen in a folder with this `Cargo.toml`, of a package there and of one elsewhere.
    fn chosen(cargo: &str, own_kind: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("Cargo.toml"), cargo).expect("written");
        let lines = [
            message(folder.path(), "price_orders", own_kind, "price_orders.wasm"),
            message(Path::new("/elsewhere"), "other", "cdylib", "other.wasm"),
            message(folder.path(), "build_script", "bin", "build"),
            r#"{"reason": "build-finished", "success": true}"#.to_owned(),
            "not JSON".to_owned(),
        ];
        let artifacts: Vec<Message> = lines.iter().filter_map(|line| component(line.as_bytes())).collect();
        choose(folder.path(), &artifacts).map(|(_, name)| name).map_err(|error| error.to_string())
    }

    #[test]
    fn the_component_is_that_of_the_package_in_the_folder() {
        assert_eq!(chosen("[package]", "cdylib").as_deref(), Ok("price-orders"));
        assert!(chosen("[package]", "lib").is_err_and(|error| error.contains("crate-type = [\"cdylib\"]")));
        assert_eq!(chosen("[workspace]", "lib").as_deref(), Ok("other"));
        assert!(chosen("[workspace]", "cdylib").is_err_and(|error| error.contains("price_orders, other")));
    }
}
