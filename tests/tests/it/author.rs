//! The author's commands, as an author runs them: `new`, `build`, `inspect`, `invoke`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_tests::{functions, node, place};

/// What is said at the end of whatever refuses a component.
pub(crate) const HOW_TO_BUILD: &str =
    "build it with `tidegate build`, or `cargo build --release --target wasm32-wasip2`";

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Removes what cargo built of this package: it keeps that apart for each folder that it ever met.
fn clean(project: &Path, arguments: &[&str]) {
    let mut cargo = Command::new("cargo");
    cargo.args(["clean", "--quiet"]).args(arguments).current_dir(project).env("CARGO_TARGET_DIR", place::target());
    assert!(cargo.status().expect("cargo starts").success());
}

/// Runs `tidegate` in a folder, with nothing on its standard input.
pub(crate) fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = node::command();
    command.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", place::target());
    command.stdin(Stdio::null()).output().expect("tidegate starts")
}

#[track_caller]
pub(crate) fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = tidegate(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Runs `tidegate`, which must fail with this code and name this, and write nothing to standard
/// output.
#[track_caller]
pub(crate) fn fails(folder: &Path, arguments: &[&str], code: i32, named: &[&str]) {
    let output = tidegate(folder, arguments);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(named.iter().all(|named| errors.contains(named)), "{arguments:?}: {errors}");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
}

pub(crate) fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Invokes `hostile` with these lines on standard input.
fn invoke(folder: &Path, records: &str, arguments: &[&str]) -> (Output, Vec<Value>) {
    let input = folder.join("input.ndjson");
    fs::write(&input, records).expect("written");
    let mut command = node::command();
    command.arg("invoke").arg(functions::component("hostile")).args(arguments);
    let output = command.stdin(fs::File::open(input).expect("opens")).output().expect("tidegate starts");
    let outcomes = lines(text(&output.stdout));
    (output, outcomes)
}

fn record(value: &str) -> String {
    format!("{}\n", json!({ "value": value }))
}

#[test]
fn a_new_project_is_built_inspected_and_invoked() {
    let folder = folder();
    let made = succeeds(folder.path(), &["new", "price-orders"]);
    assert!(made.contains("tidegate build"), "{made}");
    let project = folder.path().join("price-orders");
    // The same versions as the workspace, which are downloaded already.
    fs::copy(place::repository().join("Cargo.lock"), project.join("Cargo.lock")).expect("copied");
    succeeds(&project, &["check"]);
    fails(folder.path(), &["new", "price-orders"], 1, &["price-orders is not empty", "--path"]);

    let first = tidegate(&project, &["build"]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(text(&first.stderr).contains("Finished `release`"), "cargo's own messages: {}", text(&first.stderr));
    assert!(text(&first.stdout).starts_with("built price-orders.wasm\n"), "{}", text(&first.stdout));

    let facts: Value =
        serde_json::from_str(&succeeds(&project, &["inspect", "price-orders.wasm", "--json"])).expect("JSON");
    assert_eq!(facts["contract"], "0.1.0");
    assert_eq!(facts["exports"], json!(["tidegate:function/handler@0.1.0"]));
    let sha256 = facts["sha256"].as_str().expect("a digest");
    assert!(text(&first.stdout).contains(sha256), "{}", text(&first.stdout));

    let outcomes = lines(&succeeds(&project, &["invoke", "--value", "hello", "--key", "k", "--header", "trace=a=b"]));
    let message = json!({
        "topic": "price-orders-out", "timestamp": null, "key": "k", "value": "HELLO", "headers": [["trace", "a=b"]],
    });
    let source = json!({ "topic": "price-orders-in", "partition": 0, "offset": 0 });
    assert_eq!(outcomes, [json!({ "source": source, "messages": [message] })]);

    let library = project.join("src/lib.rs");
    let source = fs::read_to_string(&library).expect("a text");
    fs::write(&library, source.replace("Ok(record", "Okay(record")).expect("written");
    let before = fs::read(project.join("price-orders.wasm")).expect("a component");
    fails(&project, &["build"], 1, &["cannot find", "Okay", "does not build"]);
    assert_eq!(fs::read(project.join("price-orders.wasm")).expect("a component"), before);
    clean(&project, &["-p", "price-orders", "--release", "--target", "wasm32-wasip2"]);
}

#[test]
fn the_unit_tests_of_new_projects_pass() {
    for (template, tests, cases) in
        [("record", 1, "1 case"), ("batch", 1, "1 case"), ("json", 2, "1 case"), ("http", 2, "3 cases")]
    {
        let folder = folder();
        let made = succeeds(folder.path(), &["new", "shout", "--path", ".", "--template", template]);
        assert_eq!(made.contains("set API in tidegate.toml"), template == "http", "{made}");
        fs::copy(place::repository().join("Cargo.lock"), folder.path().join("Cargo.lock")).expect("copied");
        let output = Command::new("cargo")
            .args(["test", "--quiet"])
            .current_dir(folder.path())
            .env("CARGO_TARGET_DIR", place::target())
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stdout).contains(&format!("{tests} passed")), "{}", text(&output.stdout));
        let passed = format!("{cases} passed");
        assert_eq!(succeeds(folder.path(), &["test"]).lines().last(), Some(passed.as_str()), "{template}");
        clean(folder.path(), &["-p", "shout"]);
    }
}

#[test]
fn folders_that_are_not_there_are_warned_of() {
    let folder = folder();
    let at = folder.path();
    fs::create_dir(at.join("data")).expect("a folder");
    fs::write(at.join("file"), "").expect("written");
    let manifest = "[function.orders]\ncomponent = \"orders.wasm\"\n\
                    folders = { \"/data\" = \"data\", \"/geo\" = \"file\", \"/out\" = { path = \"nope\", write = true } }\n";
    fs::write(at.join("tidegate.toml"), manifest).expect("written");
    let output = tidegate(at, &["check"]);
    assert_eq!(
        text(&output.stderr),
        "warning: it declares no trigger, so no node takes it: `tidegate run` refuses it\n\
         warning: file is no folder here; the function orders sees it as /geo\n\
         warning: nope is no folder here; the function orders sees it as /out\n"
    );
    assert!(output.status.success() && text(&output.stdout).starts_with("tidegate.toml is good: 1 function"));
}

#[test]
fn what_cannot_be_a_project_is_refused() {
    let folder = folder();
    let at = folder.path();
    fails(at, &["new", "match"], 2, &["\"match\"", "Rust keeps this word"]);
    fails(at, &["new", "Orders"], 2, &["a-z"]);
    fails(at, &["new", "orders", "--sdk", "nowhere"], 1, &["nowhere", "--released"]);
    fails(at, &["build"], 2, &["no project", "tidegate new NAME"]);
    assert_eq!(fs::read_dir(at).expect("a folder").count(), 0);
    succeeds(at, &["new", "orders", "--released"]);
    let cargo = fs::read_to_string(at.join("orders/Cargo.toml")).expect("a text");
    assert!(cargo.contains("tidegate-sdk = \"0."), "{cargo}");
}

#[test]
fn a_missing_target_is_installed_or_named_with_its_command() {
    let folder = folder();
    let at = folder.path();
    succeeds(at, &["new", "orders"]);
    let build = |path: &Path| {
        let mut command = node::command();
        let output = command.args(["build", "orders"]).current_dir(at).env("PATH", path).output();
        let output = output.expect("tidegate starts");
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr).to_owned()
    };
    let tool = |name: &str, script: &str| {
        let path = at.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("may be run");
    };
    let bin = at.join("bin");
    fs::create_dir(&bin).expect("a folder");
    let errors = build(&bin);
    assert!(errors.contains("https://sh.rustup.rs"), "{errors}");
    tool("rustc", &format!("echo {}", at.join("libdir").display()));
    let errors = build(&bin);
    assert!(errors.contains("wasm32-wasip2 is missing") && errors.contains("no rustup"), "{errors}");
    tool("rustup", "exit 1");
    let errors = build(&bin);
    assert!(errors.contains("install it with `rustup target add wasm32-wasip2`"), "{errors}");
    // Installed now, so that cargo is what is missing next.
    tool("rustup", &format!("/bin/mkdir {}", at.join("libdir").display()));
    let errors = build(&bin);
    assert!(errors.contains("installing it: rustup target add") && errors.contains("no `cargo`"), "{errors}");
}

#[test]
fn what_is_no_function_is_refused_with_the_reason() {
    let folder = folder();
    let at = folder.path();
    let component = functions::bytes("uppercase");
    fs::write(at.join("text.wasm"), "hello").expect("written");
    fs::write(at.join("module.wasm"), b"\0asm\x01\0\0\0").expect("written");
    fs::write(at.join("half.wasm"), &component[..component.len() / 2]).expect("written");
    fs::write(at.join("other.wasm"), b"\0asm\x0d\0\x01\0").expect("written");
    for (file, reason) in [("text", "not WebAssembly"), ("module", "a core module"), ("half", "truncated")] {
        let file = format!("{file}.wasm");
        let end = format!("{HOW_TO_BUILD}\n");
        fails(at, &["inspect", &file], 1, &[&file, reason, &end]);
        fails(at, &["invoke", &file, "--value", "x"], 1, &[&file, reason, &end]);
    }
    let missing = "it does not export tidegate:function/handler@0.1.0 (it exports nothing)";
    let error = format!("error: other.wasm: {missing}; {HOW_TO_BUILD}\n");
    let inspected = tidegate(at, &["inspect", "other.wasm"]);
    let invoked = tidegate(at, &["invoke", "other.wasm", "--value", "x"]);
    for output in [inspected, invoked] {
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), error.as_str()));
    }
    fails(at, &["inspect", "missing.wasm"], 1, &["missing.wasm", "No such file"]);
}

#[test]
fn a_failed_call_is_split_until_the_record_at_fault_stands_alone() {
    let folder = folder();
    let values = [
        "ok;a",
        "trap",
        "exit:1",
        "spin",
        "bomb",
        "overflow",
        "reject;no good",
        "retry:2;b",
        "to:elsewhere;x",
        "drop",
        "many:2;c",
        "log:hi",
    ];
    let records: String = values.iter().map(|value| record(value)).collect();
    let (output, outcomes) = invoke(folder.path(), &records, &["--deadline", "1s"]);

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("8 of 12 records failed"), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(" hi "), "what it prints: {}", text(&output.stderr));
    let offsets: Vec<i64> = outcomes.iter().filter_map(|line| line["source"]["offset"].as_i64()).collect();
    assert_eq!(offsets, (0..12).collect::<Vec<i64>>());
    let causes: Vec<Option<&str>> = outcomes.iter().map(|line| line["failure"]["cause"].as_str()).collect();
    let expected = ["trap", "exit", "deadline", "memory", "trap", "reject", "retry", "bad-outcome"].map(Some);
    assert_eq!((causes[0], &causes[1..9], &causes[9..]), (None, &expected[..], &[None; 3][..]));
    assert_eq!(outcomes[6]["failure"]["reason"], "no good");
    let count = |line: usize| outcomes[line]["messages"].as_array().map(Vec::len);
    assert_eq!((count(0), count(9), count(10)), (Some(1), Some(0), Some(2)));
}

#[test]
fn records_behind_a_failed_one_of_their_key_run_again_after_it() {
    let folder = folder();
    let record = |key: Value, value: &str| format!("{}\n", json!({ "key": key, "value": value }));
    let records = [
        record("a".into(), "reject;no"),
        record("a".into(), "log:behind"),
        record("b".into(), "log:beside"),
        record(Value::Null, "log:keyless"),
    ];
    let (output, outcomes) = invoke(folder.path(), &records.concat(), &[]);
    let handled: Vec<bool> = outcomes.iter().map(|line| line["messages"].is_array()).collect();
    assert_eq!(handled, [false, true, true, true]);
    // Each is printed to both streams.
    let log = text(&output.stderr);
    let lines = |word: &str, call: &str| log.lines().filter(|line| line.contains(word) && line.contains(call)).count();
    assert_eq!([lines("behind", "records=4"), lines("behind", "offset=1 records=1")], [2, 2], "{log}");
    assert_eq!([lines("beside", "records="), lines("keyless", "records=")], [2, 2], "{log}");
}

#[test]
fn a_record_goes_through_byte_for_byte() {
    let folder = folder();
    let fields = json!({
        "timestamp": 1_700_000_000_000_i64,
        "key": { "base64": "/wCA" },
        "value": "\u{0} \u{1f600} \"quoted\"\n",
        "headers": [["a", null], ["a", ""], [{ "base64": "/w==" }, { "base64": "gP8=" }], ["", "x"]],
    });
    let empty = json!({ "timestamp": null, "key": "", "value": null, "headers": [] });
    let (output, outcomes) = invoke(folder.path(), &format!("{fields}\n\r\n{empty}\n"), &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(outcomes[0]["messages"], json!([fields]));
    assert_eq!(outcomes[1]["messages"], json!([empty]));

    let (_, outcomes) = invoke(folder.path(), r#"{"value": {"json": {"b": 1.0, "a": []}}}"#, &[]);
    assert_eq!(outcomes[0]["messages"][0]["value"], r#"{"b": 1.0, "a": []}"#);
}

#[test]
fn batches_are_of_one_partition_and_of_the_size_that_is_asked_for() {
    let folder = folder();
    let place = |topic: &str, partition: i32| {
        format!("{}\n", json!({ "topic": topic, "partition": partition, "value": "log:seen" }))
    };
    let records = [place("b", 1), place("a", 0), place("b", 1), place("b", 0), place("b", 1)].concat();
    let (output, outcomes) = invoke(folder.path(), &records, &["--batch", "2"]);
    let sources: Vec<String> = outcomes
        .iter()
        .map(|line| &line["source"])
        .map(|source| format!("{}/{}@{}", source["topic"], source["partition"], source["offset"]))
        .collect();
    assert_eq!(sources, [r#""b"/1@0"#, r#""a"/0@0"#, r#""b"/1@1"#, r#""b"/0@0"#, r#""b"/1@2"#]);
    let log = text(&output.stderr);
    assert_eq!((log.matches("records=2").count(), log.matches("records=1").count()), (4, 6), "{log}");
}

#[test]
fn the_manifest_gives_environment_secrets_and_topics() {
    let folder = folder();
    let at = folder.path();
    let component = functions::component("hostile");
    fs::write(at.join("key"), "sesame\n").expect("written");
    let manifest = format!(
        "[cluster.main]\nbrokers = \"localhost:9\"\n[function.open]\ncomponent = {component:?}\n\
         env = {{ MODE = \"test\" }}\nsecrets = {{ KEY = {{ file = \"key\" }} }}\n[trigger.doors]\nfunction = \"open\"\n\
         topics = [\"knocks\"]\nallow-topics = [\"audit\"]\non-exhausted = \"skip\"\n"
    );
    fs::write(at.join("tidegate.toml"), manifest).expect("written");
    let invoke = |arguments: &[&str]| {
        let output = tidegate(at, &[&["invoke", "--format", "ndjson"], arguments].concat());
        lines(text(&output.stdout)).remove(0)
    };
    // The trigger has no output, so a message has to name its topic.
    let silent = invoke(&["--value", "env:MODE"]);
    assert_eq!(silent["failure"]["reason"], "a message names no topic, and the trigger has no output");
    assert_eq!(silent["source"]["topic"], "knocks");
    let named = invoke(&["--function", "open", "--value", "to:audit;x"]);
    assert_eq!(named["messages"][0]["topic"], "audit");

    let with_output = fs::read_to_string(at.join("tidegate.toml")).expect("a text") + "output = \"opened\"\n";
    fs::write(at.join("tidegate.toml"), with_output).expect("written");
    for (value, expected) in [("env:MODE", "test"), ("env:KEY", "sesame"), ("env:TIDEGATE_TRIGGER", "doors")] {
        assert_eq!(invoke(&["--value", value])["messages"][0]["value"], expected);
    }
    for variable in ["KEY", "MODE"] {
        let told = invoke(&["--value", &format!("env:{variable}"), "--env", &format!("{variable}=other")]);
        assert_eq!(told["messages"][0]["value"], "other");
    }
    fails(at, &["invoke", "--function", "shut", "--value", "x"], 2, &["\"shut\"", "it has open"]);
}

#[test]
fn bad_records_are_named_with_their_line() {
    let folder = folder();
    let check = |records: &str, called: usize, named: &[&str]| {
        let (output, outcomes) = invoke(folder.path(), records, &[]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(named.iter().all(|named| errors.contains(named)), "{errors}");
        assert_eq!(outcomes.len(), called, "what stands before it is called");
    };
    check("{\"value\": \"a\"}\n\n{\"vaule\": \"b\"}\n{\"value\": \"c\"}\n", 1, &["line 3, column 8", "`vaule`"]);
    check("hello", 0, &["line 1, column 1", "a record is an object"]);
    check("{\"offset\": 7}\n{\"offset\": 7}\n", 1, &["line 2", "offset 7", "ascend"]);
    fails(folder.path(), &["invoke"], 2, &["which component?"]);
    let component = functions::component("hostile");
    let component = component.to_str().expect("text");
    fails(folder.path(), &["invoke", component, "--input", "no.ndjson"], 1, &["no.ndjson"]);
    fails(folder.path(), &["invoke", component, "--deadline", "0s"], 2, &["--deadline", "1ms to 1h"]);
}
