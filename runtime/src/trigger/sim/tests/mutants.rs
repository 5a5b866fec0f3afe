//! The simulation tested by drivers whose faults are known: the simple one keeps every promise, and
//! each wrong one is found out.

use super::super::clients::SimClients;
use super::super::history::{Drives, run};
use super::super::plan::{Breadth, Case, Less};
use super::super::shrink::shrink;
use super::super::toy::{Mutant, Toy};
use super::{alone, check, many, number, tell};
use crate::trigger::clock::Now;
use crate::trigger::driver::Parts;

fn toy(mutant: Mutant) -> impl Fn(Parts<SimClients>, Now) -> Box<dyn Drives> + Sync {
    move |parts, now| Box::new(Toy::new(parts, now, mutant))
}

#[test]
fn the_simple_driver_keeps_every_promise() {
    let from = number("TIDEGATE_SEED").unwrap_or(1);
    check(from, number("TIDEGATE_HISTORIES").unwrap_or(300), Breadth::Plain, &toy(Mutant::None));
}

#[test]
fn replay() {
    tell(Breadth::Plain, &toy(Mutant::None));
}

/// The driver breaks one of these promises within so many histories.
#[track_caller]
fn is_caught(mutant: Mutant, histories: u64, promises: &[&str]) {
    let sum = many(1, histories, Breadth::Plain, &toy(mutant));
    let Some((seed, report)) = sum.failed.first() else { panic!("{mutant:?} is not found in {histories} histories") };
    let found = &report.violations[0];
    println!("{mutant:?}: {} of {} histories, first seed {seed}: {found:?}", sum.failed.len(), sum.histories);
    for (seed, report) in &sum.failed {
        let found = &report.violations[0];
        assert!(promises.contains(&found.promise), "{mutant:?} at seed {seed} breaks another promise: {found:?}");
    }
}

#[test]
fn committing_before_the_acknowledgement_is_caught() {
    is_caught(Mutant::CommitsBeforeAcknowledged, 100, &["nothing lost"]);
}

#[test]
fn committing_what_was_taken_is_caught() {
    is_caught(Mutant::CommitsWhatWasTaken, 100, &["nothing lost"]);
}

#[test]
fn forgetting_attempts_is_caught() {
    is_caught(Mutant::ForgetsAttempts, 400, &["attempts"]);
}

#[test]
fn giving_back_with_messages_in_the_queue_is_caught() {
    is_caught(Mutant::SkipsDrain, 400, &["nothing stale", "order", "repeats"]);
}

#[test]
fn keeping_the_queue_of_lost_partitions_is_caught() {
    is_caught(Mutant::KeepsQueueOnLoss, 1_000, &["nothing stale", "order"]);
}

#[test]
fn dropping_a_retry_is_caught() {
    is_caught(Mutant::DropsRetries, 100, &["nothing lost"]);
}

#[test]
fn a_busy_loop_is_caught() {
    is_caught(Mutant::Spins, 3, &["no busy loop"]);
}

#[test]
fn not_answering_a_revocation_is_caught() {
    is_caught(Mutant::IgnoresRevocations, 100, &["nothing stuck", "nothing hidden", "nothing stale"]);
}

#[test]
fn trusting_memory_instead_of_what_is_committed_is_caught() {
    is_caught(Mutant::TrustsItsMemory, 200, &["nothing lost", "repeats", "nothing stale", "attempts", "nothing stuck"]);
}

#[test]
fn the_same_seed_gives_the_same_history_of_the_simple_driver() {
    for seed in 1..20 {
        let case = Case::draw(seed, Breadth::Plain, &Less::default());
        let (first, second) = (alone(&case, &toy(Mutant::None), true), alone(&case, &toy(Mutant::None), true));
        for (first, second) in first.story.iter().zip(&second.story) {
            assert_eq!(first, second, "seed {seed}");
        }
        assert_eq!(first.story.len(), second.story.len(), "seed {seed}");
        assert!(first.story.len() > 100, "seed {seed} tells {} lines", first.story.len());
    }
}

#[test]
fn a_failing_case_is_shrunk() {
    let make = toy(Mutant::DropsRetries);
    let sum = many(1, 100, Breadth::Plain, &make);
    let Some((seed, _)) = sum.failed.first() else { panic!("the mutant is not found") };
    let case = Case::draw(*seed, Breadth::Plain, &Less::default());
    let less = shrink(&case, Breadth::Plain, &make, "nothing lost", &Less::default());
    let small = Case::draw(*seed, Breadth::Plain, &less);
    assert_eq!(small.faults, [], "no fault is needed for it");
    assert_eq!(small.nodes, 1);
    assert!(small.items.len() < case.items.len());
    assert!(run(&small, &make, false).violations.iter().any(|found| found.promise == "nothing lost"));
}
