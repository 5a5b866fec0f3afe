//! Where things lie: cargo's target folder, the repository, the programs built.

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate is a folder of the workspace").to_path_buf()
}

/// The folder of this executable's profile, `target/debug` as a rule: tests are in its `deps`, and
/// binaries of the workspace directly in it.
pub fn profile() -> PathBuf {
    let executable = std::env::current_exe().expect("the executable has a path");
    let folder = executable.parent().expect("an executable lies in a folder");
    if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder }.to_path_buf()
}

/// Cargo's target folder, wherever `CARGO_TARGET_DIR` put it.
pub fn target() -> PathBuf {
    let profile = profile();
    profile
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .or_else(|| profile.parent())
        .expect("the test executable is in a target folder")
        .to_path_buf()
}

/// The last lines of a log, for a panic message. Empty if there is no such file.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
