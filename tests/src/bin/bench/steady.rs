//! CPU per record and latency at steady rates: a node with the identity function beside an ordinary
//! loop with the same linger, interleaved, and beside nothing at all.

use std::time::Duration;

use tidegate_tests::functions;
use tidegate_tests::kafka::{Kafka, Topic};
use tidegate_tests::node::Node;

use super::native::{self, LIMIT};
use super::traffic::{Traffic, percentiles};
use super::{cpu, number, spread};

const ROUNDS: usize = 3;
const PARTITIONS: i32 = 8;
/// Connections, caches and sizes settle before anything counts.
const WARM: Duration = Duration::from_secs(3);

struct Seen {
    cpu_us: f64,
    latency_ms: [f64; 3],
}

/// `steady [SECONDS [LINGER_MS [KEY=VALUE…]]]`: properties of the node's cluster last.
pub fn main(arguments: &[&str]) {
    let time = Duration::from_secs(number(arguments, 0, 10));
    let linger = arguments.get(1).copied().filter(|linger| *linger != "default");
    let properties = arguments.get(2..).unwrap_or_default();
    let kafka = Kafka::start_to_measure();
    println!("{ROUNDS} rounds of {time:?}, interleaved, {PARTITIONS} partitions, 100 B, a burst every 4 ms");
    println!("CPU of a record in µs; latency in ms: median, 99 %, longest");
    for per_second in [500, 5_000] {
        let direct = kafka.topic("direct", PARTITIONS);
        let [median, most, longest] = latencies(Traffic::start(&kafka, &direct, &direct, per_second), time, || ()).1;
        println!("\n{per_second} records/s\n           nothing              {median:>6.1} {most:>6.1} {longest:>6.1}");
        let (mut natives, mut nodes) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            let measure: [&dyn Fn() -> (&'static str, Seen); 2] =
                [&|| ("loop", native(&kafka, per_second, time, linger.unwrap_or("5"))), &|| {
                    ("tidegate", node(&kafka, per_second, time, linger, properties))
                }];
            for place in [round % 2, (round + 1) % 2] {
                let (name, seen) = measure[place]();
                let [median, most, longest] = seen.latency_ms;
                println!("  round {round}  {name:<9} {:>10.1} {median:>6.1} {most:>6.1} {longest:>6.1}", seen.cpu_us);
                if name == "loop" { &mut natives } else { &mut nodes }.push(seen);
            }
        }
        let ratios = natives.iter().zip(&nodes).map(|(native, node)| node.cpu_us / native.cpu_us).collect();
        let [median, least, most] = spread(ratios);
        println!("  CPU, tidegate / loop: median {median:.2}, from {least:.2} to {most:.2}");
    }
}

fn native(kafka: &Kafka, per_second: u64, time: Duration, linger: &str) -> Seen {
    let (input, output) = (kafka.topic("steady-in", PARTITIONS), kafka.topic("steady-out", PARTITIONS));
    let mut child = native::start(kafka, &input, &output, linger, u64::MAX);
    let traffic = Traffic::start(kafka, &input, &output, per_second);
    let seen = seen(traffic, per_second, time, child.id());
    child.kill().expect("the loop ends");
    child.wait().expect("the loop ended");
    seen
}

fn node(kafka: &Kafka, per_second: u64, time: Duration, linger: Option<&str>, properties: &[&str]) -> Seen {
    let (input, output) = (kafka.topic("steady-in", PARTITIONS), kafka.topic("steady-out", PARTITIONS));
    let linger = linger.map(|linger| format!("linger.ms={linger}"));
    let properties: Vec<&str> = properties.iter().copied().chain(linger.as_deref()).collect();
    let mut node = Node::start("steady", &manifest(kafka, &input, &output, &properties, ""));
    node.wait_for("the node has its partitions", LIMIT, |node| node.trigger("echo")["partitions"] == PARTITIONS);
    let seen = seen(Traffic::start(kafka, &input, &output, per_second), per_second, time, node.id());
    node.term_cleanly();
    seen
}

/// A manifest with the identity function on one topic. `properties`: `key=value`, of the cluster.
pub fn manifest(kafka: &Kafka, input: &Topic, output: &Topic, properties: &[&str], trigger: &str) -> String {
    let properties: Vec<String> = properties
        .iter()
        .map(|property| {
            let (key, value) = property.split_once('=').expect("KEY=VALUE");
            format!("\"{key}\" = \"{value}\"")
        })
        .collect();
    format!(
        "[cluster.main]\nbrokers = \"{}\"\nproperties = {{ {} }}\n\
         [function.echo]\ncomponent = \"{}\"\n[trigger.echo]\nfunction = \"echo\"\ntopics = [\"{}\"]\n\
         output = \"{}\"\ngroup = \"{}\"\non-exhausted = \"skip\"\n{trigger}\n",
        kafka.bootstrap(),
        properties.join(", "),
        functions::component("echo").display(),
        input.name(),
        output.name(),
        output.name(),
    )
}

fn seen(traffic: Traffic, per_second: u64, time: Duration, process: u32) -> Seen {
    let (cpu, latency_ms) = latencies(traffic, time, || cpu::of_threads(process));
    let cpu = cpu.1 - cpu.0;
    Seen { cpu_us: cpu.as_secs_f64() * 1e6 / (per_second as f64 * time.as_secs_f64()), latency_ms }
}

/// Latencies of what is sent in a time, and what was read before and after it.
fn latencies<T>(traffic: Traffic, time: Duration, mut read: impl FnMut() -> T) -> ((T, T), [f64; 3]) {
    std::thread::sleep(WARM);
    let (from, before) = (traffic.age(), read());
    std::thread::sleep(time);
    let (to, after) = (traffic.age(), read());
    let mut passed = traffic.end();
    passed.retain(|passed| (from..to).contains(&passed.sent));
    ((before, after), percentiles(&passed))
}
