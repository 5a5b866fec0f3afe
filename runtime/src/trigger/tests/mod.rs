//! The flow of records through a trigger, with time, function and broker in the test's hand.

mod candidate;
pub mod fakes;

use std::time::Duration;

use fakes::{PARTITION, Verdict, World};

use super::flow::Stop;
use super::progress::Progress;
use crate::record::OwnedRecord;
use crate::record::outcome::Cause;

fn ok(_: &str, _: u32) -> Verdict {
    Verdict::Handle
}

#[test]
fn messages_go_out_and_progress_follows() {
    let mut world = World::new("");
    (0..10).for_each(|n| world.admit(&format!("k{}", n % 3), &format!("v{n}")));
    world.run(ok);
    assert_eq!(world.sent(0).len(), 10);
    assert_eq!(world.progress(), Progress::at(10));
    let sent = &world.sink().sent[0];
    assert_eq!((sent.text().as_str(), sent.key.as_deref(), sent.headers.len()), ("v0!", Some(&b"k0"[..]), 1));
}

#[test]
fn progress_waits_for_acknowledgements() {
    let mut world = World::new("");
    world.sink().corked = true;
    world.admit("k", "v");
    world.run(ok);
    assert_eq!((world.sent(0).len(), world.progress()), (1, Progress::at(0)));
    world.sink().corked = false;
    world.flow.acknowledge(world.now);
    assert_eq!(world.progress(), Progress::at(1));
}

/// One message may stand for all records of a call, as a total does, whichever it is emitted for.
#[test]
fn the_records_of_a_call_are_done_together() {
    let total = |value: &str, _| if value == "last" { Verdict::Handle } else { Verdict::Take };
    let mut world = World::new("");
    world.sink().corked = true;
    ["first", "last"].iter().for_each(|value| world.admit("k", value));
    assert_eq!(world.dispatch(), [["first", "last"]]);
    world.finish(total);
    assert_eq!((world.sent(0), world.progress()), (vec!["last!".to_owned()], Progress::at(0)));
    world.sink().corked = false;
    world.flow.acknowledge(world.now);
    assert_eq!(world.progress(), Progress::at(2));

    let mut broken = World::new("");
    broken.sink().breaks = true;
    ["first", "last"].iter().for_each(|value| broken.admit("k", value));
    broken.run(total);
    assert_eq!(broken.progress(), Progress::at(0), "without its message the call is not done");

    let mut silent = World::new("");
    silent.admit("k", "first");
    silent.run(total);
    assert_eq!(silent.progress(), Progress::at(1), "there is nothing to wait for");
}

#[test]
fn a_partition_that_is_to_go_does_not_begin_anew_when_the_trigger_resumes() {
    let mut world = World::new("on-exhausted = \"pause\"\nretry = { attempts = 1 }");
    world.admit("k", "bad");
    world.run(|_, _| Verdict::Retry);
    assert!(world.flow.paused.is_some());
    world.flow.partitions.get_mut(PARTITION).expect("it is assigned").leaving = true;
    assert!(world.flow.resume().is_empty());
    assert!(world.flow.partitions.get_mut(PARTITION).expect("it is assigned").leaving);
}

#[test]
fn a_call_from_before_messages_go_one_by_one_runs_again() {
    let mut world = World::new("");
    ["first", "second"].iter().for_each(|value| world.admit("k", value));
    assert_eq!(world.dispatch(), [["first", "second"]]);
    world.flow.partitions.set_careful(true);
    world.finish(ok);
    assert_eq!(world.sent(0), [""; 0], "the second one waits until what the first one sends is acknowledged");
    world.run(ok);
    assert_eq!(world.sent(0), ["first!", "second!"]);
    assert_eq!(world.progress(), Progress::at(2));
}

#[test]
fn a_retry_blocks_its_key_only_and_counts_attempts() {
    let mut world = World::new("");
    for (key, value) in [("a", "bad"), ("a", "after"), ("b", "other")] {
        world.admit(key, value);
    }
    let flaky =
        |value: &str, attempt: u32| if value == "bad" && attempt < 3 { Verdict::Retry } else { Verdict::Handle };
    world.run(flaky);
    assert_eq!(world.sent(0), ["other!"], "what the failed record emitted is thrown away, and what is behind it waits");
    for _ in 0..2 {
        world.pass_time();
        world.run(flaky);
    }
    assert_eq!(world.sent(0), ["other!", "bad!", "after!"]);
    assert_eq!(world.progress(), Progress::at(3));
}

/// The contract promises it, whatever becomes of the failed one: a function may answer nothing for what follows.
#[test]
fn what_follows_a_failed_record_of_its_key_runs_again_also_when_that_is_given_up() {
    for settings in ["", "on-exhausted = \"skip\""] {
        let mut world = World::new(&format!("instances = {{ max = 1 }}\n{settings}"));
        ["bad", "behind"].iter().for_each(|value| world.admit("a", value));
        let verdict = |value: &str, _| if value == "bad" { Verdict::Reject } else { Verdict::Handle };
        assert_eq!(world.dispatch(), [["bad", "behind"]]);
        world.finish(verdict);
        assert_eq!(world.sent(0), [""; 0], "what was answered for it is thrown away");
        assert_eq!(world.dispatch(), [["behind"]]);
        world.finish(verdict);
        assert_eq!((world.sent(0), world.progress()), (vec!["behind!".to_owned()], Progress::at(2)));
    }
}

#[test]
fn attempts_are_part_of_progress() {
    let mut world = World::new("");
    world.admit("a", "bad");
    world.admit("b", "good");
    world.run(|value, _| if value == "bad" { Verdict::Retry } else { Verdict::Handle });
    let progress = world.progress();
    assert_eq!((progress.low, progress.done.clone(), progress.failed[0].attempts), (0, vec![1..2], 1));
    let mut heir = World::new("");
    // The wait before the next try, which is kept in whole seconds, is over.
    heir.wait(Duration::from_secs(2));
    heir.flow.assign(PARTITION, &"orders".into(), progress);
    heir.admit("a", "bad");
    heir.admit("b", "good");
    assert_eq!(heir.dispatch(), [["bad"]], "what was done is not run again");
    assert_eq!(heir.invoker.calls()[0].batch.attempts(), [2]);
}

#[test]
fn the_last_attempt_makes_a_dead_letter_that_tells_everything() {
    let mut world = World::new("retry = { attempts = 2 }");
    world.admit("k", "bad");
    world.run(|_, _| Verdict::Retry);
    assert_eq!(world.sent(1), [""; 0]);
    world.pass_time();
    world.run(|_, _| Verdict::Retry);
    let dead = world.sink().sent[0].clone();
    assert_eq!((dead.topic, dead.text().as_str(), dead.key.as_deref()), (1, "bad", Some(&b"k"[..])));
    assert_eq!(dead.headers[0], (b"h".to_vec(), None), "its own headers come first");
    for (name, value) in [
        ("topic", "orders"),
        ("partition", "0"),
        ("offset", "0"),
        ("timestamp", "-1"),
        ("trigger", "t"),
        ("function", "f"),
        ("revision", "r1"),
        ("attempts", "2"),
        ("cause", "retry"),
        ("reason", "later"),
    ] {
        assert_eq!(dead.header(&format!("tidegate-{name}")), value, "{name}");
    }
    assert_eq!(world.progress(), Progress::at(1));
}

#[test]
fn a_rejected_record_is_a_dead_letter_at_once() {
    let mut world = World::new("");
    world.admit("k", "bad");
    world.admit("k", "good");
    world.run(|value, _| if value == "bad" { Verdict::Reject } else { Verdict::Handle });
    assert_eq!((world.sent(0), world.sent(1)), (vec!["good!".to_owned()], vec!["bad".to_owned()]));
}

#[test]
fn a_dead_letter_holds_progress_until_it_is_acknowledged() {
    let mut world = World::new("");
    world.sink().corked = true;
    world.admit("k", "bad");
    world.run(|_, _| Verdict::Reject);
    assert_eq!(world.progress().low, 0);
    world.sink().corked = false;
    world.flow.acknowledge(world.now);
    assert_eq!(world.progress(), Progress::at(1));
}

#[test]
fn a_trap_is_pinned_on_the_record_at_fault() {
    let mut world = World::new("retry = { attempts = 1 }");
    (0..200).for_each(|n| world.admit(&format!("k{n}"), &format!("v{n}")));
    world.run(|value, _| if value == "v77" { Verdict::Fault(Cause::Trap) } else { Verdict::Handle });
    assert_eq!((world.sent(0).len(), world.sent(1)), (199, vec!["v77".to_owned()]));
    assert_eq!(world.flow.all_counts().failed, 1, "no other record counts an attempt");
}

#[test]
fn order_by_key_survives_a_trap() {
    let mut world = World::new("");
    (0..50).for_each(|n| world.admit("same", &format!("{n:02}")));
    let once = |value: &str, attempt: u32| match (value, attempt) {
        ("20", 1) => Verdict::Fault(Cause::Memory),
        _ => Verdict::Handle,
    };
    world.run(once);
    world.pass_time();
    world.run(once);
    let sent = world.sent(0);
    assert!(sent.len() == 50 && sent.is_sorted(), "{sent:?}");
}

#[test]
fn skip_gives_up_without_a_dead_letter() {
    let mut world = World::new("on-exhausted = \"skip\"");
    world.admit("k", "bad");
    world.run(|_, _| Verdict::Reject);
    assert_eq!((world.progress(), world.flow.all_counts().skipped), (Progress::at(1), 1));
}

#[test]
fn pause_keeps_the_record_and_starts_nothing() {
    let mut world = World::new("on-exhausted = \"pause\"");
    world.admit("k", "bad");
    world.run(|_, _| Verdict::Reject);
    world.admit("other", "good");
    assert!(world.dispatch().is_empty());
    assert!(world.flow.paused.as_ref().is_some_and(|paused| paused.reason.contains("orders/0/0")));
    assert_eq!(world.progress().low, 0);
}

/// In its turn: what is ahead of it in its key comes first, what is behind it goes on.
#[test]
fn a_record_that_cannot_be_read_whole_is_a_dead_letter_without_a_call() {
    let mut world = World::new("");
    world.admit("k", "first");
    world.admit_defective("k", "defective");
    world.admit("k", "behind");
    world.admit("other", "beside");
    assert_eq!(world.dispatch(), [["first", "beside"]]);
    world.finish(|value, _| if value == "first" { Verdict::Retry } else { Verdict::Handle });
    assert_eq!(world.sent(1), [""; 0], "what is ahead of it waits");
    world.pass_time();
    world.run(|value, _| if value == "defective" { panic!("it is not called") } else { Verdict::Handle });
    world.flow.acknowledge(world.now);
    assert_eq!(
        (world.sent(0), world.sent(1)),
        (["beside!", "first!", "behind!"].map(str::to_owned).to_vec(), vec!["defective".to_owned()])
    );
    let letter = world.sink().sent.iter().find(|sent| sent.topic == 1).cloned().expect("sent");
    assert_eq!((letter.key.as_deref(), letter.headers.len()), (Some(&b"k"[..]), 10), "only ours are there");
    assert_eq!(
        (letter.header("tidegate-cause"), letter.header("tidegate-attempts")),
        ("unreadable".into(), "1".into())
    );
    assert!(letter.header("tidegate-reason").starts_with("its headers are unread; the function was not called"));
    let counts = world.flow.all_counts();
    assert_eq!((counts.calls, counts.failed, counts.dead_letters), (3, 2, 1));
    assert_eq!(world.progress(), Progress::at(4));
}

#[test]
fn a_record_that_cannot_be_read_whole_ends_by_the_policy_of_its_trigger() {
    let mut skips = World::new("on-exhausted = \"skip\"");
    (0..3).for_each(|n| skips.admit_defective("k", &format!("v{n}")));
    skips.admit("k", "behind");
    assert_eq!(skips.dispatch(), [["behind"]], "nothing has to happen meanwhile");
    skips.finish(ok);
    assert_eq!((skips.flow.all_counts().skipped, skips.progress()), (3, Progress::at(4)));

    let mut pauses = World::new("on-exhausted = \"pause\"");
    pauses.admit_defective("k", "v");
    pauses.admit("other", "good");
    assert_eq!(pauses.dispatch(), [["good"]], "it was there before");
    assert!(pauses.flow.paused.as_ref().is_some_and(|paused| paused.reason.contains("unreadable")));
    pauses.admit("other", "late");
    assert!(pauses.dispatch().is_empty());
    assert_eq!(pauses.progress().low, 0);
}

#[test]
fn an_output_that_is_refused_for_good_is_a_dead_letter_of_its_record() {
    let mut world = World::new("");
    world.sink().refuses = vec![b"big!".to_vec()];
    world.admit("k", "big");
    world.admit("k", "small");
    world.run(ok);
    world.flow.acknowledge(world.now);
    assert_eq!((world.sent(0), world.sent(1)), (vec!["small!".to_owned()], vec!["big".to_owned()]));
    assert_eq!(world.sink().sent[1].header("tidegate-cause"), "output");
    assert_eq!(world.progress(), Progress::at(2));
}

#[test]
fn after_a_refused_batch_nothing_is_done_buried_or_counted_any_more() {
    let mut world = World::new("");
    world.sink().refuses = vec![b"big!".to_vec()];
    world.sink().gapless = true;
    ["first", "big", "behind"].iter().for_each(|value| world.admit("k", value));
    world.dispatch();
    world.admit("other", "late");
    world.dispatch();
    world.finish(ok);
    world.finish(|_, _| Verdict::Reject);
    assert!(matches!(world.flow.take_stop(), Some(Stop::Refused(_))));
    assert_eq!((world.sent(1), world.flow.all_counts().failed), (vec![], 0));
    assert_eq!(world.progress(), Progress::at(0), "the call of the refused message runs again");
}

#[test]
fn records_that_go_back_stop_the_flow() {
    let mut world = World::new("");
    world.admit("k", "v0");
    world.admit("k", "v1");
    world.flow.admit(PARTITION, OwnedRecord::default().into(), world.now);
    assert!(matches!(world.flow.take_stop(), Some(Stop::WentBack(_))));
}

#[test]
fn a_client_that_gives_up_stops_the_flow() {
    let mut world = World::new("");
    world.sink().breaks = true;
    world.admit("k", "v");
    world.run(ok);
    assert!(matches!(world.flow.take_stop(), Some(Stop::Delivery(_))));
    assert_eq!(world.progress().low, 0, "nothing is done that was not acknowledged");
}

#[test]
fn without_an_instance_records_wait_and_count_no_attempt() {
    let mut world = World::new("");
    world.admit("k", "v");
    world.dispatch();
    world.finish(|_, _| Verdict::NoInstance);
    assert!(world.dispatch().is_empty());
    assert!(world.obstacle().is_some());
    world.pass_time();
    world.dispatch();
    assert_eq!(world.invoker.calls()[0].batch.attempts(), [1]);
    world.finish(ok);
    assert_eq!((world.obstacle(), world.progress()), (None, Progress::at(1)));
}

#[test]
fn an_outage_opens_the_breaker_and_buries_nobody() {
    let mut world = World::new("retry = { attempts = 3, backoff = \"1ms\", max-backoff = \"1ms\" }");
    (0..500).for_each(|n| world.admit(&format!("k{n}"), &format!("v{n}")));
    for _ in 0..50 {
        world.run(|_, _| Verdict::Retry);
        world.pass_time();
    }
    assert!(world.obstacle().is_some(), "the breaker is open");
    assert_eq!(world.sent(1), [""; 0], "no dead letters");
    while world.obstacle().is_some() {
        world.pass_time();
        world.run(ok);
    }
    while world.progress() != Progress::at(500) {
        world.run(ok);
        if world.flow.next_due(world.now).is_some() {
            world.pass_time();
        }
    }
    assert_eq!(world.sent(0).len(), 500);
}

#[test]
fn bad_records_at_hand_do_not_keep_others_from_being_probed() {
    let mut world = World::new("batch = { records = 10 }");
    (0..500).for_each(|n| world.admit(&format!("k{n}"), &format!("v{n}")));
    assert!(world.flow.has_enough_work());
    while world.obstacle().is_none() {
        world.run(|_, _| Verdict::Retry);
        world.pass_time();
    }
    assert!(!world.flow.has_enough_work(), "those of other partitions may still be with the client");
}

#[test]
fn a_full_sink_stops_calls() {
    let mut world = World::new("batch = { records = 10 }");
    world.sink().corked = true;
    (0..20_000).for_each(|n| world.admit(&format!("k{n}"), &"x".repeat(3_000)));
    world.run(ok);
    let sent = world.sink().sent.len();
    assert!((5_000..7_000).contains(&sent), "16 MiB of outputs are under way: {sent} messages");
    world.sink().corked = false;
    world.flow.acknowledge(world.now);
    world.run(ok);
    assert_eq!(world.sink().sent.len(), 20_000);
}

#[test]
fn a_broker_that_acknowledges_nothing_is_a_problem_after_a_while() {
    let mut world = World::new("");
    world.sink().corked = true;
    world.admit("k", "v");
    world.run(ok);
    assert_eq!(world.flow.stalled_outputs(world.now.instant), None);
    world.wait(Duration::from_secs(11));
    world.flow.acknowledge(world.now);
    assert!(world.flow.stalled_outputs(world.now.instant).is_some());
    world.sink().corked = false;
    world.flow.acknowledge(world.now);
    assert_eq!(world.flow.stalled_outputs(world.now.instant), None);
}

#[test]
fn what_ends_after_a_revocation_is_dropped() {
    let mut world = World::new("");
    world.admit("k", "v");
    world.dispatch();
    world.flow.revoke(PARTITION);
    world.flow.assign(PARTITION, &"orders".into(), Progress::at(0));
    world.finish(ok);
    assert_eq!((world.sent(0).len(), world.progress()), (0, Progress::at(0)));
}

/// It was the node that said no, so no attempt counts.
#[test]
fn records_whose_outcome_was_granted_too_little_run_again_with_more() {
    let mut world = World::new("retry = { attempts = 1 }");
    world.admit("k", "v");
    let mut granted = Vec::new();
    while !world.dispatch().is_empty() {
        granted.push(world.invoker.calls()[0].outcome_bytes);
        world.finish(|_, attempt| {
            assert_eq!(attempt, 1);
            Verdict::Large(3 << 20)
        });
    }
    assert_eq!(granted, [1 << 20, 8 << 20]);
    assert_eq!((world.sent(0).len(), world.progress()), (1, Progress::at(1)));
}

#[test]
fn calls_wait_until_there_is_memory_for_their_outcomes() {
    let large = |_: &str, _| Verdict::Large(4 << 20);
    let mut world = World::with_memory("batch = { records = 1 }", 32 << 20);
    world.admit("k", "first");
    world.run(large);
    (0..8).for_each(|key| world.admit(&format!("k{key}"), "v"));
    assert_eq!(world.dispatch().len(), 3, "each reserves twice of what was seen");
    world.finish(large);
    assert_eq!(world.dispatch().len(), 1);
    world.run(large);
    assert_eq!(world.progress(), Progress::at(9));

    let mut poor = World::with_memory("batch = { records = 1 }", 1);
    (0..2).for_each(|key| poor.admit(&format!("k{key}"), "v"));
    assert_eq!(poor.dispatch().len(), 1, "one call always runs");
    poor.run(ok);
    assert_eq!(poor.progress(), Progress::at(2));
}
