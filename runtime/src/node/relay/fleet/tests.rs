use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::record::revision::{Digest, Origin};

const JITTER: Duration = Duration::from_secs(60);

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn status(node: &str, process: &str, at_ms: i64) -> NodeStatus {
    let (node, process, version) = (node.to_owned(), process.to_owned(), String::new());
    NodeStatus { node, process, at_ms, version, stopping: false, status: Value::Null }
}

fn said(status: NodeStatus) -> Message {
    Message::Node { name: status.node.clone(), status: Some(status) }
}

fn pause(trigger: &str, at_ms: i64) -> Message {
    let pause = Pause { at_ms, from: "n".to_owned(), reason: String::new() };
    Message::Pause { trigger: name(trigger), pause: Some(pause) }
}

fn resume(trigger: &str) -> Message {
    Message::Pause { trigger: name(trigger), pause: None }
}

/// A fleet that has read an empty topic.
fn fleet(now: Instant) -> Fleet {
    let mut fleet = Fleet::new("me", "p", JITTER, now);
    fleet.begin(Beginning::Same);
    assert_eq!(fleet.caught_up(now), (Vec::new(), Vec::new()));
    fleet
}

fn presence(fleet: &Fleet, node: &str) -> Option<Presence> {
    fleet.view().nodes.get(node).map(|node| node.presence)
}

#[test]
fn a_node_is_live_for_thirty_seconds_after_a_status_and_forgotten_after_an_hour() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    assert_eq!(fleet.apply(said(status("a", "1", 0)), now), [Change::Nodes]);
    assert_eq!(presence(&fleet, "a"), Some(Presence::Live));
    let later = now + Duration::from_secs(10);
    assert_eq!(fleet.apply(said(status("a", "1", 1)), later), [], "still live");
    assert_eq!(fleet.apply(said(status("a", "1", 1)), later + LIVE / 2), [], "the same status again");
    assert_eq!(fleet.next_due(), Some(later + LIVE));
    assert_eq!(fleet.pass_time(later + LIVE), [Change::Nodes]);
    assert_eq!(presence(&fleet, "a"), Some(Presence::Gone));

    let due = later + KEPT + JITTER;
    assert_eq!(fleet.next_due(), Some(due));
    assert_eq!(fleet.forget(due - Duration::from_millis(1)), []);
    let tombstone = Message::Node { name: "a".to_owned(), status: None };
    assert_eq!(fleet.forget(due), std::slice::from_ref(&tombstone));
    assert_eq!(fleet.forget(due), [], "once");
    assert_eq!(fleet.next_due(), Some(due + KEPT + JITTER));
    assert_eq!(fleet.apply(tombstone, due), [Change::Nodes]);
    assert_eq!((presence(&fleet, "a"), fleet.next_due()), (None, None));
}

#[test]
fn a_node_that_says_so_has_stopped() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    fleet.apply(said(status("a", "1", 0)), now);
    let last = NodeStatus { stopping: true, ..status("a", "1", 1) };
    assert_eq!(fleet.apply(said(last), now), [Change::Nodes]);
    assert_eq!(presence(&fleet, "a"), Some(Presence::Stopped));
    assert_eq!(fleet.pass_time(now + LIVE), []);
}

#[test]
fn a_status_that_was_there_before_is_no_sign_of_life() {
    let now = Instant::now();
    let mut fleet = Fleet::new("me", "p", JITTER, now);
    fleet.apply(said(status("a", "1", 0)), now);
    fleet.apply(said(status("me", "killed", 0)), now);
    assert_eq!(fleet.caught_up(now), (vec![Change::Nodes], Vec::new()));
    assert_eq!(presence(&fleet, "a"), Some(Presence::Expected));
    assert_eq!(fleet.view().twin, None, "the process before this one");
    fleet.apply(said(status("a", "1", 1)), now);
    assert_eq!(presence(&fleet, "a"), Some(Presence::Live));

    // Reading the topic again is no sign of life either.
    let later = now + LIVE / 2;
    fleet.begin(Beginning::Same);
    for at_ms in [0, 1] {
        fleet.apply(said(status("a", "1", at_ms)), later);
        fleet.apply(said(status("me", "killed", 0)), later);
    }
    assert_eq!(fleet.caught_up(later), (Vec::new(), Vec::new()));
    assert_eq!(fleet.pass_time(now + LIVE), [Change::Nodes]);
    assert_eq!(presence(&fleet, "a"), Some(Presence::Gone));
}

#[test]
fn two_processes_with_one_name_notice_each_other() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    fleet.apply(said(status("me", "p", 0)), now);
    let changes = fleet.apply(said(status("me", "q", 0)), now);
    assert_eq!(changes, [Change::Twin(Some("q".to_owned()))]);
    fleet.apply(said(status("me", "p", 1)), now);
    assert_eq!(fleet.apply(said(status("me", "q", 1)), now + LIVE / 2), []);
    assert!(fleet.pass_time(now + LIVE).iter().all(|change| *change == Change::Nodes));
    assert_eq!(fleet.view().twin.as_deref(), Some("q"));
    assert!(fleet.pass_time(now + LIVE / 2 + LIVE).contains(&Change::Twin(None)));

    fleet.apply(said(status("me", "q", 2)), now);
    let last = NodeStatus { stopping: true, ..status("me", "q", 3) };
    assert!(fleet.apply(said(last), now).contains(&Change::Twin(None)));
}

#[test]
fn what_a_new_topic_lacks_is_kept_and_written_again() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    for trigger in ["kept", "resumed", "other"] {
        fleet.apply(pause(trigger, 0), now);
    }
    fleet.apply(said(status("a", "1", 0)), now);
    fleet.begin(Beginning::New);
    fleet.apply(resume("resumed"), now);
    // A second beginning of the new topic.
    fleet.begin(Beginning::Same);
    fleet.apply(pause("other", 1), now);
    fleet.apply(resume("resumed"), now);
    let (changes, rewrites) = fleet.caught_up(now);
    assert_eq!(rewrites, [pause("kept", 0)]);
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(fleet.view().pauses.keys().map(|name| &**name).collect::<Vec<_>>(), ["kept", "other"]);
    assert_eq!(presence(&fleet, "a"), Some(Presence::Live));
}

#[test]
fn what_the_same_topic_lacks_was_taken_back() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    fleet.apply(pause("t", 0), now);
    fleet.apply(said(status("a", "1", 0)), now);
    fleet.begin(Beginning::Same);
    let gone = Change::Pause { trigger: name("t"), pause: None };
    assert_eq!(fleet.caught_up(now), (vec![gone, Change::Nodes], Vec::new()));
    assert!(fleet.view().pauses.is_empty() && fleet.view().nodes.is_empty());
}

fn random(rng: &mut fastrand::Rng, at_ms: i64) -> Message {
    let (owner, at) = (["a", "b", "c"][rng.usize(..3)], at_ms);
    let (digest, origin, from) = (Digest::of(&[rng.u8(..3)]), Origin::File, "n".to_owned());
    let is_taken_back = rng.u8(..3) == 0;
    match rng.u8(..4) {
        0 => {
            let node = ["a", "b", "me"][rng.usize(..3)];
            let new = NodeStatus { stopping: rng.u8(..5) == 0, ..status(node, ["1", "2"][rng.usize(..2)], at) };
            if is_taken_back { Message::Node { name: node.to_owned(), status: None } } else { said(new) }
        }
        1 => {
            let abort = Abort { digest, origin, reason: String::new(), at_ms, from, earlier: Vec::new() };
            Message::Abort { function: name(owner), abort: (!is_taken_back).then_some(abort) }
        }
        2 => {
            let (stage, promoted) = (rng.u32(..3), rng.bool());
            let rollout = Rollout {
                digest,
                origin,
                published_ms: None,
                started_ms: at,
                stage,
                stage_started_ms: at,
                promoted,
                from,
            };
            Message::Rollout { function: name(owner), rollout: (!is_taken_back).then_some(rollout) }
        }
        _ if is_taken_back => resume(owner),
        _ => pause(owner, at),
    }
}

/// What compaction may leave of a log: superseded records may be missing, and a deletion may be missing if all
/// that it deletes is missing too.
fn compact(log: &[Message], rng: &mut fastrand::Rng) -> Vec<Message> {
    let (mut left, mut keys) = (Vec::new(), BTreeSet::new());
    for (at, message) in log.iter().enumerate() {
        let key = message.key("f");
        let is_last = log[at + 1..].iter().all(|later| later.key("f") != key);
        let is_needed = is_last && (message.value().is_some() || keys.contains(&key));
        if is_needed || rng.bool() {
            keys.insert(key);
            left.push(message.clone());
        }
    }
    left
}

/// One fleet reads a log record by record. Another one gets records twice, looks at the clock at other times,
/// and reads what compaction left of the log from the beginning again and again.
#[test]
fn fleets_that_read_one_log_know_the_same_in_the_end() {
    for seed in 0..1_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut now = Instant::now();
        let (mut plain, mut shaken) = (fleet(now), fleet(now));
        let mut log = Vec::new();
        for step in 0..80 {
            now += Duration::from_secs(rng.u64(..20));
            let message = random(&mut rng, step);
            log.push(message.clone());
            plain.apply(message.clone(), now);
            for _ in 0..rng.u8(1..3) {
                shaken.apply(message.clone(), now);
            }
            match rng.u8(..6) {
                0 => drop(shaken.pass_time(now)),
                1 => {
                    shaken.begin(Beginning::Same);
                    for message in compact(&log, &mut rng) {
                        shaken.apply(message, now);
                    }
                    let (_, rewrites) = shaken.caught_up(now);
                    assert_eq!(rewrites, [], "seed {seed}");
                    plain.pass_time(now);
                    shaken.pass_time(now);
                    assert_eq!(plain.view(), shaken.view(), "seed {seed}, step {step}");
                }
                _ => {}
            }
        }
        let mut late = Fleet::new("me", "p", JITTER, now);
        for message in compact(&log, &mut rng) {
            late.apply(message, now);
        }
        late.caught_up(now);
        for fleet in [&mut plain, &mut shaken] {
            fleet.pass_time(now);
        }
        assert_eq!(plain.view(), shaken.view(), "seed {seed}");
        let (late, plain) = (late.view(), plain.view());
        assert_eq!((&late.aborts, &late.rollouts, &late.pauses), (&plain.aborts, &plain.rollouts, &plain.pauses));
        let statuses = |view: &View| view.nodes.values().map(|node| node.status.clone()).collect::<Vec<_>>();
        assert_eq!(statuses(late), statuses(plain), "seed {seed}");
    }
}
