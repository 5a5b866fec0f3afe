//! The rules of DESIGN section 8 about who may name whom, over the sources of the runtime. Tests
//! in those sources are not held to them.

mod source;

use source::Source;
use tidegate_tests::place;

/// Who may name an outside thing. Words that are the name, or begin with it if it ends in `*`.
const OWNERS: &[(&str, &[&str])] = &[
    ("rdkafka*", &["kafka"]),
    ("wasmtime*", &["engine"]),
    ("aws_*", &["registry"]),
    ("anyhow", &["cli"]),
    ("hyper", &["gateway", "node/admin", "engine/http", "author/golden/answers"]),
    ("hyper_util", &["gateway", "node/admin", "engine/http", "author/golden/answers"]),
];

/// Modules that compute and nothing else.
const PURE: &[&str] = &["trigger/sequencer", "trigger/progress", "trigger/retry"];
const IMPURE_WORDS: &[&str] = &["async", "await", "tokio"];
const IMPURE_STD: &[&str] = &["io", "fs", "net", "thread", "process", "env"];
const IMPURE_CALLS: &[&str] = &["Instant::now", "SystemTime::now"];

/// Who may not name whom: dependencies point from `cli` to the leaves.
const BELOW: &[(&str, &[&str])] = &[
    (
        "cli",
        &["supervisor", "trigger", "engine", "kafka", "registry", "manifest", "admin", "gateway", "record", "revision"],
    ),
    ("supervisor", &["trigger", "engine", "kafka", "registry", "manifest", "record", "revision"]),
    ("trigger", &["engine", "kafka", "registry", "manifest", "record", "revision"]),
    ("engine", &["kafka", "registry", "manifest", "record", "revision"]),
    ("kafka", &["engine", "registry", "manifest", "record", "revision"]),
    ("registry", &["engine", "kafka", "trigger", "manifest", "record", "revision"]),
];

const LONGEST_FILE_LINES: usize = 500;

fn sources() -> Vec<Source> {
    let sources = Source::under(&place::repository().join("runtime/src"));
    assert!(!sources.is_empty(), "the runtime has sources");
    sources
}

/// Applies a rule, which gives what is wrong with a file.
#[track_caller]
fn check(rule: &str, sources: &[Source], breaks: impl Fn(&Source) -> Vec<String>) {
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|source| breaks(source).into_iter().map(|what| format!("  {}: {what}", source.path)))
        .collect();
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

fn foreign_words(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (name, owners) in OWNERS {
        let named = |word: &str| match name.strip_suffix('*') {
            Some(prefix) => word.starts_with(prefix),
            None => word == *name,
        };
        if !owners.iter().any(|owner| source.is_in(owner)) {
            found.extend(
                source.words().find(|word| named(word)).map(|word| format!("{word}, which belongs to {owners:?}")),
            );
        }
    }
    found
}

fn impurities(source: &Source) -> Vec<String> {
    let dense = source.dense();
    let mut found: Vec<String> = source.words().filter(|word| IMPURE_WORDS.contains(word)).map(str::to_owned).collect();
    found.extend(IMPURE_CALLS.iter().filter(|call| dense.contains(*call)).map(|call| (*call).to_owned()));
    for tail in dense.split("std::").skip(1) {
        // `std::{fmt, io}` imports several.
        let group = tail.strip_prefix('{').and_then(|group| group.split_once("};"));
        let path = group.map_or(tail.split([';', '(', '<']).next().unwrap_or(tail), |(group, _)| group);
        let modules = if group.is_some() { path.split(',').collect() } else { vec![path] };
        let heads = modules.iter().map(|module| module.split("::").next().unwrap_or(module));
        found.extend(heads.filter(|head| IMPURE_STD.contains(head)).map(|head| format!("std::{head}")));
    }
    found
}

/// `channel()` without arguments has no bound, save that of a oneshot.
fn unbounded_channels(source: &Source) -> Vec<String> {
    let mut found: Vec<String> =
        source.words().filter(|word| word.to_lowercase().starts_with("unbounded")).map(str::to_owned).collect();
    let dense = source.dense();
    for (at, name) in dense.match_indices("channel") {
        let (before, after) = (&dense[..at], &dense[at + name.len()..]);
        let is_name = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let arguments =
            if after.starts_with("::<") { after.find('(').map_or("", |open| &after[open..]) } else { after };
        if is_name && arguments.starts_with("()") && !before.ends_with("oneshot::") {
            found.push("channel() without a capacity".to_owned());
        }
    }
    found
}

fn upward_dependencies(source: &Source) -> Vec<String> {
    let dense = source.dense();
    let names = |module: &str| {
        dense
            .match_indices(&format!("crate::{module}"))
            .any(|(at, found)| !dense[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    BELOW
        .iter()
        .filter(|(upper, lower)| lower.iter().any(|module| source.is_in(module)) && names(upper))
        .map(|(upper, _)| format!("names crate::{upper}, which stands above it or beside it"))
        .collect()
}

#[test]
fn one_module_knows_each_outside_thing() {
    check("an outside thing is named by its module only", &sources(), foreign_words);
}

#[test]
fn pure_modules_do_no_io_and_tell_no_time() {
    let sources = sources();
    let pure: Vec<Source> =
        sources.into_iter().filter(|source| PURE.iter().any(|module| source.is_in(module))).collect();
    assert!(!pure.is_empty(), "the pure modules are where DESIGN says: {PURE:?}");
    check("pure modules take time and chance as arguments, and wait for nothing", &pure, impurities);
}

#[test]
fn every_channel_has_a_bound() {
    check("everything has a limit, and reaching it slows the reader", &sources(), unbounded_channels);
}

#[test]
fn dependencies_point_one_way() {
    check("dependencies point from cli through supervisor and trigger to the leaves", &sources(), upward_dependencies);
}

#[test]
fn files_are_small() {
    check("a file has at most 500 lines, tests aside", &sources(), |source| {
        let lines = source.lines();
        if lines > LONGEST_FILE_LINES { vec![format!("{lines} lines")] } else { Vec::new() }
    });
}

#[test]
fn unsafe_code_is_in_kafka_and_in_the_one_load_function() {
    let sources = sources();
    let unsafes = |source: &Source| source.words().filter(|word| *word == "unsafe").count();
    check("unsafe is for the Kafka client and for loading a compiled component", &sources, |source| {
        let allowed = source.is_in("kafka") || source.is_in("engine");
        if !allowed && unsafes(source) > 0 { vec!["unsafe".to_owned()] } else { Vec::new() }
    });
    let engine: usize = sources.iter().filter(|source| source.is_in("engine")).map(unsafes).sum();
    assert!(engine <= 1, "the engine has one unsafe block, in its load function, not {engine}");
}

#[test]
fn the_rules_notice_what_breaks_them() {
    let bad = Source::of(
        "trigger/retry.rs",
        "use rdkafka_sys as sys;\nuse std::{fmt, io};\nfn a() { std::fs::read(b); Instant :: now() }",
    );
    assert_eq!(foreign_words(&bad).len(), 1);
    assert_eq!(impurities(&bad), ["Instant::now", "std::io", "std::fs"]);
    let bad = Source::of(
        "trigger/mod.rs",
        "let a = mpsc::channel::<u8>(); let b = oneshot::channel(); let c = mpsc::unbounded_channel();\nlet d = mpsc::channel(8); use crate::supervisor::X; use crate::supervisors;",
    );
    assert_eq!(unbounded_channels(&bad), ["unbounded_channel", "channel() without a capacity"]);
    assert_eq!(upward_dependencies(&bad).len(), 1);
    let good = Source::of("kafka/sink.rs", "use rdkafka::X; let a = oneshot::channel::<u8>(); use crate::record::Y;");
    assert!([foreign_words(&good), unbounded_channels(&good), upward_dependencies(&good)].concat().is_empty());
}
