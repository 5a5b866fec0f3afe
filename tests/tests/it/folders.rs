//! Folders that the manifest gives a function, in both languages: what is there, what may be done with
//! it, that nothing else of the node's files can be reached, and what a disk that fails costs.

use std::fs;
use std::iter;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use tidegate_tests::functions;
use tidegate_tests::kafka::{Kafka, Record};
use tidegate_tests::node::Node;

use crate::invoke::{Answered, Asked, ONE_BY_ONE};
use crate::pipe::{PATIENCE, Pipe, READY, cluster, function_at};

const LANGUAGES: [&str; 2] = ["files", "gopher-files"];

/// `geo` with a file, a folder and ways out; an empty `scratch`; and beside them what is not for the
/// function.
fn world() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("geo/cities")).expect("made");
    fs::create_dir(path("scratch")).expect("made");
    fs::write(path("geo/countries.csv"), "ch,li").expect("written");
    fs::write(path("secret"), "swordfish").expect("written");
    symlink(path("secret"), path("geo/absolute")).expect("linked");
    symlink("../secret", path("geo/relative")).expect("linked");
    symlink("..", path("geo/up")).expect("linked");
    folder
}

/// What the function of a manifest in the world answers, given these folders, to each of the orders.
#[track_caller]
fn order(world: &Path, component: &str, folders: &str, orders: &[&str]) -> Answered {
    let keys = format!("folders = {folders}");
    let asked = Asked { component, keys: &keys, folder: Some(world), flags: ONE_BY_ONE, ..Asked::default() };
    asked.values(orders)
}

const FOLDERS: &str = r#"{ "/geo" = "geo", "/deep/scratch" = { path = "scratch", write = true } }"#;

#[test]
fn a_function_sees_the_folders_that_it_is_given() {
    for language in LANGUAGES {
        let world = world();
        let orders = [
            "read /geo/countries.csv",
            "list /geo",
            "write /deep/scratch/note",
            "read /deep/scratch/note",
            "list /deep/scratch",
        ];
        let expected = ["ch,li", "absolute cities countries.csv relative up", "done", "written by a function", "note"];
        assert_eq!(order(world.path(), language, FOLDERS, &orders).texts(), expected, "{language}");
        let written = fs::read_to_string(world.path().join("scratch/note")).expect("written");
        assert_eq!(written, "written by a function");
        assert_eq!(order(world.path(), language, FOLDERS, &["remove /deep/scratch/note"]).texts(), ["done"]);
        assert!(!world.path().join("scratch/note").exists());
        // The root is a name like others.
        let answered = order(world.path(), language, r#"{ "/" = "geo" }"#, &["read /countries.csv"]);
        assert_eq!(answered.texts(), ["ch,li"]);
    }
}

#[test]
fn nothing_else_of_the_node_can_be_reached() {
    for language in LANGUAGES {
        let world = world();
        let secret = format!("read {}", world.path().join("secret").display());
        let orders = [
            "write /geo/countries.csv",
            "write /geo/new",
            "remove /geo/countries.csv",
            "read /geo/../secret",
            "read /geo/absolute",
            "read /geo/relative",
            "read /geo/up/secret",
            "write /deep/scratch/../../secret",
            "write /deep/new",
            "read secret",
            "read /etc/passwd",
            "list /",
            &secret,
        ];
        for folders in [FOLDERS, "{}"] {
            for (text, answer) in orders.iter().zip(order(world.path(), language, folders, &orders).texts()) {
                assert!(answer.starts_with("refused: "), "{language}, {folders}: {text}: {answer}");
            }
        }
        let unchanged = ["secret", "geo/countries.csv"].map(|name| fs::read_to_string(world.path().join(name)));
        assert_eq!(unchanged.map(|text| text.expect("there")), ["swordfish", "ch,li"]);
        assert!(!world.path().join("geo/new").exists());
    }
}

#[test]
fn sockets_are_denied() {
    let world = world();
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let connect = format!("connect {}", server.local_addr().expect("bound"));
    let answered = order(world.path(), "files", "{}", &[&connect]);
    assert!(answered.texts()[0].starts_with("refused: "), "{:?}", answered.texts());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let world = world();
    let keys = r#"folders = { "/geo" = "goe" }"#;
    let asked = Asked { component: "files", keys, folder: Some(world.path()), ..Asked::default() };
    let output = asked.output(iter::once(json!({ "value": "list /geo" })));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{errors}");
    assert!(errors.contains("its folder /geo cannot be opened: "), "{errors}");
    assert!(errors.contains("goe: No such file or directory"), "{errors}");
}

/// Waits until the trigger cannot start an instance for this reason.
#[track_caller]
fn wait_held_off(node: &mut Node, trigger: &str, reason: &str) {
    node.wait_for(&format!("{trigger} waits, with {reason:?} in the reason"), PATIENCE, |node| {
        node.trigger(trigger)["reason"].as_str().unwrap_or_default().contains(reason)
    });
}

/// A pipe that nobody writes to keeps who opens it, as a disk does that is gone. Each call that reads it
/// costs its function a thread, and no other function any.
#[test]
fn a_disk_that_hangs_stops_its_function_and_no_other() {
    let kafka = Kafka::shared();
    let world = world();
    assert!(Command::new("mkfifo").arg(world.path().join("geo/pipe")).status().expect("mkfifo").success());
    let folder = |name: &str| format!("folders = {{ \"/data\" = \"{}\" }}", world.path().join(name).display());
    let files = functions::component("files");
    let (stuck, well) = (Pipe::new(kafka, "stuck", 1), Pipe::new(kafka, "well", 1));
    let one_by_one = "batch = { records = 1 }\nordering = \"none\"\nretry = { attempts = 1 }\n";
    let manifest = [
        cluster(kafka, ""),
        function_at("stuck", &files, &format!("deadline = \"20ms\"\n{}", folder("geo"))),
        function_at("well", &files, &folder("geo")),
        stuck.table("stuck", one_by_one),
        well.table("well", ""),
    ];
    let mut node = Node::start("stuck", &manifest.concat());
    node.wait_ready(READY);

    stuck.source.produce((0..700).map(|_| Record::of("read /data/pipe")));
    wait_held_off(&mut node, "stuck", "its folders do not open within");
    well.source.produce([Record::of("read /data/countries.csv")]);
    let read = well.output.read_until("the other one reads", PATIENCE, |read| read.len() == 1);
    assert_eq!(read[0].record.text(), "ch,li");
    node.term_cleanly();
}

/// Only a function can have no room for a large record. When it is its folder that is missing, the record
/// waits until it is back.
#[test]
fn a_large_record_waits_for_a_folder_that_is_gone() {
    let kafka = Kafka::shared();
    let world = world();
    let pipe = Pipe::with_settings(kafka, "gone", 1, &[("max.message.bytes", "20000000")]);
    let (folder, elsewhere) = (world.path().join("geo"), world.path().join("elsewhere"));
    let settings = format!("folders = {{ \"/data\" = \"{}\" }}", folder.display());
    let function = function_at("files", &functions::component("files"), &settings);
    let mut node = Node::start("gone", &[cluster(kafka, ""), function, pipe.table("files", "")].concat());
    node.wait_ready(READY);

    fs::rename(&folder, &elsewhere).expect("moved");
    pipe.source.produce([Record::of("read /data/countries.csv").header("load", "x".repeat(3 << 20))]);
    wait_held_off(&mut node, "gone", "its folder /data cannot be opened");
    fs::rename(&elsewhere, &folder).expect("moved");
    let read = pipe.output.read_until("it is read", PATIENCE, |read| read.len() == 1);
    assert_eq!(read[0].record.text(), "ch,li");
    pipe.wait_handled(kafka, &mut node, PATIENCE);
    node.term_cleanly();
    assert!(pipe.dead.read_all().is_empty());
}
