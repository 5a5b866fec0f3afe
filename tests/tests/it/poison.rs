//! Records that end badly: traps, endless loops, memory bombs, exits, nonsense. They go to the dead
//! letter topic, and everything else goes on.

use tidegate_tests::kafka::{Kafka, Record, Stored};
use tidegate_tests::load::Load;
use tidegate_tests::model::Model;
use tidegate_tests::node::Node;
use tidegate_tests::{chance, wait};

use crate::pipe::{PATIENCE, Pipe, READY, cluster, component};

/// A command that ends badly.
struct Poison {
    command: &'static str,
    /// What it may be called in the header `tidegate-cause`.
    causes: &'static [&'static str],
    /// Pieces of what the header `tidegate-reason` says after the second attempt.
    reasons: &'static [&'static str],
}

impl Poison {
    const fn new(command: &'static str, causes: &'static [&'static str], reasons: &'static [&'static str]) -> Poison {
        Poison { command, causes, reasons }
    }
}

const RUST_POISON: &[Poison] = &[
    Poison::new("trap", &["trap"], &["told to trap at attempt 2"]),
    Poison::new("overflow", &["trap"], &["wasm trap: "]),
    Poison::new("spin", &["deadline"], &["the call took longer than 2s"]),
    Poison::new("bomb", &["memory"], &["more memory than its limit"]),
    Poison::new("exit:3", &["exit"], &["the function exited with status"]),
    Poison::new("reject;unwanted", &["reject"], &["unwanted"]),
    Poison::new("retry:99;x", &["retry"], &["attempt 2"]),
];

/// A panic is a failure of its record in Go, unless no one can recover from it; Go says why it ends.
/// A stack lies in the memory and grows there: what ends it is the memory, the deadline or the stack
/// of the machine, whichever is first.
const GO_POISON: &[Poison] = &[
    Poison::new("trap:99;x", &["retry"], &["panic: told to panic at attempt 2", "\nmain.obey\n"]),
    Poison::new("fatal:99;x", &["trap"], &["panic: told to panic elsewhere"]),
    Poison::new("deadlock", &["trap"], &["fatal error: all goroutines are asleep - deadlock!"]),
    Poison::new("overflow", &["trap", "memory", "deadline"], &[]),
    Poison::new("spin", &["deadline"], &["the call took longer than 2s"]),
    Poison::new("bomb", &["memory"], &["more memory than its limit"]),
    Poison::new("exit:1", &["exit"], &["the function exited with status 1"]),
    Poison::new("reject;unwanted", &["reject"], &["unwanted"]),
    Poison::new("retry:99;x", &["retry"], &["attempt 2"]),
];

/// With time for Go to fill its memory on a busy machine.
const HOSTILE: &str = "deadline = \"2s\"\nmemory = \"32MiB\"";
const RETRY: &str = "retry = { attempts = 2, backoff = \"20ms\", max-backoff = \"50ms\" }";

/// Records of a trigger that calls `uppercase`, as the messages that they become.
fn upper(sent: &[Stored]) -> Vec<Stored> {
    let mut sent = sent.to_vec();
    for stored in &mut sent {
        stored.record.value.iter_mut().for_each(|value| value.make_ascii_uppercase());
    }
    sent
}

#[test]
fn poison_goes_to_the_dead_letters_and_everything_else_goes_on() {
    check_poison("hostile", RUST_POISON);
}

#[test]
fn poison_of_go_does_so_too() {
    check_poison("gopher", GO_POISON);
}

#[track_caller]
fn check_poison(function: &str, poisons: &[Poison]) {
    let kafka = Kafka::shared();
    let mut rng = chance::seeded();
    let name = format!("poison-{function}");
    let (poison, bystander) = (Pipe::new(kafka, &name, 4), Pipe::new(kafka, &format!("beside-{function}"), 2));
    let manifest = [
        cluster(kafka, ""),
        component(function, HOSTILE),
        component("uppercase", ""),
        poison.table(function, RETRY),
        bystander.table("uppercase", ""),
    ];
    let mut node = Node::start(&name, &manifest.concat());
    node.wait_ready(READY);
    let load = Load::start(&bystander.source, 200, |n| Record::of(format!("by-{n}")).key(format!("k{}", n % 20)));

    let mut records: Vec<Record> =
        (0..400).map(|n| Record::of(format!("ok;{n}")).key(format!("good-{}", n % 40))).collect();
    for round in 0..3 {
        for Poison { command, .. } in poisons {
            let key = format!("{command}-{round}");
            // What waits behind poison of its key comes after it.
            let place = rng.usize(..records.len());
            records.insert(place, Record::of(format!("ok;behind-{round}")).key(key.clone()));
            records.insert(place, Record::of(*command).key(key));
        }
    }
    let sent = poison.source.produce(records);
    poison.wait_handled(kafka, &mut node, PATIENCE);
    let load = load.stop();
    bystander.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();

    let model = Model { attempts: 2, ..Model::default() };
    poison.check(&model, &sent).assert_exact();
    bystander.check(&model, &upper(&load)).assert_exact();
    for letter in poison.dead.read_all() {
        let poison = poisons.iter().find(|poison| letter.record.text() == poison.command).expect("it is one of them");
        let ours = |name: &str| letter.record.header_text(name).unwrap_or_else(|| panic!("{name}: {letter:?}"));
        let (cause, reason) = (ours("tidegate-cause"), ours("tidegate-reason"));
        assert!(poison.causes.contains(&cause.as_str()), "{}: {cause}: {reason}", poison.command);
        assert!(poison.reasons.iter().all(|said| reason.contains(said)), "{}: {reason}", poison.command);
    }
}

#[test]
fn dead_letters_are_complete() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "complete", 2);
    let retry = "retry = { attempts = 3, backoff = \"5ms\" }";
    let mut node = Node::start("complete", &pipe.manifest(kafka, "hostile", retry));
    node.wait_ready(READY);
    let revision = node.trigger("complete")["revision"].as_str().expect("a revision serves").to_owned();

    let nasty = |value: &str| {
        let bytes: Vec<u8> = (0..=255).collect();
        Record::of(value)
            .key(bytes.clone())
            .header("h", bytes)
            .null_header("h")
            .header("", "")
            .header(*b"\xff", "not UTF-8")
            .timestamp(1_234_567_890_123)
    };
    let records = [
        (nasty("reject;no such order"), "1", "reject", "no such order"),
        (nasty("retry:99;x"), "3", "retry", "attempt 3"),
        (nasty("trap"), "3", "trap", "told to trap at attempt 3"),
        (Record::of("reject;no key at all"), "1", "reject", "no key at all"),
    ];
    let sent = pipe.source.produce(records.iter().map(|(record, ..)| record.clone()));
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    let model = Model { attempts: 3, ..Model::default() };
    pipe.check(&model, &sent).assert_exact();

    for letter in pipe.dead.read_all() {
        let at = sent.iter().position(|stored| stored.record.value == letter.record.value).expect("it was sent");
        let (_, attempts, cause, reason) = records[at];
        let ours = |name: &str| {
            letter.record.header_text(&format!("tidegate-{name}")).unwrap_or_else(|| panic!("{name}: {letter:?}"))
        };
        let source = &sent[at];
        assert_eq!(ours("topic"), &*source.topic);
        assert_eq!(ours("partition"), source.partition.to_string());
        assert_eq!(ours("offset"), source.offset.to_string());
        assert_eq!(ours("timestamp"), source.record.timestamp.expect("acknowledged with one").to_string());
        assert_eq!(ours("trigger"), "complete");
        assert_eq!(ours("function"), "hostile");
        assert!(
            !revision.is_empty() && ours("revision").starts_with(&revision),
            "{} is not {revision}",
            ours("revision")
        );
        assert_eq!((ours("attempts").as_str(), ours("cause").as_str()), (attempts, cause));
        assert!(ours("reason").contains(reason), "{letter:?}");
        // Ours come after the record's own, which keep their order.
        let own = source.record.headers.len();
        assert_eq!(letter.record.headers[..own], source.record.headers);
    }
}

/// The Kafka client reads at most 100,000 headers of a record.
#[test]
fn a_record_with_too_many_headers_to_read_is_a_dead_letter_and_the_others_go_on() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "headers", 1);
    let mut node = Node::start("headers", &pipe.manifest(kafka, "hostile", ""));
    node.wait_ready(READY);
    let many = |count: usize| std::iter::repeat_n((b"h".to_vec(), None), count);
    let binary: Vec<u8> = (0..=255).collect();
    pipe.source.produce([
        Record::of("ok;ahead").key("k"),
        Record::of("ok;most").key("k").headers(many(100_000)),
        Record::of(binary.clone()).key("k").headers(many(100_001)),
        Record::of("ok;behind").key("k"),
        Record::null().headers(many(100_001)),
    ]);
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    let counts = node.trigger("headers")["counts"].clone();
    node.term_cleanly();
    let texts: Vec<String> = pipe.output.read_all().iter().map(|stored| stored.record.text()).collect();
    assert_eq!(texts, ["done:ahead", "done:most", "done:behind"]);
    let mut letters: Vec<Record> = pipe.dead.read_all().into_iter().map(|stored| stored.record).collect();
    // The one without a key waits for nobody.
    letters.sort_by_key(|letter| letter.header_text("tidegate-offset"));
    let content: Vec<_> = letters.iter().map(|letter| (letter.key.as_deref(), letter.value.as_deref())).collect();
    assert_eq!(content, [(Some(&b"k"[..]), Some(&binary[..])), (None, None)]);
    for (letter, offset) in letters.iter().zip(["2", "4"]) {
        assert_eq!(letter.headers.len(), 10, "only ours: {letter:?}");
        let ours = |name: &str| letter.header_text(&format!("tidegate-{name}")).expect("a header");
        assert_eq!((ours("cause"), ours("offset"), ours("attempts")), ("unreadable".into(), offset.into(), "1".into()));
        assert!(ours("reason").contains("more than 100,000; the function was not called"), "{letter:?}");
    }
    assert_eq!((&counts["dead-letters"], &counts["handled"]), (&2.into(), &3.into()), "{counts}");
}

/// 100 KB of record that would be gigabytes of headers.
#[test]
fn many_messages_that_inherit_many_headers_are_a_bad_outcome() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "inherited", 1);
    let mut node = Node::start("inherited", &pipe.manifest(kafka, "hostile", "retry = { attempts = 1 }"));
    node.wait_ready(READY);
    let headers = std::iter::repeat_n((Vec::new(), None), 50_000);
    pipe.source.produce([Record::of("many:3000;x").key("k").headers(headers), Record::of("ok;behind").key("k")]);
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    let texts: Vec<String> = pipe.output.read_all().iter().map(|stored| stored.record.text()).collect();
    assert_eq!(texts, ["done:behind"]);
    let letter = pipe.dead.read_all().swap_remove(0).record;
    let ours = |name: &str| letter.header_text(&format!("tidegate-{name}")).expect("a header");
    assert_eq!(ours("cause"), "bad-outcome");
    assert!(ours("reason").starts_with("3000 messages of 4579 MiB in all"), "{}", ours("reason"));
}

/// A record that waits for its retry blocks its key and nothing else, in its own partition too.
#[test]
fn a_waiting_retry_blocks_only_its_key() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "waiting", 1);
    // Two waits of 2 to 4 s: the rest is through long before.
    let retry = "retry = { attempts = 3, backoff = \"4s\", max-backoff = \"4s\" }";
    let mut node = Node::start("waiting", &pipe.manifest(kafka, "hostile", retry));
    node.wait_ready(READY);

    let mut records = vec![Record::of("retry:3;x").key("waits"), Record::of("ok;behind").key("waits")];
    records.extend((0..500).map(|n| Record::of(format!("ok;{n}")).key(format!("k{}", n % 50))));
    let sent = pipe.source.produce(records);
    let early = pipe.output.read_until("the other keys", PATIENCE, |records| records.len() >= 500);
    assert!(early.iter().all(|stored| stored.record.key.as_deref() != Some(b"waits")), "nothing of the waiting key");
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    pipe.check(&Model { attempts: 3, ..Model::default() }, &sent).assert_exact();
}

/// While a guest spins, other partitions, another trigger and the admin listener go on.
#[test]
fn a_spinning_guest_holds_up_nobody() {
    let kafka = Kafka::shared();
    let (spinner, other) = (Pipe::new(kafka, "spinner", 2), Pipe::new(kafka, "other", 1));
    let manifest = [
        cluster(kafka, ""),
        component("hostile", "deadline = \"10s\""),
        component("uppercase", ""),
        spinner.table("hostile", "retry = { attempts = 1 }\ninstances = { min = 1, max = 2 }"),
        other.table("uppercase", ""),
    ];
    let mut node = Node::start("spinner", &manifest.concat());
    node.wait_ready(READY);

    // Alone in its partition: a call never mixes two.
    spinner.source.produce([Record::of("spin").key("s").partition(0)]);
    spinner.source.produce((0..100).map(|n| Record::of(format!("ok;{n}")).key(format!("k{n}")).partition(1)));
    other.source.produce((0..100).map(|n| Record::of(format!("{n}")).key(format!("k{n}"))));
    spinner.output.reader().count(100, PATIENCE);
    other.output.reader().count(100, PATIENCE);
    assert_eq!(node.get("/livez").map(|response| response.status), Some(200));
    assert_eq!(spinner.dead.read_all(), [], "all of this was before the deadline");
    spinner.dead.reader().count(1, PATIENCE);
}

/// The promise is deadline + 20 ms. Both times are the broker's: when it got the record, and when it
/// got the dead letter. The best of some rounds shows the promise on a busy machine too.
#[test]
fn a_spinning_guest_is_stopped_at_its_deadline() {
    const ROUNDS: usize = 8;
    const DEADLINE_MS: i64 = 300;
    // To the node and from it, the client's batching included.
    const WAY_MS: i64 = 50;
    let kafka = Kafka::shared();
    let broker_time = [("message.timestamp.type", "LogAppendTime")];
    let pipe = Pipe::with_settings(kafka, "stopped", 1, &broker_time);
    let deadline = format!("deadline = \"{DEADLINE_MS}ms\"");
    let manifest =
        [cluster(kafka, ""), component("hostile", &deadline), pipe.table("hostile", "retry = { attempts = 1 }")];
    let mut node = Node::start("stopped", &manifest.concat());
    node.wait_ready(READY);
    let mut letters = pipe.dead.reader();
    let times: Vec<i64> = (1..=ROUNDS)
        .map(|round| {
            let source = pipe.source.produce([Record::of("spin").key("s")]).swap_remove(0);
            let letter = &letters.count(round, PATIENCE)[round - 1];
            let time = |stored: &Stored| stored.record.timestamp.expect("the broker's");
            time(letter) - time(&source)
        })
        .collect();
    println!("from a record that spins to its dead letter, in ms: {times:?}");
    let best = *times.iter().min().expect("some rounds");
    assert!(best >= DEADLINE_MS, "not before its deadline: {times:?}");
    assert!(best <= DEADLINE_MS + 20 + WAY_MS, "in time: {times:?}");
}

/// What a trap leaves behind is gone: the next record of the same key meets a new instance.
#[test]
fn the_next_record_succeeds_after_each_kind_of_poison() {
    check_next("hostile", RUST_POISON);
}

#[test]
fn the_next_record_succeeds_after_each_kind_of_poison_of_go() {
    check_next("gopher", GO_POISON);
}

#[track_caller]
fn check_next(function: &str, poisons: &[Poison]) {
    let kafka = Kafka::shared();
    let name = format!("next-{function}");
    let pipe = Pipe::new(kafka, &name, 1);
    let settings = "retry = { attempts = 1 }\ninstances = { min = 1, max = 1 }\nordering = \"partition\"";
    let manifest = [cluster(kafka, ""), component(function, HOSTILE), pipe.table(function, settings)];
    let mut node = Node::start(&name, &manifest.concat());
    node.wait_ready(READY);
    let mut outputs = pipe.output.reader();
    for (count, Poison { command, .. }) in (1..).zip(poisons) {
        pipe.source.produce([Record::of(*command).key("k"), Record::of(format!("ok;{command}")).key("k")]);
        let read = outputs.count(count, PATIENCE);
        assert_eq!(read[count - 1].record.text(), format!("done:{command}"));
    }
    wait::until("every poison is a dead letter", PATIENCE, || pipe.dead.read_all().len() == poisons.len());
}

/// Outcomes that break a rule of the contract, each by one detail. `raw-outcomes` makes the shape
/// that the value names; only the last one is right.
const SHAPES: &[&str] = &[
    "short-lens",
    "long-lens",
    "short-data",
    "long-data",
    "orphan-data",
    "negative-len",
    "huge-len",
    "source-range",
    "source-order",
    "bad-topic-utf8",
    "ungranted-topic",
    "empty-topic",
    "long-partitions",
    "bad-partition",
    "long-timestamps",
    "bad-timestamp",
    "counts",
    "long-counts",
    "negative-count",
    "huge-count",
    "orphan-headers",
    "short-header-values",
    "null-header-name",
    "source-header-value",
    "bad-failure-index",
    "duplicate-failure",
    "long-reason",
];

#[test]
fn a_malformed_outcome_fails_its_record() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "malformed", 1);
    let mut node = Node::start("malformed", &pipe.manifest(kafka, "raw-outcomes", "retry = { attempts = 1 }"));
    node.wait_ready(READY);
    let (mut letters, mut outputs) = (pipe.dead.reader(), pipe.output.reader());
    // One by one: the shape is that of the whole call.
    for (count, shape) in (1..).zip(SHAPES) {
        pipe.source.produce([Record::of(*shape).key("k")]);
        let letter = letters.count(count, PATIENCE)[count - 1].record.clone();
        let cause = if *shape == "long-reason" { "reject" } else { "bad-outcome" };
        assert_eq!((letter.text().as_str(), letter.header_text("tidegate-cause").as_deref()), (*shape, Some(cause)));

        pipe.source.produce([Record::of(format!("after {shape}")).key("k")]);
        assert_eq!(outputs.count(count, PATIENCE)[count - 1].record.text(), format!("after {shape}"));
    }
    let last = &letters.records().last().expect("dead letters").record.headers;
    let reason = last.iter().find(|(name, _)| name == b"tidegate-reason").and_then(|(_, value)| value.clone());
    let reason = String::from_utf8(reason.expect("a reason")).expect("it is cut between two characters");
    assert!((998..=1_000).contains(&reason.len()) && reason.chars().all(|c| c == '€'), "{} bytes", reason.len());
}
