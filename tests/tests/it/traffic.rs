//! The commands for a topic's traffic, as an operator runs them: `produce`, `consume`, `record`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_tests::kafka::{Kafka, Record, Stored, Topic};
use tidegate_tests::node;
use tidegate_tests::process::{Process, Signal};
use tidegate_tests::{chance, net};

use crate::pipe::PATIENCE;

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// `tidegate` with these arguments, in a folder without a manifest.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = node::command();
    command.args(arguments).current_dir(folder).env_remove("KAFKA_BROKERS");
    command
}

/// Runs it with this on its standard input.
pub(crate) fn run_with(input: &[u8], arguments: &[&str]) -> Output {
    let folder = folder();
    let mut command = command(folder.path(), arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tidegate starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that reads nothing closes it.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("tidegate ends")
}

/// Runs it on the shared broker.
pub(crate) fn run(arguments: &[&str]) -> Output {
    run_with(b"", &[arguments, &["--brokers", Kafka::shared().bootstrap()]].concat())
}

#[track_caller]
pub(crate) fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Checks how it ended and that standard error has all of this. Returns standard output.
#[track_caller]
pub(crate) fn ends(output: &Output, code: i32, named: &[&str]) -> String {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    assert!(named.iter().all(|named| stderr.contains(named)), "{named:?}: {stderr}");
    stdout.to_owned()
}

/// The name that `produce` printed.
pub(crate) fn run_name(produced: &Output) -> String {
    let (_, rest) = text(&produced.stderr).split_once("--run ").expect("a run");
    rest.split_whitespace().next().expect("a name").to_owned()
}

pub(crate) fn records(stored: &[Stored]) -> Vec<Record> {
    let in_place = |stored: &Stored| Record { partition: Some(stored.partition), ..stored.record.clone() };
    stored.iter().map(in_place).collect()
}

#[test]
fn what_is_recorded_is_produced_and_recorded_again_byte_for_byte() {
    let kafka = Kafka::shared();
    let (source, copy) = (kafka.topic("traffic-source", 3), kafka.topic("traffic-copy", 3));
    let binary: Vec<u8> = (0..=255).collect();
    let all = [
        Record::null(),
        Record::of(""),
        Record::of("v").key(""),
        Record::null().key("k"),
        Record::of(binary.clone()).key(&binary[128..]),
        Record::of("{\"json\": [1.0e5, \"\\u00e9\"]}\n\r\0").key("é\u{1f980}"),
        Record::of("v").header("", "").null_header("n").header("n", "twice").header("n", &binary[..]),
        Record::of("v").header(&b"\xff\xfe"[..], &b"\x00"[..]).null_header("é"),
    ];
    let dated = |(at, record): (usize, Record)| {
        let place = i32::try_from(at % 3).expect("small");
        record.timestamp(1_700_000_000_000 + i64::from(place)).partition(place)
    };
    source.produce(all.into_iter().cycle().take(40).enumerate().map(dated));
    let folder = folder();
    let [first, second] = ["first.ndjson", "second.ndjson"].map(|name| folder.path().join(name));
    let [first_name, second_name] = [&first, &second].map(|path| path.to_str().expect("text"));

    succeeds(&["record", source.name(), "--output", first_name]);
    let produced = run(&["produce", copy.name(), "--file", first_name, "--keep-partitions"]);
    ends(&produced, 0, &["produced 40 records"]);
    succeeds(&["record", copy.name(), "--output", second_name]);
    let lines = |path: &Path| {
        let text = fs::read_to_string(path).expect("text");
        let mut lines: Vec<String> = text.lines().map(|line| line.replace(source.name(), copy.name())).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&first).len(), 40);
    assert_eq!(lines(&first), lines(&second));
    let content = |topic: &Topic| {
        let mut records = records(&topic.read_all());
        records.sort_by_key(|record| record.partition);
        records
    };
    assert_eq!(content(&source), content(&copy));

    // The same through standard output and input, and what is there stays as it is if nothing comes.
    let recorded = succeeds(&["record", source.name(), "--count", "7", "--partition", "1"]);
    let pipe = kafka.topic("traffic-pipe", 1);
    let brokers = ["--brokers", kafka.bootstrap()];
    let produced = run_with(recorded.as_bytes(), &[&["produce", pipe.name(), "--file", "-"], &brokers[..]].concat());
    ends(&produced, 0, &["produced 7 records"]);
    assert_eq!(pipe.read_all().len(), 7);
    let none = run(&["record", source.name(), "--key", "nobody", "--output", first_name]);
    ends(&none, 1, &["there is no such record"]);
    assert_eq!(lines(&first).len(), 40);
    let few = ["--timeout", "1s", "--count", "5", "--output", first_name];
    ends(
        &run(&[&["record", source.name(), "--from", "latest"], &few[..]].concat()),
        1,
        &["0 of 5 records came in time"],
    );
    assert_eq!(lines(&first).len(), 40);
}

#[test]
fn one_record_is_produced_from_flags() {
    let topic = Kafka::shared().topic("traffic-one", 3);
    let name = topic.name();
    let time = "2023-11-14T22:13:20Z";
    succeeds(&[
        "produce",
        name,
        "--value",
        "v",
        "--key",
        "k",
        "--header",
        "a=1",
        "--header",
        "b=",
        "--timestamp",
        time,
    ]);
    succeeds(&["produce", name, "--null-value", "--key", "k"]);
    succeeds(&["produce", name, "--key", "other", "--partition", "2"]);
    let read = topic.read_all();
    let of_key = |key: &str| read.iter().filter(|stored| stored.record.key == Some(key.into())).collect::<Vec<_>>();
    let expected = Record::of("v").key("k").header("a", "1").header("b", "").timestamp(1_700_000_000_000);
    let [first, second] = of_key("k")[..] else { panic!("{read:?}") };
    assert_eq!((&first.record, &second.record.value, first.partition), (&expected, &None, second.partition));
    assert_eq!(of_key("other").iter().map(|stored| stored.partition).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_refused_record_is_named_and_the_others_are_produced() {
    let topic = Kafka::shared().topic("traffic-refused", 1);
    let line = |value: String| format!("{}\n", json!({ "value": value }));
    let input = [line("a".into()), line("x".repeat(2 << 20)), line("b".into())].concat();
    let brokers = Kafka::shared().bootstrap();
    let arguments = ["produce", topic.name(), "--file", "-", "--brokers", brokers];
    let output = run_with(input.as_bytes(), &arguments);
    ends(&output, 1, &["1 refused, the first one is line 2", "too large", "1 of 3 records refused"]);
    assert_eq!(topic.read_all().len(), 2);

    let wrong = run_with(b"{\"value\": \"c\"}\n{\"value\": 5}\n{\"value\": \"d\"}\n", &arguments);
    ends(&wrong, 2, &["produced 1 record", "standard input, line 2, column 11"]);
    assert_eq!(topic.read_all().len(), 3);

    // However many are too large, the next one may not be.
    let input = [line("x".repeat(2_000)).repeat(3_000), line("small".into())].concat();
    let arguments = [&arguments[..], &["--property", "message.max.bytes=1000"]].concat();
    ends(&run_with(input.as_bytes(), &arguments), 1, &["3000 refused, the first one is line 1"]);
    assert_eq!(topic.read_all().len(), 4);
}

#[test]
fn records_that_are_deleted_before_they_are_read_are_named() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("traffic-deleted", 1);
    let fill = "x".repeat(10_000);
    topic.produce((0..4_000).map(|n| Record::of(format!("{n} {fill}"))));
    let folder = folder();
    let arguments = ["consume", topic.name(), "--brokers", kafka.bootstrap(), "--to-end", "--json"];
    let mut command = command(folder.path(), &arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tidegate starts");
    // It waits for us to read on, with far less fetched than there is.
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    topic.delete_before(0, 3_990);
    let lines: Vec<String> = stdout.lines().map(|line| line.expect("text")).collect();
    let output = child.wait_with_output().expect("tidegate ends");
    ends(&output, 0, &["records were deleted before they were read; goes on at offset 3990"]);
    assert!(lines.len() < 3_900 && lines.last().is_some_and(|line| line.contains("\"3999 ")), "{}", lines.len());
}

/// The Kafka client reads at most 100,000 headers of a record.
#[test]
fn a_record_that_cannot_be_read_whole_is_named() {
    let topic = Kafka::shared().topic("traffic-headers", 1);
    let many = std::iter::repeat_n((b"h".to_vec(), None), 100_001);
    topic.produce([Record::of("whole"), Record::of("not").headers(many)]);
    let place = format!("{}/0 at offset 1", topic.name());
    let shown = run(&["consume", topic.name(), "--json", "--to-end"]);
    let lines = ends(&shown, 0, &[&place, "more than 100,000", "shown without them"]);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    // What is recorded is all there is.
    let folder = folder();
    let file = folder.path().join("records.ndjson");
    let recorded = run(&["record", topic.name(), "--output", file.to_str().expect("text")]);
    ends(&recorded, 1, &[&place, "more than 100,000"]);
    assert!(!file.exists());
    let first = run(&["record", topic.name(), "--count", "1", "--output", file.to_str().expect("text")]);
    ends(&first, 0, &["1 record in "]);
}

#[test]
fn partitions_that_are_added_are_followed() {
    let kafka = Kafka::shared();
    let mut topic = kafka.topic("traffic-grows", 1);
    topic.produce([Record::of("first").partition(0)]);
    let folder = folder();
    let arguments = ["consume", topic.name(), "--brokers", kafka.bootstrap(), "--count", "2", "--timeout", "90s"];
    // Ten seconds otherwise.
    let soon = ["--property", "topic.metadata.refresh.interval.ms=500"];
    let mut command = command(folder.path(), &[&arguments[..], &soon].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tidegate starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.next().expect("a line").expect("text").contains("first"));
    topic.grow(2);
    topic.produce([Record::of("second").partition(1)]);
    assert!(lines.next().expect("a line").expect("text").contains("second"));
    ends(&child.wait_with_output().expect("tidegate ends"), 0, &[]);
}

#[test]
fn a_missing_topic_is_named_and_created_on_request() {
    let kafka = Kafka::shared();
    let topic = kafka.missing_topic("traffic-missing", 5);
    let name = topic.name();
    ends(&run(&["produce", name, "--value", "v"]), 1, &[name, "Unknown topic", "--create PARTITIONS"]);
    for command in [&["consume"][..], &["consume", "--verify"], &["record"]] {
        ends(&run(&[command, &[name]].concat()), 1, &[name, "cannot be read", "Unknown topic"]);
    }
    succeeds(&["produce", name, "--value", "v", "--create", "5"]);
    let again = run(&["produce", name, "--value", "v", "--create", "7"]);
    ends(&again, 0, &["has 5 partitions, not 7"]);
    assert_eq!(topic.read_all().len(), 2);
    ends(&run(&["produce", name, "--value", "v", "--partition", "5"]), 2, &["0 to 4"]);
    ends(&run(&["consume", name, "--partition", "5"]), 2, &["0 to 4"]);
}

#[test]
fn a_broker_that_does_not_answer_is_named_soon() {
    let address = format!("127.0.0.1:{}", net::free_port());
    for arguments in
        [["produce", "t", "--value", "v"], ["consume", "t", "--timeout", "1m"], ["record", "t", "--count", "1"]]
    {
        let start = Instant::now();
        let output = run_with(b"", &[&arguments[..], &["--brokers", &address]].concat());
        ends(&output, 1, &["no broker answers at", &address, "Connection refused"]);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}

#[test]
fn consuming_begins_and_ends_where_it_is_told() {
    let topic = Kafka::shared().topic("traffic-consume", 1);
    let name = topic.name();
    topic.produce((0..20_i64).map(|n| {
        let record = Record::of(format!("v{n}")).key(format!("k{}", n % 2)).timestamp(1_700_000_000_000 + n * 1_000);
        if n == 3 { record.header("mark", "here") } else { record }
    }));
    let values = |arguments: &[&str]| -> Vec<String> {
        let lines = succeeds(&[&["consume", name, "--json"], arguments].concat());
        let value = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["value"].clone();
        lines.lines().map(|line| value(line).as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(values(&["--to-end"]).len(), 20);
    assert_eq!(values(&["--to-end", "--from", "-2"]), ["v18", "v19"]);
    assert_eq!(values(&["--from", "5", "--count", "2"]), ["v5", "v6"]);
    assert_eq!(values(&["--to-end", "--from", "2023-11-14T22:13:38Z"]), ["v18", "v19"]);
    assert_eq!(values(&["--to-end", "--from", "1700000019000ms"]), ["v19"]);
    assert_eq!(values(&["--to-end", "--from", "latest"]), [""; 0]);
    assert_eq!(values(&["--to-end", "--from", "1000"]), [""; 0]);
    assert_eq!(values(&["--to-end", "--key", "k1", "--from", "-3"]), ["v17", "v19"]);
    assert_eq!(values(&["--to-end", "--header", "mark=here"]), ["v3"]);
    assert_eq!(values(&["--from", "-1", "--timeout", "1s"]), ["v19"]);
    let short = run(&["consume", name, "--from", "-1", "--timeout", "1s", "--count", "2"]);
    ends(&short, 1, &["1 of 2 records came in time"]);
    ends(&run(&["consume", name, "--to-end", "--count", "100"]), 1, &["20 of 100 records are there"]);
    // As many as there are, if no number is asked for.
    let record = ["record", name, "--from", "latest", "--timeout", "1s"];
    ends(&run(&record), 1, &["no such record came in time"]);
    assert_eq!(succeeds(&["record", name]).lines().count(), 20);
    assert_eq!(succeeds(&["record", name, "--count", "30"]).lines().count(), 20);
    let line = succeeds(&["consume", name, "--count", "1"]);
    assert_eq!(line, format!("{name}/0@0 2023-11-14T22:13:20Z k0 │ v0\n"));
}

#[test]
fn a_reader_that_goes_away_ends_consuming_quietly() {
    let topic = Kafka::shared().topic("traffic-pipe", 1);
    topic.produce((0..1_000).map(|_| Record::of("x".repeat(1_000))));
    let folder = folder();
    let mut command =
        command(folder.path(), &["consume", topic.name(), "--brokers", Kafka::shared().bootstrap(), "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tidegate starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let output = child.wait_with_output().expect("tidegate ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn an_interrupt_ends_producing_with_all_of_it_acknowledged() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("traffic-endless", 2);
    let folder = folder();
    let errors = folder.path().join("stderr");
    let arguments = ["produce", topic.name(), "--rate", "2000", "--brokers", kafka.bootstrap()];
    let mut command = command(folder.path(), &arguments);
    command.stdout(Stdio::null()).stderr(fs::File::create(&errors).expect("a file"));
    let mut process = Process::spawn(&mut command, folder.path()).expect("tidegate starts");
    topic.reader().count(1_000, PATIENCE);
    process.signal(Signal::Int);
    let status = process.wait(PATIENCE).expect("it ends");
    let said = fs::read_to_string(&errors).expect("text");
    assert!(status.success() && said.starts_with("interrupted: produced "), "{said}");
    let (_, expected) = said.trim_end().rsplit_once("--expect ").expect("what to check");
    assert_eq!(expected, topic.read_all().len().to_string());
    let (_, run) = said.split_once("--run ").expect("a run");
    let run = run.split_whitespace().next().expect("a name");
    succeeds(&["consume", topic.name(), "--verify", "--to-end", "--run", run, "--expect", expected]);
}

#[test]
fn what_is_written_wrong_is_said_without_a_broker() {
    let name = format!("traffic-{}", chance::suffix());
    let produce: &[(&[&str], &str)] = &[
        (&[], "which records? --value TEXT"),
        (&["--count", "5", "--value", "v"], "cannot be used with"),
        (&["--size", "1KiB..1B"], "expected a size"),
        (&["--keys", "0"], "expected a number from 1 to 1000000"),
        (&["--value", "v", "--property", "acks=1"], "--property acks"),
        (&["--value", "v", "--property", "no.such=1"], "No such configuration property"),
        (&["--value", "v", "--timestamp", "yesterday"], "expected a time"),
        (&["--value", "v", "--timestamp", "1970-01-01T00:00:00Z"], "the Kafka client cannot send 0"),
        (&["--value", "v", "--rate", "5"], "cannot be used with"),
    ];
    for (arguments, named) in produce {
        ends(&run_with(b"", &[&["produce", &name, "--brokers", "b:1"], *arguments].concat()), 2, &[named]);
    }
    let consume: &[(&[&str], &str)] = &[
        (&["--from", "sometime"], "expected earliest, latest, an offset"),
        (&["--run", "3kf90a2m"], "--verify"),
        (&["--timeout", "soon"], "expected a duration"),
        (&["--verify", "--expect", "5"], "--run"),
        (&["--verify", "--expect", "5", "--run", "3kf90a2m", "--partition", "1"], "records of all partitions"),
    ];
    for (arguments, named) in consume {
        ends(&run_with(b"", &[&["consume", &name, "--brokers", "b:1"], *arguments].concat()), 2, &[named]);
    }
    ends(&run_with(b"", &["consume", &name]), 2, &["which brokers?", "--brokers HOST:PORT", "KAFKA_BROKERS"]);
    ends(&run_with(b"", &["consume", &name, "--brokers", "here:there"]), 2, &["expected HOST:PORT"]);
    ends(&run_with(b"", &["consume", &name, "--manifest", "none.toml"]), 2, &["none.toml"]);
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let output = run_with(b"", &["completions", "bash"]);
    assert!(ends(&output, 0, &[]).contains("tidegate__subcmd__produce"), "{}", text(&output.stdout));
    let folder = folder();
    let pages = folder.path().join("man1");
    ends(&run_with(b"", &["man", pages.to_str().expect("text")]), 0, &[]);
    for page in ["tidegate.1", "tidegate-produce.1", "tidegate-consume.1", "tidegate-record.1", "tidegate-run.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
    assert!(ends(&run_with(b"", &["man"]), 0, &[]).contains(".TH tidegate 1"));
    // Sentences flow, what is indented stays as it is.
    let page = fs::read_to_string(pages.join("tidegate-consume.1")).expect("text");
    for part in [".nf\n  earliest  ", "\n.fi\nThe broker of `tidegate dev`", ".SH EXAMPLES\n.nf\n  tidegate consume"] {
        assert!(page.contains(part), "{part:?}: {page}");
    }
}
