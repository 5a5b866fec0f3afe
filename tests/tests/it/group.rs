//! Nodes of one group come and go under load.

use std::time::Duration;

use tidegate_tests::chance;
use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::load::Load;
use tidegate_tests::model::Model;
use tidegate_tests::node::{Layout, Node};
use tidegate_tests::wait;

use crate::pipe::{PATIENCE, Pipe, READY, SHORT_SESSIONS, cluster, component};

/// Its times are on the broker.
const KIP_848: &str = "\"group.protocol\" = \"consumer\"";

fn steady(n: u64) -> Record {
    // Some records take a while, so that a rebalance finds calls running.
    let value = if n % 100 == 7 { format!("sleep:30;{n}") } else { format!("ok;{n}") };
    Record::of(value).key(format!("k{}", n % 300))
}

fn pipe_and_manifest(trigger: &str, properties: &str) -> (Pipe, String) {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, trigger, 8);
    let manifest = [cluster(kafka, properties), component("hostile", ""), pipe.table("hostile", "")].concat();
    (pipe, manifest)
}

/// Waits until the load has sent so many more, and the nodes have kept up so far.
fn let_flow(pipe: &Pipe, load: &Load, more: u64) {
    let so_far = load.sent();
    wait::until("the load goes on", PATIENCE, || load.sent() >= so_far + more);
    let all = usize::try_from(so_far).expect("fits");
    pipe.output.reader().count(all, PATIENCE);
}

/// Two nodes take turns in leaving by SIGTERM and joining again; there is always one.
fn comings_and_goings(trigger: &str, properties: &str) {
    let (pipe, manifest) = pipe_and_manifest(trigger, properties);
    let mut nodes = [Node::start("first", &manifest), Node::prepare("second", Layout::File, &manifest)];
    nodes[0].wait_ready(READY);
    let load = Load::start(&pipe.source, 1_000, steady);
    let_flow(&pipe, &load, 500);
    for round in 0..4 {
        let (comes, leaves) = ((round + 1) % 2, round % 2);
        nodes[comes].start_again();
        nodes[comes].wait_ready(READY);
        let_flow(&pipe, &load, 1_000);
        nodes[leaves].term_cleanly();
        let_flow(&pipe, &load, 500);
    }
    let sent = load.stop();
    pipe.wait_handled(Kafka::shared(), &mut nodes[0], PATIENCE);
    nodes[0].term_cleanly();
    pipe.check(&Model::default(), &sent).assert_at_least_once();
}

#[test]
fn nodes_come_and_go_and_nothing_is_lost_in_a_classic_group() {
    comings_and_goings("classic", SHORT_SESSIONS);
}

#[test]
fn nodes_come_and_go_and_nothing_is_lost_in_a_kip_848_group() {
    comings_and_goings("kip-848", KIP_848);
}

#[test]
fn two_nodes_share_the_partitions() {
    let (pipe, manifest) = pipe_and_manifest("share", SHORT_SESSIONS);
    let mut nodes = [Node::start("one", &manifest), Node::start("other", &manifest)];
    for node in &mut nodes {
        node.wait_ready(READY);
    }
    let group = Kafka::shared().group(&pipe.group);
    wait::until("both are members", PATIENCE, || group.members().len() == 2);
    let sent = pipe.source.produce((0..2_000).map(steady));
    pipe.wait_handled(Kafka::shared(), &mut nodes[0], PATIENCE);
    for node in &mut nodes {
        node.term_cleanly();
    }
    pipe.check(&Model::default(), &sent).assert_exact();
}

/// Drains, commits, leaves: the next process goes on exactly where this one stopped.
#[test]
fn a_restart_by_sigterm_loses_nothing_and_repeats_nothing() {
    let (pipe, manifest) = pipe_and_manifest("restart-load", SHORT_SESSIONS);
    let mut node = Node::start("restart-load", &manifest);
    node.wait_ready(READY);
    let load = Load::start(&pipe.source, 1_000, steady);
    for _ in 0..4 {
        let_flow(&pipe, &load, 500);
        node.term_cleanly();
        node.start_again();
        node.wait_ready(READY);
    }
    let sent = load.stop();
    pipe.wait_handled(Kafka::shared(), &mut node, PATIENCE);
    node.term_cleanly();
    pipe.check(&Model::default(), &sent).assert_exact();
}

/// The partitions wait for the node that has their name, killed or not, and others do not notice. The
/// session is far longer than this takes.
#[test]
fn a_static_member_takes_its_partitions_back() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "static", 8);
    let table = pipe.table("hostile", "member = \"static\"");
    let manifest = [cluster(kafka, "\"session.timeout.ms\" = \"300000\""), component("hostile", ""), table].concat();
    let mut nodes = [Node::start("comes-back", &manifest), Node::start("stays", &manifest)];
    for node in &mut nodes {
        node.wait_for("it has its half", PATIENCE, |node| node.trigger("static")["partitions"] == 4);
    }
    let rebalances = |node: &Node| node.logs().matches("partitions assigned").count();
    let before = rebalances(&nodes[1]);
    assert!(before > 0, "the log says it in other words");
    let load = Load::start(&pipe.source, 1_000, steady);
    for kills in [true, false, true] {
        let_flow(&pipe, &load, 300);
        if kills {
            nodes[0].kill();
        } else {
            nodes[0].term_cleanly();
        }
        nodes[0].start_again();
        let_flow(&pipe, &load, 300);
    }
    let sent = load.stop();
    pipe.wait_handled(kafka, &mut nodes[0], PATIENCE);
    assert_eq!(rebalances(&nodes[1]), before);
    for node in &mut nodes {
        node.term_cleanly();
    }
    pipe.check(&Model::default(), &sent).assert_at_least_once();
}

#[test]
fn a_killed_node_loses_nothing() {
    let mut rng = chance::seeded();
    let (pipe, manifest) = pipe_and_manifest("kill", SHORT_SESSIONS);
    let mut nodes = [Node::start("mortal", &manifest), Node::start("spare", &manifest)];
    for node in &mut nodes {
        node.wait_ready(READY);
    }
    let load = Load::start(&pipe.source, 1_000, steady);
    for _ in 0..3 {
        let_flow(&pipe, &load, rng.u64(300..1_500));
        let victim = rng.usize(..nodes.len());
        nodes[victim].kill();
        let_flow(&pipe, &load, 300);
        nodes[victim].start_again();
        nodes[victim].wait_ready(READY);
    }
    let sent = load.stop();
    pipe.wait_handled(Kafka::shared(), &mut nodes[0], Duration::from_secs(90));
    for node in &mut nodes {
        node.term_cleanly();
    }
    pipe.check(&Model::default(), &sent).assert_at_least_once();
}
