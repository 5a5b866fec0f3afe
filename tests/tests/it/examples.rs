//! The examples: each is there in both languages, and the same cases hold for both.
//!
//! They are found by their folders, so a new one is tested by being there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tidegate_tests::http::Server;
use tidegate_tests::{node, place};

use crate::author::text;

/// What has no twins: a program that shows the main job, and functions in languages without an SDK.
const OTHERS: [&str; 3] = ["demo", "demo-s3", "languages"];

struct Example {
    name: String,
    folder: PathBuf,
}

impl Example {
    fn read(&self, file: &str) -> String {
        let path = self.folder.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[track_caller]
    fn has(&self, file: &str, line: &str) {
        let found = self.read(file).lines().any(|found| found.split("  ").next() == Some(line));
        assert!(found, "examples/{}/{file} has the line {line}", self.name);
    }
}

fn folder() -> PathBuf {
    place::repository().join("examples")
}

fn examples() -> Vec<Example> {
    let entries = fs::read_dir(folder()).expect("the examples are there").flatten();
    let folders = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
    let name = |path: &Path| path.file_name().expect("a name").to_str().expect("text").to_owned();
    let mut examples: Vec<Example> = folders.map(|folder| Example { name: name(&folder), folder }).collect();
    examples.retain(|example| !OTHERS.contains(&example.name.as_str()));
    examples.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(!examples.is_empty());
    examples
}

/// Runs a command, which must succeed, and returns what it writes to standard output.
#[track_caller]
fn succeeds(command: &mut Command, folder: &Path) -> String {
    // A target folder of their own: built alone, a crate has other features than beside all others, and
    // cargo would exchange the component that other tests run meanwhile.
    let target = place::target().join("examples");
    command.current_dir(folder).env("CARGO_TARGET_DIR", target).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let shown = text(&output.stdout).to_owned();
    assert!(output.status.success(), "{}: {command:?}:\n{shown}{}", folder.display(), text(&output.stderr));
    shown
}

#[track_caller]
fn pass_their_cases(language: &str) {
    for example in examples() {
        let shown = succeeds(node::command().args(["test", language, "--log", "warn"]), &example.folder);
        assert!(shown.ends_with(" passed\n"), "{}: {shown}", example.name);
    }
}

#[test]
fn the_examples_in_rust_pass_their_cases() {
    pass_their_cases("rust");
}

#[test]
fn the_examples_in_go_pass_their_cases() {
    pass_their_cases("go");
}

/// What a twin of `enrich` answers to many orders of three customers, in calls of seven, and how often the
/// service was asked for a customer.
#[track_caller]
fn enriched(language: &str) -> (String, usize) {
    let (server, place) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let at = |name: &str| place.path().join(name);
    let build = ["build", language, "--output"];
    succeeds(node::command().args(build).arg(at("enrich.wasm")), &folder().join("enrich"));
    let origin = server.origin();
    let manifest = format!(
        "[function.enrich]\ncomponent = \"enrich.wasm\"\nenv = {{ API = {origin:?} }}\nallow-hosts = [{origin:?}]\n\
         deadline = \"1m\"\n"
    );
    fs::write(at("tidegate.toml"), manifest).expect("written");
    let order =
        |number: u32| json!({ "id": format!("a{number}"), "customer": (number % 3).to_string(), "amount": number });
    let line = |number: u32| format!("{}\n", json!({ "key": number.to_string(), "value": order(number).to_string() }));
    fs::write(at("orders.ndjson"), (0..100).map(line).collect::<String>()).expect("written");
    let invoke = ["invoke", "--function", "enrich", "--batch", "7", "--input", "orders.ndjson"];
    (succeeds(node::command().args(invoke), place.path()), server.requests())
}

/// Its cases show the same, but nothing of what really goes over a connection.
#[test]
fn enriching_asks_a_real_service_once_for_each_customer() {
    let (answers, requests) = enriched("rust");
    let expected =
        r#"{\"id\":\"a7\",\"amount\":7,\"customer\":{\"id\":\"1\",\"name\":\"Name 1\",\"city\":\"City 1\"}}"#;
    assert!(answers.lines().count() == 100 && answers.contains(expected), "{answers}");
    assert_eq!(requests, 3);
    assert_eq!(enriched("go"), (answers, 3));
}

#[test]
fn the_examples_in_go_pass_their_unit_tests() {
    for example in examples() {
        let folder = example.folder.join("go");
        succeeds(Command::new("go").args(["vet", "./..."]), &folder);
        succeeds(Command::new("go").args(["test", "./..."]), &folder);
        assert_eq!(succeeds(Command::new("gofmt").args(["-l", "."]), &folder), "", "{}: run gofmt -w", example.name);
    }
}

#[test]
fn the_twins_of_an_example_share_manifest_and_cases() {
    let shared = |path: &Path| path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let workspace = fs::read_to_string(place::repository().join("Cargo.toml")).expect("a text");
    for example in examples() {
        let name = &example.name;
        for language in ["rust", "go"] {
            let cases = example.folder.join(language).join("cases");
            assert_eq!(shared(&cases), shared(&example.folder.join("cases")), "{name}");
        }
        succeeds(node::command().arg("check"), &example.folder);
        example.has("tidegate.toml", &format!("component = \"rust/{name}.wasm\""));
        example.has("tidegate.toml", &format!("# component = \"go/{name}.wasm\""));
        // So that `tidegate build` makes what the manifest names.
        example.has("rust/Cargo.toml", &format!("name = \"{name}\""));
        example.has("go/go.mod", &format!("module github.com/tidegate/tidegate/examples/{name}"));
        // So that its unit tests run with those of the workspace.
        assert!(workspace.contains(&format!("\"examples/{name}/rust\"")), "{name} is a member of the workspace");
    }
}

#[test]
fn the_readme_of_the_examples_names_all_of_them() {
    let readme = fs::read_to_string(folder().join("README.md")).expect("a text");
    for Example { name, .. } in examples() {
        for file in ["rust/src/lib.rs", "go/main.go", "tidegate.toml", "cases"] {
            assert!(readme.contains(&format!("({name}/{file})")), "examples/README.md links {name}/{file}");
        }
    }
}
