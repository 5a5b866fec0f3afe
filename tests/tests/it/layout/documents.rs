//! What documents quote is there: a test that a document names can be found.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tidegate_tests::place;

use super::source::{Source, files};

/// Documents that name tests, beside the docs of modules.
const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "OPERATING.md", "README.md"];

/// Where Rust is.
const CODE: &[&str] = &["runtime", "sdk-rust", "tests", "examples"];

/// How names of libraries begin that code need not use, and those of metrics, whose list has a test of its own.
const FOREIGN: &[&str] = &["process_", "rd_kafka_", "tidegate_", "wasi_"];

/// The names in backquotes that can be those of tests: lower case, with two underscores or more.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |name: &&str| {
        let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        is_plain && name.matches('_').count() >= 2 && !FOREIGN.iter().any(|start| name.starts_with(start))
    };
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_name)
}

/// The docs of a module.
fn module_docs(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("//!"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn tests_that_documents_quote_are_there() {
    let root = place::repository();
    let code: Vec<String> = CODE.iter().flat_map(|folder| files(&root.join(folder))).map(|path| text(&path)).collect();
    let functions: BTreeSet<&str> = code.iter().flat_map(|text| functions(text)).collect();
    // A name that code uses is no test's: a field, an attribute of serde.
    let sources = Source::under(&root.join("runtime/src"));
    let words: BTreeSet<&str> = sources.iter().flat_map(Source::words).collect();
    let mut missing = Vec::new();
    let mut check = |file: &Path, text: &str| {
        let unknown = quoted(text).filter(|name| !functions.contains(name) && !words.contains(name));
        missing.extend(unknown.map(|name| format!("  {}: {name}", file.display())));
    };
    for document in DOCUMENTS {
        check(Path::new(document), &text(&root.join(document)));
    }
    for file in files(&root.join("runtime/src")) {
        check(file.strip_prefix(&root).expect("under the root"), &module_docs(&text(&file)));
    }
    assert!(missing.is_empty(), "no function has the name of the test that is quoted:\n{}", missing.join("\n"));
}

/// The names of functions.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    let name = |rest: &'_ str| rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    text.split("fn ").skip(1).map(move |rest| &rest[..name(rest)])
}

#[test]
fn names_of_tests_are_told_from_others() {
    let text = "`a_b_c` and `a_b`, `A_b_c`, `a_b_c()`, `rd_kafka_poll` or `x1_y_z`\n`of_two_lines_`\n";
    assert_eq!(quoted(text).collect::<Vec<_>>(), ["a_b_c", "x1_y_z", "of_two_lines_"]);
    assert_eq!(functions("async fn a_b() {} pub fn c<T>()").collect::<Vec<_>>(), ["a_b", "c"]);
    assert_eq!(module_docs("//! One\n/// two\n    //! three\n"), " One\n three\n");
}
