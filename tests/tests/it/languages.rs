//! Languages without an SDK of ours: a component made from the WIT alone, by the tools of the
//! language, runs unchanged. The tools come from their registries, into the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_tests::{node, place};

/// Versions that the pages in `examples/languages` name.
const COMPONENTIZE_PY: &str = "0.25.1";
const COMPONENTIZE_JS: &str = "0.19.3";

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}:\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A folder below the target folder in which something is installed once. What was not completed is
/// begun anew.
fn installed(name: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let folder = place::target().join("languages").join(name);
    if !folder.join("complete").exists() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        install(&folder);
        fs::write(folder.join("complete"), "").expect("written");
    }
    folder
}

/// Builds a copy of the example and holds it against its cases.
#[track_caller]
fn check(language: &str, build: impl FnOnce(&Path, &Path)) {
    let example = place::repository().join("examples/languages").join(language);
    let page = fs::read_to_string(example.join("README.md")).expect("a page");
    let folder = tempfile::tempdir().expect("a folder");
    run(Command::new("cp").arg("-R").arg(example.join(".")).arg(folder.path()));
    build(folder.path(), &place::repository().join("wit"));
    let shown = run(node::command().args(["test", "--no-build"]).current_dir(folder.path()));
    assert!(shown.ends_with("1 case passed\n"), "{shown}");
    for version in [COMPONENTIZE_PY, COMPONENTIZE_JS] {
        assert!(page.contains(version) || !page.contains(&version[..5]), "the page of {language} names {version}");
    }
}

#[test]
fn a_component_of_python_runs_unchanged() {
    let tools = installed(&format!("python-{COMPONENTIZE_PY}"), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        let package = format!("componentize-py=={COMPONENTIZE_PY}");
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", &package]));
    });
    check("python", |folder, wit| {
        let mut componentize = Command::new(tools.join("bin/componentize-py"));
        componentize.arg("-d").arg(wit).args(["-w", "function", "componentize", "shout", "-o", "shout.wasm"]);
        run(componentize.current_dir(folder));
    });
}

#[test]
fn a_component_of_javascript_runs_unchanged() {
    let tools = installed(&format!("javascript-{COMPONENTIZE_JS}"), |folder| {
        let package = format!("@bytecodealliance/componentize-js@{COMPONENTIZE_JS}");
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(folder).arg(&package));
    });
    check("javascript", |folder, wit| {
        let mut componentize = Command::new(tools.join("node_modules/.bin/componentize-js"));
        componentize.args(["shout.js", "--world-name", "function", "-o", "shout.wasm", "--wit"]).arg(wit);
        run(componentize.current_dir(folder));
    });
}
