//! The jars of `tests/kafka/pom.xml`, fetched by Maven into `target/kafka/libs` when needed.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::place;

const INSTALL: &str = "the tests start an Apache Kafka, for which they need a JDK (17 or later) and Maven on the PATH.
Install them with the line that fits:

    apt-get install openjdk-17-jdk-headless maven
    brew install openjdk@17 maven

With TIDEGATE_TEST_KAFKA=host:port most tests use a broker that is there already; those that stop
one, and the one that reads with Kafka's own consumer, need these all the same.";

/// `java` with the classpath and the settings of a short-lived JVM.
pub(super) fn java() -> Command {
    let mut command = java_that_stays();
    // Given after the class path, which is an option like others.
    command.arg("-XX:TieredStopAtLevel=1");
    command
}

/// As [`java`], for a JVM that lives long enough to compile well.
pub(super) fn java_that_stays() -> Command {
    static LIBS: LazyLock<PathBuf> = LazyLock::new(install);
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-cp"]);
    command.arg(LIBS.join("*"));
    command
}

/// Another test process may be doing the same, so there is a lock; and a run may be cut short, so
/// the jars are fetched beside their place and moved there as a whole.
fn install() -> PathBuf {
    assert!(runs("java", "-version"), "java is missing: {INSTALL}");
    let pom = place::repository().join("tests/kafka/pom.xml");
    let wanted = fs::read_to_string(&pom).expect("tests/kafka/pom.xml is readable");
    let folder = place::target().join("kafka");
    let (libs, part, mark) = (folder.join("libs"), folder.join("libs.part"), folder.join("libs/pom.xml"));

    fs::create_dir_all(&folder).expect("target/kafka can be created");
    let lock = File::create(folder.join("lock")).expect("target/kafka/lock can be created");
    lock.lock().expect("target/kafka/lock can be locked");
    if fs::read_to_string(&mark).is_ok_and(|have| have == wanted) {
        return libs;
    }
    assert!(runs("mvn", "-version"), "mvn is missing: {INSTALL}");
    eprintln!("fetching Apache Kafka into {}, 54 MB, once", libs.display());
    for old in [&libs, &part] {
        let _ = fs::remove_dir_all(old);
    }
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", part.display()))
        .stdin(Stdio::null())
        .output()
        .expect("mvn starts");
    assert!(
        output.status.success(),
        "Maven cannot fetch the jars of {}:\n{}{}",
        pom.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    fs::write(part.join("pom.xml"), &wanted).expect("target/kafka can be written");
    fs::rename(&part, &libs).expect("target/kafka can be written");
    libs
}

fn runs(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
