//! Where a group begins to read, and what it does about partitions that are added later.

use tidegate_tests::kafka::{Kafka, Record, Stored};
use tidegate_tests::node::Node;

use crate::pipe::{PATIENCE, Pipe, READY, cluster, component};

/// Soon enough for a test; a minute otherwise.
const SOON: &str = "\"topic.metadata.refresh.interval.ms\" = \"500\"";

fn texts(stored: &[Stored]) -> Vec<String> {
    let mut texts: Vec<_> = stored.iter().map(|stored| stored.record.text()).collect();
    texts.sort();
    texts
}

fn batch(name: &str, partition: i32) -> impl Iterator<Item = Record> {
    (10..20).map(move |n| Record::of(format!("{name}-{n}")).partition(partition))
}

#[test]
fn at_the_end_of_what_is_there_and_at_the_beginning_of_what_is_added() {
    let kafka = Kafka::shared();
    let mut pipe = Pipe::new(kafka, "latest", 2);
    let table = pipe.table("echo", "start = \"latest\"");
    let manifest = [cluster(kafka, SOON), component("echo", ""), table].concat();
    pipe.source.produce(batch("old", 0));
    let mut node = Node::start("latest", &manifest);
    node.wait_ready(READY);
    node.wait_for("both partitions are read", PATIENCE, |node| node.trigger("latest")["partitions"] == 2);
    // Chosen by the clock, and so written down at once.
    let group = kafka.group(&pipe.group);
    let is_begun = || group.committed(&pipe.source).iter().all(|committed| committed.offset.is_some());
    node.wait_for("the beginning is committed", PATIENCE, |_| is_begun());
    let mut due = pipe.source.produce(batch("new", 0).chain(batch("new", 1)));

    // While it reads: what comes before it notices is not missed either.
    pipe.source.grow(3);
    due.extend(pipe.source.produce(batch("added", 2)));
    pipe.wait_handled(kafka, &mut node, PATIENCE);

    // While nobody reads.
    node.term_cleanly();
    pipe.source.grow(4);
    due.extend(pipe.source.produce(batch("away", 3)));
    node.start_again();
    node.wait_ready(READY);
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    assert_eq!(texts(&pipe.output.read_all()), texts(&due));
}
