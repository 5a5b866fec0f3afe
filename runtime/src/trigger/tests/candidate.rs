//! A revision that is tried beside the one that serves, and a trigger that is held.

use super::fakes::{FakeInvoker, Verdict, World};
use crate::manifest::Share;
use crate::record::outcome::Cause;
use crate::trigger::progress::Progress;
use crate::trigger::status::CandidateStatus;
use crate::trigger::trial::{Manner, Trial};

const NOTHING: [&str; 0] = [];

fn ok(_: &str, _: u32) -> Verdict {
    Verdict::Handle
}

fn share(basis_points: u16) -> Manner {
    Manner::Share(Share::of_basis_points(basis_points).expect("a share"))
}

/// A world whose candidate gets all keys.
fn all_tried(settings: &str) -> (World, FakeInvoker) {
    let mut world = World::new(settings);
    let candidate = world.try_out("next", share(10_000));
    (world, candidate)
}

fn status(world: &World) -> CandidateStatus {
    world.flow.lanes.trial().map(Trial::status).expect("a revision is tried")
}

#[test]
fn a_share_of_the_keys_goes_to_the_candidate_and_does_not_wait_behind_the_others() {
    let mut world = World::new("instances = { max = 1 }\nbatch = { records = 1000 }");
    let candidate = world.try_out("next", share(2_500));
    (0..400).for_each(|n| world.admit(&format!("k{n}"), &format!("v{n}")));
    assert_eq!(world.dispatch().len(), 1);
    assert_eq!(candidate.calls().len(), 1);
    let mut tried = 0;
    while !candidate.calls().is_empty() {
        tried += candidate.calls().front().map_or(0, |call| call.batch.len());
        world.finish_of(&candidate, ok);
        world.dispatch();
    }
    assert!((60..140).contains(&tried), "{tried} of 400");
    assert_eq!(world.invoker.calls().len(), 1, "while a call of the serving revision runs");
    let CandidateStatus { candidate, stable, manner, .. } = status(&world);
    assert_eq!((candidate.records, stable.records, manner.as_str()), (tried as u64, 0, "25%"));
    world.run(ok);
    assert_eq!((world.sent(0).len(), world.progress()), (400, Progress::at(400)));
}

#[test]
fn what_a_candidate_gives_up_runs_by_the_serving_revision() {
    for settings in ["", "on-exhausted = \"skip\"", "on-exhausted = \"pause\"\ndead-letters = \"dead\""] {
        let (mut world, candidate) = all_tried(settings);
        ["bad", "behind"].iter().for_each(|value| world.admit("k", value));
        assert_eq!(world.dispatch_to(&candidate), [["bad", "behind"]], "{settings}");
        world.finish_of(&candidate, |value, _| if value == "bad" { Verdict::Reject } else { Verdict::Handle });
        assert_eq!(world.dispatch(), [["bad"]]);
        assert_eq!(world.invoker.calls()[0].batch.attempts(), [1]);
        world.finish(ok);
        assert_eq!(world.dispatch_to(&candidate), [["behind"]], "its key waits for it");
        world.finish_of(&candidate, ok);
        assert_eq!(world.sent(0), ["bad!", "behind!"]);
        assert_eq!(world.sent(1), NOTHING);
        assert!(world.flow.paused.is_none());
        let tally = status(&world).candidate;
        assert_eq!((tally.records, tally.failed, tally.calls, tally.traps), (2, 1, 2, 0));
    }
}

#[test]
fn a_record_that_fails_is_tried_again_by_the_candidate_and_at_once_by_the_other_when_that_is_gone() {
    let (mut world, candidate) = all_tried("");
    world.admit("k", "bad");
    world.dispatch();
    world.finish_of(&candidate, |_, _| Verdict::Retry);
    assert!(world.dispatch_to(&candidate).is_empty(), "it waits");
    world.pass_time();
    assert_eq!(world.dispatch_to(&candidate), [["bad"]]);
    assert_eq!(candidate.calls()[0].batch.attempts(), [2]);
    world.finish_of(&candidate, |_, _| Verdict::Retry);
    world.flow.withdraw();
    assert_eq!(world.dispatch(), [["bad"]]);
    assert_eq!(world.invoker.calls()[0].batch.attempts(), [1], "what the candidate made of it says nothing");
}

#[test]
fn a_call_of_a_candidate_that_was_let_go_may_end() {
    let (mut world, candidate) = all_tried("");
    ["good", "bad"].iter().for_each(|value| world.admit(value, value));
    world.dispatch();
    world.flow.withdraw();
    assert!(world.dispatch().is_empty(), "they still run");
    world.finish_of(&candidate, |value, _| if value == "bad" { Verdict::Reject } else { Verdict::Handle });
    assert_eq!((world.sent(0), world.sent(1)), (vec!["good!".to_owned()], Vec::new()));
    assert_eq!(world.dispatch(), [["bad"]]);
}

#[test]
fn a_candidate_that_is_promoted_serves_everything_and_may_give_up_records() {
    let (mut world, candidate) = all_tried("");
    world.flow.promote();
    assert!(world.flow.lanes.trial().is_none());
    world.admit("k", "bad");
    assert_eq!(world.dispatch_to(&candidate), [["bad"]]);
    world.finish_of(&candidate, |_, _| Verdict::Reject);
    assert_eq!(world.sent(1), ["bad"]);
}

#[test]
fn a_candidate_that_does_not_start_counts_as_failed_after_three_tries() {
    let (mut world, candidate) = all_tried("");
    world.admit("k", "v");
    for traps in [0, 0, 1, 1, 1, 2] {
        assert_eq!(world.dispatch_to(&candidate).len(), 1);
        world.finish_of(&candidate, |_, _| Verdict::NoInstance);
        assert!(world.dispatch_to(&candidate).is_empty(), "it is held off");
        assert_eq!(status(&world).candidate.traps, traps);
        world.pass_time();
    }
    world.flow.withdraw();
    world.run(ok);
    assert_eq!(world.sent(0), ["v!"]);
}

#[test]
fn a_trap_is_counted_and_its_record_alone_fails() {
    let (mut world, candidate) = all_tried("");
    world.admit("k", "bad");
    world.dispatch();
    world.finish_of(&candidate, |_, _| Verdict::Fault(Cause::Trap));
    let tally = status(&world).candidate;
    assert_eq!((tally.traps, tally.failed, tally.records), (1, 1, 1));
    world.flow.steer(2, share(1));
    let CandidateStatus { candidate, stage, .. } = status(&world);
    assert_eq!((candidate.traps, stage), (0, 2), "another stage counts anew");
}

#[test]
fn a_message_of_a_candidate_that_the_broker_refuses_makes_no_dead_letter() {
    let (mut world, candidate) = all_tried("");
    world.flow.partitions.set_careful(true);
    world.sink().refuses = vec![b"big!".to_vec()];
    ["big", "behind"].iter().for_each(|value| world.admit("k", value));
    assert_eq!(world.dispatch_to(&candidate), [["big"]]);
    world.finish_of(&candidate, ok);
    assert_eq!(world.sent(1), NOTHING);
    assert_eq!(world.dispatch(), [["big"]]);
    world.sink().refuses.clear();
    world.finish(ok);
    world.dispatch();
    world.finish_of(&candidate, ok);
    assert_eq!((world.sent(0), world.progress()), (vec!["big!".to_owned(), "behind!".to_owned()], Progress::at(2)));
}

#[test]
fn while_an_operator_holds_it_no_call_starts_and_what_runs_ends() {
    let mut world = World::new("instances = { max = 1 }\nbatch = { records = 1 }");
    ["one", "two"].iter().for_each(|value| world.admit(value, value));
    world.dispatch();
    world.flow.held = Some("somebody wants it".to_owned());
    world.finish(ok);
    assert!(world.dispatch().is_empty());
    assert_eq!(world.flow.next_due(world.now), None);
    assert_eq!(world.sent(0), ["one!"]);
    world.flow.held = None;
    world.run(ok);
    assert_eq!(world.sent(0), ["one!", "two!"]);
}

#[test]
fn a_shadow_is_called_with_the_same_and_what_differs_is_counted_and_sampled() {
    let mut world = World::new("");
    let shadow = world.try_out("next", Manner::Shadow);
    (0..8).for_each(|n| world.admit(&format!("k{n}"), &format!("v{n}")));
    world.run(ok);
    assert_eq!((world.sent(0).len(), world.progress()), (8, Progress::at(8)));
    let sent: usize = shadow.calls().iter().map(|call| call.batch.len()).sum();
    assert_eq!(sent, 8);
    while !shadow.calls().is_empty() {
        world.finish_of(&shadow, |value, _| match value {
            "v3" => Verdict::Large(2),
            "v5" => Verdict::Reject,
            "v6" => Verdict::Take,
            _ => Verdict::Handle,
        });
    }
    assert_eq!((world.sent(0).len(), world.sent(1).len()), (8, 0), "nothing of it is sent");
    let shown = status(&world).shadow.expect("it is a shadow");
    assert_eq!((shown.compared, shown.differing, shown.failed_only_here, shown.skipped), (8, 3, 1, 0));
    assert!(!shown.samples.is_empty() && shown.samples.iter().all(|sample| sample.topic == "orders"));
    assert_eq!(shown.samples[0].offset, 3);
    assert_eq!(shown.samples[0].difference, "the value of its message differs");
}

#[test]
fn a_shadow_that_is_busy_or_lost_holds_nothing_up() {
    let mut world = World::new("instances = { max = 1 }\nbatch = { records = 1 }");
    let shadow = world.try_out("next", Manner::Shadow);
    (0..3).for_each(|n| world.admit(&format!("k{n}"), &format!("v{n}")));
    world.run(ok);
    assert_eq!(world.progress(), Progress::at(3));
    assert_eq!(status(&world).shadow.expect("it is a shadow").skipped, 2);
    world.finish_of(&shadow, |_, _| Verdict::Fault(Cause::Trap));
    let shown = status(&world);
    assert_eq!((shown.candidate.traps, shown.candidate.failed), (1, 1));
    world.admit("k", "late");
    world.run(ok);
    assert_eq!(shadow.calls().len(), 1);
    world.flow.rebuild(world.now.instant);
    world.finish_of(&shadow, ok);
    assert_eq!(world.flow.shadows.bytes(), 0);
}
