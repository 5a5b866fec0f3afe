//! A real Apache Kafka: one node, broker and controller in one process, on loopback ports.
//!
//! [`Kafka::shared`] is for tests that only use a broker, [`Kafka::start`] for those that stop or
//! kill one. Topics are never created by using them, so that a missing topic is an error as in
//! production. `TIDEGATE_TEST_KAFKA=host:port` makes the shared broker one that is there already.

mod clients;
mod group;
mod jars;
mod java;
mod raw;
mod record;
mod topic;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub(crate) use clients::acknowledging_producer;
pub use clients::now_ms;
pub use group::{Committed, Group};
pub use record::{Record, Stored};
use tempfile::TempDir;
pub use topic::{Reader, Topic};

use crate::process::{Process, Signal};
use crate::{net, place, wait};

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A broker. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    /// None: somebody else's, from `TIDEGATE_TEST_KAFKA`.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    folder: TempDir,
    /// None: stopped.
    process: Option<Process>,
    pace: Pace,
}

/// What a broker is to be good at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Starting soon.
    Start,
    /// Working with as little CPU as it can, once it is warm.
    Work,
}

impl Kafka {
    /// The broker of this test process, started by the first test that asks.
    pub fn shared() -> &'static Kafka {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("TIDEGATE_TEST_KAFKA") {
            Ok(bootstrap) => Kafka { bootstrap, own: None },
            Err(_) => Kafka::start(),
        })
    }

    /// A broker of one's own, up when this returns.
    pub fn start() -> Kafka {
        Kafka::start_at(Pace::Start, net::free_port(), "")
    }

    /// A broker to measure beside, which takes less of the machine once it is warm.
    pub fn start_to_measure() -> Kafka {
        Kafka::start_to_measure_with(&[])
    }

    /// The same with other settings of the broker, as `group.consumer.heartbeat.interval.ms=5000`.
    pub fn start_to_measure_with(settings: &[&str]) -> Kafka {
        Kafka::start_at(Pace::Work, net::free_port(), &settings.join("\n"))
    }

    /// A broker that tells its clients to come through a relay, which is started with the broker's own
    /// address and returns its own.
    pub fn start_behind<R>(relay: impl FnOnce(SocketAddr) -> (SocketAddr, R)) -> (Kafka, R) {
        let port = net::free_port();
        let (address, relay) = relay((Ipv4Addr::LOCALHOST, port).into());
        let mut kafka = Kafka::start_at(Pace::Work, port, &format!("advertised.listeners=PLAINTEXT://{address}"));
        kafka.bootstrap = address.to_string();
        (kafka, relay)
    }

    fn start_at(pace: Pace, port: u16, settings: &str) -> Kafka {
        let start = Instant::now();
        let folder = tempfile::Builder::new().prefix("tidegate-kafka-").tempdir().expect("a folder for the broker");
        // If a setting is given twice, the broker takes the later value.
        let properties = properties(port, net::free_port(), &folder.path().join("data")) + settings;
        fs::write(folder.path().join("server.properties"), properties).expect("the broker's settings are written");
        let mut own = Own { folder, process: None, pace };
        own.format();
        own.process = Some(own.run());
        let bootstrap = format!("127.0.0.1:{port}");
        own.wait_up(&bootstrap);
        println!("kafka: {bootstrap} is up after {:?}", start.elapsed());
        Kafka { bootstrap, own: Some(own) }
    }

    /// `host:port`, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// SIGTERM, and waits for the end. Clients see a closed connection, then refused ones.
    pub fn stop(&mut self) {
        let own = self.own();
        let mut process = own.process.take().expect("the broker runs");
        process.signal(Signal::Term);
        if process.wait(STOP_LIMIT).is_none() {
            panic!("the broker still runs {STOP_LIMIT:?} after SIGTERM:\n{}", own.log());
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.own().process.take().expect("the broker runs");
        process.kill();
    }

    /// Makes it stand still, with its connections open, until [`Kafka::thaw`].
    pub fn freeze(&mut self) {
        self.own().process.as_mut().expect("the broker runs").signal(Signal::Stop);
    }

    pub fn thaw(&mut self) {
        self.own().process.as_mut().expect("the broker runs").signal(Signal::Continue);
    }

    /// Starts it again after [`Kafka::stop`] or [`Kafka::kill`], on the same port with its data.
    /// It is up when this returns.
    pub fn start_again(&mut self) {
        let bootstrap = self.bootstrap.clone();
        let own = self.own();
        assert!(own.process.is_none(), "the broker runs");
        own.process = Some(own.run());
        own.wait_up(&bootstrap);
    }

    fn own(&mut self) -> &mut Own {
        self.own.as_mut().expect("a broker from TIDEGATE_TEST_KAFKA is not ours to stop")
    }
}

impl Own {
    fn format(&self) {
        let id: String = std::iter::repeat_with(fastrand::alphanumeric).take(21).collect();
        let output = self
            .java()
            .args(["kafka.tools.StorageTool", "format", "--standalone", "-c", "server.properties", "-t"])
            .arg(format!("{id}A")) // 22 characters of base64 for 16 bytes: the last holds two bits
            .output()
            .expect("java starts");
        assert!(
            output.status.success(),
            "the broker's storage cannot be formatted:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }

    fn run(&self) -> Process {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("broker.log"))
            .and_then(|log| Ok((log.try_clone()?, log)))
            .expect("the broker's log can be written");
        let mut command = self.java();
        command.args(["kafka.Kafka", "server.properties"]).stdout(log.0).stderr(log.1);
        Process::spawn(&mut command, self.folder.path()).expect("java starts")
    }

    fn java(&self) -> Command {
        let mut command = match self.pace {
            Pace::Start => jars::java(),
            Pace::Work => jars::java_that_stays(),
        };
        command.current_dir(self.folder.path()).args(["-Dlog4j2.level=WARN", "-Xmx512m"]);
        command
    }

    fn wait_up(&mut self, bootstrap: &str) {
        let address: SocketAddr = bootstrap.parse().expect("an address of ours");
        let process = self.process.as_mut().expect("just started");
        let up = wait::try_some(START_LIMIT, || match process.ended() {
            Some(status) => Some(Err(status)),
            None => net::accepts(address).then_some(Ok(())),
        });
        match up {
            Some(Ok(())) => clients::wait_for_metadata(bootstrap, START_LIMIT),
            Some(Err(status)) => panic!("the broker ended at its start, {status}:\n{}", self.log()),
            None => panic!("the broker is not up after {START_LIMIT:?}:\n{}", self.log()),
        }
    }

    fn log(&self) -> String {
        place::tail(&self.folder.path().join("broker.log"), 40)
    }
}

/// Beside what a single node needs: sessions are short, so that takeovers after a kill are quick,
/// also those of the KIP-848 protocol, whose times are the broker's. Nothing is too old to be kept:
/// tests date records as they like.
fn properties(port: u16, controller: u16, data: &Path) -> String {
    let host = Ipv4Addr::LOCALHOST;
    let data = data.display();
    format!(
        "process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers={host}:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
log.retention.ms=-1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
"
    )
}
