//! Golden cases, as an author has them: `tidegate test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tidegate_tests::{functions, node, place};

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = node::command();
    command.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", place::target());
    command
}

pub(crate) fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).stdin(Stdio::null()).output().expect("tidegate starts")
}

/// Runs `tidegate test`, which must end with this code, and returns what it writes to both streams.
#[track_caller]
pub(crate) fn test(folder: &Path, arguments: &[&str], code: i32) -> (String, String) {
    let output = tidegate(folder, &[&["test"], arguments].concat());
    let (shown, errors) = (text(&output.stdout).to_owned(), text(&output.stderr).to_owned());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{shown}{errors}");
    (shown, errors)
}

/// A project of one function that answers in upper case, ready to be built, without its case.
pub(crate) fn project(folder: &Path, name: &str) -> PathBuf {
    let made = tidegate(folder, &["new", name]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let project = folder.join(name);
    fs::remove_dir_all(project.join("cases")).expect("a new project has a case");
    // The same versions as the workspace, which are downloaded already.
    fs::copy(place::repository().join("Cargo.lock"), project.join("Cargo.lock")).expect("copied");
    project
}

/// Removes what cargo built of this package: it keeps that apart for each folder that it ever met.
pub(crate) fn clean(project: &Path, name: &str) {
    let mut cargo = Command::new("cargo");
    cargo.args(["clean", "--quiet", "-p", name, "--release", "--target", "wasm32-wasip2"]);
    let cleaned = cargo.current_dir(project).env("CARGO_TARGET_DIR", place::target()).status();
    assert!(cleaned.expect("cargo starts").success());
}

/// Changes the source of a project.
pub(crate) fn edit(project: &Path, from: &str, to: &str) {
    let path = project.join("src/lib.rs");
    let source = fs::read_to_string(&path).expect("a text");
    assert!(source.contains(from), "{source}");
    node::replace(&path, source.replace(from, to).as_bytes());
}

pub(crate) fn write_case(project: &Path, name: &str, text: &str) -> PathBuf {
    fs::create_dir_all(project.join("cases")).expect("a folder");
    let path = project.join("cases").join(format!("{name}.ndjson"));
    fs::write(&path, text).expect("written");
    path
}

#[test]
fn a_case_of_a_new_project_passes_fails_and_is_updated() {
    let folder = folder();
    let project = project(folder.path(), "golden-shout");
    let (_, errors) = test(&project, &[], 1);
    for named in ["no golden case is in cases", "cases/NAME.ndjson", r#"{"key": "k", "value": "hello"}"#, "--update"] {
        assert!(errors.contains(named), "{errors}");
    }

    let records = "{\"key\": \"a\", \"value\": \"hello\"}\n{\"value\": {\"json\": {\"id\": \"a1\"}}, \"headers\": [[\"h\", \"1\"]]}\n";
    let case = write_case(&project, "greeting", records);
    let (shown, errors) = test(&project, &[], 1);
    assert_eq!(
        shown,
        "FAILED  greeting              2 of 2 records\n\
         \x20 cases/greeting.ndjson:1  golden-shout-in/0 @0\n\
         \x20   has no expectation, nor has 1 more record:\n\
         \x20   `tidegate test --update` writes them\n\
         0 cases passed, 1 failed\n"
    );
    assert!(errors.ends_with("error: 1 of 1 cases failed; `tidegate test --update` accepts what came\n"), "{errors}");
    assert_eq!(fs::read_to_string(&case).expect("a text"), records, "nothing is written unasked");

    let (shown, _) = test(&project, &["--update"], 0);
    assert_eq!(shown, "written    greeting\n1 case written, 0 unchanged\n");
    let written = fs::read_to_string(&case).expect("a text");
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines[1], r#"{"messages":[{"value":"HELLO"}]}"#);
    assert_eq!(lines[3], r#"{"messages":[{"value":{"json":{"ID": "A1"}}}]}"#);
    let passed = "ok      greeting              2 records\n1 case passed\n";
    assert_eq!(test(&project, &[], 0).0, passed);
    assert_eq!(test(&project, &["--update"], 0).0, "unchanged  greeting\n0 cases written, 1 unchanged\n");
    assert!(!project.join("golden-shout.wasm").exists(), "what is tested is not put where a node finds it");

    edit(&project, "to_ascii_uppercase", "to_ascii_lowercase");
    let (shown, _) = test(&project, &[], 1);
    assert_eq!(
        shown,
        "FAILED  greeting              2 of 2 records\n\
         \x20 cases/greeting.ndjson:1  golden-shout-in/0 @0\n\
         \x20   value\n\
         \x20     expected  HELLO\n\
         \x20     got       hello\n\
         \x20               ^^^^^\n\
         \x20 cases/greeting.ndjson:3  golden-shout-in/0 @1\n\
         \x20   value, from byte 2\n\
         \x20     expected  {\"ID\": \"A1\"}\n\
         \x20     got       {\"id\": \"a1\"}\n\
         \x20                 ^^^^^^^\n\
         0 cases passed, 1 failed\n"
    );
    test(&project, &["--update"], 0);
    assert_eq!(test(&project, &[], 0).0, passed);
    clean(&project, "golden-shout");
}

/// A folder with a manifest for the function `hostile`, which is not built there.
fn hostile(folder: &Path) {
    let component = functions::component("hostile");
    let manifest = format!(
        "[cluster.main]\nbrokers = \"${{NO_SUCH_BROKERS}}\"\n[function.obey]\ncomponent = {component:?}\n\
         deadline = \"500ms\"\nmemory = \"8MiB\"\nenv = {{ MODE = \"test\" }}\nsecrets = {{ KEY = {{ env = \"NO_SUCH_KEY\" }} }}\n\
         [trigger.orders]\nfunction = \"obey\"\ntopics = [\"orders\"]\noutput = \"obeyed\"\n\
         allow-topics = [\"audit\"]\non-exhausted = \"skip\"\n"
    );
    fs::write(folder.join("tidegate.toml"), manifest).expect("written");
}

#[test]
fn the_real_engine_runs_the_cases_with_the_settings_of_the_manifest() {
    let folder = folder();
    let at = folder.path();
    hostile(at);
    let values = [
        ("spin", r#"{"failure":{"cause":"deadline"}}"#),
        ("trap", r#"{"failure":{"cause":"trap"}}"#),
        ("bomb", r#"{"failure":{"cause":"memory"}}"#),
        ("exit:3", r#"{"failure":{"cause":"exit"}}"#),
        ("to:elsewhere;x", r#"{"failure":{"cause":"bad-outcome"}}"#),
        ("reject;no good", r#"{"failure":{"cause":"reject","reason":"no good"}}"#),
        ("retry:2;x", r#"{"failure":{"cause":"retry","reason":"attempt 1"}}"#),
        ("to:audit;x", r#"{"messages":[{"topic":"audit","value":"x"}]}"#),
        ("to:obeyed;x", r#"{"messages":[{"value":"x"}]}"#),
        ("part:3;x", r#"{"messages":[{"partition":3,"value":"x"}]}"#),
        ("many:2;x", r#"{"messages":[{"value":"x#0"},{"value":"x#1"}]}"#),
        ("drop", r#"{"messages":[]}"#),
        ("copy", r#"{"messages":[{}]}"#),
        ("env:MODE", r#"{"messages":[{"value":"test"}]}"#),
        ("env:KEY", r#"{"messages":[{"value":null}]}"#),
        ("env:TIDEGATE_TRIGGER", r#"{"messages":[{"value":"orders"}]}"#),
    ];
    let record = |value: &str| format!("{{\"key\": \"k\", \"timestamp\": 7, \"value\": \"{value}\"}}\n");
    let records: String = values.iter().map(|(value, _)| record(value)).collect();
    let expected: String = values.iter().map(|(value, answer)| record(value) + answer + "\n").collect();
    let case = write_case(at, "all", &records);
    let quiet = ["--no-build", "--log", "warn"];
    let (_, errors) = test(at, &[&quiet[..], &["--update"]].concat(), 0);
    assert!(errors.contains("the secret KEY of obey is not there; --env KEY=VALUE gives one"), "{errors}");
    assert_eq!(fs::read_to_string(&case).expect("a text"), expected);

    let first = test(at, &quiet, 0);
    assert_eq!(first.0, "ok      all                   16 records\n1 case passed\n");
    assert_eq!(test(at, &quiet, 0), first, "the same each time");
    let (shown, errors) = test(at, &[&quiet[..], &["--env", "KEY=sesame", "--env", "MODE=live"]].concat(), 1);
    assert_eq!(errors, "error: 1 of 1 cases failed; `tidegate test --update` accepts what came\n");
    assert_eq!(
        shown,
        "FAILED  all                   2 of 16 records\n\
         \x20 cases/all.ndjson:27  orders/0 @13\n\
         \x20   value\n\
         \x20     expected  test\n\
         \x20     got       live\n\
         \x20               ^^^^\n\
         \x20 cases/all.ndjson:29  orders/0 @14\n\
         \x20   value\n\
         \x20     expected  (null)\n\
         \x20     got       sesame\n\
         0 cases passed, 1 failed\n"
    );
}

#[test]
fn cases_are_chosen_and_those_that_cannot_be_read_are_named() {
    let folder = folder();
    let at = folder.path();
    hostile(at);
    let good = "{\"value\": \"copy\"}\n{\"messages\": [{}]}\n";
    for name in ["vat", "vat-reduced", "refund"] {
        write_case(at, name, good);
    }
    let line = |name: &str| format!("ok      {name:<20}  1 record\n");
    let (shown, _) = test(at, &["--no-build", "--filter", "vat"], 0);
    assert_eq!(shown, [&line("vat"), &line("vat-reduced"), "2 cases passed\n"].concat());
    let (shown, _) = test(at, &["--no-build", "--filter", "reduced", "--filter", "refund"], 0);
    assert_eq!(shown, [&line("refund"), &line("vat-reduced"), "2 cases passed\n"].concat());
    let (_, errors) = test(at, &["--no-build", "--filter", "VAT"], 2);
    assert_eq!(errors, "error: no case has VAT in its name; there are refund, vat, vat-reduced\n");

    write_case(at, "broken", "{\"value\": \"copy\"}\n{\"messages\": [{\"vaule\": \"x\"}]}\n");
    write_case(at, "misplaced", "{\"offset\": 7}\n{\"offset\": 7}\n");
    let (shown, errors) = test(at, &["--no-build"], 2);
    assert_eq!(shown, "");
    assert!(errors.contains("error: cases/broken.ndjson, line 2, column 22: unknown field `vaule`"), "{errors}");
    let (_, errors) = test(at, &["--no-build", "--filter", "misplaced"], 2);
    assert!(errors.contains("cases/misplaced.ndjson, line 2") && errors.contains("ascend"), "{errors}");

    let (_, errors) = test(at, &["--filter", "vat"], 2);
    assert!(errors.contains("is no project") && errors.contains("--no-build"), "{errors}");
    let (_, errors) = test(at, &["--no-build", "--filter", "vat", "--function", "shut"], 2);
    assert!(errors.contains("\"shut\"") && errors.contains("it has obey"), "{errors}");
}

#[test]
fn a_manifest_above_that_is_not_used_is_named_with_the_way_out() {
    let folder = folder();
    let at = folder.path();
    for project in ["a", "b"] {
        fs::create_dir(at.join(project)).expect("a folder");
        // It does not build, so that the test ends there: what is said before is looked at.
        fs::write(at.join(project).join("main.go"), "package none\n").expect("written");
    }
    write_case(&at.join("b"), "one", "{}\n");
    let manifest = |text: &str| fs::write(at.join("tidegate.toml"), text).expect("written");
    #[track_caller]
    fn check(folder: &Path, arguments: &[&str], code: i32, first: &str) {
        let (_, errors) = test(folder, arguments, code);
        assert_eq!(errors.lines().next(), Some(first), "{errors}");
    }
    let asked = ["b", "--manifest", "tidegate.toml"];

    manifest("[function.orders]\ncomponent = \"a/orders.wasm\"\n");
    let line = "tidegate.toml is not for this project, so the defaults hold; --manifest tidegate.toml uses it";
    check(at, &["b"], 1, line);
    check(&at.join("b"), &[], 1, &line.replace("tidegate.toml", "../tidegate.toml"));
    assert!(!test(at, &asked, 1).1.contains("defaults"));

    manifest("[function.orders]\ncomponnent = \"a/orders.wasm\"\n");
    let line = "warning: tidegate.toml is wrong, so the defaults hold; --manifest tidegate.toml says what is wrong";
    check(at, &["b"], 1, line);
    assert!(test(at, &asked, 2).1.contains("did you mean `component`?"));

    manifest("[function.orders]\ncomponent = \"rust/orders.wasm\"\n");
    fs::create_dir(at.join("rust")).expect("a folder");
    fs::write(at.join("rust/Cargo.toml"), "").expect("written");
    check(at, &["b"], 1, "with the function orders of tidegate.toml");
}

/// The function `hostile` with two triggers: one may write to `audit`, the other has an output.
fn with_two_triggers(folder: &Path) {
    let component = functions::component("hostile");
    let manifest = format!(
        "[cluster.main]\nbrokers = \"localhost:9\"\n[function.obey]\ncomponent = {component:?}\n\
         [trigger.orders]\nfunction = \"obey\"\ntopics = [\"orders\"]\nallow-topics = [\"audit\"]\non-exhausted = \"skip\"\n\
         [trigger.refunds]\nfunction = \"obey\"\ntopics = [\"refunds\"]\noutput = \"obeyed\"\non-exhausted = \"skip\"\n"
    );
    fs::write(folder.join("tidegate.toml"), manifest).expect("written");
}

#[test]
fn records_are_called_with_the_topics_of_their_trigger_only() {
    let folder = folder();
    let at = folder.path();
    with_two_triggers(at);
    let record = |topic: &str, value: &str| format!("{{\"topic\": \"{topic}\", \"value\": \"{value}\"}}\n");
    let bad = "{\"failure\":{\"cause\":\"bad-outcome\"}}\n";
    let audit = "{\"messages\":[{\"topic\":\"audit\",\"value\":\"x\"}]}\n";
    write_case(at, "no-topic", &["{\"value\": \"to:audit;x\"}\n", audit].concat());
    write_case(at, "orders", &[&record("orders", "to:audit;x"), audit, &record("orders", "copy"), bad].concat());
    let copied = "{\"messages\":[{}]}\n";
    let trigger = "{\"messages\":[{\"value\":\"refunds\"}]}\n";
    let refunds = [
        &record("refunds", "to:audit;x"),
        bad,
        &record("refunds", "copy"),
        copied,
        &record("refunds", "env:TIDEGATE_TRIGGER"),
        trigger,
    ];
    write_case(at, "refunds", &refunds.concat());
    assert!(test(at, &["--no-build"], 0).0.ends_with("3 cases passed\n"));
    write_case(at, "mixed", &[&record("orders", "drop"), "{\"messages\":[]}\n", &record("refunds", "drop")].concat());
    let (_, errors) = test(at, &["--no-build"], 2);
    let reason = "cases/mixed.ndjson, line 3, column 1: refunds is a topic of the trigger refunds, and the records \
                  above are those of orders: make a case of each";
    assert!(errors.contains(reason), "{errors}");

    let invoke = |arguments: &[&str]| {
        let output = tidegate(at, &[&["invoke", "--format", "ndjson"], arguments].concat());
        (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let (code, outcomes, errors) = invoke(&["--value", "to:audit;x"]);
    assert!(code == Some(0) && outcomes.contains(r#""topic":"audit""#), "{outcomes}{errors}");
    let (code, outcomes, errors) = invoke(&["--value", "to:audit;x", "--topic", "refunds"]);
    assert!(code == Some(1) && outcomes.contains("bad-outcome"), "{outcomes}{errors}");
    let (code, _, errors) = invoke(&["--value", "x", "--topic", "refund"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("no trigger of obey reads the topic refund; they read orders, refunds"), "{errors}");
    let (code, _, errors) = invoke(&["--input", "cases/refunds.ndjson"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("line 1: the trigger orders does not read refunds; --topic refunds calls"), "{errors}");
}

#[test]
fn what_is_typed_during_a_build_is_tested_and_kept() {
    let folder = folder();
    let project = project(folder.path(), "golden-typing");
    let case = write_case(&project, "greeting", "{\"value\": \"a\"}\n");
    // The build itself types, so that it is neither too early nor too late.
    let types = r#"fn main() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/greeting.ndjson");
        std::fs::write(path, "{\"value\": \"b\"}\n{\"value\": \"c\"}\n").expect("written");
    }"#;
    fs::write(project.join("build.rs"), types).expect("written");
    test(&project, &["--update"], 0);
    assert_eq!(
        fs::read_to_string(&case).expect("a text"),
        "{\"value\": \"b\"}\n{\"messages\":[{\"value\":\"B\"}]}\n\
         {\"value\": \"c\"}\n{\"messages\":[{\"value\":\"C\"}]}\n"
    );
    clean(&project, "golden-typing");
}
