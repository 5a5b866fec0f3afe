//! A log that nobody reads harms nothing: records are handled, and SIGTERM ends the node as ever.

use std::fs::File;
use std::io::{Read as _, pipe};
use std::process::Stdio;

use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::node::{Layout, Node};

use crate::pipe::{PATIENCE, Pipe, READY};

const RETRY: &str = "retry = { attempts = 3, backoff = \"20ms\" }";
/// More than a pipe holds, and than the node keeps.
const LINES: usize = 400;

fn start(name: &str, standard_error: impl Into<Stdio>) -> (Pipe, Node) {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, name, 1);
    let mut node = Node::prepare(name, Layout::File, &pipe.manifest(kafka, "hostile", RETRY));
    node.start_logging_to(standard_error);
    node.wait_ready(READY);
    pipe.source.produce([Record::of("ok;warm").key("w")]);
    pipe.output.reader().count(1, PATIENCE);
    (pipe, node)
}

/// Records that have the node and the function log lines are handled, and the node ends well.
#[track_caller]
fn check_works(pipe: &Pipe, node: &mut Node) {
    let logged = "x".repeat(7 << 10);
    let noisy = (0..LINES).map(|n| Record::of(format!("log:{n} {logged}")).key(format!("n{n}")));
    let failing = [Record::of("retry:2;x").key("r"), Record::of("reject;no").key("d")];
    pipe.source.produce(failing.into_iter().chain(noisy));
    pipe.output.reader().count(1 + 1 + LINES, PATIENCE);
    pipe.dead.reader().count(1, PATIENCE);
    pipe.wait_handled(Kafka::shared(), node, PATIENCE);
    node.term_cleanly();
}

#[test]
fn a_node_whose_log_has_no_reader_any_more_goes_on() {
    let (reader, writer) = pipe().expect("a pipe");
    let (pipe, mut node) = start("unread", writer);
    drop(reader);
    check_works(&pipe, &mut node);
}

#[test]
fn a_node_whose_log_is_not_read_goes_on_and_says_so_once_it_is() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let (pipe, mut node) = start("slow-log", writer);
    let logged = "x".repeat(7 << 10);
    pipe.source.produce((0..LINES).map(|n| Record::of(format!("log:{n} {logged}")).key(format!("n{n}"))));
    pipe.output.reader().count(1 + LINES, PATIENCE);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        text
    });
    node.term_cleanly();
    let text = reading.join().expect("it is read");
    assert!(text.contains("standard error did not take them"), "{} bytes", text.len());
    assert!(text.ends_with("stopped\n"), "{} bytes", text.len());
}

#[test]
fn a_node_whose_log_is_never_read_goes_on() {
    let (reader, writer) = pipe().expect("a pipe");
    let (pipe, mut node) = start("stuck-log", writer);
    check_works(&pipe, &mut node);
    drop(reader);
}

#[test]
fn a_node_whose_log_is_on_a_full_disk_goes_on() {
    let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
    let (pipe, mut node) = start("full-disk", full);
    check_works(&pipe, &mut node);
}
