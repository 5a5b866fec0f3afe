//! The rules about who may name whom, over the sources of the runtime: floors of modules, circles of files,
//! owners of outside things, pure modules, bounds of channels, lengths of files. Tests in those sources are
//! not held to them. And the tests that documents quote are there.

mod documents;
mod names;
mod source;

use std::collections::BTreeSet;

use names::Arrows;
use source::Source;
use tidegate_tests::place;

/// The modules of the crate, from the top floor down. A module names modules of lower floors only.
const FLOORS: &[&[&str]] = &[
    &["cli"],
    &["operator"],
    &["author", "tools", "node"],
    &["trigger", "registry"],
    &["engine", "kafka"],
    &["manifest", "record"],
    &["counted", "files", "histogram", "log", "signals", "throttle"],
];

/// Who may name whom on the same floor, and why.
const BESIDE: &[(&str, &str, &str)] =
    &[("author", "tools", "golden cases and calls by hand are NDJSON; both write for the same terminal")];

/// Who may not name whom although the other one is on a lower floor, and why.
const APART: &[(&str, &str, &str)] = &[
    ("registry", "engine", "it fetches bytes, and whoever asked for them has them compiled"),
    ("registry", "kafka", "components do not come from topics"),
];

/// Who may name an outside thing. Words that are the name, or begin with it if it ends in `*`. Nothing names
/// `aws_*` yet: the rule is there before the first one who would.
const OWNERS: &[(&str, &[&str])] = &[
    ("rdkafka*", &["kafka"]),
    ("wasmtime*", &["engine"]),
    ("wit_component", &["author/toolchain"]),
    ("aws_*", &["registry"]),
    ("minisign_verify", &["registry/signature"]),
    ("clap*", &["cli"]),
    ("anyhow", &["cli", "operator", "tools"]),
    ("indicatif", &["operator/publish"]),
    ("prometheus_client", &["node/metrics"]),
    ("hyper", &["node/admin", "engine/http", "author/golden/answers"]),
    ("hyper_util", &["node/admin", "engine/http", "author/golden/answers"]),
];

/// Modules that compute and nothing else.
const PURE: &[&str] = &[
    "trigger/breaker",
    "trigger/durability",
    "trigger/health",
    "trigger/intake",
    "trigger/membership",
    "trigger/progress",
    "trigger/retreat",
    "trigger/retry",
    "trigger/sequencer",
    "trigger/topology",
    "node/adoption",
    "node/admin/documents",
    "node/artifacts",
    "node/rollout",
    "node/relay/fleet",
    "node/relay/heartbeat",
    "node/relay/message",
    "node/relay/outbox",
    "node/relay/steering",
    "operator/fleet",
    "operator/history",
    "operator/member",
    "operator/online/finding",
    "operator/online/policy",
    "operator/report",
    "operator/table",
];
const IMPURE_WORDS: &[&str] = &["async", "await", "tokio"];
const IMPURE_STD: &[&str] = &["io", "fs", "net", "thread", "process", "env"];
const IMPURE_CALLS: &[&str] = &["Instant::now", "SystemTime::now"];

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

/// The module of the crate that a file belongs to. `None`: the file is the root of a crate.
fn top(path: &str) -> Option<&str> {
    let module = path.split('/').next().unwrap_or(path).trim_end_matches(".rs");
    (!matches!(module, "lib" | "main")).then_some(module)
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Arrows that do not point to a lower floor and are not allowed on the same one, or join what stays apart.
fn wrong_arrows(arrows: &Arrows) -> Vec<String> {
    let is_wrong = |(from, to): &(&str, &str)| {
        let (Some(from), Some(to)) = (top(from), top(to)) else { return true };
        let is_on = |list: &[(&str, &str, &str)]| list.iter().any(|(one, other, _)| (*one, *other) == (from, to));
        from != to && (floor(from) >= floor(to) && !is_on(BESIDE) || is_on(APART))
    };
    arrows.all().filter(is_wrong).map(|(from, to)| format!("  {from} names {to}")).collect()
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
    for module in PURE {
        assert!(pure.iter().any(|source| source.is_in(module)), "there is no module {module}");
    }
    check("pure modules take time and chance as arguments, and wait for nothing", &pure, impurities);
}

#[test]
fn every_channel_has_a_bound() {
    check("everything has a limit, and reaching it slows the reader", &sources(), unbounded_channels);
}

#[test]
fn every_module_is_on_one_floor() {
    let sources = sources();
    let found: BTreeSet<&str> = sources.iter().filter_map(|source| top(&source.path)).collect();
    let mut listed = FLOORS.concat();
    listed.sort_unstable();
    assert_eq!(listed, found.into_iter().collect::<Vec<_>>(), "the list of floors has each module once");
}

#[test]
fn dependencies_point_down() {
    let wrong = wrong_arrows(&Arrows::of(&sources()));
    assert!(
        wrong.is_empty(),
        "a module names modules of lower floors only, see FLOORS, BESIDE and APART:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn what_is_allowed_on_one_floor_is_needed() {
    let arrows = Arrows::of(&sources());
    for (from, to, _) in BESIDE {
        assert_eq!(floor(from), floor(to), "{from} and {to} are on one floor");
        let is_needed = arrows.all().any(|(one, other)| (top(one), top(other)) == (Some(from), Some(to)));
        assert!(is_needed, "{from} does not name {to}: take it from the list");
    }
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    let sources = sources();
    let arrows = Arrows::of(&sources);
    let within = |circle| arrows.within(circle).map(|(from, to)| format!("  {from} -> {to}")).collect::<Vec<_>>();
    let circles: Vec<String> = arrows.circles().iter().map(|circle| within(circle).join("\n")).collect();
    assert!(circles.is_empty(), "these files name each other in a circle:\n{}", circles.join("\n\n"));
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
        "let a = mpsc::channel::<u8>(); let b = oneshot::channel(); let c = mpsc::unbounded_channel();\nlet d = mpsc::channel(8);",
    );
    assert_eq!(unbounded_channels(&bad), ["unbounded_channel", "channel() without a capacity"]);
    let good = Source::of("kafka/sink.rs", "use rdkafka::X; let a = oneshot::channel::<u8>(); use crate::record::Y;");
    assert!([foreign_words(&good), unbounded_channels(&good)].concat().is_empty());
    let files = [
        ("record/mod.rs", "use crate::kafka::X; use crate::counted::counted;"),
        ("kafka/mod.rs", "use crate::engine::X; use crate::record::X;"),
        ("registry/mod.rs", "use crate::kafka::X; use crate::record::X;"),
        ("engine/mod.rs", "use crate::manifest::X;"),
        ("author/mod.rs", "use crate::tools::X;"),
        ("tools/mod.rs", "use crate::author::X;"),
        ("manifest/mod.rs", ""),
        ("counted.rs", ""),
    ];
    let files = files.map(|(path, text)| Source::of(path, text));
    let wrong = [
        "kafka/mod.rs names engine/mod.rs",
        "record/mod.rs names kafka/mod.rs",
        "registry/mod.rs names kafka/mod.rs",
        "tools/mod.rs names author/mod.rs",
    ];
    assert_eq!(wrong_arrows(&Arrows::of(&files)), wrong.map(|wrong| format!("  {wrong}")));
}
