//! Variables of the environment that stand in for flags.

use std::fs;
use std::process::Output;

use tempfile::TempDir;
use tidegate_tests::node;
use tidegate_tests::process::{Process, Signal};
use tidegate_tests::wait;

use crate::pipe::{PATIENCE, READY};

const MANIFEST: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n[cluster.main]\nbrokers = \"localhost:9\"\n\
                        [function.f]\ncomponent = \"f.wasm\"\n[trigger.t]\nfunction = \"f\"\n\
                        topics = [\"in\"]\noutput = \"out\"\non-exhausted = \"skip\"\n";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("tidegate.toml"), MANIFEST).expect("written");
    folder
}

#[test]
fn variables_that_are_empty_count_as_not_set() {
    let folder = folder();
    let log = folder.path().join("log");
    let mut command = node::command();
    command.arg("run").current_dir(folder.path()).stderr(fs::File::create(&log).expect("a file"));
    command.env("RUST_LOG", "").env("TIDEGATE_NODE", "").env("TIDEGATE_LOG_FORMAT", "");
    let mut process = Process::spawn(&mut command, folder.path()).expect("tidegate starts");
    let said = || fs::read_to_string(&log).expect("text");
    // By then it listens for signals.
    wait::until("it has started", READY, || said().contains("component refused"));
    process.signal(Signal::Term);
    let status = process.wait(PATIENCE).expect("it ends");
    assert!(status.success() && said().contains(" INFO tidegate::"), "{status}: {}", said());
}

/// What `tidegate run` says, which does not start.
#[track_caller]
fn refused(variable: &str, value: &str, flags: &[&str]) -> String {
    let folder = folder();
    let mut command = node::command();
    command.arg("run").args(flags).current_dir(folder.path()).env(variable, value);
    let Output { status, stderr, .. } = command.output().expect("tidegate starts");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(2), "{variable}={value}: {said}");
    said
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    let said = refused("RUST_LOG", "inf", &[]);
    assert!(said.starts_with("error: RUST_LOG \"inf\": \"inf\" is no level: write off, error, warn"), "{said}");
    let said = refused("RUST_LOG", "info", &["--log", "info,debgu"]);
    assert!(said.starts_with("error: --log \"info,debgu\": \"debgu\" is no level"), "{said}");
    let said = refused("TIDEGATE_LOG_FORMAT", "yaml", &[]);
    assert!(said.ends_with("note: this is the value of the variable TIDEGATE_LOG_FORMAT\n"), "{said}");
    let said = refused("TIDEGATE_LOG_FORMAT", "yaml", &["--log-format", "yaml"]);
    assert!(!said.contains("note: "), "{said}");
    let said = refused("TIDEGATE_NODE", "n", &["--node", ""]);
    assert!(said.contains("--node <NAME>"), "{said}");
}
