//! Files that the commands read and write, and what is said of those that are not there.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};
use tidegate_tests::kafka::Kafka;
use tidegate_tests::process::{Process, Signal};
use tidegate_tests::{functions, node, wait};

use crate::author::{fails, folder, lines, succeeds};
use crate::pipe::PATIENCE;

#[test]
fn what_is_not_there_is_named_with_what_makes_it() {
    let folder = folder();
    let at = folder.path();
    let remedy = "; --manifest FILE names another, `tidegate new NAME` makes a project";
    for command in ["check", "dev", "run"] {
        fails(at, &[command], 2, &["cannot read the manifest tidegate.toml: No such file", remedy]);
    }
    let error = "error: cannot read shout.wasm: No such file or directory (os error 2); `tidegate build` makes it\n";
    fails(at, &["invoke", "shout.wasm", "--value", "x"], 1, &[error]);
    fs::write(at.join("tidegate.toml"), "[function.shout]\ncomponent = \"shout.wasm\"\n").expect("written");
    fs::create_dir(at.join("cases")).expect("a folder");
    fs::write(at.join("cases/greeting.ndjson"), "{}\n").expect("written");
    fails(at, &["test", "--no-build"], 1, &[error]);
}

#[test]
fn records_are_read_from_lines_as_windows_writes_them_and_from_flags() {
    let folder = folder();
    let at = folder.path();
    let component = functions::component("uppercase");
    let component = component.to_str().expect("text");
    let values = |flags: &[&str]| -> Vec<Value> {
        let outcomes = lines(&succeeds(at, &[&["invoke", component], flags].concat()));
        outcomes.iter().map(|outcome| outcome["messages"][0]["value"].clone()).collect()
    };
    fs::write(at.join("input.ndjson"), "\u{feff}{\"value\": \"a\"}\r\n{\"value\": \"b\"}\r\n").expect("written");
    for flag in ["--input", "--file"] {
        assert_eq!(values(&[flag, "input.ndjson"]), [json!("A"), json!("B")], "{flag}");
    }
    assert_eq!(values(&["--key", "k"]), [json!("")]);
    assert_eq!(values(&["--key", "k", "--null-value"]), [Value::Null]);
}

/// Whether a process takes SIGINT itself, as the mask of its handlers says: signal 2 is bit 1.
fn takes_interrupts(process: &Process) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let handlers = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    handlers.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 0b10 != 0)
}

#[test]
fn a_file_that_nothing_was_recorded_into_is_not_said_to_be_written() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("files-interrupted", 1);
    let folder = folder();
    let [file, errors] = ["records.ndjson", "stderr"].map(|name| folder.path().join(name));
    fs::write(&file, "before").expect("written");
    let mut command = node::command();
    command.args(["record", topic.name(), "--from", "latest", "--timeout", "1h", "--output", "records.ndjson"]);
    command.args(["--brokers", kafka.bootstrap()]).current_dir(folder.path());
    command.stdout(Stdio::null()).stderr(fs::File::create(&errors).expect("a file"));
    let mut process = Process::spawn(&mut command, folder.path()).expect("tidegate starts");
    wait::until("it takes the signal", PATIENCE, || takes_interrupts(&process));
    process.signal(Signal::Int);
    let status = process.wait(PATIENCE).expect("it ends");
    let said = fs::read_to_string(&errors).expect("text");
    assert!(status.success(), "{said}");
    assert!(said.ends_with("no such record came: records.ndjson is as it was\n"), "{said}");
    assert_eq!(fs::read_to_string(&file).expect("text"), "before");
}
