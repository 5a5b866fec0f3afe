use super::*;
use crate::manifest::Share;
use crate::node::relay::message::Publication;
use crate::node::relay::steering::aborted;

const NAME: &str = "f";

fn name() -> Name {
    Name::new(NAME).expect("a name")
}

fn share(text: &str) -> Manner {
    let percent: u16 = text.trim_end_matches('%').parse().expect("a number");
    Manner::Share(Share::of_basis_points(percent * 100).expect("a share"))
}

/// 5% and 25%, for two minutes and 100 records each.
fn settings(body: &str) -> Rollout {
    let text = format!("[function.f]\ncomponent = \"f.wasm\"\nrollout = {{ bake = \"2m\", {body} }}");
    let manifest = crate::manifest::parse(std::path::Path::new("tidegate.toml"), &text, &|_| None).expect("good");
    manifest.functions["f"].rollout.clone().expect("a rollout")
}

fn steps() -> Rollout {
    settings("steps = [\"5%\", \"25%\"]")
}

fn build(text: &str, is_new: bool) -> Known {
    let origin = Origin::Version(text.to_owned());
    Known { digest: Digest::of(text.as_bytes()), origin, published_ms: None, is_new, is_outdated: false }
}

/// `v2` is new, and `v1` has served.
fn builds() -> [Known; 2] {
    [build("v2", true), build("v1", false)]
}

fn fleet() -> Fleet {
    Fleet { is_known: true, ..Fleet::default() }
}

fn with_rollout(mut fleet: Fleet, state: State) -> Fleet {
    fleet.view.rollouts.insert(name(), state);
    fleet
}

fn in_stage(text: &str, stage: u32) -> State {
    State { stage, ..begun(&build(text, true), "n", 0) }
}

fn with_abort(mut fleet: Fleet, text: &str) -> Fleet {
    let Known { digest, origin, .. } = build(text, true);
    let before = fleet.view.aborts.get(&name()).cloned();
    let abort = aborted(Publication { digest, origin }, "it traps", before.as_ref(), "n", 0);
    fleet.view.aborts.insert(name(), abort);
    fleet
}

fn withdrawn_as(reason: &str) -> Course {
    Course::Withdrawn(reason.to_owned())
}

#[track_caller]
fn check(settings: Option<&Rollout>, builds: &[Known], fleet: &Fleet, older: Older, expected: &[Course]) {
    assert_eq!(plan(&name(), settings, builds, fleet, older).courses, expected);
}

#[test]
fn without_a_rollout_all_builds_may_serve() {
    check(None, &builds(), &fleet(), Older::May, &[Course::All, Course::All]);
    check(None, &builds(), &Fleet::default(), Older::May, &[Course::All, Course::All]);
}

#[test]
fn a_new_build_begins_its_rollout_when_the_fleet_is_known() {
    let steps = &steps();
    check(Some(steps), &builds(), &Fleet::default(), Older::May, &[Course::Waits, Course::All]);
    check(Some(steps), &builds(), &fleet(), Older::May, &[Course::Begins, Course::All]);
    assert_eq!(plan(&name(), Some(steps), &builds(), &fleet(), Older::May).begins, Some(0));
    for (stage, manner) in [(0, share("5%")), (1, share("25%")), (7, share("25%"))] {
        let fleet = with_rollout(fleet(), in_stage("v2", stage));
        check(Some(steps), &builds(), &fleet, Older::May, &[Course::Trial { stage, manner }, Course::All]);
    }
    let shadow = settings("shadow = true, steps = [\"5%\"]");
    let fleet = with_rollout(fleet(), in_stage("v2", 0));
    let trial = Course::Trial { stage: 0, manner: Manner::Shadow };
    check(Some(&shadow), &builds(), &fleet, Older::May, &[trial, Course::All]);
}

#[test]
fn a_build_that_is_not_the_newest_one_does_not_begin() {
    let steps = &steps();
    let check_new = |new: Known, fleet: &Fleet, expected| {
        check(Some(steps), &[new, build("v1", false)], fleet, Older::May, &[expected, Course::All]);
    };
    let published = |ms| Known { published_ms: Some(ms), ..build("v2", true) };
    check_new(Known { is_outdated: true, ..build("v2", true) }, &fleet(), Course::Waits);
    // Another node has announced a newer one.
    let fleet = with_rollout(fleet(), State { published_ms: Some(5_000), ..in_stage("v3", 0) });
    check_new(published(4_000), &fleet, Course::Waits);
    check_new(published(6_000), &fleet, Course::Begins);
    check_new(build("v2", true), &fleet, Course::Begins);
}

#[test]
fn a_promoted_build_serves_everything_and_the_first_one_of_all_does_at_once() {
    let state = promoted(&in_stage("v2", 1), "n");
    check(Some(&steps()), &builds(), &with_rollout(fleet(), state), Older::May, &[Course::All, Course::All]);
    let first = [build("v1", true)];
    check(Some(&steps()), &first, &fleet(), Older::May, &[Course::All]);
    // What served last on this node is being compiled.
    check(Some(&steps()), &first, &fleet(), Older::Comes, &[Course::Waits]);
}

#[test]
fn a_withdrawn_build_serves_nothing_until_it_is_published_anew() {
    let fleet = with_abort(with_rollout(fleet(), in_stage("v2", 0)), "v2");
    check(Some(&steps()), &builds(), &fleet, Older::May, &[withdrawn_as("it traps"), Course::All]);
    check(None, &builds(), &fleet, Older::May, &[withdrawn_as("it traps"), Course::All]);
    let again = Known { origin: Origin::Version("v3".to_owned()), ..build("v2", true) };
    check(Some(&steps()), &[again, build("v1", false)], &fleet, Older::May, &[Course::Begins, Course::All]);
    // Another one was withdrawn since.
    let fleet = with_abort(fleet, "v4");
    check(Some(&steps()), &builds(), &fleet, Older::May, &[withdrawn_as("it was withdrawn earlier"), Course::All]);
}

#[test]
fn a_node_that_has_only_the_candidate_needs_an_older_build() {
    let fleet = with_rollout(fleet(), in_stage("v2", 0));
    for is_new in [true, false] {
        let only = [build("v2", is_new)];
        let found = plan(&name(), Some(&steps()), &only, &fleet, Older::May);
        assert_eq!(found.older_than, Some(0));
        assert!(matches!(found.courses[..], [Course::Trial { .. }]));
        assert_eq!(plan(&name(), Some(&steps()), &only, &fleet, Older::Comes).older_than, None);
        // There is none.
        check(Some(&steps()), &only, &fleet, Older::No, &[Course::All]);
    }
    let fleet = with_abort(fleet, "v2");
    check(Some(&steps()), &[build("v2", true)], &fleet, Older::No, &[withdrawn_as("it traps")]);
}

fn tally(records: u64, failed: u64, traps: u64, busy_us: u64) -> Tally {
    Tally { records, failed, traps, busy_us, calls: records, stopped: 0 }
}

#[track_caller]
fn check_judgement(body: &str, candidate: Tally, stable: Tally, minutes: i64, expected: Result<Judgement, &str>) {
    let state = State { stage_started_ms: 1_000, ..in_stage("v2", 0) };
    let sums = Sums { candidate, stable };
    let found = judge(&settings(body), &state, &sums, 1_000 + minutes * 60_000);
    match (found, expected) {
        (Judgement::IsWithdrawn(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
        (found, Ok(expected)) => assert_eq!(found, expected),
        (found, Err(_)) => panic!("{found:?}"),
    }
}

#[test]
fn a_stage_ends_after_its_time_and_enough_records() {
    let (two, one) = ("steps = [\"5%\", \"25%\"]", "steps = [\"5%\"]");
    let (enough, few) = (tally(100, 0, 0, 1), tally(99, 0, 0, 1));
    let none = Tally::default();
    check_judgement(two, enough, none, 2, Ok(Judgement::Advances));
    check_judgement(one, enough, none, 2, Ok(Judgement::IsPromoted));
    check_judgement(two, enough, none, 1, Ok(Judgement::Stays));
    check_judgement(two, few, none, 600, Ok(Judgement::Stays));
    check_judgement("min-records = 0, steps = [\"5%\"]", none, none, 2, Ok(Judgement::IsPromoted));
    let done = promoted(&in_stage("v2", 0), "n");
    let sums = Sums { candidate: tally(100, 100, 5, 1), stable: none };
    assert_eq!(judge(&steps(), &done, &sums, i64::MAX), Judgement::Stays);
}

#[test]
fn a_limit_that_is_reached_ends_the_rollout() {
    let with = |limit: &str| format!("steps = [\"5%\"], abort-if = {{ {limit} }}");
    let none = Tally::default();
    let traps = with("traps = 2");
    check_judgement(&traps, tally(1, 0, 1, 1), none, 0, Ok(Judgement::Stays));
    check_judgement(&traps, tally(1, 0, 2, 1), none, 0, Err("2 calls trapped"));
    check_judgement(&traps, Tally { stopped: 1, ..tally(70, 60, 0, 1) }, none, 0, Err("most of its records failed"));
    let rate = with("failure-rate = \"1%\"");
    check_judgement(&rate, tally(99, 99, 0, 1), none, 0, Ok(Judgement::Stays));
    check_judgement(&rate, tally(1_000, 9, 0, 1), none, 0, Ok(Judgement::Stays));
    check_judgement(&rate, tally(1_000, 10, 0, 1), none, 0, Err("10 of 1000 records failed, and the limit is 1%"));
    let latency = with("latency = \"2x\"");
    check_judgement(&latency, tally(100, 0, 0, 2_000), tally(99, 0, 0, 990), 0, Ok(Judgement::Stays));
    check_judgement(&latency, tally(100, 0, 0, 1_999), tally(100, 0, 0, 1_000), 0, Ok(Judgement::Stays));
    check_judgement(&latency, tally(100, 0, 0, 2_000), tally(200, 0, 0, 2_000), 0, Err("limit is 2x"));
}

#[test]
fn only_what_was_counted_of_this_candidate_in_this_stage_is_summed_up() {
    let status = |text: &str, stage, records| CandidateStatus {
        revision: Digest::of(text.as_bytes()).to_string(),
        stage,
        candidate: tally(records, 1, 0, 10),
        stable: tally(10 * records, 0, 0, 10),
        ..CandidateStatus::default()
    };
    let statuses = [status("v2", 1, 5), status("v2", 1, 7), status("v2", 0, 100), status("v1", 1, 100)];
    let sums = Sums::of(statuses.iter(), Digest::of(b"v2"), 1);
    assert_eq!((sums.candidate.records, sums.candidate.failed, sums.stable.records), (12, 2, 120));
}
