//! `tidegate dev`, as an author has it: builds and golden cases on save, lines typed and shown.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::process::{Process, Signal};
use tidegate_tests::{functions, net, node, wait};

use crate::golden::{clean, command, edit, folder, project, tidegate, write_case};

/// A build of a small crate on a busy machine.
const BUILT: Duration = Duration::from_secs(240);

#[test]
fn dev_ends_with_a_message_when_its_port_is_taken() {
    let folder = folder();
    let at = folder.path();
    // Beside the manifest nothing is a project, so nothing is built, but sources are looked at.
    fs::copy(functions::component("hostile"), at.join("hostile.wasm")).expect("copied");
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = taken.local_addr().expect("bound");
    let manifest = format!(
        "[admin]\nlisten = \"{address}\"\n[cluster.main]\nbrokers = \"localhost:9\"\n\
         [function.obey]\ncomponent = \"hostile.wasm\"\n\
         [trigger.orders]\nfunction = \"obey\"\ntopics = [\"orders\"]\non-exhausted = \"skip\"\n"
    );
    fs::write(at.join("tidegate.toml"), manifest).expect("written");
    let path = at.join("dev.log");
    let mut dev = command(at, &["dev"]);
    dev.stdout(Stdio::null()).stderr(fs::File::create(&path).expect("a log"));
    let mut process = Process::spawn(&mut dev, at).expect("tidegate starts");
    let status = process.wait(Duration::from_secs(60));
    let said = fs::read_to_string(&path).expect("a text");
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{said}");
    assert!(said.contains(&format!("error: cannot listen on {address}")), "{said}");
}

/// A running `tidegate dev`.
struct Dev {
    process: Process,
    admin: SocketAddr,
    log: PathBuf,
    shown: PathBuf,
    keyboard: fs::File,
}

impl Dev {
    fn start(project: &Path) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, net::free_port()));
        let manifest = project.join("tidegate.toml");
        let text = fs::read_to_string(&manifest).expect("a text");
        fs::write(&manifest, format!("{text}\n[admin]\nlisten = \"{admin}\"\n")).expect("written");
        // In the project, as a shell does it: what dev says must not be a source to it.
        let [log, shown, typed] = ["dev.said", "dev.shown", "dev.typed"].map(|name| project.join(name));
        assert!(Command::new("mkfifo").arg(&typed).status().expect("mkfifo starts").success());
        // Open at both ends, so that nobody waits here for the other one.
        let keyboard = fs::File::options().read(true).write(true).open(typed).expect("a pipe");
        // A process with a guard starts with nothing on its standard input, so a shell opens the pipe.
        let wanted = command(project, &["dev"]);
        let mut dev = Command::new("sh");
        dev.args(["-c", "exec \"$@\" <dev.typed", "sh"]).arg(wanted.get_program()).args(wanted.get_args());
        dev.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(project);
        // Of cargo only what is wrong with the source. The log as it is without a filter.
        dev.env("CARGO_TERM_QUIET", "true").env_remove("RUST_LOG");
        let [out, error] = [&shown, &log].map(|path| fs::File::create(path).expect("a file"));
        dev.stdout(out).stderr(error);
        let process = Process::spawn(&mut dev, project).expect("tidegate starts");
        Self { process, admin, log, shown, keyboard }
    }

    /// What it said until now.
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it says this once more than it had in `before`.
    #[track_caller]
    fn wait_for(&mut self, words: &str, before: &str) {
        let before = before.matches(words).count();
        let said = wait::try_some(BUILT, || {
            assert!(self.process.ended().is_none(), "dev ended:\n{}", self.said());
            (self.said().matches(words).count() > before).then_some(())
        });
        assert!(said.is_some(), "waited in vain for {words:?}:\n{}", self.said());
    }

    /// Types a line, and waits until a record with this value comes out.
    #[track_caller]
    fn answers(&mut self, line: &str, value: &str) {
        writeln!(self.keyboard, "{line}").expect("typed");
        let end = format!(" │ {value}");
        let shown = || fs::read_to_string(&self.shown).unwrap_or_default();
        let is_answer = |line: &str| line.starts_with("← ") && line.ends_with(&end);
        let answered = wait::try_some(BUILT, || shown().lines().any(is_answer).then_some(()));
        assert!(answered.is_some(), "{line} has no answer {value}:\n{}{}", shown(), self.said());
    }

    /// Waits until another revision serves than this one, and says which. Null: any.
    #[track_caller]
    fn next_serving(&self, trigger: &str, before: &Value) -> Value {
        wait::some("a new revision serves", BUILT, || {
            Some(self.serving(trigger)).filter(|now| now.is_string() && now != before)
        })
    }

    /// SIGTERM, after which it has to end well.
    #[track_caller]
    fn end(&mut self) {
        self.process.signal(Signal::Term);
        let status = self.process.wait(Duration::from_secs(60));
        assert!(status.is_some_and(|status| status.success()), "{}", self.said());
    }

    /// The revision that serves. Null: none, or no answer.
    fn serving(&self, trigger: &str) -> Value {
        let answer = net::get(self.admin, "/health").ok();
        let health: Option<Value> = answer.and_then(|answer| serde_json::from_str(&answer.body).ok());
        health.unwrap_or_default()["triggers"][trigger]["revision"].take()
    }
}

#[test]
fn dev_keeps_the_old_revision_while_a_case_fails() {
    let folder = folder();
    let project = project(folder.path(), "golden-dev");
    let expected = "{\"value\": \"hello\"}\n{\"messages\": [{\"value\": \"HELLO\"}]}\n";
    let case = write_case(&project, "greeting", expected);
    let mut dev = Dev::start(&project);
    dev.wait_for("built golden-dev.wasm", "");
    assert!(dev.said().contains("1 golden case passed\n"), "{}", dev.said());
    let serving = dev.next_serving("golden-dev", &Value::Null);
    let component = || fs::read(project.join("golden-dev.wasm")).expect("a component");
    let first = component();

    let before = dev.said();
    edit(&project, "to_ascii_uppercase", "to_ascii_lowercase");
    dev.wait_for("golden-dev.wasm stays as it is", &before);
    let difference = "FAILED  greeting              1 of 1 record\n\
                      \x20 cases/greeting.ndjson:1  golden-dev-in/0 @0\n\
                      \x20   value\n\
                      \x20     expected  HELLO\n\
                      \x20     got       hello\n\
                      \x20               ^^^^^\n\
                      error: 1 of 1 golden cases failed; `tidegate test --update` accepts what came\n\
                      golden-dev.wasm stays as it is\n";
    assert!(dev.said().contains(difference), "{}", dev.said());
    assert!(component() == first && dev.serving("golden-dev") == serving, "the old revision serves");

    // A file that is no case stops nothing either.
    let before = dev.said();
    fs::write(&case, "hello\n").expect("written");
    dev.wait_for("golden-dev.wasm stays as it is", &before);
    let broken =
        "FAILED  greeting              cannot be run\n  cases/greeting.ndjson, line 1, column 1: a record is an object";
    assert!(dev.said().contains(broken), "{}", dev.said());

    let before = dev.said();
    node::replace(&case, expected.replace("HELLO", "hello").as_bytes());
    dev.wait_for("built golden-dev.wasm", &before);
    dev.next_serving("golden-dev", &serving);
    assert!(component() != first);
    dev.end();
    clean(&project, "golden-dev");
}

#[track_caller]
fn fits_eighty_columns(text: &str) {
    // All that these tests show is one column wide a character.
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

/// An author starts a project that answers in upper case, breaks its source, and mends it so that it
/// answers to "Mended" with `answer`.
#[track_caller]
fn breaks_and_mends(project: &Path, name: &str, source: &str, (from, to): (&str, &str), answer: &str) {
    let component = format!("{name}.wasm");
    let mut dev = Dev::start(project);
    dev.wait_for(&format!("built {component}"), "");
    let first = dev.next_serving(name, &Value::Null);
    dev.answers("a:hello", "HELLO");

    let path = project.join(source);
    let good = fs::read_to_string(&path).expect("a text");
    let whole = dev.said();
    node::replace(&path, format!("{good}\nbroken(\n").as_bytes());
    dev.wait_for(&format!("{component} stays as it is\n"), &whole);
    let said = dev.said();
    let broken = said.strip_prefix(&whole).expect("what was said stays");
    // The compiler's own lines, and then ours.
    let (compiler, ours) = broken.split_at(broken.rfind("\nerror: ").expect("the build failed"));
    assert!(compiler.contains(&format!("{source}:")), "{broken}");
    assert_eq!(dev.serving(name), first, "{broken}");
    dev.answers("a:again", "AGAIN");

    let mended = good.replace(from, to);
    assert_ne!(mended, good);
    node::replace(&path, mended.as_bytes());
    dev.wait_for(&format!("built {component}"), &said);
    dev.next_serving(name, &first);
    dev.answers("a:Mended", answer);
    dev.end();
    let count = |words: &str| dev.said().matches(words).count();
    assert_eq!((count(&format!("built {component}")), count("stays as it is")), (2, 1), "{}", dev.said());
    let later = dev.said().split_off(said.len());
    let shown = fs::read_to_string(&dev.shown).expect("a text");
    for text in [whole.as_str(), ours, &later, &shown] {
        fits_eighty_columns(text);
    }
}

#[test]
fn dev_answers_by_the_old_revision_while_a_project_in_rust_is_broken() {
    let folder = folder();
    let project = project(folder.path(), "dev-rust");
    let mend = ("to_ascii_uppercase", "to_ascii_lowercase");
    breaks_and_mends(&project, "dev-rust", "src/lib.rs", mend, "mended");
    clean(&project, "dev-rust");
}

#[test]
fn dev_answers_by_the_old_revision_while_a_project_in_go_is_broken() {
    let folder = folder();
    let made = tidegate(folder.path(), &["new", "dev-go", "--lang", "go"]);
    assert!(made.status.success(), "{made:?}");
    let project = folder.path().join("dev-go");
    fs::remove_dir_all(project.join("cases")).expect("a new project has a case");
    breaks_and_mends(&project, "dev-go", "main.go", ("b - 'a' + 'A'", "'*'"), "M*****");
}
