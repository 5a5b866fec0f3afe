//! Every record's messages arrive exactly where the model says, byte for byte.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tidegate_tests::chance;
use tidegate_tests::kafka::{Kafka, Record, Stored};
use tidegate_tests::model::Model;
use tidegate_tests::node::Node;

use crate::pipe::{PATIENCE, Pipe, READY, cluster, component};

const KEYS: u32 = 5_000;

/// How many records of Go there are, unless `TIDEGATE_RECORDS` says it.
const GO_RECORDS: u32 = 100_000;

/// The commands that every run has some of.
const KINDS: &[&str] = &["ok", "copy", "drop", "many", "retry", "reject", "trap"];
/// Those that only a run of Go has.
const GO_KINDS: &[&str] = &["fatal", "exit"];

/// Mostly records that are handled, and a few of everything else that a function can end in: in Go
/// what only Go can do, too.
fn command(rng: &mut Rng, is_go: bool, number: u32) -> String {
    match rng.u32(..1000) {
        0..40 => "drop".to_owned(),
        40..80 => format!("many:{};{number}", rng.u32(..6)),
        80..85 => format!("retry:{};{number}", rng.u32(2..=3)),
        85..88 => format!("reject;{number}"),
        88 => format!("trap:{};{number}", rng.u32(1..=2)),
        89 if is_go => match rng.u32(..20) {
            // As many as it takes for a run of all records to be sure of one.
            // Of two dead letters without a key and with one value nobody knows which is whose.
            0..4 => format!("exit:{}", number + 1),
            4..12 => format!("fatal:{};{number}", rng.u32(1..=2)),
            _ => format!("trap:{};{number}", rng.u32(1..=9)),
        },
        89 if rng.bool() => format!("retry:99;{number}"),
        90..150 => format!("copy;{number}"),
        _ => format!("ok;{number}"),
    }
}

fn record(rng: &mut Rng, is_go: bool, number: u32) -> Record {
    let record = Record::of(command(rng, is_go, number)).timestamp(1_700_000_000_000 + i64::from(number));
    let record = match rng.u32(..100) {
        0 => record, // no key
        1 => record.key(""),
        2 => record.key([0xff, 0x00, rng.u8(..)]),
        _ => record.key(format!("k{}", rng.u32(..KEYS))),
    };
    match rng.u32(..10) {
        0 => record.header("trace", number.to_string()).null_header("none"),
        _ => record,
    }
}

#[test]
fn two_hundred_thousand_records_end_exactly_where_the_model_says() {
    check_exact("hostile", 200_000);
}

#[test]
fn the_records_of_go_do_so_too() {
    let records = std::env::var("TIDEGATE_RECORDS").map_or(GO_RECORDS, |text| {
        text.parse().unwrap_or_else(|_| panic!("TIDEGATE_RECORDS is not a number of records: {text}"))
    });
    check_exact("gopher", records);
}

#[track_caller]
fn check_exact(function: &str, records: u32) {
    let kafka = Kafka::shared();
    let mut rng = chance::seeded();
    let name = format!("exact-{function}");
    let pipe = Pipe::new(kafka, &name, 8);
    let retry = "retry = { attempts = 5, backoff = \"5ms\", max-backoff = \"20ms\" }";
    let mut node = Node::start(&name, &pipe.manifest(kafka, function, retry));
    node.wait_ready(READY);

    let start = Instant::now();
    let sent = pipe.source.produce((0..records).map(|number| record(&mut rng, function == "gopher", number)));
    check_kinds(&sent, function == "gopher");
    // The retries of the last records take their time, however few there are.
    let patience = Duration::from_secs(100) + records * Duration::from_micros(500);
    pipe.wait_handled(kafka, &mut node, patience);
    println!("{records} records were handled by {function} in {:?}", start.elapsed());
    node.term_cleanly();

    let due = Model::default().expect(&sent);
    pipe.hold(&due).assert_exact();
    assert_eq!(kafka.java_consume(&pipe.output, due.outputs()), due.output_bytes());
}

/// Chance left out nothing that this run is to show.
#[track_caller]
fn check_kinds(sent: &[Stored], is_go: bool) {
    let kind = |text: String| text.split([':', ';']).next().map(str::to_owned);
    let found: HashSet<String> = sent.iter().filter_map(|stored| kind(stored.record.text())).collect();
    let go_kinds: &[&str] = if is_go { GO_KINDS } else { &[] };
    for kind in KINDS.iter().chain(go_kinds) {
        assert!(found.contains(*kind), "no {kind} among {} records: more of them have each", sent.len());
    }
}

/// The first records of every partition wait for a retry, so all windows fill up behind them. Those
/// are more partitions than are held back with what was fetched of them; the others are paused, and
/// fetched again.
#[test]
fn full_windows_of_many_partitions_lose_and_reorder_nothing() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "narrow", 12);
    let slow = (0..100).map(|n| Record::of(format!("retry:2;{n}")).key(format!("slow-{n}")));
    let mut sent = pipe.source.produce(slow);
    // In small batches: a fetch takes whole ones, and must not take all of a partition at once.
    for batch in 0..30 {
        let fast = (0..2_000).map(|n| Record::of(format!("ok;{batch}-{n}")).key(format!("k{}", n % 500)));
        sent.extend(pipe.source.produce(fast));
    }
    let settings = "window = { records = 60 }\nbatch = { records = 20 }\n\
                    retry = { attempts = 5, backoff = \"2s\", max-backoff = \"2s\" }";
    let small = cluster(kafka, "\"max.partition.fetch.bytes\" = \"16384\"");
    let manifest = [small, component("hostile", ""), pipe.table("hostile", settings)].concat();
    let mut node = Node::start("narrow", &manifest);
    node.wait_ready(READY);
    pipe.wait_handled(kafka, &mut node, 2 * PATIENCE);
    node.term_cleanly();
    pipe.check(&Model::default(), &sent).assert_exact();
}

#[test]
fn null_empty_and_binary_are_kept_byte_for_byte() {
    check_bytes("bytes", "hostile", "");
}

/// The function takes every field apart and puts it together again.
const REBUILD: &str = "env = { REBUILD = \"yes\" }";

#[test]
fn null_empty_and_binary_cross_into_rust_and_back() {
    check_bytes("bytes-rust", "hostile", REBUILD);
}

#[test]
fn null_empty_and_binary_cross_into_go_and_back() {
    check_bytes("bytes-go", "gopher", REBUILD);
}

#[track_caller]
fn check_bytes(name: &str, function: &str, settings: &str) {
    let kafka = Kafka::shared();
    let mut rng = chance::seeded();
    let pipe = Pipe::new(kafka, name, 3);
    let manifest = [cluster(kafka, ""), component(function, settings), pipe.table(function, "")];
    let mut node = Node::start(name, &manifest.concat());

    let sent = pipe.source.produce(peculiar().into_iter().chain((0..2_000).map(|_| arbitrary(&mut rng))));
    node.wait_ready(READY);
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();

    assert_eq!(pipe.output.read_all().len(), sent.len(), "one message for each record");
    pipe.check(&Model::default(), &sent).assert_exact();
}

/// What is easily confused. None of the values is a command of `hostile`, so all are copied.
fn peculiar() -> Vec<Record> {
    let every_byte: Vec<u8> = (0..=255).collect();
    vec![
        Record::null().key("null value"),
        Record::of("").key("empty value"),
        Record::of("copy;no key"),
        Record::of("copy;empty key").key(""),
        Record::of("copy;binary key").key(every_byte.clone()),
        Record::of([b"copy;", every_byte.as_slice()].concat()).key("binary value"),
        Record::of("copy;empty header").key("h").header("h", ""),
        Record::of("copy;null header").key("h").null_header("h"),
        Record::of("copy;repeated")
            .key("h")
            .header("h", "1")
            .null_header("h")
            .header("h", "")
            .header("g", "2")
            .header("h", "3"),
        Record::of("copy;nameless").key("h").header("", "value").null_header(""),
        Record::of("copy;not UTF-8").key("h").header(*b"\xff\xc3(", every_byte).null_header(*b"\x80"),
        Record::of("copy;many headers")
            .key("h")
            .headers((0..200).map(|n| (vec![b'h'; n % 5], (n % 3 > 0).then(|| vec![0; n])))),
        Record::of("copy;old").key("t").timestamp(1),
    ]
}

/// Bytes that begin with none of a command's letters.
fn arbitrary(rng: &mut Rng) -> Record {
    let mut bytes = |longest: usize| -> Vec<u8> { (0..rng.usize(..longest)).map(|_| rng.u8(..)).collect() };
    let value = [&[0xfe], bytes(200).as_slice()].concat();
    let (key, name, content) = (bytes(12), bytes(8), bytes(40));
    // The client ends a name at its first zero byte.
    let name: Vec<u8> = name.into_iter().filter(|byte| *byte != 0).collect();
    Record::of(value).key(key).header(name, content)
}

/// A function in Go has room for the largest batch that it was told to expect. What is larger gets an
/// instance that was told of it.
#[test]
fn records_larger_than_expected_fit_into_go() {
    let kafka = Kafka::shared();
    let pipe = Pipe::with_settings(kafka, "large", 2, &[("max.message.bytes", "20000000")]);
    let large = |n: usize, bytes: usize| {
        let value = [format!("copy;{n};").into_bytes(), vec![b'x'; bytes]].concat();
        Record::of(value).key(format!("k{}", n % 7))
    };
    let sizes = [10, 3 << 20, 100, 5 << 20, 1 << 20, 20, 2 << 20, 12 << 20];
    let mut records: Vec<Record> = (0..24).map(|n| large(n, sizes[n % sizes.len()])).collect();
    records.push(Record::of("copy;headers").key("h").headers((0..90_000).map(|_| (vec![b'h'; 3], None))));
    let limits = "\"fetch.message.max.bytes\" = \"20000000\", \"message.max.bytes\" = \"20000000\"";
    let manifest = [cluster(kafka, limits), component("gopher", "memory = \"256MiB\""), pipe.table("gopher", "")];
    let mut node = Node::start("large", &manifest.concat());
    node.wait_ready(READY);
    let sent = pipe.source.produce(records);
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    pipe.check(&Model::default(), &sent).assert_exact();
}

/// A record that the function's memory has no room for fails by itself, and what is behind it goes on.
#[test]
fn a_record_too_large_for_the_memory_of_go_is_a_dead_letter() {
    let kafka = Kafka::shared();
    let pipe = Pipe::with_settings(kafka, "huge", 1, &[("max.message.bytes", "20000000")]);
    let huge = Record::of([b"copy;huge;".as_slice(), &vec![b'x'; 12 << 20]].concat()).key("huge");
    let limits = "\"fetch.message.max.bytes\" = \"20000000\", \"message.max.bytes\" = \"20000000\"";
    let settings = "retry = { attempts = 2, backoff = \"5ms\" }";
    let manifest = [cluster(kafka, limits), component("gopher", "memory = \"16MiB\""), pipe.table("gopher", settings)];
    let mut node = Node::start("huge", &manifest.concat());
    node.wait_ready(READY);
    let behind = (0..100).map(|n| Record::of(format!("ok;{n}")).key(format!("k{}", n % 9)));
    pipe.source.produce([huge].into_iter().chain(behind));
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    assert_eq!(pipe.output.read_all().len(), 100, "all the others");
    let dead = pipe.dead.read_all();
    let cause = dead[0].record.header_text("tidegate-cause");
    assert_eq!((dead.len(), cause.as_deref()), (1, Some("memory")));
}
