//! Child processes that end with the test process.
//!
//! A test process can end without running any destructor: a shared broker sits in a `static`, a
//! run is interrupted, a test aborts. So every child has a guard, a shell that reads from a pipe
//! of ours and kills the child when the pipe closes, whatever closed it. It is also who sends
//! signals, which the standard library cannot. Linux has `PR_SET_PDEATHSIG` for this, but that
//! fires when the *thread* that started the child ends, and the test runner ends one with every
//! test; and macOS has nothing like it.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::wait;

/// Reads names of signals and sends them to `$1`. At the end of the pipe it kills `$1` and removes
/// the folder `$2`. A terminal's interrupt reaches the whole process group; the
/// guard has to outlive it.
const GUARD: &str = r#"
trap '' INT TERM HUP
while read -r signal; do kill -s "$signal" "$1" 2>/dev/null; done
kill -s KILL "$1" 2>/dev/null
while kill -0 "$1" 2>/dev/null; do sleep 0.05; done
rm -rf "$2"
"#;

/// What a test does to a process, by the name that `kill -s` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Please end.
    Term,
    /// As a terminal's Ctrl-C.
    Int,
    /// As a terminal that is closed.
    Hup,
    /// Stand still: accepts connections and never answers.
    Stop,
    /// Go on after [`Signal::Stop`].
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Hup => "HUP",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        }
    }
}

/// A running child and its guard. Dropping it kills the child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    guard: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts the command with nothing on its standard input. Should the test process end without
    /// its destructors, the guard also removes this folder.
    pub fn spawn(command: &mut Command, folder: &Path) -> io::Result<Process> {
        let child = command.stdin(Stdio::null()).spawn()?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", &child.id().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Process { child, guard, ended: None })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. Nothing happens if the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(pipe) = self.guard.stdin.as_mut() {
            // The guard is gone only together with the child.
            let _ = writeln!(pipe, "{}", signal.name());
        }
    }

    /// [`Signal::Stop`], and waits until it stands still.
    pub fn freeze(&mut self) {
        assert!(self.ended().is_none(), "only a process that runs can stand still");
        self.signal(Signal::Stop);
        let child = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a number");
        // The state is left to be found again.
        waitid(WaitId::Pid(child), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT).expect("a child can be waited for");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Some(status) = self.child.try_wait().expect("a child can be waited for")
        {
            self.ended = Some(status);
            self.dismiss_guard();
        }
        self.ended
    }

    /// Waits for its end. None: it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait::try_some(limit, || self.ended())
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.dismiss_guard();
        let _ = self.child.kill();
        if let Ok(status) = self.child.wait() {
            self.ended = Some(status);
        }
    }

    /// The guard knows the child by its number only, which may be somebody else's once the child
    /// has been waited for.
    fn dismiss_guard(&mut self) {
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn sleeper(folder: &Path) -> Process {
        Process::spawn(Command::new("sleep").arg("60"), folder).expect("sleep starts")
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn a_signal_arrives() {
        let folder = folder();
        let mut process = sleeper(folder.path());
        assert_eq!(process.ended(), None);
        process.signal(Signal::Term);
        let status = process.wait(LIMIT).expect("ended");
        assert_eq!(status.code(), None, "ended by a signal");
    }

    #[test]
    fn killing_is_immediate_and_may_be_repeated() {
        let folder = folder();
        let mut process = sleeper(folder.path());
        let start = Instant::now();
        process.kill();
        process.kill();
        process.signal(Signal::Term);
        assert!(process.ended().is_some());
        assert!(start.elapsed() < LIMIT);
        assert!(folder.path().exists(), "the folder is its owner's to remove");
    }

    #[test]
    fn the_guard_ends_the_child_and_removes_its_folder() {
        let folder = folder();
        let mut process = sleeper(folder.path());
        drop(process.guard.stdin.take());
        assert!(process.child.wait().expect("ended").code().is_none());
        wait::until("the guard removes the folder", LIMIT, || !folder.path().exists());
    }
}
