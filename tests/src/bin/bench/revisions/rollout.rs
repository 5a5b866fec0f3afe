//! Candidates: which keys they get, and how soon a bad one is gone.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fleet::{Fleet, NODES, variant};
use tidegate_tests::stream::KEYS;

const LIMIT: Duration = Duration::from_secs(60);

fn rollouts(fleet: &Fleet) -> Vec<Value> {
    fleet.functions().into_iter().map(|mut function| function["rollout"].take()).collect()
}

/// Waits until all nodes show a rollout like this. Returns how long that took.
fn wait_for(fleet: &Fleet, what: &str, is_it: impl Fn(&Value) -> bool) -> Duration {
    let begun = Instant::now();
    while !rollouts(fleet).iter().all(&is_it) {
        assert!(begun.elapsed() < LIMIT, "not {what}: {:#?}", rollouts(fleet));
        thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

/// The keys that the candidate had, and how many others had both.
fn sides(fleet: &Fleet, from: Duration) -> (usize, usize) {
    let mut sides: BTreeMap<u64, [bool; 2]> = BTreeMap::new();
    for seen in fleet.stream.since(from) {
        sides.entry(seen.sequence % KEYS).or_default()[usize::from(seen.is_upper)] = true;
    }
    let count = |side: [bool; 2]| sides.values().filter(|found| **found == side).count();
    (count([false, true]), count([true, true]))
}

pub fn canary() {
    let function = "rollout = { steps = [\"5%\"], bake = \"1h\", abort-if = { failure-rate = \"1%\", traps = 1 } }";
    let mut fleet = Fleet::start(&variant("echo", "first", 0), function, "", |number| {
        // Every record of the traps comes late, when the failing candidate is there.
        if number > 120_000 { "trap:99" } else { "n" }
    });
    fleet.upload(&variant("uppercase", "canary", 0));
    wait_for(&fleet, "on trial", |rollout| rollout["state"] == "trial");
    thread::sleep(Duration::from_secs(2));
    let from = fleet.stream.age();
    thread::sleep(Duration::from_secs(6));
    let (own, both) = sides(&fleet, from);
    println!("5 % of {KEYS} keys: the candidate had {own}, and {both} had both revisions");
    // The partitions move to other nodes, and the keys stay where they are.
    fleet.nodes[0].kill();
    thread::sleep(Duration::from_secs(12));
    fleet.nodes[0].start_again();
    fleet.nodes[0].wait_ready(LIMIT);
    wait_for(&fleet, "on trial", |rollout| rollout["state"] == "trial");
    thread::sleep(Duration::from_secs(4));
    let (own, both) = sides(&fleet, from);
    println!("after a node was killed and came back: the candidate had {own}, and {both} had both revisions");

    fleet.upload(&variant("hostile", "trapping", 0));
    wait_for(&fleet, "on trial", |rollout| rollout["state"] == "trial");
    // Since the first trap that any node counts.
    let begun = Instant::now();
    let first = loop {
        let traps = |rollout: &Value| rollout["candidate"]["traps"].as_u64().unwrap_or(0);
        let shown = rollouts(&fleet);
        if shown.iter().any(|rollout| traps(rollout) > 0 || rollout["state"] == "withdrawn") {
            break Instant::now();
        }
        assert!(begun.elapsed() < 3 * LIMIT, "nothing trapped: {shown:#?}");
        thread::sleep(Duration::from_millis(2));
    };
    wait_for(&fleet, "withdrawn", |rollout| rollout["state"] == "withdrawn");
    println!(
        "a candidate that traps: withdrawn on {NODES} nodes {:.2} s after the first trap was seen",
        first.elapsed().as_secs_f64()
    );
    println!("  {}", rollouts(&fleet)[0]["reason"]);
    println!("{}", fleet.end());
}

pub fn shadow() {
    let function = "rollout = { shadow = true, bake = \"1h\", abort-if = { traps = 1 } }";
    // What `ok` begins is made into something else by the candidate only.
    let word = |number| if number % 1_000 == 500 { "ok" } else { "n" };
    let fleet = Fleet::start(&variant("echo", "first", 0), function, "", word);
    fleet.upload(&variant("hostile", "shadow", 0));
    wait_for(&fleet, "on trial", |rollout| rollout["state"] == "trial");
    thread::sleep(Duration::from_secs(30));
    for node in &fleet.nodes {
        println!("{:#}", node.trigger("t")["candidate"]["shadow"]);
    }
    println!("{}", fleet.end());
}
