//! What triggers cost that have nothing to do, each with a topic of its own.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use tidegate_tests::functions;
use tidegate_tests::kafka::Kafka;
use tidegate_tests::node::Node;

use super::native::LIMIT;
use super::relay::{Counts, Relay};
use super::{cpu, number};

/// Until what a start asks for is over.
const WARM: Duration = Duration::from_secs(5);
/// What a node may send when it is idle.
const KINDS: [(u16, &str); 6] =
    [(1, "fetch"), (3, "metadata"), (8, "commit"), (9, "committed"), (12, "heartbeat"), (68, "heartbeat (848)")];

/// `idle [SECONDS [KEY=VALUE…]]`: properties of the cluster last.
pub fn main(arguments: &[&str]) {
    let time = Duration::from_secs(number(arguments, 0, 20));
    let properties: Vec<String> = arguments
        .iter()
        .skip(1)
        .map(|property| {
            let (key, value) = property.split_once('=').expect("KEY=VALUE");
            format!("\"{key}\" = \"{value}\"")
        })
        .collect();
    let (kafka, relay) = Kafka::start_behind(|broker| {
        let relay = Relay::start(broker);
        (relay.address, relay)
    });
    println!("{time:?} without records; a topic of one partition for each trigger");
    println!("triggers   ready  threads  descriptors     RSS    CPU a minute   requests/s of each trigger");
    for triggers in [1, 10, 100] {
        let mut manifest = format!(
            "[cluster.main]\nbrokers = \"{}\"\nproperties = {{ {} }}\n[function.echo]\ncomponent = \"{}\"\n",
            kafka.bootstrap(),
            properties.join(", "),
            functions::component("echo").display(),
        );
        for number in 0..triggers {
            let (input, output) = (kafka.topic("idle-in", 1), kafka.topic("idle-out", 1));
            let _ = write!(
                manifest,
                "[trigger.t{number}]\nfunction = \"echo\"\ntopics = [\"{}\"]\noutput = \"{}\"\non-exhausted = \"skip\"\n",
                input.name(),
                output.name()
            );
        }
        let started = std::time::Instant::now();
        let mut node = Node::start("idle", &manifest);
        node.wait_for("all partitions are assigned", LIMIT, |node| {
            (0..triggers).all(|number| node.trigger(&format!("t{number}"))["partitions"] == 1)
        });
        let ready = started.elapsed();
        std::thread::sleep(WARM);
        let (cpu_before, before) = (cpu::of_threads(node.id()), relay.counts());
        std::thread::sleep(time);
        let (cpu_after, after) = (cpu::of_threads(node.id()), relay.counts());
        let descriptors = fs::read_dir(format!("/proc/{}/fd", node.id())).map_or(0, Iterator::count);
        println!(
            "{triggers:>8} {:>6.1}s {:>8} {descriptors:>12} {:>5} MiB {:>13.2}s   {}",
            ready.as_secs_f64(),
            node.threads(),
            resident_mib(node.id()),
            (cpu_after - cpu_before).as_secs_f64() * 60.0 / time.as_secs_f64(),
            requests(&before, &after, time.as_secs_f64() * f64::from(triggers)),
        );
        node.term_cleanly();
    }
}

fn requests(before: &Counts, after: &Counts, per: f64) -> String {
    let count = |key: &u16| after.get(key).copied().unwrap_or(0) - before.get(key).copied().unwrap_or(0);
    let mut text = format!("{:.2}:", after.keys().map(count).sum::<u64>() as f64 / per);
    for key in after.keys().filter(|key| count(key) > 0) {
        let name = KINDS.iter().find(|(known, _)| known == key).map_or("", |(_, name)| *name);
        let _ = write!(text, " {name}({key}) {:.2}", count(key) as f64 / per);
    }
    text
}

fn resident_mib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it says so");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") / 1_024
}
