//! Folders that the manifest gives a function, in both languages: what is there, what may be done with
//! it, and that nothing else of the node's files can be reached.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_tests::{functions, node};

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

fn invoke(world: &Path, component: &str, folders: &str, orders: &[&str]) -> Output {
    let component = functions::component(component);
    let manifest = format!("[function.f]\ncomponent = \"{}\"\nfolders = {folders}\n", component.display());
    fs::write(world.join("tidegate.toml"), manifest).expect("written");
    let lines: String = orders.iter().map(|order| format!("{}\n", json!({ "value": order }))).collect();
    let input = world.join("input.ndjson");
    fs::write(&input, lines).expect("written");
    let mut command = node::command();
    command.args(["invoke", "--function", "f", "--input"]).arg(&input);
    command.current_dir(world).stdin(Stdio::null()).output().expect("tidegate starts")
}

/// What the function answers to each of the orders, one after another.
#[track_caller]
fn answers(world: &Path, component: &str, folders: &str, orders: &[&str]) -> Vec<String> {
    let output = invoke(world, component, folders, orders);
    let (stdout, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let answer = |line: &str| {
        let outcome: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let value = outcome["messages"][0]["value"].as_str();
        value.unwrap_or_else(|| panic!("no answer: {line}\n{errors}")).to_owned()
    };
    let answers: Vec<String> = stdout.lines().map(answer).collect();
    assert_eq!(answers.len(), orders.len(), "{errors}");
    answers
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
        assert_eq!(answers(world.path(), language, FOLDERS, &orders), expected, "{language}");
        let written = fs::read_to_string(world.path().join("scratch/note")).expect("written");
        assert_eq!(written, "written by a function");
        assert_eq!(answers(world.path(), language, FOLDERS, &["remove /deep/scratch/note"]), ["done"]);
        assert!(!world.path().join("scratch/note").exists());
        // The root is a name like others.
        assert_eq!(answers(world.path(), language, r#"{ "/" = "geo" }"#, &["read /countries.csv"]), ["ch,li"]);
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
        for (order, answer) in orders.iter().zip(answers(world.path(), language, FOLDERS, &orders)) {
            assert!(answer.starts_with("refused: "), "{language}: {order}: {answer}");
        }
        for (order, answer) in orders.iter().zip(answers(world.path(), language, "{}", &orders)) {
            assert!(answer.starts_with("refused: "), "{language}, without folders: {order}: {answer}");
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
    let order = format!("connect {}", server.local_addr().expect("bound"));
    let answers = answers(world.path(), "files", "{}", &[&order]);
    assert!(answers[0].starts_with("refused: "), "{}", answers[0]);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let world = world();
    let output = invoke(world.path(), "files", r#"{ "/geo" = "goe" }"#, &["list /geo"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{errors}");
    assert!(errors.contains("its folder /geo cannot be opened: "), "{errors}");
    assert!(errors.contains("goe: No such file or directory"), "{errors}");
}
