//! Three nodes with one function, whose component is an object in S3, and records that flow.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tidegate_tests::aws::{Aws, Bucket, Queue};
use tidegate_tests::functions;
use tidegate_tests::kafka::Kafka;
use tidegate_tests::node::{Layout, Node};
use tidegate_tests::proxy::Proxy;
use tidegate_tests::stream::{Books, Stream};

use crate::native::LIMIT;

pub const NODES: usize = 3;
const PARTITIONS: i32 = 8;
const PER_SECOND: u64 = 1_200;
pub const KEY: &str = "functions/f.wasm";

pub struct Fleet {
    pub nodes: Vec<Node>,
    pub bucket: Bucket,
    pub queue: Queue,
    pub s3: Proxy,
    pub sqs: Proxy,
    pub stream: Stream,
    folder: tempfile::TempDir,
    _aws: Aws,
    // After its clients.
    _kafka: Kafka,
}

impl Fleet {
    /// All nodes serve `first`. `function` and `registry` are further keys of the tables.
    pub fn start(first: &[u8], function: &str, registry: &str, word: fn(u64) -> &'static str) -> Self {
        let (kafka, aws) = (Kafka::start_to_measure_with(&[]), Aws::start());
        let (s3, sqs) = (Proxy::start(aws.address()), Proxy::start(aws.address()));
        let (bucket, queue) = (aws.bucket("functions"), aws.queue("events", Duration::from_secs(30)));
        bucket.notify(&queue, &["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]);
        let (input, output) = (kafka.topic("in", PARTITIONS), kafka.topic("out", PARTITIONS));
        let manifest = format!(
            "[cluster.main]\nbrokers = \"{}\"\n[control]\ntopic = \"control\"\n\
             [registry]\nendpoint = \"{}\"\npath-style = true\nqueue = \"{}\"\n{registry}\n\
             [function.f]\ncomponent = \"s3://{}/{KEY}\"\n{function}\n\
             [trigger.t]\nfunction = \"f\"\ntopics = [\"{}\"]\noutput = \"{}\"\nmember = \"static\"\non-exhausted = \"skip\"\n",
            kafka.bootstrap(),
            s3.endpoint(),
            queue.url_by(&sqs.endpoint()),
            bucket.name(),
            input.name(),
            output.name(),
        );
        let folder = tempfile::tempdir().expect("a folder");
        let nodes: Vec<Node> = (0..NODES)
            .map(|number| {
                let mut node = Node::prepare(&format!("node-{number}"), Layout::File, &manifest);
                for (name, value) in aws.environment() {
                    node.set(name, value);
                }
                let cache = node.path("cache").display().to_string();
                node.set("TIDEGATE_CACHE", &cache);
                node
            })
            .collect();
        let stream = Stream::start(kafka.bootstrap(), [input.name(), output.name()], PARTITIONS, PER_SECOND, word);
        let mut fleet = Self { nodes, bucket, queue, s3, sqs, stream, folder, _aws: aws, _kafka: kafka };
        fleet.upload(first);
        fleet.nodes.iter_mut().for_each(Node::start_again);
        for node in &mut fleet.nodes {
            node.wait_for("it has partitions", LIMIT, |node| {
                node.trigger("t")["partitions"].as_i64().is_some_and(|count| count > 1)
            });
        }
        fleet
    }

    /// Uploads it. Returns its version.
    pub fn upload(&self, component: &[u8]) -> String {
        let file = self.folder.path().join("upload.wasm");
        std::fs::write(&file, component).expect("written");
        self.bucket.put(KEY, &file).version.expect("the bucket keeps versions")
    }

    /// How long it takes from now until each node serves the newest version of these. Polls them.
    pub fn wait_served(&self, version: &str, limit: Duration) -> [Duration; NODES] {
        let (begun, mut served) = (Instant::now(), [None; NODES]);
        while served.contains(&None) {
            for (node, served) in self.nodes.iter().zip(&mut served) {
                if served.is_none() && serves(node, version) {
                    *served = Some(begun.elapsed());
                }
            }
            assert!(begun.elapsed() < limit, "{version} is not served after {limit:?}: {:?}", self.functions());
            std::thread::sleep(Duration::from_millis(3));
        }
        served.map(Option::unwrap_or_default)
    }

    pub fn functions(&self) -> Vec<serde_json::Value> {
        self.nodes.iter().map(|node| node.function("f")).collect()
    }

    pub fn end(mut self) -> Books {
        let books = self.stream.end();
        self.nodes.iter_mut().for_each(Node::term_cleanly);
        books
    }
}

pub fn serves(node: &Node, version: &str) -> bool {
    node.function("f")["origin"] == format!("version {version}")
}

/// A component with a section that does nothing, so that it has other bytes, and this size if it is smaller.
pub fn variant(function: &str, tag: &str, bytes: usize) -> Vec<u8> {
    let mut component = functions::bytes(function);
    let rest = bytes.saturating_sub(component.len()).max(64);
    let name = format!("tag-{tag}");
    let mut content = leb(name.len());
    content.extend(name.as_bytes());
    content.resize(rest.max(content.len()), 0);
    component.push(0);
    component.extend(leb(content.len()));
    component.extend(content);
    component
}

/// An unsigned number in LEB128.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Threads, descriptors, memory in MiB of a process.
pub fn holds(process: u32) -> (usize, usize, u64) {
    let count =
        |folder: &str| std::fs::read_dir(PathBuf::from(format!("/proc/{process}/{folder}"))).map_or(0, Iterator::count);
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = rss.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    (count("task"), count("fd"), kib >> 10)
}

/// Bytes in a folder, in MiB.
pub fn disk(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk(&entry.path()) << 20,
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum::<u64>() >> 20
}
