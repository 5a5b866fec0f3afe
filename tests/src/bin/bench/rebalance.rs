//! How long records wait while nodes come and go: three nodes, a steady stream.

use std::thread;
use std::time::Duration;

use tidegate_tests::kafka::Kafka;
use tidegate_tests::node::{Layout, Node};

use super::native::LIMIT;
use super::steady::manifest;
use super::traffic::{Passed, Traffic, percentiles};
use super::{number, spread};

const NODES: usize = 3;
const PARTITIONS: i32 = 8;
const PER_SECOND: u64 = 1_200;
const SESSION: &str = "session.timeout.ms=6000";
/// Between the end of a node and that of the next one.
const PAUSE: Duration = Duration::from_secs(4);

/// `rolling [SECONDS [KEY=VALUE…]]`: one node after the other gets SIGTERM and starts again.
/// Properties of the cluster last; `broker.KEY=VALUE` is a setting of the broker.
pub fn rolling(arguments: &[&str]) {
    let time = Duration::from_secs(number(arguments, 0, 60));
    let mut fleet = Fleet::start(arguments.get(1..).unwrap_or_default(), "");
    let from = fleet.traffic.age();
    let mut ends = 0;
    while fleet.traffic.age() - from < time {
        let node = &mut fleet.nodes[ends % NODES];
        node.term_cleanly();
        node.start_again();
        ends += 1;
        thread::sleep(PAUSE);
    }
    let passed = fleet.end();
    let [median, most, longest] = percentiles(&passed);
    println!("{ends} times SIGTERM in {time:?}: median {median:.0} ms, 99 % {most:.0} ms, longest {longest:.0} ms");
}

/// `killed [TIMES [static [KEY=VALUE…]]]`: one node after the other gets SIGKILL and starts again at
/// once. With `static` members keep their names.
pub fn killed(arguments: &[&str]) {
    let times: usize = number(arguments, 0, 10);
    let is_static = arguments.get(1) == Some(&"static");
    let properties = arguments.get(1 + usize::from(is_static)..).unwrap_or_default();
    let mut fleet = Fleet::start(properties, if is_static { "member = \"static\"" } else { "" });
    let mut kills = Vec::new();
    for kill in 0..times {
        thread::sleep(PAUSE);
        let node = &mut fleet.nodes[kill % NODES];
        kills.push(fleet.traffic.age());
        node.kill();
        node.start_again();
        // Until it has partitions again, or its session is over.
        thread::sleep(Duration::from_secs(6));
    }
    let passed = fleet.end();
    let longest = |from: &Duration| {
        let after = passed.iter().filter(|passed| (*from..*from + PAUSE * 2).contains(&passed.sent));
        after.map(|passed| passed.took.as_secs_f64()).fold(0.0, f64::max)
    };
    let [median, least, most] = spread(kills.iter().map(longest).collect());
    println!("{times} times SIGKILL: its records stood still for {median:.2} s (median), {least:.2} to {most:.2} s");
}

struct Fleet {
    nodes: Vec<Node>,
    traffic: Traffic,
    // After its clients.
    _kafka: Kafka,
}

impl Fleet {
    fn start(properties: &[&str], trigger: &str) -> Self {
        let (broker, properties): (Vec<&str>, Vec<&str>) =
            properties.iter().partition(|property| property.starts_with("broker."));
        let broker: Vec<&str> = broker.iter().filter_map(|setting| setting.strip_prefix("broker.")).collect();
        let kafka = Kafka::start_to_measure_with(&broker);
        let (input, output) = (kafka.topic("fleet-in", PARTITIONS), kafka.topic("fleet-out", PARTITIONS));
        let is_new = properties.contains(&"group.protocol=consumer");
        let properties: Vec<&str> = properties.into_iter().chain((!is_new).then_some(SESSION)).collect();
        let manifest = manifest(&kafka, &input, &output, &properties, trigger);
        let mut nodes: Vec<Node> =
            (0..NODES).map(|number| Node::prepare(&format!("node-{number}"), Layout::File, &manifest)).collect();
        nodes.iter_mut().for_each(Node::start_again);
        for node in &mut nodes {
            node.wait_for("it has partitions", LIMIT, |node| {
                node.trigger("echo")["partitions"].as_i64().is_some_and(|count| count > 1)
            });
        }
        let traffic = Traffic::start(&kafka, &input, &output, PER_SECOND);
        thread::sleep(PAUSE);
        Self { nodes, traffic, _kafka: kafka }
    }

    fn end(mut self) -> Vec<Passed> {
        let passed = self.traffic.end();
        self.nodes.iter_mut().for_each(Node::term_cleanly);
        passed
    }
}
