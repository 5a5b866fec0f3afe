//! A new build of a function takes over while records flow.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use tidegate_tests::kafka::{Kafka, Record, Stored, now_ms};
use tidegate_tests::load::Load;
use tidegate_tests::model::Model;
use tidegate_tests::node::{Node, replace};
use tidegate_tests::{chance, functions};

use crate::pipe::{PATIENCE, Pipe, READY, cluster, function_at};

const REPLACEMENTS: usize = 100;
/// Records before the first replacement: how long gaps are that no replacement makes.
const UNDISTURBED: usize = 10_000;

/// Neither function does anything to this but one: `uppercase` makes it upper case, `hostile`
/// copies it.
fn lower_case(n: u64) -> Record {
    Record::of(format!("copy;{n}")).key(format!("k{}", n % 100))
}

/// Outputs as if `hostile` had made all of them, and how many it has.
fn as_copies(outputs: &[Stored]) -> (Vec<Stored>, usize) {
    let mut copies = outputs.to_vec();
    let mut by_hostile = 0;
    for stored in &mut copies {
        let value = stored.record.value.as_mut().expect("an output of these records has a value");
        by_hostile += usize::from(value.starts_with(b"copy"));
        value.make_ascii_lowercase();
    }
    (copies, by_hostile)
}

/// The times between two records, by when the broker got them. Those that it got at once, in one
/// request, count as one record.
struct Gaps {
    p99: Duration,
    longest: Duration,
}

impl Gaps {
    fn between(records: &[Stored], when: impl Fn(i64) -> bool) -> Self {
        let times = records.iter().filter_map(|stored| stored.record.timestamp);
        let mut times: Vec<i64> = times.filter(|time| when(*time)).collect();
        times.sort_unstable();
        times.dedup();
        let mut gaps: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).cast_unsigned()).collect();
        gaps.sort_unstable();
        let at = |index: usize| Duration::from_millis(gaps.get(index).copied().unwrap_or(0));
        Self { p99: at(gaps.len() * 99 / 100), longest: at(gaps.len().saturating_sub(1)) }
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p99 {:?}, longest {:?}", self.p99, self.longest)
    }
}

/// As the many tools do that write files.
fn put(rng: &mut Rng, path: &Path, bytes: &[u8]) -> &'static str {
    match rng.u8(..3) {
        0 => {
            replace(path, bytes);
            "renamed over"
        }
        1 => {
            // Truncates first; a reader may see the file empty or halfway.
            fs::write(path, bytes).expect("the component is written");
            "written in place"
        }
        _ => {
            fs::remove_file(path).expect("the component is removed");
            fs::write(path, bytes).expect("the component is written");
            "removed and written"
        }
    }
}

/// A node whose function is the file `function.wasm` in its folder.
fn reloading_node(pipe: &Pipe, first: &[u8]) -> Node {
    let mut node = Node::prepare(&pipe.trigger, tidegate_tests::node::Layout::File, "");
    let path = node.path("function.wasm");
    fs::write(&path, first).expect("the component is written");
    let manifest = [cluster(Kafka::shared(), ""), function_at("changing", &path, ""), pipe.table("changing", "")];
    node.write_manifest(&manifest.concat());
    node.start_again();
    node.wait_ready(READY);
    node
}

#[test]
fn a_hundred_replacements_under_load_lose_repeat_and_reorder_nothing() {
    let kafka = Kafka::shared();
    let mut rng = chance::seeded();
    let broker_time = [("message.timestamp.type", "LogAppendTime")];
    let pipe = Pipe::with_settings(kafka, "reload", 4, &broker_time);
    let components = [functions::bytes("uppercase"), functions::bytes("hostile")];
    let mut node = reloading_node(&pipe, &components[0]);
    let path = node.path("function.wasm");

    let load = Load::start(&pipe.source, 1_000, lower_case);
    pipe.output.reader().count(UNDISTURBED, PATIENCE);
    let first = now_ms();
    for round in 1..=REPLACEMENTS {
        let before = node.trigger("reload")["revision"].take();
        let how = put(&mut rng, &path, &components[round % 2]);
        node.wait_for(&format!("replacement {round}, {how}, serves"), Duration::from_secs(20), |node| {
            let revision = node.trigger("reload")["revision"].take();
            !revision.is_null() && revision != before
        });
    }
    let sent = load.stop();
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();

    let outputs = pipe.output.read_all();
    let (copies, by_hostile) = as_copies(&outputs);
    let verdict = Model { timestamps: false, ..Model::default() }.expect(&sent).check(&copies, &pipe.dead.read_all());
    println!("reload: {verdict}; {by_hostile} of {} by the second function", outputs.len());
    println!(
        "reload: gaps between outputs without any replacement: {}; with {REPLACEMENTS}: {}",
        Gaps::between(&outputs, |time| time < first),
        Gaps::between(&outputs, |time| time >= first),
    );
    verdict.assert_exact();
    assert!(0 < by_hostile && by_hostile < outputs.len(), "both functions have served");
}

/// What is broken does not replace what works.
#[test]
fn a_broken_file_leaves_the_last_good_revision_serving() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "broken", 1);
    let good = functions::bytes("hostile");
    let mut node = reloading_node(&pipe, &good);
    let path = node.path("function.wasm");
    let serving = node.trigger("broken")["revision"].take();

    let files: [(&str, &[u8]); 5] = [
        ("no wasm at all", b"not a component\n"),
        ("empty", b""),
        ("cut in the middle", &good[..good.len() / 2]),
        ("a module, not a component", b"\0asm\x01\0\0\0"),
        ("a component that exports nothing", b"\0asm\x0d\0\x01\0"),
    ];
    let mut sent = Vec::new();
    for (what, bytes) in files {
        replace(&path, bytes);
        node.wait_for(&format!("a reason why this is not taken: {what}"), PATIENCE, |node| {
            node.function("changing")["error"].is_string()
        });
        println!("{what}: {}", node.function("changing")["error"]);
        assert_eq!(node.trigger("broken")["revision"], serving, "{what}");
        sent.extend(pipe.source.produce((0..20).map(lower_case)));
        pipe.output.reader().count(sent.len(), PATIENCE);
        // Two of them may have the same reason.
        replace(&path, &good);
        node.wait_for("the good file is noticed", PATIENCE, |node| node.function("changing")["error"].is_null());
    }

    replace(&path, &functions::bytes("uppercase"));
    node.wait_for("the good file serves", PATIENCE, |node| {
        let report = node.trigger("broken");
        report["revision"] != serving && node.function("changing")["error"].is_null()
    });
    sent.extend(pipe.source.produce((0..20).map(lower_case)));
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    let outputs = pipe.output.read_all();
    let (copies, by_hostile) = as_copies(&outputs);
    Model::default().expect(&sent).check(&copies, &[]).assert_exact();
    assert_eq!((by_hostile, outputs.len()), (100, 120));
}

/// The machine is at fault, so the revision is tried until it starts, without anybody's help. Meanwhile the
/// old one serves, and is not taken on again.
#[test]
fn a_revision_whose_folder_is_away_serves_once_it_is_back() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "patient", 1);
    let mut node = Node::prepare("patient", tidegate_tests::node::Layout::File, "");
    let (path, folder, elsewhere) = (node.path("function.wasm"), node.path("data"), node.path("elsewhere"));
    fs::create_dir(&folder).expect("made");
    fs::write(&path, functions::bytes("uppercase")).expect("the component is written");
    let settings = format!("folders = {{ \"/d\" = \"{}\" }}", folder.display());
    let manifest = [cluster(kafka, ""), function_at("changing", &path, &settings), pipe.table("changing", "")];
    node.write_manifest(&manifest.concat());
    node.start_again();
    node.wait_ready(READY);
    let first = node.trigger("patient")["revision"].take();

    fs::rename(&folder, &elsewhere).expect("moved");
    replace(&path, &functions::bytes("hostile"));
    node.wait_for("the reason is shown", PATIENCE, |node| {
        node.function("changing")["error"].as_str().unwrap_or_default().contains("its folder /d cannot be opened")
    });
    assert_eq!(node.trigger("patient")["revision"], first, "the old one serves");
    fs::rename(&elsewhere, &folder).expect("moved");
    node.wait_for("the new one serves", PATIENCE, |node| {
        node.trigger("patient")["revision"] != first && node.function("changing")["error"].is_null()
    });
    node.term_cleanly();
}
