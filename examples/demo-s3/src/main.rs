//! Revisions from S3, end to end: three nodes, a server of S3 and SQS, an embedded broker, and records that flow
//! all the time. A component is published, a new one takes over by a canary, one that traps is withdrawn by the
//! nodes themselves, and going back is one command.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tidegate::kafka::embedded::EmbeddedBroker;
use tidegate_tests::aws::Aws;
use tidegate_tests::node::{self, Layout, Node};
use tidegate_tests::stream::Stream;
use tidegate_tests::{functions, wait};

const NODES: usize = 3;
const PARTITIONS: i32 = 6;
const PER_SECOND: u64 = 2_000;
/// When the records come that the bad revision cannot stand.
const BAD_FROM: u64 = 16_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter("error,rdkafka=off").with_writer(std::io::stderr).init();
    println!("A server of S3 and SQS and an embedded broker start.");
    let aws = Aws::start();
    let (bucket, queue) = (aws.bucket("functions"), aws.queue("events", Duration::from_secs(30)));
    bucket.notify(&queue, &["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]);
    let broker = EmbeddedBroker::start()?;
    for (topic, partitions) in [("in", PARTITIONS), ("out", PARTITIONS), ("tidegate-control", 1)] {
        broker.create_topic(topic, partitions)?;
    }
    let manifest = format!(
        "[cluster.main]\nbrokers = \"{}\"\n[control]\ntopic = \"tidegate-control\"\n\
         [registry]\nendpoint = \"{}\"\npath-style = true\nqueue = \"{}\"\n\
         [function.shout]\ncomponent = \"s3://functions/shout.wasm\"\n\
         [function.shout.rollout]\nsteps = [\"10%\"]\nbake = \"5s\"\nabort-if = {{ traps = 1 }}\n\
         [trigger.shout]\nfunction = \"shout\"\ntopics = [\"in\"]\noutput = \"out\"\non-exhausted = \"skip\"\n",
        broker.address(),
        aws.endpoint(),
        queue.url(),
    );
    println!("{PER_SECOND} records a second flow through three nodes.\n");
    let mut nodes: Vec<Node> = (0..NODES)
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
    let operator = Operator { manifest: nodes[0].manifest_path(), aws: &aws };
    operator.run(&["publish", &path("echo"), "shout"])?;
    nodes.iter_mut().for_each(Node::start_again);
    nodes.iter_mut().for_each(|node| node.wait_ready(PATIENCE));
    let word = |number| if number < BAD_FROM { "record" } else { "trap:99" };
    let stream = Stream::start(&broker.address(), ["in", "out"], PARTITIONS, PER_SECOND, word);

    println!("\nA new revision is published. It gets one key in ten at first, and everything after five seconds.");
    operator.run(&["publish", &path("uppercase"), "shout"])?;
    let begun = Instant::now();
    wait_for(&nodes, "on trial", |function| function["rollout"]["state"] == "trial")?;
    println!("All nodes try it {:.2} s after the upload.", begun.elapsed().as_secs_f64());
    let from = stream.age();
    std::thread::sleep(Duration::from_secs(2));
    let seen = stream.since(from);
    let upper = seen.iter().filter(|seen| seen.is_upper).count();
    println!("Of {} records, {upper} went through it.", seen.len());
    wait_for(&nodes, "promoted", |function| function["rollout"].is_null())?;
    println!("It serves everything {:.1} s after the upload.", begun.elapsed().as_secs_f64());

    println!("\nA bad one is published. It traps at records that the others can stand.");
    operator.run(&["publish", &path("hostile"), "shout"])?;
    wait_for(&nodes, "withdrawn", |function| function["rollout"]["state"] == "withdrawn")?;
    println!("All nodes withdrew it by themselves: {}", nodes[0].function("shout")["rollout"]["reason"]);

    println!("\nBack to the first revision.");
    let begun = Instant::now();
    operator.run(&["rollback", "shout", "--to", &first_version(&operator)?])?;
    wait_for(&nodes, "back", |function| function["rollout"].is_null() && function["error"].is_null())?;
    println!("All nodes serve it after {:.2} s.\n", begun.elapsed().as_secs_f64());
    operator.run(&["status"])?;

    let books = stream.end();
    nodes.iter_mut().for_each(Node::term_cleanly);
    println!("\n{books}");
    ensure!(books.lost == 0 && books.disordered == 0, "records were lost or reordered");
    Ok(())
}

fn path(function: &str) -> String {
    functions::component(function).display().to_string()
}

/// Waits until the function on all nodes is like this.
fn wait_for(nodes: &[Node], what: &str, is_it: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    let is_done = || nodes.iter().all(|node| is_it(&node.function("shout"))).then_some(());
    wait::try_some(PATIENCE, is_done).with_context(|| format!("not {what}: {:#}", nodes[0].function("shout")))
}

/// Runs commands as an operator does, with a manifest and credentials.
struct Operator<'a> {
    manifest: std::path::PathBuf,
    aws: &'a Aws,
}

impl Operator<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = node::command();
        command.args(arguments).envs(self.aws.environment()).arg("--manifest").arg(Path::new(&self.manifest));
        command
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        println!("$ tidegate {}", arguments.join(" "));
        let status = self.command(arguments).status()?;
        ensure!(status.success(), "tidegate {} failed", arguments[0]);
        Ok(())
    }
}

/// The version of the first upload.
fn first_version(operator: &Operator<'_>) -> anyhow::Result<String> {
    let output = operator.command(&["revisions", "shout", "--json"]).output()?;
    let revisions: Value = serde_json::from_slice(&output.stdout)?;
    let first = revisions.as_array().and_then(|all| all.last()).context("no revision")?;
    Ok(first["version"].as_str().context("no version")?.to_owned())
}
