//! A server of S3 and SQS: ministack, one process on a loopback port, and a client of it.
//!
//! It takes any credentials and checks no policies. It keeps nothing: after [`Aws::kill`] and
//! [`Aws::start_again`] there are no buckets and no queues. Events reach a queue shortly after the
//! request that caused them, each by a thread of its own, so that two may change places.

mod bucket;
mod client;
mod install;
mod queue;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use bucket::{Bucket, Object, Version};
use client::Client;
pub use queue::{Count, Queue};
use tempfile::TempDir;

use crate::process::{Process, Signal};
use crate::{net, place, wait};

const START_LIMIT: Duration = Duration::from_secs(60);

/// A server. Dropping it kills it.
#[derive(Debug)]
pub struct Aws {
    address: SocketAddr,
    client: Arc<Client>,
    /// None: killed.
    process: Option<Process>,
    folder: TempDir,
}

impl Aws {
    /// A server of one's own, up when this returns, with nothing in it.
    pub fn start() -> Aws {
        // First, so that it does not count as the server's start.
        install::python();
        let folder = tempfile::Builder::new().prefix("tidegate-aws-").tempdir().expect("a folder for the server");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, net::free_port()));
        let client = Arc::new(Client::start(&format!("http://{address}"), folder.path()));
        let mut aws = Aws { address, client, process: None, folder };
        aws.start_again();
        aws
    }

    /// Starts it again after [`Aws::kill`], on the same port and with nothing in it. It is up when
    /// this returns.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        let start = Instant::now();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("server.log"))
            .and_then(|log| Ok((log.try_clone()?, log)))
            .expect("the server's log can be written");
        let mut command = Command::new(install::python());
        command
            .args(["-m", "ministack"])
            .env("GATEWAY_PORT", self.address.port().to_string())
            .env("BIND_HOST", self.address.ip().to_string())
            .envs([("SERVICES", "s3,sqs"), ("LOG_LEVEL", "WARNING")])
            // It ends containers that it takes for its own.
            .env("DOCKER_HOST", "unix:///nonexistent")
            .env("TMPDIR", self.folder.path())
            .current_dir(self.folder.path())
            .stdout(log.0)
            .stderr(log.1);
        let process = Process::spawn(&mut command, self.folder.path()).expect("python starts");
        self.process = Some(process);
        self.wait_up();
        println!("aws: {} is up after {:?}", self.endpoint(), start.elapsed());
    }

    /// Such as `http://127.0.0.1:1234`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// For a proxy before it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Variables for a node that is to use it, beside the address.
    pub fn environment(&self) -> [(&'static str, &'static str); 4] {
        [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            // Without it, a client that misses credentials waits for a machine of AWS to give some.
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }

    /// Creates a bucket that keeps versions.
    #[track_caller]
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::create(self.client.clone(), name, true)
    }

    /// Creates a bucket that keeps only the newest bytes of a key.
    #[track_caller]
    pub fn bucket_without_versions(&self, name: &str) -> Bucket {
        Bucket::create(self.client.clone(), name, false)
    }

    /// Creates a queue. A message that was received and not deleted is visible again after
    /// `visibility`, which is in whole seconds.
    #[track_caller]
    pub fn queue(&self, name: &str, visibility: Duration) -> Queue {
        Queue::create(self.client.clone(), name, visibility)
    }

    /// Makes it stand still until [`Aws::thaw`]: it accepts connections and never answers. Its own
    /// client gives up after some seconds, so do not use that before.
    pub fn freeze(&mut self) {
        self.running().freeze();
    }

    pub fn thaw(&mut self) {
        self.running().signal(Signal::Continue);
    }

    /// SIGKILL. Connections are closed, new ones refused.
    pub fn kill(&mut self) {
        self.process.take().expect("the server runs").kill();
    }

    fn wait_up(&mut self) {
        let address = self.address;
        let process = self.running();
        let up = wait::try_some(START_LIMIT, || match process.ended() {
            Some(status) => Some(Err(status)),
            None => net::get(address, "/_ministack/health").is_ok_and(|answer| answer.status == 200).then_some(Ok(())),
        });
        let log = || place::tail(&self.folder.path().join("server.log"), 40);
        match up {
            Some(Ok(())) => {}
            Some(Err(status)) => panic!("the server of S3 and SQS ended at its start, {status}:\n{}", log()),
            None => panic!("the server of S3 and SQS is not up after {START_LIMIT:?}:\n{}", log()),
        }
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("the server runs")
    }
}
