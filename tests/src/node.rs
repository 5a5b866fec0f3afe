//! A running `tidegate`, the real binary, as an operator runs it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::net::{self, Response};
use crate::process::{Process, Signal};
use crate::{place, wait};

/// A node needs far less; this only decides when a test that hangs fails.
const TERM_LIMIT: Duration = Duration::from_secs(60);

/// How the manifest lies in the node's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A file, replaced by renaming another over it, as editors and tools do.
    File,
    /// As Kubernetes mounts a ConfigMap: `tidegate.toml -> ..data/tidegate.toml`, `..data -> ..N`,
    /// replaced by writing a new folder and swapping the link `..data`.
    ConfigMap,
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// None: by a signal.
    pub code: Option<i32>,
    /// From the signal to the end.
    pub took: Duration,
}

/// A node. Dropping it kills it; if the test is panicking then, its log is printed.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: TempDir,
    layout: Layout,
    written: u32,
    admin: SocketAddr,
    environment: Vec<(String, String)>,
    process: Option<Process>,
}

impl Node {
    /// Starts `tidegate run` with this manifest, to which the `[admin]` table is added. Returns at
    /// once; see [`Node::wait_ready`].
    pub fn start(name: &str, manifest: &str) -> Node {
        let mut node = Node::prepare(name, Layout::File, manifest);
        node.start_again();
        node
    }

    /// A node that is not started yet, see [`Node::start_again`].
    pub fn prepare(name: &str, layout: Layout, manifest: &str) -> Node {
        let mut node = Node {
            name: name.to_owned(),
            folder: tempfile::Builder::new().prefix("tidegate-node-").tempdir().expect("a folder for the node"),
            layout,
            written: 0,
            admin: (Ipv4Addr::LOCALHOST, net::free_port()).into(),
            environment: Vec::new(),
            process: None,
        };
        node.write_manifest(manifest);
        node
    }

    /// Sets a variable for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it, or starts it again after [`Node::term`] or [`Node::kill`]: the same name, folder
    /// and manifest.
    pub fn start_again(&mut self) {
        let log = self.log();
        self.start_logging_to(log);
    }

    /// The same, but what it writes to standard error goes elsewhere.
    pub fn start_logging_to(&mut self, standard_error: impl Into<Stdio>) {
        assert!(self.process.is_none(), "node {} runs", self.name);
        let log_filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
        let mut command = command();
        command
            .args(["run", "--manifest"])
            .arg(self.manifest_path())
            .args(["--node", &self.name])
            .current_dir(self.folder.path())
            .env("RUST_LOG", log_filter)
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(self.log())
            .stderr(standard_error);
        self.process = Some(Process::spawn(&mut command, self.folder.path()).expect("tidegate starts"));
    }

    /// The process of the running node.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("the node runs").id()
    }

    /// How many threads it has. None where there is no `/proc` to tell.
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.id())).map_or(0, Iterator::count)
    }

    /// A file's place in the node's folder, for components that a test replaces.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Where the manifest is.
    pub fn manifest_path(&self) -> PathBuf {
        self.path("tidegate.toml")
    }

    /// Replaces the manifest under the running node, as its [`Layout`] says.
    pub fn write_manifest(&mut self, manifest: &str) {
        let text = format!("{manifest}\n[admin]\nlisten = \"{}\"\n", self.admin);
        self.written += 1;
        match self.layout {
            Layout::File => replace(&self.manifest_path(), text.as_bytes()),
            Layout::ConfigMap => {
                let version = format!("..{}", self.written);
                fs::create_dir(self.path(&version)).expect("a new folder");
                fs::write(self.path(&version).join("tidegate.toml"), text).expect("the manifest is written");
                symlink(&version, self.path("..data_tmp")).expect("a new link");
                fs::rename(self.path("..data_tmp"), self.path("..data")).expect("the links are swapped");
                if self.written == 1 {
                    symlink("..data/tidegate.toml", self.manifest_path()).expect("a new link");
                } else {
                    let _ = fs::remove_dir_all(self.path(&format!("..{}", self.written - 1)));
                }
            }
        }
    }

    /// Polls `/readyz` until it says 200, and holds it to what that means: every trigger has a
    /// serving revision.
    #[track_caller]
    pub fn wait_ready(&mut self, limit: Duration) {
        self.wait_for("the node is ready", limit, |node| {
            node.get("/readyz").is_some_and(|response| response.status == 200)
        });
        let health = self.health();
        let triggers = health["triggers"].as_object().filter(|triggers| !triggers.is_empty());
        let serve = triggers.is_some_and(|triggers| triggers.values().all(|trigger| trigger["revision"].is_string()));
        assert!(serve, "node {} says it is ready, but not every trigger serves: {health}", self.name);
    }

    /// Polls until the condition holds. Fails at once when the process ends, and shows the health
    /// report and the log when it fails.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, limit: Duration, mut condition: impl FnMut(&Node) -> bool) {
        let held = wait::try_some(limit, || match self.process.as_mut().and_then(Process::ended) {
            Some(status) => Some(Err(status)),
            None => condition(self).then_some(Ok(())),
        });
        let name = &self.name;
        match held {
            Some(Ok(())) => {}
            Some(Err(status)) => panic!("node {name} ended, {status}, while waiting: {what}"),
            None => panic!("node {name}: waited {limit:?} in vain: {what}; health: {}", self.health()),
        }
    }

    /// `GET path` on the admin listener. None: no answer.
    pub fn get(&self, path: &str) -> Option<Response> {
        net::get(self.admin, path).ok()
    }

    /// `POST path` with JSON on the admin listener. None: no answer.
    pub fn post(&self, path: &str, json: &str) -> Option<Response> {
        net::post(self.admin, path, json).ok()
    }

    /// The report at `/health`. Null: no answer, or not JSON.
    pub fn health(&self) -> Value {
        self.get("/health").and_then(|response| serde_json::from_str(&response.body).ok()).unwrap_or(Value::Null)
    }

    /// A trigger's part of the health report. Null if there is none.
    pub fn trigger(&self, trigger: &str) -> Value {
        self.health()["triggers"][trigger].take()
    }

    /// A function's part of the health report. Null if there is none.
    pub fn function(&self, function: &str) -> Value {
        self.health()["functions"][function].take()
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub fn term(&mut self) -> Exit {
        self.signal(Signal::Term);
        self.end()
    }

    /// Waits for the end, after a signal.
    #[track_caller]
    pub fn end(&mut self) -> Exit {
        let mut process = self.process.take().expect("the node runs");
        let start = Instant::now();
        let Some(status) = process.wait(TERM_LIMIT) else {
            panic!("node {} still runs {TERM_LIMIT:?} after its signal", self.name);
        };
        Exit { code: status.code(), took: start.elapsed() }
    }

    /// SIGTERM, and insists on a clean end.
    #[track_caller]
    pub fn term_cleanly(&mut self) {
        let exit = self.term();
        assert_eq!(exit.code, Some(0), "node {} after SIGTERM, in {:?}", self.name, exit.took);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("the node runs").kill();
    }

    /// Sends a signal and does not wait.
    pub fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("the node runs").signal(signal);
    }

    /// Everything written to standard output and error, over all starts.
    pub fn logs(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log(&self) -> File {
        let log = File::options().create(true).append(true).open(self.log_path());
        log.expect("the node's log can be written")
    }

    fn log_path(&self) -> PathBuf {
        self.path("node.log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let tail = place::tail(&self.log_path(), 200);
            eprintln!("---- last lines of node {} ----\n{tail}\n----", self.name);
        }
    }
}

/// Replaces a file as a whole: a reader sees the old content or the new.
pub fn replace(path: &Path, bytes: &[u8]) {
    let part = path.with_extension("part");
    fs::write(&part, bytes).expect("the new file is written");
    fs::rename(&part, path).expect("the new file takes the old one's place");
}

/// The `tidegate` binary, for tests of its other commands.
#[track_caller]
pub fn command() -> Command {
    let mut command = Command::new(binary());
    // One compile cache for all tests and runs, and none in the home folder.
    command.env("NO_COLOR", "1").env("XDG_CACHE_HOME", place::target().join("tests-cache"));
    command
}

#[track_caller]
fn binary() -> PathBuf {
    let path = place::profile().join("tidegate");
    assert!(
        path.is_file(),
        "{} is missing: run `make test`, or build it first with\n\n    cargo build -p tidegate\n",
        path.display(),
    );
    path
}
