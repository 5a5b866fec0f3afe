//! Languages without an SDK of ours: a component made from the WIT alone, by the tools of the
//! language, runs unchanged. The tools come from their registries, into the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_tests::{node, place};

/// What the pages in `examples/languages` install.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const COMPONENTIZE_JS: &str = "@bytecodealliance/componentize-js@0.19.3";

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}:\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A folder below the target folder in which something is installed once. What was not completed is
/// begun anew.
fn installed(language: &str, package: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let version = package.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let folder = place::target().join("languages").join(format!("{language}-{version}"));
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
fn check(language: &str, package: &str, build: impl FnOnce(&Path, &Path)) {
    let example = place::repository().join("examples/languages").join(language);
    let page = fs::read_to_string(example.join("README.md")).expect("a page");
    let folder = tempfile::tempdir().expect("a folder");
    run(Command::new("cp").arg("-R").arg(example.join(".")).arg(folder.path()));
    build(folder.path(), &place::repository().join("wit"));
    let shown = run(node::command().args(["test", "--no-build"]).current_dir(folder.path()));
    assert!(shown.ends_with("1 case passed\n"), "{shown}");
    assert!(page.contains(&format!("install {package}\n")), "the page of {language} installs another than {package}");
}

#[test]
fn a_component_of_python_runs_unchanged() {
    let tools = installed("python", COMPONENTIZE_PY, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", COMPONENTIZE_PY]));
    });
    check("python", COMPONENTIZE_PY, |folder, wit| {
        let mut componentize = Command::new(tools.join("bin/componentize-py"));
        componentize.arg("-d").arg(wit).args(["-w", "function", "componentize", "shout", "-o", "shout.wasm"]);
        run(componentize.current_dir(folder));
    });
}

#[test]
fn a_component_of_javascript_runs_unchanged() {
    let tools = installed("javascript", COMPONENTIZE_JS, |folder| {
        let mut install = Command::new("npm");
        install.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(folder).arg(COMPONENTIZE_JS);
        run(&mut install);
    });
    check("javascript", COMPONENTIZE_JS, |folder, wit| {
        let mut componentize = Command::new(tools.join("node_modules/.bin/componentize-js"));
        componentize.args(["shout.js", "--world-name", "function", "-o", "shout.wasm", "--wit"]).arg(wit);
        run(componentize.current_dir(folder));
    });
}
