//! The manifest changes while the node runs.

use std::fs;
use std::path::Path;

use tidegate_tests::functions;
use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::load::Load;
use tidegate_tests::model::Model;
use tidegate_tests::node::{Layout, Node};
use tidegate_tests::wait;

use crate::pipe::{PATIENCE, Pipe, READY, SHORT_SESSIONS, cluster, component};

fn numbered(n: u64) -> Record {
    Record::of(format!("ok;{n}")).key(format!("k{}", n % 10))
}

fn running(node: &Node, trigger: &str) -> bool {
    node.trigger(trigger)["state"] == "running"
}

/// The manifest error of the health report, as text.
fn manifest_error(node: &Node) -> Option<String> {
    let health = node.health();
    assert!(health.is_object(), "the node answers: {health}");
    health["manifest"]["error"].as_str().map(str::to_owned)
}

#[test]
fn a_changed_manifest_rebuilds_only_what_changed() {
    let kafka = Kafka::shared();
    let (stays, added) = (Pipe::new(kafka, "stays", 2), Pipe::new(kafka, "added", 2));
    let mut changes = Pipe::new(kafka, "changes", 2);
    let base = [cluster(kafka, SHORT_SESSIONS), component("hostile", ""), stays.table("hostile", "")].concat();
    let mut node = Node::start("changing", &[base.clone(), changes.table("hostile", "")].concat());
    node.wait_ready(READY);
    let load = Load::start(&stays.source, 500, numbered);
    let group = kafka.group(&stays.group);
    // A trigger runs as soon as it asks to be a member.
    wait::until("the trigger that stays is a member", PATIENCE, || group.members().len() == 1);
    let members = group.members();
    let mut sent = changes.source.produce((0..50).map(numbered));
    changes.output.reader().count(50, PATIENCE);

    let old = std::mem::replace(&mut changes.output, kafka.topic("changes-elsewhere", 2));
    node.write_manifest(&[base, changes.table("hostile", ""), added.table("hostile", "")].concat());
    node.wait_for("the new trigger runs", PATIENCE, |node| running(node, "added"));
    let early = added.source.produce((0..50).map(numbered));
    wait::until("the changed trigger writes to its new topic", PATIENCE, || {
        let number = u64::try_from(sent.len()).expect("fits");
        sent.extend(changes.source.produce([numbered(number)]));
        !changes.output.read_all().is_empty()
    });
    let steady = load.stop();
    for pipe in [&stays, &changes, &added] {
        pipe.wait_handled(kafka, &mut node, PATIENCE);
    }
    assert_eq!(group.members(), members, "the trigger that stays has not joined its group again");
    node.term_cleanly();

    let model = Model::default();
    stays.check(&model, &steady).assert_exact();
    added.check(&model, &early).assert_exact();
    let both = [old.read_all(), changes.output.read_all()].concat();
    model.expect(&sent).check(&both, &changes.dead.read_all()).assert_exact();
}

#[test]
fn a_trigger_that_is_removed_ends_and_leaves_its_group() {
    let kafka = Kafka::shared();
    let (stays, goes) = (Pipe::new(kafka, "remains", 1), Pipe::new(kafka, "goes", 1));
    let base = [cluster(kafka, SHORT_SESSIONS), component("hostile", ""), stays.table("hostile", "")].concat();
    let mut node = Node::start("removing", &[base.clone(), goes.table("hostile", "")].concat());
    node.wait_ready(READY);
    let sent = goes.source.produce((0..50).map(numbered));
    goes.output.reader().count(50, PATIENCE);

    let group = kafka.group(&goes.group);
    node.write_manifest(&base);
    node.wait_for("the trigger is gone", PATIENCE, |node| node.health().is_object() && node.trigger("goes").is_null());
    node.wait_for("its group is empty", PATIENCE, |_| group.members().is_empty());
    assert!(running(&node, "remains"));
    assert_eq!(group.lag(&goes.source), 0, "it has committed before it left");
    goes.check(&Model::default(), &sent).assert_exact();
    node.term_cleanly();
}

#[test]
fn an_invalid_manifest_changes_nothing_and_says_why() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "careful", 1);
    let good = pipe.manifest(kafka, "hostile", "");
    let mut node = Node::start("careful", &good);
    node.wait_ready(READY);
    assert_eq!(manifest_error(&node), None);

    let mistakes = [
        ("not TOML at all", "= [", ""),
        ("an unknown key", "outptu = \"x\"", "outptu"),
        (
            "an unknown function",
            "[trigger.more]\nfunction = \"nobody\"\ntopics = [\"t\"]\ndead-letters = \"d\"",
            "nobody",
        ),
    ];
    let mut sent = Vec::new();
    let mut last = None;
    for (what, lines, named) in mistakes {
        node.write_manifest(&format!("{good}{lines}\n"));
        node.wait_for(&format!("the manifest is refused: {what}"), PATIENCE, |node| {
            let error = manifest_error(node);
            error.is_some() && error != last
        });
        last = manifest_error(&node);
        assert!(last.as_ref().is_some_and(|error| error.contains(named)), "{what}: {last:?}");
        assert!(running(&node, "careful") && node.trigger("more").is_null(), "{what}: nothing changes");
        sent.extend(pipe.source.produce((0..20).map(numbered)));
        pipe.output.reader().count(sent.len(), PATIENCE);
    }
    node.write_manifest(&good);
    node.wait_for("the good manifest is taken", PATIENCE, |node| manifest_error(node).is_none());
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    assert_eq!(pipe.output.read_all().len(), sent.len());
}

/// Kubernetes swaps a link two folders above the file that the node watches.
#[test]
fn a_config_map_is_followed_through_its_links() {
    let kafka = Kafka::shared();
    let pipes: Vec<Pipe> = (0..4).map(|n| Pipe::new(kafka, &format!("mapped-{n}"), 1)).collect();
    let base = [cluster(kafka, ""), component("hostile", "")].concat();
    let upto = |last: usize| {
        let tables = pipes[..=last].iter().map(|pipe| pipe.table("hostile", ""));
        format!("{base}{}", tables.collect::<String>())
    };
    let mut node = Node::prepare("mapped", Layout::ConfigMap, &upto(0));
    node.start_again();
    node.wait_ready(READY);
    for last in 1..pipes.len() {
        node.write_manifest(&upto(last));
        node.wait_for(&format!("swap {last} is noticed"), PATIENCE, |node| running(node, &format!("mapped-{last}")));
    }
    node.term_cleanly();
}

/// The watcher outlives the absence of what it watches.
#[test]
fn a_manifest_that_was_away_is_followed_again() {
    let kafka = Kafka::shared();
    let (first, second) = (Pipe::new(kafka, "away-first", 1), Pipe::new(kafka, "away-second", 1));
    let manifest = first.manifest(kafka, "hostile", "");
    let mut node = Node::start("away", &manifest);
    node.wait_ready(READY);
    fs::remove_file(node.manifest_path()).expect("the manifest is removed");
    node.wait_for("the absence is reported", PATIENCE, |node| manifest_error(node).is_some());
    assert!(running(&node, "away-first"), "and changes nothing");

    node.write_manifest(&[manifest, second.table("hostile", "")].concat());
    node.wait_for("it is read again", PATIENCE, |node| running(node, "away-second") && manifest_error(node).is_none());
    node.term_cleanly();
}

/// A file that is still being written, or that somebody emptied by mistake, is no order to stop everything.
#[test]
fn a_manifest_without_triggers_stops_nothing() {
    let kafka = Kafka::shared();
    let pipe = Pipe::new(kafka, "emptied", 1);
    let good = pipe.manifest(kafka, "hostile", "");
    let mut node = Node::start("emptied", &good);
    node.wait_ready(READY);
    let mut sent = Vec::new();
    let half = [cluster(kafka, ""), component("hostile", "")].concat();
    for text in ["", &half] {
        node.write_manifest(text);
        node.wait_for("the manifest is refused", PATIENCE, |node| manifest_error(node).is_some());
        let error = manifest_error(&node).unwrap_or_default();
        assert!(error.contains("no trigger") || error.contains("no function and no trigger"), "{error}");
        assert!(running(&node, "emptied"), "{text:?}");
        sent.extend(pipe.source.produce((0..20).map(numbered)));
        pipe.output.reader().count(sent.len(), PATIENCE);
        node.write_manifest(&good);
        node.wait_for("the good manifest is taken", PATIENCE, |node| manifest_error(node).is_none());
    }
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    assert_eq!(pipe.output.read_all().len(), sent.len());
}

#[test]
fn check_and_run_refuse_a_manifest_that_declares_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.toml");
    for text in ["", "# to be written\n", "[admin]\nlisten = \"127.0.0.1:0\"\n"] {
        fs::write(&path, text).expect("the manifest is written");
        for command in ["run", "check"] {
            let (code, said) = tidegate(&[command, "--manifest"], &path);
            assert_eq!(code, Some(2), "{command}: {said}");
            assert!(said.contains("declares no function and no trigger"), "{command}: {said}");
        }
    }
}

/// `check` and `run` agree on what is wrong with a manifest: usage error, and the place.
#[test]
fn a_node_does_not_start_with_an_invalid_manifest() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.toml");
    let component = functions::component("hostile");
    for (text, named) in [("[trigger.a]\nfunktion = \"b\"\n", "funktion"), ("[function.a\n", "tidegate.toml:1")] {
        fs::write(&path, text).expect("the manifest is written");
        for command in ["run", "check"] {
            let (code, said) = tidegate(&[command, "--manifest"], &path);
            assert_eq!(code, Some(2), "{command}: {said}");
            assert!(said.contains(named), "{command}: {said}");
        }
    }
    let good =
        format!("[cluster.main]\nbrokers = \"127.0.0.1:1\"\n[function.a]\ncomponent = \"{}\"\n", component.display());
    fs::write(&path, &good).expect("the manifest is written");
    let (code, said) = tidegate(&["check", "--manifest"], &path);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no trigger"), "a node does not take it: {said}");
    let (code, said) = tidegate(&["run", "--manifest"], &path);
    assert_eq!(code, Some(2), "{said}");

    let exclusive = "[cluster.main.properties]\n\"group.protocol\" = \"consumer\"\n\"session.timeout.ms\" = \"6000\"\n";
    fs::write(&path, format!("{good}{exclusive}")).expect("the manifest is written");
    for command in ["run", "check"] {
        let (code, said) = tidegate(&[command, "--manifest"], &path);
        assert_eq!(code, Some(2), "{command}: {said}");
        assert!(said.contains("tidegate.toml:6:1") && said.contains("session.timeout.ms"), "{command}: {said}");
    }
}

fn tidegate(arguments: &[&str], path: &Path) -> (Option<i32>, String) {
    let output = tidegate_tests::node::command().args(arguments).arg(path).output().expect("tidegate starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
