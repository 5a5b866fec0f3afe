//! The metrics of a node that has something of everything, read by a strict parser, held to the rules of Prometheus'
//! linter, and compared with the list for operators.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::{OPENMETRICS, Scrape};
use crate::manifest::Name;
use crate::node::overview::{FunctionView, Overview};
use crate::node::relay::fleet::View;
use crate::node::relay::message::Pause;
use crate::node::steer::Heard;
use crate::registry::hints::HintCounts;
use crate::trigger::measures::{Lag, Measures};
use crate::trigger::{Condition, Counts, Reported, State, Status};

const REVISION: &str = "0123456789abcdef";

/// One metric as it is served.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    /// Suffix of the name, labels and value of each series.
    series: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Family {
    /// Names of labels, apart from the one that belongs to the format.
    fn labels(&self) -> BTreeSet<&str> {
        let all = self.series.iter().flat_map(|(_, labels, _)| labels.keys().map(String::as_str));
        all.filter(|name| *name != "le").collect()
    }
}

fn scrape() -> Scrape {
    let measures = Measures::default();
    let recorder = measures.recorder(&REVISION.into());
    recorder.show(Counts { calls: 2, handled: 7, ..Counts::default() }, 3, 1);
    measures.set_lags([Lag { topic: "in".into(), partition: 4, records: 12 }].into_iter());
    let condition = Reported { code: Condition::MostFail.code(), reason: "most records fail".to_owned() };
    let status = Status {
        state: State::Degraded,
        conditions: vec![condition],
        function: "f".to_owned(),
        counts: Counts { taken: 9, dead_letters: 1, ..Counts::default() },
        measures,
        ..Status::default()
    };
    let function = FunctionView {
        component: "f.wasm".to_owned(),
        revision: Some(REVISION.to_owned()),
        origin: Some("a \"quoted\\origin\"\n".to_owned()),
        published_ms: None,
        away: None,
        error: None,
        candidate: None,
        rollout: None,
        http: Arc::default(),
    };
    let name = |text: &str| Name::new(text).expect("a name");
    let overview = Overview::default();
    overview.reloads.adopted(&name("f"));
    overview.reloads.compiled(std::time::Duration::from_millis(3));
    let overview = Overview {
        triggers: [("t".to_owned(), watch::channel(status).1)].into(),
        functions: [("f".to_owned(), function)].into(),
        buffer_limit_bytes: 1 << 20,
        ..overview
    };
    let pause = Pause { at_ms: 0, from: "me".to_owned(), reason: String::new() };
    let view = View { pauses: [(name("t"), pause)].into(), ..View::default() };
    let hints = Arc::new(HintCounts::default());
    hints.received.store(5, std::sync::atomic::Ordering::Relaxed);
    hints.malformed.store(2, std::sync::atomic::Ordering::Relaxed);
    Scrape { overview, view: Some(view), heard: Heard { ignored: Some(6), hints: Some(hints) } }
}

/// Reads the text format. Panics at whatever is not exactly as it should be.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'), "the last line ends");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(!families.contains_key(name), "a second family {name}");
            families.insert(name.to_owned(), Family { help: help.to_owned(), ..Family::default() });
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert_eq!(name, current, "the type follows the help");
            let family = families.get_mut(name).expect("it has a help");
            assert!(family.kind.is_empty() && family.series.is_empty(), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            family.kind = kind.to_owned();
        } else {
            let (name, labels, value) = sample(line);
            let suffix = name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("out of order: {line}"));
            let family = families.get_mut(&current).expect("a family");
            let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line}");
            let is_new = family.series.iter().all(|(known, others, _)| known != suffix || *others != labels);
            assert!(is_new, "a second series: {line}");
            family.series.push((suffix.to_owned(), labels, value));
        }
    }
    families
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(key), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(key.to_owned(), value).is_none(), "a label twice: {line}");
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("it does not end: {line}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no space: {line}"));
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
}

/// Text up to the closing quote, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                other => panic!("an escape {other:?} in {text}"),
            }),
            char => value.push(char),
        }
    }
    panic!("no closing quote: {text}");
}

fn is_name(name: &str) -> bool {
    let is_legal = |char: char| char.is_ascii_alphanumeric() || char == '_';
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(is_legal)
}

/// What promtool's `check metrics` says of a metric.
fn lint(name: &str, family: &Family) -> Vec<String> {
    let words: Vec<&str> = name.split('_').collect();
    let is_counter = family.kind == "counter";
    let mut found = Vec::new();
    let mut must = |holds: bool, rule: &str| found.extend((!holds).then(|| format!("{name}: {rule}")));
    must(!family.help.trim().is_empty(), "it has a help text");
    must(!name.chars().any(|char| char.is_ascii_uppercase() || char == ':'), "it is in snake case, without colons");
    must(is_counter == name.ends_with("_total"), "counters, and only they, end with _total");
    for suffix in ["_bucket", "_count", "_sum"] {
        must(!name.ends_with(suffix), "the suffixes of histograms are theirs");
    }
    must(!words.iter().any(|word| ["gauge", "counter", "histogram", "summary"].contains(word)), "no type in the name");
    let abbreviated = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
    must(!words.iter().any(|word| abbreviated.contains(word)), "no abbreviated units");
    let no_base = [
        "milliseconds",
        "microseconds",
        "nanoseconds",
        "minutes",
        "hours",
        "days",
        "weeks",
        "kilobytes",
        "megabytes",
        "gigabytes",
        "kibibytes",
        "mebibytes",
        "bits",
        "percent",
        "fahrenheit",
    ];
    must(!words.iter().any(|word| no_base.contains(word)), "base units only");
    let labels = family.labels();
    must(!labels.contains("quantile"), "quantile is a label of summaries");
    must(labels.iter().all(|label| !label.chars().any(|char| char.is_ascii_uppercase())), "labels in snake case");
    must(labels.iter().all(|label| !name.contains(&format!("_by_{label}"))), "no labels in the name");
    must(name.starts_with("tidegate_") || name.starts_with("process_"), "it begins with tidegate or is a usual one");
    found
}

fn served() -> BTreeMap<String, Family> {
    let exposition = scrape().expose(None);
    assert_eq!(exposition.content_type, "text/plain; version=0.0.4; charset=utf-8");
    parse(&exposition.text)
}

#[track_caller]
fn value(families: &BTreeMap<String, Family>, name: &str, wanted: &[(&str, &str)]) -> f64 {
    let family = families.get(name).unwrap_or_else(|| panic!("no {name}"));
    let has = |labels: &BTreeMap<String, String>| wanted.iter().all(|(key, value)| labels[*key] == *value);
    let found: Vec<_> = family.series.iter().filter(|(_, labels, _)| has(labels)).map(|(_, _, value)| *value).collect();
    assert_eq!(found.len(), 1, "{name} {wanted:?}: {family:?}");
    found[0]
}

#[test]
fn the_linter_of_prometheus_finds_nothing() {
    let found: Vec<_> = served().iter().flat_map(|(name, family)| lint(name, family)).collect();
    assert!(found.is_empty(), "{found:#?}");
    let bad = Family { kind: "counter".to_owned(), ..Family::default() };
    assert_eq!(lint("tidegate_wait_ms", &bad).len(), 3);
}

/// Its bound, and how many values are at most that.
type Bucket = (f64, f64);

#[test]
fn buckets_grow_and_end_with_all_values() {
    for (name, family) in served().iter().filter(|(_, family)| family.kind == "histogram") {
        let mut by_labels: BTreeMap<Vec<(String, String)>, Vec<Bucket>> = BTreeMap::new();
        for (_, labels, value) in family.series.iter().filter(|(suffix, _, _)| suffix == "_bucket") {
            let bound = match labels["le"].as_str() {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().expect("a bound"),
            };
            let others = labels.iter().filter(|(name, _)| *name != "le");
            let others = others.map(|(name, value)| (name.clone(), value.clone())).collect();
            by_labels.entry(others).or_default().push((bound, *value));
        }
        assert!(!by_labels.is_empty(), "{name}");
        for (labels, buckets) in by_labels {
            assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{name} {buckets:?}");
            let labels = labels.into_iter().collect();
            let count = family.series.iter().find(|(suffix, its, _)| suffix == "_count" && *its == labels);
            assert_eq!(buckets.last().copied(), count.map(|(_, _, count)| (f64::INFINITY, *count)), "{name}");
        }
    }
}

#[test]
fn what_is_known_is_served() {
    let families = served();
    let value = |name, labels: &[_]| value(&families, name, labels);
    let of_revision = [("trigger", "t"), ("function", "f"), ("revision", REVISION)];
    assert_eq!(value("tidegate_records_handled_total", &of_revision), 7.0);
    assert_eq!(value("tidegate_pool_free_instances", &of_revision), 2.0);
    assert_eq!(value("tidegate_dead_letters_total", &[("trigger", "t")]), 1.0);
    assert_eq!(value("tidegate_lag_records", &[("topic", "in"), ("partition", "4")]), 12.0);
    assert_eq!(value("tidegate_trigger_condition", &[("cause", "most-fail")]), 1.0);
    assert_eq!(value("tidegate_trigger_condition", &[("cause", "no-leader")]), 0.0);
    assert_eq!(value("tidegate_trigger_breaker_open", &[]), 1.0);
    assert_eq!(value("tidegate_trigger_paused", &[("trigger", "t")]), 1.0);
    assert_eq!(value("tidegate_reloads_total", &[("function", "f"), ("result", "adopted")]), 1.0);
    assert_eq!(value("tidegate_hints_total", &[("result", "acted")]), 3.0);
    assert_eq!(value("tidegate_relay_records_ignored_total", &[]), 6.0);
    assert_eq!(value("tidegate_revision_info", &[("origin", "a \"quoted\\origin\"\n")]), 1.0);
    assert!(value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(value("process_start_time_seconds", &[]) > 1.7e9);
}

#[test]
fn a_trigger_that_is_gone_leaves_no_series() {
    let mut scrape = scrape();
    scrape.overview.triggers.clear();
    assert!(!scrape.expose(None).text.contains("trigger=\"t\""));
}

#[test]
fn openmetrics_is_served_to_whom_asks_for_it() {
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let exposition = scrape().expose(Some(accept));
    assert_eq!(exposition.content_type, OPENMETRICS);
    assert!(exposition.text.contains("# TYPE tidegate_calls counter\n") && exposition.text.ends_with("# EOF\n"));
    assert!(!scrape().expose(Some("text/plain")).text.contains("# EOF"));
}

/// The rows of the list: name, type, labels.
fn listed() -> Vec<(String, String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../OPERATING.md");
    let text = std::fs::read_to_string(path).expect("OPERATING.md");
    let section = text.split("\n## Metrics\n").nth(1).expect("it has a section on metrics");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(cells.len() >= 4 && !cells[3].is_empty(), "a row without a meaning: {row}");
        (cells[0].trim_end_matches('`').to_owned(), cells[1].to_owned(), cells[2].replace('`', ""))
    })
    .collect()
}

#[test]
fn the_list_for_operators_is_what_is_served() {
    let families = served();
    let served = families.iter().map(|(name, family)| {
        let labels = family.labels().into_iter().collect::<Vec<_>>().join(", ");
        (name.clone(), family.kind.clone(), labels)
    });
    let mut listed: Vec<_> = listed()
        .into_iter()
        .map(|(name, kind, labels)| {
            let mut labels: Vec<_> = labels.split(", ").collect();
            labels.sort_unstable();
            (name, kind, labels.join(", "))
        })
        .collect();
    listed.sort();
    assert_eq!(listed, served.collect::<Vec<_>>());
}
