//! Histories of the real driver; tests of the simulation itself are in the files beside this one.

mod cluster;
mod mutants;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::history::{Make, Report, real, run};
use super::panics::silence_panics;
use super::plan::{Breadth, Case, Less};
use super::shrink::explain;

/// Histories that are run unless the environment says otherwise.
const HISTORIES: u64 = 2_000;
/// Histories between two lines about how far it is.
const AT_ONCE: u64 = 2_000;
/// Failing histories after which no more are run.
const FAILURES: u64 = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// What the environment leaves out of a case.
fn less() -> Less {
    let list = |text: String| text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    Less {
        nodes: number("TIDEGATE_NODES").map(|nodes| nodes as usize),
        records: number("TIDEGATE_RECORDS").map(|records| records as usize),
        faults: std::env::var("TIDEGATE_FAULTS").ok().map(list),
    }
}

/// Runs a history on a thread whose panics are not printed: they are violations.
fn alone(case: &Case, make: &Make, told: bool) -> Report {
    silence_panics();
    std::thread::scope(|scope| {
        let history = std::thread::Builder::new().name(format!("history-{}", case.seed));
        let running = history.spawn_scoped(scope, || run(case, make, told)).expect("threads can be started");
        running.join().unwrap_or_else(|_| panic!("the simulation itself breaks at seed {}", case.seed))
    })
}

/// What many histories came to.
#[derive(Default)]
struct Sum {
    histories: u64,
    turns: u64,
    strays: u64,
    repeats: u64,
    failed: Vec<(u64, Report)>,
}

/// Runs the histories of many seeds on all cores, up to some that fail.
fn many(from: u64, count: u64, breadth: Breadth, make: &Make) -> Sum {
    silence_panics();
    let next = AtomicU64::new(from);
    let sum = Mutex::new(Sum::default());
    let failures = number("TIDEGATE_FAILURES").unwrap_or(FAILURES);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            let history = std::thread::Builder::new().name("history".to_owned());
            let work = || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    let report = run(&Case::draw(seed, breadth, &Less::default()), make, false);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.histories += 1;
                    sum.turns += report.turns;
                    sum.strays += report.strays;
                    sum.repeats += report.repeats;
                    if !report.violations.is_empty() {
                        sum.failed.push((seed, report));
                        if sum.failed.len() as u64 >= failures {
                            return;
                        }
                    }
                }
            };
            history.spawn_scoped(scope, work).expect("threads can be started");
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.failed.sort_by_key(|(seed, _)| *seed);
    sum
}

fn check(from: u64, count: u64, breadth: Breadth, make: &Make) {
    let started = Instant::now();
    let sum = many(from, count, breadth, make);
    println!(
        "{} histories from seed {from} on in {:?}: {} turns, {} tries beyond the first, {} effects that nobody could take back",
        sum.histories,
        started.elapsed(),
        sum.turns,
        sum.repeats,
        sum.strays,
    );
    for (seed, report) in &sum.failed {
        println!("seed {seed}: {}: {}", report.violations[0].promise, report.violations[0].text);
    }
    if let Some((seed, report)) = sum.failed.first() {
        let case = Case::draw(*seed, breadth, &Less::default());
        panic!(
            "{} histories fail; the first one:\n{}",
            sum.failed.len(),
            explain(&case, breadth, make, report, &Less::default())
        );
    }
}

#[test]
fn histories() {
    let from = number("TIDEGATE_SEED").unwrap_or(1);
    check(from, number("TIDEGATE_HISTORIES").unwrap_or(HISTORIES), Breadth::All, &real);
}

/// Runs histories until the time is over that the environment allows. Without it there is nothing to do: a
/// test has no minutes.
#[test]
fn simulate() {
    let Some(minutes) = number("TIDEGATE_MINUTES") else { return };
    let from = number("TIDEGATE_SEED").unwrap_or_else(|| fastrand::u64(1..1_000_000_000));
    println!("histories from seed {from} on for {minutes} min");
    let (started, mut next, mut failed) = (Instant::now(), from, 0);
    while started.elapsed() < Duration::from_secs(60 * minutes) && failed < FAILURES {
        let sum = many(next, AT_ONCE, Breadth::All, &real);
        next += AT_ONCE;
        failed += sum.failed.len() as u64;
        for (seed, report) in &sum.failed {
            let case = Case::draw(*seed, Breadth::All, &Less::default());
            println!("{}", explain(&case, Breadth::All, &real, report, &Less::default()));
        }
        println!("{} histories in {} s, {failed} broken", next - from, started.elapsed().as_secs());
    }
    assert_eq!(failed, 0, "histories break promises");
}

/// Tells one history line by line. Without a seed there is nothing to tell.
fn tell(breadth: Breadth, make: &Make) {
    let Some(seed) = number("TIDEGATE_SEED") else { return };
    let case = Case::draw(seed, breadth, &less());
    let report = alone(&case, make, true);
    report.story.iter().for_each(|line| println!("{line}"));
    println!("\n{case}");
    for violation in &report.violations {
        println!("\"{}\": {}", violation.promise, violation.text);
    }
    assert!(report.violations.is_empty(), "the history of seed {seed} breaks a promise");
}

#[test]
fn replay() {
    tell(Breadth::All, &real);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in [3, 4, 5] {
        let case = Case::draw(seed, Breadth::All, &Less::default());
        let (first, second) = (alone(&case, &real, true), alone(&case, &real, true));
        for (first, second) in first.story.iter().zip(&second.story) {
            assert_eq!(first, second, "seed {seed}");
        }
        assert_eq!(first.story.len(), second.story.len(), "seed {seed}");
    }
}
