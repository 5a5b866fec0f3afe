//! Rollouts, aborts and pauses, as the fleet says.

use std::time::Duration;

use tokio::time::sleep;

use super::fakes::{COMPONENT, MANIFEST, World, content, manifest_with};
use super::{function, object};
use crate::engine::PoolError;
use crate::manifest::Name;
use crate::node::relay::message::{Abort, Pause, Rollout};
use crate::node::shared::Word;
use crate::record::revision::{Digest, Origin};
use crate::registry::{Found, Standing, Verdict};
use crate::trigger::{CandidateStatus, Tally};

const STEPS: &str = "rollout = { steps = [\"5%\", \"25%\"], bake = \"1m\", min-records = 10 }";

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// A node that serves `v1`, and takes `v2` on by a rollout.
async fn rolling(body: &str) -> World {
    let world = World::start(&manifest_with(body, &["a"])).await;
    world.publish("v1").await;
    world.start_ends("a", "v1", Ok(())).await;
    world.publish("v2").await;
    world
}

/// What was said of the rollout, which the relay brings back to all nodes.
async fn echo(world: &mut World) -> Vec<Word> {
    let words = world.words();
    for word in &words {
        let word = word.clone();
        world
            .in_fleet(|fleet| match word {
                Word::Rollout { function, rollout } => drop(fleet.view.rollouts.insert(function, rollout)),
                Word::Abort { function, abort } => drop(fleet.view.aborts.insert(function, abort)),
            })
            .await;
    }
    words
}

fn counted(stage: u32, records: u64, traps: u64) -> CandidateStatus {
    let tally = Tally { records, traps, ..Tally::default() };
    CandidateStatus { revision: Digest::of(b"v2").to_string(), stage, candidate: tally, ..CandidateStatus::default() }
}

#[tokio::test(start_paused = true)]
async fn a_candidate_goes_through_its_steps_and_is_promoted() {
    let mut world = rolling(STEPS).await;
    assert!(world.starting().is_empty(), "it waits until the fleet knows of it");
    let said = echo(&mut world).await;
    assert!(
        matches!(&said[..], [Word::Rollout { rollout: Rollout { stage: 0, promoted: false, .. }, .. }]),
        "{said:?}"
    );
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!(world.told("a"), ["try v2 in 0: 5%"]);
    assert_eq!(world.shown(&["v1", "v2"]), Some("v1"));
    // Time alone does not promote it.
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.words(), []);
    world.counts("a", counted(0, 10, 0));
    sleep(Duration::from_secs(1)).await;
    echo(&mut world).await;
    assert_eq!(world.told("a"), ["steer to 1: 25%"]);
    world.counts("a", counted(1, 10, 0));
    sleep(Duration::from_secs(50)).await;
    assert_eq!(world.words(), [], "this stage takes a minute too");
    sleep(Duration::from_secs(20)).await;
    let said = echo(&mut world).await;
    assert!(matches!(&said[..], [Word::Rollout { rollout: Rollout { promoted: true, .. }, .. }, ..]), "{said:?}");
    assert_eq!((world.told("a"), world.starting().len()), (vec!["promote".to_owned()], 0));
    assert_eq!((world.shown(&["v1", "v2"]), world.adopted("a")), (Some("v2"), vec!["v1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_reaches_a_limit_is_withdrawn_and_not_tried_again() {
    let mut world = rolling(STEPS).await;
    echo(&mut world).await;
    world.start_ends("a", "v2", Ok(())).await;
    world.counts("a", counted(0, 1, 1));
    sleep(Duration::from_secs(1)).await;
    let said = echo(&mut world).await;
    assert!(matches!(&said[..], [Word::Abort { .. }]), "{said:?}");
    assert_eq!(world.told("a"), ["try v2 in 0: 5%", "withdraw"]);
    assert!(world.function_error().is_some_and(|error| error.contains("1 calls trapped")));
    sleep(Duration::from_secs(600)).await;
    assert_eq!((world.starting().len(), world.words()), (0, Vec::new()));
    // The next one is.
    world.publish("v3").await;
    assert_eq!(echo(&mut world).await.len(), 1);
    world.start_ends("a", "v3", Ok(())).await;
    assert_eq!((world.told("a"), world.function_error()), (vec!["try v3 in 0: 5%".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_does_not_start_is_withdrawn() {
    let mut world = rolling(STEPS).await;
    echo(&mut world).await;
    let machine = Err(PoolError::Machine("no memory".to_owned()));
    world.start_ends("a", "v2", machine).await;
    assert_eq!(world.words(), [], "that is no fault of the candidate");
    sleep(Duration::from_secs(2)).await;
    world.start_ends("a", "v2", function()).await;
    let said = echo(&mut world).await;
    assert!(matches!(&said[..], [Word::Abort { abort: Abort { reason, .. }, .. }] if reason.contains("it panics")));
    assert_eq!((world.told("a"), world.adopted("a")), (Vec::new(), vec!["v1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_shadow_starts_again_for_the_first_share() {
    let mut world = rolling("rollout = { shadow = true, steps = [\"5%\"], bake = \"1s\", min-records = 0 }").await;
    echo(&mut world).await;
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!(world.told("a"), ["try v2 in 0: shadow"]);
    sleep(Duration::from_secs(2)).await;
    echo(&mut world).await;
    assert_eq!(world.starting(), ["a:v2"], "with access to what is outside");
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!(world.told("a"), ["try v2 in 1: 5%"]);
}

#[tokio::test(start_paused = true)]
async fn going_back_to_what_serves_ends_a_trial() {
    let mut world = rolling(STEPS).await;
    echo(&mut world).await;
    world.start_ends("a", "v2", Ok(())).await;
    world.publish("v1").await;
    assert_eq!(world.told("a"), ["try v2 in 0: 5%", "withdraw"]);
    assert_eq!((world.words(), world.starting().len()), (Vec::new(), 0));
}

fn version(text: &str, standing: Standing) -> Found {
    content(text, Origin::Version(text.to_owned()), standing)
}

#[tokio::test(start_paused = true)]
async fn a_node_with_an_empty_disk_joins_a_rollout_with_the_version_before() {
    let world = World::start(&manifest_with(STEPS, &["a"]).replace(COMPONENT, "s3://bucket/f.wasm")).await;
    let rollout = Rollout {
        digest: Digest::of(b"v2"),
        origin: Origin::Version("v2".to_owned()),
        published_ms: None,
        started_ms: 0,
        stage: 1,
        stage_started_ms: 0,
        promoted: false,
        from: "other".to_owned(),
    };
    world.in_fleet(|fleet| drop(fleet.view.rollouts.insert(name("f"), rollout))).await;
    world.find(&object(), version("v2", Standing::Newest)).await;
    world.compiled("v2").await;
    let older = Verdict::OlderWanted(Some(Origin::Version("v2".to_owned())));
    assert_eq!(world.verdicts(), [("s3://bucket/f.wasm".to_owned(), older)]);
    world.find(&object(), version("v1", Standing::Older)).await;
    world.compiled("v1").await;
    world.start_ends("a", "v1", Ok(())).await;
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!((world.adopted("a"), world.told("a")), (vec!["v1".to_owned()], vec!["try v2 in 1: 25%".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_takes_a_candidate_for_the_first_revision_goes_back() {
    let world = World::start(&manifest_with(STEPS, &["a"]).replace(COMPONENT, "s3://bucket/f.wasm")).await;
    world.find(&object(), version("v2", Standing::Newest)).await;
    world.compiled("v2").await;
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!(world.adopted("a"), ["v2"], "it knows of no other");
    world.verdicts();
    let rollout = Rollout {
        digest: Digest::of(b"v2"),
        origin: Origin::Version("v2".to_owned()),
        published_ms: None,
        started_ms: 0,
        stage: 0,
        stage_started_ms: 0,
        promoted: false,
        from: "other".to_owned(),
    };
    world.in_fleet(|fleet| drop(fleet.view.rollouts.insert(name("f"), rollout))).await;
    assert_eq!(world.verdicts().len(), 1, "an older one is wanted");
    world.find(&object(), version("v1", Standing::Older)).await;
    world.compiled("v1").await;
    world.start_ends("a", "v1", Ok(())).await;
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!(world.told("a"), ["try v2 in 0: 5%"]);
    assert_eq!((world.adopted("a"), world.shown(&["v1", "v2"])), (vec!["v2".to_owned(), "v1".into()], Some("v1")));
}

#[tokio::test(start_paused = true)]
async fn a_trigger_is_paused_and_resumed_with_the_fleet() {
    let world = World::serving_v1(&["a", "b"]).await;
    let pause = Pause { at_ms: 0, from: "ada".to_owned(), reason: "we look".to_owned() };
    world.hang(true);
    world.in_fleet(|fleet| drop(fleet.view.pauses.insert(name("a"), pause))).await;
    assert!(world.told("a").is_empty());
    world.hang(false);
    sleep(Duration::from_secs(2)).await;
    assert_eq!((world.told("a"), world.told("b")), (vec!["paused by ada: we look".to_owned()], Vec::new()));
    world.in_fleet(|fleet| fleet.view.pauses.clear()).await;
    assert_eq!(world.told("a"), ["resume"]);
}

#[tokio::test(start_paused = true)]
async fn no_record_is_taken_before_the_fleet_is_known_unless_that_takes_too_long() {
    let world = World::start(&manifest_with("", &["a"])).await;
    world.in_fleet(|fleet| fleet.is_known = false).await;
    world.publish("v1").await;
    assert!(world.starting().is_empty());
    sleep(Duration::from_secs(11)).await;
    assert_eq!(world.starting(), ["a:v1"]);
    // The manifest may still be changed.
    world.write(MANIFEST, Ok(&manifest_with("", &["a", "b"]))).await;
    assert_eq!(world.starting(), ["a:v1", "b:v1"]);
}
