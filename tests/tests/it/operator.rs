//! What authors and operators do with a whole fleet, by the commands of `tidegate` and without access to its nodes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::aws::{Aws, Bucket};
use tidegate_tests::kafka::Kafka;
use tidegate_tests::node::{self, Layout, Node};
use tidegate_tests::{chance, functions, wait};

use crate::pipe::{PATIENCE, Pipe, READY, cluster};

const KEY: &str = "functions/shout it.wasm";

/// A store, a fleet, and the folder of somebody who works with them.
struct Fleet {
    aws: Aws,
    bucket: Bucket,
    pipe: Pipe,
    control: String,
    manifest: String,
    nodes: Vec<Node>,
    folder: TempDir,
}

/// How a command ended.
struct Ended {
    code: Option<i32>,
    output: String,
    errors: String,
}

impl Fleet {
    fn prepare(name: &str) -> Self {
        let kafka = Kafka::shared();
        let aws = Aws::start();
        let bucket = aws.bucket(&format!("fns-{name}"));
        let pipe = Pipe::new(kafka, name, 2);
        let queue = aws.queue("events", Duration::from_secs(30));
        bucket.notify(&queue, &["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]);
        let control = format!("control-{}", chance::suffix());
        let manifest = [
            cluster(kafka, ""),
            format!("[function.f]\ncomponent = \"s3://{}/{KEY}\"\n", bucket.name()),
            pipe.table("f", ""),
            format!("[registry]\nendpoint = \"{}\"\npath-style = true\nqueue = \"{}\"\n", aws.endpoint(), queue.url()),
            // Without a notice it takes a while.
            "reconcile = \"10s\"\n".to_owned(),
            format!("[control]\ntopic = \"{control}\"\n"),
        ]
        .concat();
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("tidegate.toml"), &manifest).expect("written");
        Self { aws, bucket, pipe, control, manifest, nodes: Vec::new(), folder }
    }

    fn start_nodes(&mut self, names: &[&str]) {
        for name in names {
            let mut node = Node::prepare(name, Layout::File, &self.manifest);
            for (name, value) in self.aws.environment() {
                node.set(name, value);
            }
            let cache = node.path("cache").display().to_string();
            node.set("TIDEGATE_CACHE", &cache);
            node.start_again();
            self.nodes.push(node);
        }
    }

    /// Runs a command in the folder.
    fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = node::command();
        command.args(arguments).args(["--log", "warn"]).current_dir(self.folder.path());
        command.envs(self.aws.environment()).env("USER", "ann");
        let ended = command.output().expect("it starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let ended = Ended { code: ended.status.code(), output: text(ended.stdout), errors: text(ended.stderr) };
        println!("$ tidegate {}\n{}{}[{:?}]", arguments.join(" "), ended.output, ended.errors, ended.code);
        ended
    }

    #[track_caller]
    fn run_well(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        ended.output
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments).output).expect("JSON")
    }

    fn component(&self, name: &str) -> String {
        functions::component(name).display().to_string()
    }

    fn junk(&self, bytes: usize) -> PathBuf {
        let path = self.folder.path().join("junk.wasm");
        fs::write(&path, "junk".repeat(bytes / 4)).expect("written");
        path
    }
}

#[test]
fn a_fleet_is_published_to_looked_at_and_rolled_back_without_access_to_its_nodes() {
    let mut fleet = Fleet::prepare("operate");
    let (echo, shout) = (fleet.component("echo"), fleet.component("uppercase"));
    // Before anything is there.
    let ended = fleet.run(&["status"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains(&format!("there is no topic {}", fleet.control)), "{}", ended.errors);
    // To ask did not create the topic.
    let errors = fleet.run(&["revisions", "f"]).errors;
    assert!(errors.contains(&format!("there is no topic {}", fleet.control)), "{errors}");
    assert!(fleet.run_well(&["revisions", "f"]).contains("was never published"));
    let refused = fleet.run(&["publish", &fleet.junk(400).display().to_string(), "f"]);
    assert_eq!((refused.code, refused.errors.contains("not a component")), (Some(1), true), "{}", refused.errors);
    assert!(fleet.bucket.head(KEY, None).is_none(), "nothing was published");

    fleet.run_well(&["publish", &echo, "f"]);
    fleet.start_nodes(&["a", "b"]);
    fleet.nodes.iter_mut().for_each(|node| node.wait_ready(READY));
    let online = fleet.run_well(&["check", "--online"]);
    for expected in ["it keeps versions", "it can be received from", "it tells the queue", "it is compacted"] {
        assert!(online.contains(expected), "{expected}");
    }

    let published = fleet.run_well(&["publish", &shout, "f", "--wait"]);
    for expected in ["a  serves ", "b  serves ", "all 2 live nodes serve it"] {
        assert!(published.contains(expected), "{expected}");
    }
    assert!(fleet.run_well(&["publish", &shout, "f"]).contains("nothing was published"));
    let versions = fleet.bucket.versions(KEY);
    assert_eq!(versions.len(), 2);

    let revisions = fleet.json(&["revisions", "f", "--json"]);
    assert_eq!(revisions[0]["version"], versions[0].id.as_str());
    assert_eq!((&revisions[0]["state"], &revisions[0]["nodes"]), (&"serving".into(), &2.into()), "{revisions}");
    assert!(revisions[0]["publisher"].as_str().is_some_and(|who| who.starts_with("ann@")), "{revisions}");
    assert_eq!(revisions[1]["state"], "older");
    assert!(fleet.run_well(&["revisions", "f"]).contains("serves on 2 of 2"));

    let back = fleet.run_well(&["rollback", "f", "--wait"]);
    assert!(back.contains("all 2 live nodes serve it"), "{back}");
    let revisions_after = fleet.json(&["revisions", "f", "--json"]);
    assert_eq!(revisions_after[0]["digest"], revisions[1]["digest"]);
    assert_eq!(revisions_after[0]["copy-of"], revisions[1]["version"]);
    let digest = revisions[0]["digest"].as_str().expect("a digest").to_owned();
    fleet.run_well(&["rollback", "f", "--to", &digest[..12], "--wait"]);

    let status = fleet.json(&["status", "--json"]);
    assert_eq!((&status["is-well"], &status["functions"]["f"]["serving"]), (&true.into(), &2.into()), "{status}");
    assert_eq!(status["functions"]["f"]["revision"], digest);
    let text = fleet.run_well(&["status"]);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(fleet.run_well(&["rollout", "f"]).contains("no rollout"));
    assert_eq!(fleet.run(&["rollout", "promote", "f"]).code, Some(1));

    // A pause is in the relay, where everybody reads it.
    let trigger = fleet.pipe.trigger.clone();
    fleet.run_well(&["pause", &trigger, "--reason", "lunch"]);
    let status = fleet.json(&["status", "--json"]);
    let paused = &status["triggers"][trigger.as_str()]["paused"];
    assert_eq!(paused["reason"], "lunch", "{status}");
    fleet.run_well(&["resume", &trigger]);
    let status = fleet.json(&["status", "--json"]);
    assert_eq!(status["triggers"][trigger.as_str()]["paused"], Value::Null);

    // A node that ends without a word is missed.
    fleet.nodes[1].kill();
    wait::until("it is missed", PATIENCE, || fleet.json(&["status", "--json"])["problems"][0]["code"] == "node-gone");
}

#[test]
fn a_large_component_is_written_in_parts() {
    let fleet = Fleet::prepare("operate-large");
    // A component may carry anything in a custom section: an id of 0, a length, and a name.
    let mut bytes = functions::bytes("echo");
    let padding = 9_u32 << 20;
    let mut section = vec![0_u8];
    let length = padding + 2;
    section.extend((0..5).map(|at| ((length >> (7 * at)) & 0x7f) as u8 | if at < 4 { 0x80 } else { 0 }));
    section.extend([1, b'x']);
    section.resize(section.len() + padding as usize, 0);
    bytes.extend(section);
    let path = fleet.folder.path().join("large.wasm");
    fs::write(&path, &bytes).expect("written");
    fleet.run_well(&["publish", &path.display().to_string(), "f"]);
    let read = fleet.folder.path().join("read.wasm");
    let object = fleet.bucket.get(KEY, None, &read);
    assert_eq!(object.size, bytes.len() as u64);
    assert!(fs::read(&read).expect("read") == bytes, "the bytes are those that were published");
    assert!(object.etag.contains('-'), "it was written in parts: {}", object.etag);
}

#[test]
fn without_versions_there_is_no_way_back_and_the_remedy_is_told() {
    let fleet = Fleet::prepare("operate-flat");
    let flat = fleet.aws.bucket_without_versions("fns-flat");
    let manifest = fleet.manifest.replace(fleet.bucket.name(), flat.name());
    fs::write(fleet.folder.path().join("tidegate.toml"), manifest).expect("written");
    fleet.run_well(&["publish", &fleet.component("echo"), "f"]);
    let ended = fleet.run(&["rollback", "f", "--force"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("put-bucket-versioning --bucket fns-flat"), "{}", ended.errors);
    let ended = fleet.run(&["check", "--online"]);
    assert!(ended.output.contains("it keeps no versions"), "{}", ended.output);
    assert!(ended.output.contains("put-bucket-notification-configuration"), "{}", ended.output);
}
