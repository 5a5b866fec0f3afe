//! Which brokers the tools talk to, and the first contact with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::{Failure, check, node, value};
use crate::kafka::check_properties;
use crate::kafka::scan::{Isolation, Scan};
use crate::kafka::{Error, Wake};
use crate::manifest::{self, Cluster, Manifest, Name};

/// How long brokers have for an answer.
pub(super) const LIMIT: Duration = Duration::from_secs(8);

/// The manifest that is read without being named, if it is there.
const MANIFEST: &str = "tidegate.toml";

/// The variable with the brokers' addresses, as in the manifests that `tidegate new` makes.
const BROKERS: &str = "KAFKA_BROKERS";

/// Properties that the tools set themselves, and what to do instead.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "give --brokers"),
    ("metadata.broker.list", "give --brokers"),
    ("group.id", "no group is joined"),
    ("isolation.level", "committed records are read, all with `consume --uncommitted`"),
    ("auto.offset.reset", "give --from"),
    ("enable.partition.eof", "it is on"),
    ("enable.idempotence", "it is on"),
    ("acks", "all replicas acknowledge"),
    ("request.required.acks", "all replicas acknowledge"),
    ("delivery.report.only.error", "every record is accounted for"),
    ("partitioner", "partitions are chosen by murmur2 of the key, as Java clients do, or by --partition"),
];

#[derive(clap::Args)]
#[command(next_help_heading = "Which brokers")]
pub(super) struct ConnectArguments {
    /// Addresses of brokers, separated by commas.
    ///
    /// If it is not given, the cluster of the manifest, or where there is none the variable
    /// KAFKA_BROKERS.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["manifest", "cluster"])]
    brokers: Option<String>,

    /// The manifest that declares the cluster. tidegate.toml, if it is there.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// The cluster of the manifest. Needed if it declares several.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,

    /// A property of the Kafka client, by librdkafka's name, over those of the manifest. May be given
    /// several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = value::pair)]
    property: Vec<(String, String)>,
}

impl ConnectArguments {
    /// The cluster that is meant.
    pub(super) fn cluster(&self) -> Result<Cluster, Failure> {
        let mut cluster = self.named()?;
        for (name, value) in &self.property {
            if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| owned == name) {
                return Err(usage(format!("--property {name}: it is set for you: {instead}")));
            }
            cluster.properties.insert(name.clone(), value.clone());
        }
        check_properties(&cluster).map_err(|error| usage(format!("--property: {}", error.reason)))?;
        Ok(cluster)
    }

    fn named(&self) -> Result<Cluster, Failure> {
        if let Some(brokers) = &self.brokers {
            return plain(brokers);
        }
        let path = match &self.manifest {
            Some(path) => path.as_path(),
            None => Path::new(MANIFEST),
        };
        if self.manifest.is_some() || self.cluster.is_some() || path.exists() {
            return self.declared(&load(path)?);
        }
        match node::environment(BROKERS).filter(|brokers| !brokers.is_empty()) {
            Some(brokers) => plain(&brokers),
            None => Err(usage(format!(
                "which brokers? give --brokers HOST:PORT, set {BROKERS}, or run it where {MANIFEST} is"
            ))),
        }
    }

    fn declared(&self, manifest: &Manifest) -> Result<Cluster, Failure> {
        let mut clusters = manifest.clusters.values();
        let found = match &self.cluster {
            Some(name) => manifest.clusters.get(name.as_str()),
            None => clusters.next().filter(|_| clusters.next().is_none()),
        };
        found.map(|cluster| Cluster::clone(cluster)).ok_or_else(|| {
            let names: Vec<&str> = manifest.clusters.keys().map(|name| &**name).collect();
            let path = manifest.path.display();
            usage(match (&self.cluster, names.as_slice()) {
                (_, []) => format!("{path} declares no cluster: give --brokers HOST:PORT"),
                (Some(name), names) => format!("{path} has no cluster {name:?}; it has {}", names.join(", ")),
                (None, names) => format!("which cluster? {path} has {}: give --cluster", names.join(", ")),
            })
        })
    }
}

/// Reads a manifest of which only the clusters are needed: what else it declares may be wrong, or lack a
/// secret on this machine.
fn load(path: &Path) -> Result<Manifest, Failure> {
    check::load(path).or_else(|failure| {
        let clusters = fs::read_to_string(path).ok().and_then(|text| text.parse::<toml::Table>().ok());
        let Some(mut clusters) = clusters else { return Err(failure) };
        clusters.retain(|key, _| key == "cluster");
        let Ok(manifest) = manifest::parse(path, &clusters.to_string(), &node::environment) else {
            return Err(failure);
        };
        if manifest.clusters.values().all(|cluster| check_properties(cluster).is_ok()) {
            Ok(manifest)
        } else {
            Err(failure)
        }
    })
}

fn plain(brokers: &str) -> Result<Cluster, Failure> {
    let is_address = |address: &str| {
        let address = address.trim();
        let host = address.rsplit_once("://").map_or(address, |(_, host)| host);
        match host.rsplit_once(':') {
            Some((host, port)) => !host.is_empty() && port.parse::<u16>().is_ok(),
            None => !host.is_empty() && !host.contains(char::is_whitespace),
        }
    };
    if !brokers.split(',').all(is_address) {
        return Err(usage(format!("brokers {brokers:?}: expected HOST:PORT, several separated by commas")));
    }
    let name = Name::new("brokers").map_err(anyhow::Error::from)?;
    Ok(Cluster { name, brokers: brokers.to_owned(), properties: BTreeMap::new() })
}

/// What the user wrote is wrong.
pub(super) fn usage(text: impl std::fmt::Display) -> Failure {
    Failure::Usage(format!("error: {text}"))
}

/// A topic is not there, or may not be used. Which ones there are is up to the cluster, so it is not the
/// user's mistake alone: exit code 1.
pub(super) fn missing(topic: &str, done: &str, reason: &str) -> Failure {
    Failure::Failed(anyhow::anyhow!("topic {topic} cannot be {done}: {reason}"))
}

/// Which partitions a topic has.
pub(super) fn partitions(count: i32) -> String {
    if count == 1 { "partition 0 only".to_owned() } else { format!("the partitions 0 to {}", count - 1) }
}

/// A client that reads, and what wakes its user.
pub(super) struct Connection {
    pub(super) scan: Scan,
    pub(super) wake: Wake,
    brokers: String,
}

impl Connection {
    /// Needs a tokio runtime with IO. Does not talk to a broker yet.
    pub(super) fn new(cluster: &Cluster, topics: &[String], isolation: Isolation) -> anyhow::Result<Self> {
        let (wake, end) = Wake::new().context("cannot make a pipe")?;
        let scan = Scan::new(cluster, topics, isolation, &end)?;
        Ok(Self { scan, wake, brokers: cluster.brokers.clone() })
    }

    /// How many partitions a topic has, or why there is no such topic. The first question.
    pub(super) fn partitions(&self, topic: &str) -> anyhow::Result<Result<i32, Error>> {
        self.scan.partitions(topic, LIMIT).map_err(|error| self.unanswered(error))
    }

    /// What a question failed for, with what the client knows about its connections.
    pub(super) fn unanswered(&self, error: Error) -> anyhow::Error {
        if !error.kind.is_silence() {
            return error.into();
        }
        let why = self.scan.trouble().unwrap_or(error);
        anyhow::anyhow!("no broker answers at {} within {}s: {}", self.brokers, LIMIT.as_secs(), why.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_looked_at() {
        for good in ["kafka:9092", "kafka", "a:1,b:2", "PLAINTEXT://a:1", "[::1]:9092", "127.0.0.1:9092, b:2"] {
            assert!(plain(good).is_ok(), "{good}");
        }
        for bad in ["", "kafka:", "kafka:port", ":9092", "a:1,,b:2", "a b", "kafka:99999"] {
            assert!(matches!(plain(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn only_the_clusters_of_a_manifest_have_to_be_right() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tidegate.toml");
        let brokers = |text: &str| {
            fs::write(&path, text).expect("written");
            load(&path).map(|manifest| manifest.clusters["main"].brokers.clone())
        };
        let secret = "[function.f]\ncomponent = \"f.wasm\"\nsecrets = { KEY = { env = \"NO_SUCH_KEY\" } }\n";
        let trigger = "[trigger.t]\nfunction = \"f\"\ntopics = [\"in\"]\non-exhausted = \"skip\"\n";
        let rest = format!("{secret}{trigger}");
        let found = brokers(&format!("[cluster.main]\nbrokers = \"kafka:9092\"\n{rest}"));
        assert!(matches!(&found, Ok(found) if found == "kafka:9092"));
        let Err(Failure::Usage(text)) = brokers(&format!("[cluster.main]\nbrokers = \"${{NO_SUCH}}\"\n{rest}")) else {
            panic!("the brokers are not known");
        };
        assert!(text.contains("NO_SUCH"), "{text}");
    }
}
