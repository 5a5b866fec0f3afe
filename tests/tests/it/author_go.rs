//! The author's commands for a function in Go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::node;

use crate::author::{fails, folder, lines, succeeds, text};

fn go(project: &Path, arguments: &[&str]) {
    let output = Command::new("go").args(arguments).current_dir(project).output().expect("go starts");
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
}

/// Makes a project and runs all its tests.
#[track_caller]
fn project(folder: &Path, template: &str, passed: &str) -> PathBuf {
    let arguments = ["new", "price-orders", "--lang", "go", "--template", template];
    let made = succeeds(folder, &arguments);
    assert!(made.contains("tidegate build"), "{made}");
    assert_eq!(made.contains("set API in tidegate.toml"), template == "http", "{made}");
    let project = folder.join("price-orders");
    succeeds(&project, &["check"]);
    go(&project, &["test", "./..."]);
    go(&project, &["vet", "./..."]);
    assert_eq!(succeeds(&project, &["test"]).lines().last(), Some(passed));
    project
}

/// Makes a project, tests and builds it, and gives what it answers to a value.
#[track_caller]
fn answers(template: &str, value: &str) -> Value {
    let folder = folder();
    let project = project(folder.path(), template, "1 case passed");
    let built = succeeds(&project, &["build"]);
    assert!(built.starts_with("built price-orders.wasm\n"), "{built}");
    let outcomes = lines(&succeeds(&project, &["invoke", "--key", "k", "--header", "h=v", "--value", value]));
    let [outcome] = &outcomes[..] else { panic!("one record, one line: {outcomes:?}") };
    outcome["messages"].clone()
}

fn message(value: &str) -> Value {
    json!([{ "topic": "price-orders-out", "timestamp": null, "key": "k", "value": value, "headers": [["h", "v"]] }])
}

#[test]
fn a_new_project_is_tested_built_and_invoked() {
    assert_eq!(answers("record", "hello"), message("HELLO"));
}

#[test]
fn a_function_of_a_batch_is_tested_built_and_invoked() {
    assert_eq!(answers("batch", "hello"), message("hello"));
}

#[test]
fn a_function_of_json_is_tested_built_and_invoked() {
    assert_eq!(answers("json", r#"{"amount": 3, "unit_price": 5}"#), message(r#"{"total":15}"#));
}

/// Nobody answers it here but its cases.
#[test]
fn a_function_that_asks_by_http_is_tested_and_built() {
    let folder = folder();
    let project = project(folder.path(), "http", "3 cases passed");
    assert!(succeeds(&project, &["build"]).starts_with("built price-orders.wasm\n"));
    let unformatted = Command::new("gofmt").args(["-l", "."]).current_dir(&project).output().expect("gofmt starts");
    assert_eq!(text(&unformatted.stdout), "");
}

#[test]
fn what_is_no_function_is_refused_and_replaces_nothing() {
    let folder = folder();
    succeeds(folder.path(), &["new", "shout", "--lang", "go", "--path", "."]);
    succeeds(folder.path(), &["build"]);
    let before = fs::read(folder.path().join("shout.wasm")).expect("a component");
    let main = folder.path().join("main.go");
    let source = fs::read_to_string(&main).expect("a text");

    fs::write(&main, source.replace("bytes.Clone", "bytes.Clonee")).expect("written");
    fails(folder.path(), &["build"], 1, &["main.go:", "Clonee", "does not build"]);
    fs::write(&main, "package main\n\nfunc main() {}\n").expect("written");
    fails(folder.path(), &["build"], 1, &["is not a function", "tidegate.Handle"]);
    fs::remove_file(folder.path().join("main_test.go")).expect("removed");
    fs::write(&main, "package shout\n").expect("written");
    fails(folder.path(), &["build"], 1, &["the package shout", "package main"]);
    assert_eq!(fs::read(folder.path().join("shout.wasm")).expect("a component"), before);
}

#[test]
fn a_missing_go_is_named_with_where_to_get_it() {
    let folder = folder();
    succeeds(folder.path(), &["new", "shout", "--lang", "go", "--path", "."]);
    let output = node::command().arg("build").current_dir(folder.path()).env("PATH", "").output().expect("starts");
    let errors = text(&output.stderr);
    assert!(errors.contains("no `go` on the PATH") && errors.contains("go.dev/dl"), "{errors}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn names_that_go_keeps_are_refused() {
    let folder = folder();
    for name in ["main", "internal", "vendor"] {
        fails(folder.path(), &["new", name, "--lang", "go"], 2, &[name, "Go keeps this word"]);
    }
}
