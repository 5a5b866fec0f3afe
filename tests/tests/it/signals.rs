//! How processes end by signals.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::load::Load;
use tidegate_tests::node::{self, Node};
use tidegate_tests::process::{Process, Signal};
use tidegate_tests::{functions, net, wait};

use crate::pipe::{PATIENCE, Pipe, READY, cluster, component};

/// A node whose function is busy with one record for so long.
fn busy(name: &str, milliseconds: u32) -> (Pipe, Node) {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, name, 1);
    let table = pipe.table("hostile", "drain = \"50s\"");
    let manifest = [cluster(kafka, ""), component("hostile", "deadline = \"60s\""), table];
    let mut node = Node::start(name, &manifest.concat());
    node.wait_ready(READY);
    pipe.source.produce([Record::of(format!("sleep:{milliseconds};x"))]);
    node.wait_for("the function is called", PATIENCE, |node| node.trigger(name)["counts"]["calls"] == 1);
    (pipe, node)
}

/// A terminal signals the whole group of processes, and one of them may pass it on.
#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    // They count as one for half a second, within which a busy machine may not send both.
    let in_time = (0..5).any(|_| {
        let (pipe, mut node) = busy("twice", 1_500);
        let start = Instant::now();
        node.signal(Signal::Int);
        wait::until("the first is taken", PATIENCE, || node.logs().contains("SIGINT: draining"));
        node.signal(Signal::Int);
        let in_time = start.elapsed() < Duration::from_millis(200);
        let exit = node.term();
        if in_time {
            assert_eq!(exit.code, Some(0), "{}", node.logs());
            assert_eq!(pipe.output.read_all().len(), 1, "it had its time");
        }
        in_time
    });
    assert!(in_time, "this machine is too busy to tell");
}

/// Else a terminal that is closed would leave the group to notice that a member is missing.
#[test]
fn a_hangup_ends_a_node_as_sigterm_does() {
    let (pipe, mut node) = busy("hangup", 1_500);
    node.signal(Signal::Hup);
    wait::until("it is taken", PATIENCE, || node.logs().contains("SIGHUP: draining"));
    let exit = node.end();
    assert_eq!(exit.code, Some(0), "{}", node.logs());
    assert_eq!(pipe.output.read_all().len(), 1, "it had its time");
}

#[test]
fn a_second_signal_ends_a_node_at_once() {
    let (pipe, mut node) = busy("second", 50_000);
    node.signal(Signal::Int);
    wait::until("the node gives up", PATIENCE, || {
        node.signal(Signal::Int);
        node.logs().contains("SIGINT again: exiting at once")
    });
    assert_eq!(node.term().code, Some(1));
    assert_eq!(pipe.output.read_all(), []);
}

/// A commit is under way with it, which the client repeats as long as it lives.
#[test]
fn a_broker_that_stands_still_does_not_keep_a_node_from_ending() {
    let mut kafka = Kafka::start();
    let pipe = Pipe::new(&kafka, "frozen", 2);
    let manifest = [cluster(&kafka, ""), component("hostile", ""), pipe.table("hostile", "drain = \"1s\"")];
    let mut node = Node::start("frozen", &manifest.concat());
    node.wait_ready(READY);
    let load = Load::start(&pipe.source, 200, |n| Record::of(format!("ok;{n}")).key(format!("k{}", n % 40)));
    pipe.output.reader().count(200, PATIENCE);
    kafka.freeze();
    let exit = node.term();
    assert_eq!(exit.code, Some(0), "{}", node.logs());
    assert!(exit.took < Duration::from_secs(20), "it took {:?}", exit.took);
    kafka.thaw();
    load.cut();
}

/// `tidegate dev` in this folder, with its broker, admin listener and log.
fn dev(folder: &Path, admin: SocketAddr) -> Process {
    let manifest = format!(
        "[admin]\nlisten = \"{admin}\"\n[cluster.main]\nbrokers = \"localhost:9\"\n\
         [function.obey]\ncomponent = \"{}\"\n\
         [trigger.orders]\nfunction = \"obey\"\ntopics = [\"in\"]\noutput = \"out\"\non-exhausted = \"skip\"\n",
        functions::component("hostile").display()
    );
    fs::write(folder.join("tidegate.toml"), manifest).expect("written");
    let [shown, said] = ["shown", "said"].map(|name| fs::File::create(folder.join(name)).expect("a file"));
    let mut command = node::command();
    command.args(["dev", "--no-build", "--log", "info"]).current_dir(folder).stdout(shown).stderr(said);
    Process::spawn(&mut command, folder).expect("tidegate starts")
}

/// Its broker goes last, or those who show and type records would say that it is gone.
#[test]
fn dev_ends_quietly() {
    for round in 0..4 {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("text");
        let mut dev = dev(folder.path(), (Ipv4Addr::LOCALHOST, net::free_port()).into());
        wait::until("the broker is there", READY, || read("said").contains("embedded broker at "));
        let said = read("said");
        let (_, rest) = said.split_once("embedded broker at ").expect("it says so");
        let (address, _) = rest.split_once(": ").expect("an address");
        let mut produce = node::command();
        produce.args(["produce", "in", "--value", "ok;hello", "--brokers", address]).current_dir(folder.path());
        assert!(produce.stdin(Stdio::null()).status().expect("tidegate starts").success());
        wait::until("the record is shown", READY, || read("shown").contains("done:hello"));
        dev.signal(Signal::Int);
        let status = dev.wait(PATIENCE).expect("it ends");
        let said = read("said");
        let (_, end) = said.split_once("SIGINT: ").expect("it says so");
        let all_well = end.lines().skip(1).all(|line| line.contains(" INFO tidegate::"));
        assert!(status.success() && all_well && end.contains("stopped"), "round {round}: {said}");
    }
}
