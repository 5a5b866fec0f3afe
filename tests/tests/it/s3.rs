//! Functions whose component is an object in S3, with several nodes.

use std::path::Path;
use std::time::Duration;

use tidegate_tests::aws::{Aws, Bucket};
use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::node::{Layout, Node};
use tidegate_tests::{chance, functions};

use crate::pipe::{PATIENCE, Pipe, READY, cluster};

const KEY: &str = "functions/shout it.wasm";
/// How long the nodes may take to hear of a version: far less than they would without a notice.
const NOTICE: Duration = Duration::from_secs(30);

/// A store, a pipe, and nodes that run the same manifest.
struct Fleet {
    aws: Aws,
    bucket: Bucket,
    pipe: Pipe,
    nodes: Vec<Node>,
}

impl Fleet {
    /// `registry` has further keys of the table.
    fn start(name: &str, nodes: usize, registry: impl Fn(&Aws, &Bucket) -> String, control: &str) -> Self {
        let kafka = Kafka::shared();
        let aws = Aws::start();
        let bucket = aws.bucket(&format!("fns-{name}"));
        let pipe = Pipe::new(kafka, name, 4);
        let manifest = [
            cluster(kafka, ""),
            format!("[function.f]\ncomponent = \"s3://{}/{KEY}\"\n", bucket.name()),
            pipe.table("f", ""),
            format!("[registry]\nendpoint = \"{}\"\npath-style = true\n{}\n", aws.endpoint(), registry(&aws, &bucket)),
            control.to_owned(),
        ]
        .concat();
        let nodes = (0..nodes)
            .map(|number| {
                let mut node = Node::prepare(&format!("{name}-{number}"), Layout::File, &manifest);
                for (name, value) in aws.environment() {
                    node.set(name, value);
                }
                let cache = node.path("cache").display().to_string();
                node.set("TIDEGATE_CACHE", &cache);
                node.start_again();
                node
            })
            .collect();
        Self { aws, bucket, pipe, nodes }
    }

    fn publish(&self, function: &str) -> String {
        let object = self.bucket.put(KEY, &functions::component(function));
        object.version.expect("the bucket keeps versions")
    }

    /// Waits until all nodes serve a version.
    #[track_caller]
    fn wait_served(&mut self, version: &str, limit: Duration) {
        for node in &mut self.nodes {
            node.wait_ready(READY);
            node.wait_for("the version is served", limit, |node| {
                let function = node.function("f");
                function["origin"] == format!("version {version}")
            });
        }
    }
}

fn control() -> String {
    format!("[control]\ntopic = \"control-{}\"\n", chance::suffix())
}

#[test]
fn all_nodes_take_on_what_one_event_tells_one_of_them() {
    let registry = |aws: &Aws, bucket: &Bucket| {
        let queue = aws.queue("events", Duration::from_secs(30));
        bucket.notify(&queue, &["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]);
        // Without a notice it would take an hour.
        format!("queue = \"{}\"\nreconcile = \"1h\"", queue.url())
    };
    let mut fleet = Fleet::start("s3-event", 2, registry, &control());
    let first = fleet.publish("uppercase");
    fleet.wait_served(&first, PATIENCE);
    let second = fleet.publish("echo");
    fleet.wait_served(&second, NOTICE);
    // The same bytes as at first are another version.
    let third = fleet.bucket.copy(KEY, Some(&first), KEY).version.expect("a version");
    assert_ne!(first, third);
    fleet.wait_served(&third, NOTICE);
    fleet.pipe.source.produce([Record::of("loud").key("k")]);
    let outputs = fleet.pipe.output.read_until("one output", PATIENCE, |outputs| outputs.len() == 1);
    assert_eq!(outputs[0].record.value.as_deref(), Some(&b"LOUD"[..]));
}

#[test]
fn what_is_broken_or_deleted_leaves_what_serves() {
    let mut fleet = Fleet::start("s3-broken", 1, |_, _| "reconcile = \"1s\"\nmax-size = \"16MiB\"".to_owned(), "");
    let good = fleet.publish("echo");
    fleet.wait_served(&good, PATIENCE);
    let junk = fleet.nodes[0].path("junk");
    let has_error = |fleet: &mut Fleet, text: &str| {
        fleet.nodes[0].wait_for("the reason is shown", PATIENCE, |node| {
            node.function("f")["error"].as_str().is_some_and(|error| error.contains(text))
        });
        assert_eq!(fleet.nodes[0].function("f")["origin"], format!("version {good}"));
        fleet.nodes[0].wait_ready(READY);
    };
    let put = |fleet: &Fleet, file: &Path| drop(fleet.bucket.put(KEY, file));
    std::fs::write(&junk, "junk").expect("written");
    put(&fleet, &junk);
    has_error(&mut fleet, "not a component");
    std::fs::File::options().write(true).open(&junk).expect("there").set_len(17 << 20).expect("grown");
    put(&fleet, &junk);
    has_error(&mut fleet, "max-size");
    let marker = fleet.bucket.delete(KEY).expect("a marker");
    has_error(&mut fleet, "was deleted");
    // Undeleted, the newest version is the one that is too large.
    fleet.bucket.delete_version(KEY, &marker);
    has_error(&mut fleet, "max-size");
    let next = fleet.publish("uppercase");
    fleet.wait_served(&next, PATIENCE);
    assert_eq!(fleet.nodes[0].function("f")["error"], serde_json::Value::Null);
}

#[test]
fn a_node_without_a_cache_takes_the_newest_version_that_serves() {
    let mut fleet = Fleet::start("s3-older", 1, |_, _| "reconcile = \"1s\"".to_owned(), "");
    fleet.nodes[0].kill();
    let good = fleet.publish("echo");
    let junk = fleet.nodes[0].path("junk");
    std::fs::write(&junk, "junk").expect("written");
    fleet.bucket.put(KEY, &junk);
    fleet.bucket.put(KEY, &junk);
    fleet.nodes[0].start_again();
    fleet.wait_served(&good, PATIENCE);
    assert!(fleet.nodes[0].function("f")["error"].as_str().is_some_and(|error| error.contains("not a component")));
}

#[test]
fn a_node_starts_with_what_served_last_while_the_store_is_away() {
    let mut fleet = Fleet::start("s3-away", 1, |_, _| "reconcile = \"1s\"".to_owned(), "");
    let version = fleet.publish("echo");
    fleet.wait_served(&version, PATIENCE);
    fleet.nodes[0].term_cleanly();
    fleet.aws.kill();
    fleet.nodes[0].start_again();
    fleet.wait_served(&version, PATIENCE);
    fleet.nodes[0].wait_for("it says that it cannot look", PATIENCE, |node| node.function("f")["away"].is_string());
    fleet.pipe.source.produce([Record::of("x")]);
    fleet.pipe.output.read_until("one output", PATIENCE, |outputs| outputs.len() == 1);
}
