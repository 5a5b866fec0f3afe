//! The program `tests/aws/driver.py`, which does one command after the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::install;
use crate::place;

#[derive(Debug)]
pub(super) struct Client {
    driver: Mutex<Driver>,
    log: PathBuf,
}

/// It needs no guard: it ends when its standard input does.
#[derive(Debug)]
struct Driver {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    pub(super) fn start(endpoint: &str, folder: &Path) -> Client {
        let log = folder.join("driver.log");
        let mut child = Command::new(install::python())
            .arg(place::repository().join("tests/aws/driver.py"))
            .arg(endpoint)
            // Settings of whoever runs the tests are not ours.
            .env_remove("AWS_PROFILE")
            .envs([("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")])
            .envs([("no_proxy", "127.0.0.1"), ("NO_PROXY", "127.0.0.1")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("the client's log can be written"))
            .spawn()
            .expect("python starts");
        let commands = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Client { driver: Mutex::new(Driver { child, commands, answers }), log }
    }

    /// Does a command, which names a function of the program and its arguments. Panics if that fails.
    #[track_caller]
    pub(super) fn call(&self, command: &Value) -> Value {
        // A test that panicked within a call has ended the program, or has nothing left to ask.
        let asked = self.driver.lock().unwrap_or_else(PoisonError::into_inner).ask(command);
        let mut answer = asked.unwrap_or_else(|error| {
            panic!("the client of S3 and SQS has ended, {error}, at {command}:\n{}", place::tail(&self.log, 40))
        });
        if let Some(error) = answer.get("error") {
            panic!("S3 or SQS: {error}, at {command}");
        }
        answer["ok"].take()
    }
}

impl Driver {
    fn ask(&mut self, command: &Value) -> io::Result<Value> {
        self.commands.write_all(format!("{command}\n").as_bytes())?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
