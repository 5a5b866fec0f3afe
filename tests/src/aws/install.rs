//! A Python with the packages of `tests/aws/requirements.txt`, made in `target/aws` when needed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::place;

const INSTALL: &str = "the tests start a server of S3 and SQS, for which they need Python 3 with venv.
Install it with the line that fits:

    apt-get install python3-venv
    brew install python";

/// The interpreter of that environment.
pub(super) fn python() -> &'static Path {
    static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| install().join("bin/python"));
    &PYTHON
}

/// Another test process may be doing the same, so there is a lock; and a run may be cut short, so
/// the list of packages is copied when all of them are there. An environment cannot be moved: its
/// programs have its path in them.
fn install() -> PathBuf {
    let list = place::repository().join("tests/aws/requirements.txt");
    let wanted = fs::read_to_string(&list).expect("tests/aws/requirements.txt is readable");
    let folder = place::target().join("aws");
    let (environment, mark) = (folder.join("venv"), folder.join("venv/requirements.txt"));

    fs::create_dir_all(&folder).expect("target/aws can be created");
    let lock = File::create(folder.join("lock")).expect("target/aws/lock can be created");
    lock.lock().expect("target/aws/lock can be locked");
    if fs::read_to_string(&mark).is_ok_and(|have| have == wanted) {
        return environment;
    }
    eprintln!("installing the packages of {} into {}, 90 MB, once", list.display(), environment.display());
    let _ = fs::remove_dir_all(&environment);
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"]).arg(&list);
    run(&mut pip);
    fs::write(&mark, &wanted).expect("target/aws can be written");
    environment
}

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start, {error}: {INSTALL}"));
    assert!(
        output.status.success(),
        "{command:?} fails:\n{}{}\n{INSTALL}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
