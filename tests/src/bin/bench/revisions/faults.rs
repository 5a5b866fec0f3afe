//! What is away, damaged, repeated or killed.

use std::thread;
use std::time::{Duration, Instant};

use tidegate_tests::proxy::Conduct;

use super::fleet::{Fleet, KEY, NODES, disk, holds, serves, variant};

const LIMIT: Duration = Duration::from_secs(60);
const SMALL: usize = 0;

fn most(times: [Duration; NODES]) -> f64 {
    times.into_iter().max().unwrap_or_default().as_secs_f64()
}

pub fn away() {
    let mut fleet = Fleet::start(&variant("echo", "first", SMALL), "", "", |_| "n");
    fleet.sqs.set_all(Conduct::Refuse);
    let version = fleet.upload(&variant("echo", "without-queue", SMALL));
    println!(
        "the queue is away: the last node serves an upload after {:.1} s",
        most(fleet.wait_served(&version, LIMIT))
    );
    fleet.sqs.set_all(Conduct::Pass);

    fleet.s3.set_all(Conduct::Refuse);
    let from = fleet.stream.age();
    let version = fleet.upload(&variant("echo", "without-store", SMALL));
    fleet.nodes[0].term_cleanly();
    fleet.nodes[0].start_again();
    fleet.nodes[0].wait_ready(LIMIT);
    thread::sleep(Duration::from_secs(20));
    let away = fleet.functions().iter().filter(|function| function["away"].is_string()).count();
    println!(
        "the store is away for 20 s: a node started meanwhile, {away} of {NODES} say that it is away, {} records came out",
        fleet.stream.since(from).len()
    );
    fleet.s3.set_all(Conduct::Pass);
    println!(
        "the store is back: the last node serves the upload after {:.1} s",
        most(fleet.wait_served(&version, LIMIT))
    );
    println!("{}", fleet.end());
}

pub fn events(times: usize) {
    let fleet = Fleet::start(&variant("echo", "first", SMALL), "", "", |_| "n");
    let event = |key: &str, sequencer: usize| {
        serde_json::json!({"Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventName": "ObjectCreated:Put",
            "eventTime": "2026-01-01T00:00:00.000Z",
            "s3": {"bucket": {"name": fleet.bucket.name()},
                   "object": {"key": key, "size": 1, "eTag": "x", "sequencer": format!("{sequencer:016X}")}}
        }]})
        .to_string()
    };
    let check = |what: &str, tag: &str| {
        let version = fleet.upload(&variant("echo", tag, SMALL));
        println!("{what}: the last node serves an upload after {:.2} s", most(fleet.wait_served(&version, LIMIT)));
        let begun = Instant::now();
        while fleet.queue.count().total() > 0 && begun.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(100));
        }
        println!("  {} messages are left {:.1} s later", fleet.queue.count().total(), begun.elapsed().as_secs_f64());
    };
    fleet.queue.send_all((0..times).map(|_| event(KEY, 7)));
    check(&format!("{times} repeated events"), "repeated");
    fleet.queue.send_all((0..times).rev().map(|number| event(KEY, number)));
    check(&format!("{times} events in the wrong order"), "disordered");
    fleet.queue.send_all((0..times).map(|number| match number % 4 {
        0 => "junk".to_owned(),
        1 => "{\"Records\": 7}".to_owned(),
        2 => event(KEY, 1)[..60].to_owned(),
        _ => "{}".to_owned(),
    }));
    check(&format!("{times} damaged events"), "damaged");
    fleet.queue.send_all((0..times).map(|number| event(&format!("elsewhere/{number}"), number)));
    check(&format!("{times} events of other objects"), "foreign");
    // Lost: this one is taken by nobody who tells the nodes.
    fleet.sqs.set_all(Conduct::Refuse);
    let version = fleet.upload(&variant("echo", "lost", SMALL));
    fleet.queue.purge();
    fleet.sqs.set_all(Conduct::Pass);
    println!("a lost event: the last node serves the upload after {:.1} s", most(fleet.wait_served(&version, LIMIT)));
    println!("{}", fleet.end());
}

/// A broken upload of some kind.
fn broken(number: usize) -> Vec<u8> {
    let good = variant("echo", &number.to_string(), SMALL);
    match number % 6 {
        0 => good[..good.len() / 2].to_vec(),
        1 => format!("no component {number}").into_bytes(),
        // A command line program, without the handler.
        2 => [&b"\0asm\x0d\0\x01\0"[..], &variant("echo", &number.to_string(), SMALL)[8..40]].concat(),
        // Wants what the manifest does not grant.
        3 => variant("asks-http", &number.to_string(), SMALL),
        4 => [&b"\0asm\x01\0\0\0"[..], number.to_string().as_bytes()].concat(),
        _ => vec![0; 200 << 20],
    }
}

pub fn uploads(times: usize) {
    let registry = "max-size = \"64MiB\"";
    let fleet = Fleet::start(&variant("echo", "first", SMALL), "", registry, |_| "n");
    let show = |when: &str| {
        for (node, process) in fleet.nodes.iter().zip(fleet.nodes.iter().map(tidegate_tests::node::Node::id)) {
            let (threads, descriptors, memory) = holds(process);
            let kept = disk(&node.path("cache"));
            println!("  {when}: {threads} threads, {descriptors} descriptors, {memory} MiB, {kept} MiB on the disk");
        }
    };
    show("at first");
    let (mut refused, mut bad) = (0, 0);
    let mut good = String::new();
    for time in 0..times {
        // Of the large ones only some, because each takes seconds to upload.
        if time % 2 == 0 || time % 12 == 11 && time > 120 {
            good = fleet.upload(&variant("echo", &format!("good-{time}"), SMALL));
        } else {
            fleet.upload(&broken(time));
            bad += 1;
            thread::sleep(Duration::from_millis(50));
            refused += usize::from(fleet.functions().iter().any(|function| function["error"].is_string()));
        }
        if time % (times / 4).max(1) == 0 {
            fleet.nodes.iter().for_each(|node| assert_eq!(node.get("/readyz").map(|answer| answer.status), Some(200)));
            show(&format!("after {time}"));
        }
    }
    let last = fleet.upload(&variant("echo", "last", SMALL));
    fleet.wait_served(&last, LIMIT);
    assert!(!good.is_empty());
    println!("{times} uploads, {bad} broken, {refused} of them seen refused; then the last good one serves");
    show("at last");
    println!("{}", fleet.end());
}

/// One node is killed at some moment while it takes on a revision, and has to come back with a good one.
pub fn killed(times: usize) {
    let mut fleet = Fleet::start(&variant("echo", "first", SMALL), "", "", |_| "n");
    let mut before = String::new();
    let (mut old, mut new) = (0, 0);
    for time in 0..times {
        let version = fleet.upload(&variant("echo", &format!("killed-{time}"), SMALL));
        // From its first step to its last one.
        thread::sleep(Duration::from_millis(time as u64 * 1_500 / times as u64));
        let node = &mut fleet.nodes[time % NODES];
        if serves(node, &version) {
            new += 1;
        } else {
            old += 1;
        }
        node.kill();
        node.start_again();
        node.wait_ready(LIMIT);
        let served = node.function("f")["origin"].to_string();
        assert!(
            served.contains(&version) || served.contains(&before),
            "{served} is neither the old one nor the new one"
        );
        fleet.wait_served(&version, LIMIT);
        before = version;
    }
    println!(
        "{times} nodes killed, {old} before and {new} after the swap: each came back with a good revision, and took on the new one"
    );
    println!("{}", fleet.end());
}
