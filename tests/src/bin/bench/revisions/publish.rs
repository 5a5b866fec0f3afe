//! How soon all nodes serve what is uploaded.

use std::thread;
use std::time::Duration;

use super::fleet::{Fleet, NODES, variant};
use super::percentile;

/// The size of a component.
const BYTES: usize = 5 << 20;
/// Components that take turns, so that each was compiled before.
const KNOWN: usize = 4;
/// How long the records are watched after an upload, and as long without one.
const WATCHED: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(60);

/// `is_fresh`: no component was compiled before.
pub fn main(times: usize, is_fresh: bool) {
    let known: Vec<_> = (0..KNOWN).map(|number| variant("echo", &number.to_string(), BYTES)).collect();
    let fleet = Fleet::start(&known[0], "", "", |_| "n");
    for component in &known {
        let version = fleet.upload(component);
        fleet.wait_served(&version, LIMIT);
    }
    let (mut each, mut last, mut gaps, mut calm) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for time in 0..times {
        // As long without an upload as with one, in turns.
        let from = fleet.stream.age();
        thread::sleep(WATCHED);
        calm.push(fleet.stream.longest_gap(from, from + WATCHED));
        let component =
            if is_fresh { variant("echo", &format!("fresh-{time}"), BYTES) } else { known[time % KNOWN].clone() };
        let from = fleet.stream.age();
        let version = fleet.upload(&component);
        let served = fleet.wait_served(&version, LIMIT).map(|time| time.as_secs_f64() * 1e3);
        last.push(served.into_iter().fold(0.0, f64::max));
        each.extend(served);
        thread::sleep(WATCHED.saturating_sub(fleet.stream.age() - from));
        gaps.push(fleet.stream.longest_gap(from, fleet.stream.age()));
    }
    let kind = if is_fresh { "compiled anew" } else { "compiled before" };
    println!("{times} uploads of 5 MiB, {kind}, {NODES} nodes, in ms:");
    for (what, values) in [
        ("from the end of the upload until a node serves it", &mut each),
        ("until the last node does", &mut last),
        ("longest time without an output around an upload", &mut gaps),
        ("the same without an upload", &mut calm),
    ] {
        let [median, most, longest] = [50, 99, 100].map(|percent| percentile(values, percent));
        println!("  {what}: median {median:.0}, 99 % {most:.0}, longest {longest:.0}");
    }
    println!("  {}", fleet.end());
}
