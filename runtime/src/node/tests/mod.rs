//! Tests of the control plane with a fake engine, fake triggers and fake files, on one thread and with a paused
//! clock, which advances only when no task can run.

mod fakes;
mod rollouts;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::fakes::{COMPONENT, MANIFEST, World, content, manifest, manifest_with};
use crate::engine::PoolError;
use crate::manifest::Component;
use crate::record::revision::{Digest, Origin};
use crate::registry::{Found, Standing, Verdict};

fn machine() -> Result<(), PoolError> {
    Err(PoolError::Machine("its folder is not there".to_owned()))
}

fn function() -> Result<(), PoolError> {
    Err(PoolError::Function("it panics".to_owned()))
}

/// Waits until a start of instances is running, for up to a minute.
async fn next_start(world: &World) -> (Duration, Vec<String>) {
    let begun = Instant::now();
    while world.starting().is_empty() && begun.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(10)).await;
    }
    (begun.elapsed(), world.starting())
}

#[tokio::test(start_paused = true)]
async fn a_revision_serves_when_its_instances_have_started() {
    let world = World::start(&manifest(&["a"])).await;
    assert!(world.watches(COMPONENT) && world.watches(MANIFEST));
    world.publish("v1").await;
    assert_eq!((world.starting(), world.shown(&["v1"])), (vec!["a:v1".to_owned()], None));
    world.start_ends("a", "v1", Ok(())).await;
    assert_eq!((world.adopted("a"), world.shown(&["v1"])), (vec!["v1".to_owned()], Some("v1")));
    world.publish("v2").await;
    assert_eq!(world.adopted("a"), ["v1"], "the old one serves while the new one starts");
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!((world.adopted("a"), world.shown(&["v1", "v2"])), (vec!["v1".to_owned(), "v2".to_owned()], Some("v2")));
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_the_machine_cannot_start_is_tried_until_it_starts() {
    let world = World::serving_v1(&["a"]).await;
    world.publish("v2").await;
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        world.start_ends("a", "v2", machine()).await;
        assert_eq!(world.function_error().as_deref(), Some("its folder is not there"));
        let (waited, starting) = next_start(&world).await;
        assert_eq!(starting, ["a:v2"]);
        assert_eq!(waited.as_secs_f64().round() as u64, seconds, "{waited:?}");
    }
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!(world.adopted("a"), ["v1", "v2"], "and the old one was not taken on again");
    assert_eq!((world.function_error(), world.shown(&["v1", "v2"])), (None, Some("v2")));
}

#[tokio::test(start_paused = true)]
async fn a_revision_whose_function_does_not_start_is_given_up() {
    let world = World::serving_v1(&["a"]).await;
    world.publish("v2").await;
    world.start_ends("a", "v2", function()).await;
    assert_eq!(world.function_error().as_deref(), Some("it panics"));
    sleep(Duration::from_secs(600)).await;
    assert!(world.starting().is_empty());
    assert_eq!(world.adopted("a"), ["v1"], "a trigger that paused stays paused");
    // A newer revision is tried nevertheless.
    world.publish("v3").await;
    world.start_ends("a", "v3", Ok(())).await;
    assert_eq!((world.adopted("a"), world.function_error()), (vec!["v1".to_owned(), "v3".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_was_given_up_is_tried_when_it_is_published_again() {
    let world = World::serving_v1(&["a"]).await;
    world.publish("v2").await;
    world.start_ends("a", "v2", function()).await;
    world.publish("v1").await;
    assert_eq!((world.function_error(), world.starting().len()), (None, 0));
    world.publish("v2").await;
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!(world.adopted("a"), ["v1", "v2"]);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_was_given_up_is_tried_again_with_new_settings() {
    let world = World::serving_v1(&["a"]).await;
    world.publish("v2").await;
    world.start_ends("a", "v2", function()).await;
    world.write(MANIFEST, Ok(&manifest_with("env = { NEEDED = \"1\" }", &["a"]))).await;
    assert_eq!(world.starting(), ["a:v2"]);
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!(world.adopted("a"), ["v1", "v2"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_function_is_tried_again_if_no_other_revision_serves() {
    let world = World::start(&manifest(&["a"])).await;
    world.publish("v1").await;
    world.start_ends("a", "v1", function()).await;
    let (_, starting) = next_start(&world).await;
    assert_eq!(starting, ["a:v1"]);
    world.start_ends("a", "v1", Ok(())).await;
    assert_eq!(world.adopted("a"), ["v1"]);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_one_trigger_cannot_start_serves_other_triggers() {
    for failure in [machine(), function()] {
        let world = World::serving_v1(&["a", "b"]).await;
        world.publish("v2").await;
        assert_eq!(world.starting(), ["a:v2", "b:v2"]);
        world.start_ends("a", "v2", failure.clone()).await;
        world.start_ends("b", "v2", Ok(())).await;
        assert_eq!((world.adopted("a"), world.adopted("b")), (vec!["v1".to_owned()], vec!["v1".into(), "v2".into()]));
        assert!(world.function_error().is_some(), "a trigger does not serve what is published");
        if failure == machine() {
            next_start(&world).await;
            world.start_ends("a", "v2", Ok(())).await;
            assert_eq!((world.adopted("a"), world.function_error()), (vec!["v1".to_owned(), "v2".to_owned()], None));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_trigger_takes_the_older_revision_while_the_newer_one_cannot_start() {
    let world = World::serving_v1(&["a"]).await;
    world.publish("v2").await;
    world.start_ends("a", "v2", machine()).await;
    world.write(MANIFEST, Ok(&manifest(&["a", "b"]))).await;
    world.start_ends("b", "v2", machine()).await;
    assert_eq!(world.starting(), ["b:v1"]);
    // Even if that takes long, another try of the newer one does not replace it.
    sleep(Duration::from_secs(5)).await;
    world.start_ends("b", "v1", Ok(())).await;
    assert_eq!(world.adopted("b"), ["v1"]);
    let mut due = world.starting();
    due.sort();
    assert_eq!(due, ["a:v2", "b:v2"]);
    world.start_ends("b", "v2", Ok(())).await;
    assert_eq!(world.adopted("b"), ["v1", "v2"]);
}

#[tokio::test(start_paused = true)]
async fn a_compilation_that_ends_late_does_not_overtake_a_newer_one() {
    let world = World::serving_v1(&["a"]).await;
    world.write(COMPONENT, Ok("v2")).await;
    world.write(COMPONENT, Ok("v3")).await;
    world.compiled("v3").await;
    world.compiled("v2").await;
    world.start_ends("a", "v3", Ok(())).await;
    assert!(world.starting().is_empty());
    assert_eq!(
        (world.adopted("a"), world.shown(&["v1", "v2", "v3"])),
        (vec!["v1".to_owned(), "v3".into()], Some("v3"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_was_replaced_while_it_compiled_or_started_does_not_serve() {
    let world = World::serving_v1(&["a"]).await;
    world.write(COMPONENT, Ok("v2")).await;
    // A rollback to the revision that serves, while the other one compiles.
    world.write(COMPONENT, Ok("v1")).await;
    world.compiled("v2").await;
    world.compiled("v1").await;
    assert!(world.starting().is_empty());
    // A rollback while the other one starts.
    world.publish("v3").await;
    world.publish("v1").await;
    world.start_ends("a", "v3", Ok(())).await;
    assert_eq!((world.adopted("a"), world.shown(&["v1", "v2", "v3"])), (vec!["v1".to_owned()], Some("v1")));
}

#[tokio::test(start_paused = true)]
async fn a_refused_component_does_not_replace_the_serving_revision() {
    let world = World::serving_v1(&["a"]).await;
    world.write(COMPONENT, Ok("junk")).await;
    world.compile_ends("junk", Err(crate::engine::inspect(b"junk").expect_err("no component"))).await;
    assert!(world.function_error().is_some_and(|error| error.starts_with("not a component")));
    world.write(COMPONENT, Err("cannot read f.wasm")).await;
    assert_eq!(world.function_error().as_deref(), Some("cannot read f.wasm"));
    assert_eq!((world.adopted("a"), world.shown(&["v1"])), (vec!["v1".to_owned()], Some("v1")));
    world.publish("v1").await;
    assert_eq!((world.adopted("a"), world.function_error()), (vec!["v1".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn a_trigger_that_hangs_does_not_delay_others() {
    let mut world = World::serving_v1(&["a", "b"]).await;
    world.hang(true);
    world.publish("v2").await;
    world.start_ends("a", "v2", Ok(())).await;
    world.hang(false);
    world.start_ends("b", "v2", Ok(())).await;
    assert_eq!((world.adopted("a"), world.adopted("b")), (vec!["v1".to_owned()], vec!["v1".into(), "v2".into()]));
    next_start(&world).await;
    world.start_ends("a", "v2", Ok(())).await;
    assert_eq!(world.adopted("a"), ["v1", "v2"]);
    world.stop().await;
    assert_eq!(world.draining(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_without_triggers_changes_nothing() {
    let world = World::serving_v1(&["a", "b"]).await;
    let half = manifest(&[]);
    for text in ["", "[admin]\nlisten = \"127.0.0.1:9644\"\n", &half] {
        world.write(MANIFEST, Ok(text)).await;
        let error = world.manifest_error().expect("refused");
        assert!(error.contains("trigger"), "{error}");
        assert_eq!((world.running(), world.draining().len()), (vec!["a".to_owned(), "b".to_owned()], 0), "{text}");
        world.write(MANIFEST, Ok(&manifest(&["a", "b"]))).await;
        assert_eq!(world.manifest_error(), None);
    }
    assert_eq!((world.adopted("a"), world.adopted("b")), (vec!["v1".to_owned()], vec!["v1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_manifest_with_conflicting_properties_changes_nothing() {
    let world = World::serving_v1(&["a"]).await;
    let property = "[cluster.main.properties]\n\"max.poll.interval.ms\" = \"5000\"\n";
    world.write(MANIFEST, Ok(&(manifest(&["a"]) + property))).await;
    let error = world.manifest_error().expect("refused");
    assert!(error.contains("session.timeout.ms") && error.contains("tidegate.toml:11"), "{error}");
    assert_eq!((world.running(), world.draining().len()), (vec!["a".to_owned()], 0));
}

/// A component in S3, and a version of it, as a look reports it.
fn object() -> Component {
    "s3://bucket/f.wasm".parse().expect("an object")
}

fn version(text: &str, standing: Standing) -> Found {
    content(text, Origin::Version(text.to_owned()), standing)
}

/// A node with the trigger `a`, whose function is an object, and which has taken no version of it yet.
async fn with_object() -> World {
    World::start(&manifest(&["a"]).replace(COMPONENT, "s3://bucket/f.wasm")).await
}

fn older_than(text: &str) -> Vec<(String, Verdict)> {
    vec![("s3://bucket/f.wasm".to_owned(), Verdict::OlderWanted(Some(Origin::Version(text.to_owned()))))]
}

#[tokio::test(start_paused = true)]
async fn an_older_version_serves_if_the_newest_cannot_and_none_has_served() {
    let world = with_object().await;
    world.find(&object(), version("v3", Standing::Newest)).await;
    world.compile_ends("v3", Err(crate::engine::inspect(b"junk").expect_err("no component"))).await;
    assert_eq!(world.verdicts(), older_than("v3"));
    world.find(&object(), version("v2", Standing::Older)).await;
    world.compiled("v2").await;
    world.start_ends("a", "v2", function()).await;
    assert_eq!(world.verdicts(), older_than("v2"), "it fails at its start");
    world.find(&object(), version("v1", Standing::Older)).await;
    world.compiled("v1").await;
    world.start_ends("a", "v1", Ok(())).await;
    let good = vec![("s3://bucket/f.wasm".to_owned(), Verdict::Good(Digest::of(b"v1")))];
    assert_eq!((world.adopted("a"), world.verdicts()), (vec!["v1".to_owned()], good));
    assert!(world.function_error().is_some_and(|error| error.starts_with("not a component")), "the newest one's");
    // From now on one serves, and stays if a newer one is refused.
    world.find(&object(), version("v4", Standing::Newest)).await;
    world.compile_ends("v4", Err(crate::engine::inspect(b"junk").expect_err("no component"))).await;
    world.find(&object(), Found::Nothing("it was deleted".to_owned())).await;
    assert_eq!((world.adopted("a"), world.verdicts()), (vec!["v1".to_owned()], Vec::new()));
    assert_eq!(world.function_error().as_deref(), Some("it was deleted"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_stops_nothing() {
    let world = with_object().await;
    world.find(&object(), version("v1", Standing::Kept)).await;
    world.find(&object(), Found::Away("refused".to_owned())).await;
    world.compiled("v1").await;
    world.start_ends("a", "v1", Ok(())).await;
    assert_eq!((world.adopted("a"), world.away()), (vec!["v1".to_owned()], Some("refused".to_owned())));
    world.find(&object(), Found::Back).await;
    assert_eq!((world.away(), world.function_error()), (None, None));
}

/// The log of a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> String {
        String::from_utf8(self.0.lock().expect("whole").clone()).expect("text")
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_trigger_that_is_removed_from_the_manifest_is_logged_as_a_warning() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let world = World::serving_v1(&["a", "b"]).await;
    world.write(MANIFEST, Ok(&manifest(&["a"]))).await;
    assert_eq!((world.running(), world.draining()), (vec!["a".to_owned()], vec!["b".to_owned()]));
    let lines = log.lines();
    let warning = lines.lines().find(|line| line.contains("WARN")).unwrap_or_else(|| panic!("no warning in\n{lines}"));
    assert!(warning.contains("trigger=b") && warning.contains("group=\"tidegate-b\""), "{warning}");
    world.drained("b").await;
    assert_eq!(world.adopted("a"), ["v1"], "the other one is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_changed_trigger_starts_after_the_old_one_has_stopped() {
    let world = World::serving_v1(&["a", "b"]).await;
    let changed = manifest(&["a", "b"]).replace("in-b", "elsewhere");
    world.write(MANIFEST, Ok(&changed)).await;
    assert_eq!((world.draining(), world.running()), (vec!["b".to_owned()], vec!["a".to_owned()]));
    world.drained("b").await;
    assert_eq!(world.starting(), ["b:v1"]);
    world.start_ends("b", "v1", Ok(())).await;
    assert_eq!((world.adopted("a"), world.adopted("b")), (vec!["v1".to_owned()], vec!["v1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_node_ends_after_all_its_triggers_have_stopped() {
    let mut world = World::serving_v1(&["a", "b"]).await;
    world.publish("v2").await;
    world.stop().await;
    world.start_ends("a", "v2", Ok(())).await;
    world.drained("a").await;
    assert!(!world.task.is_finished());
    world.drained("b").await;
    assert!(world.task.is_finished());
}
