//! Which brokers the tools talk to.

use std::fs;
use std::path::{Path, PathBuf};

use super::pick::pick;
use super::{check, node, value};
use crate::kafka::check_properties;
use crate::manifest::{self, Cluster, Manifest, owned_by_tools};
use crate::tools::Failure;

/// The manifest that is read if none is named, where there is one.
const MANIFEST: &str = "tidegate.toml";

/// The variable with the brokers' addresses, as in the manifests that `tidegate new` makes.
const BROKERS: &str = "KAFKA_BROKERS";

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
    /// The cluster that the flags, the manifest or the environment name.
    pub(super) fn cluster(&self) -> Result<Cluster, Failure> {
        let mut cluster = self.named()?;
        for (name, value) in &self.property {
            if let Some(instead) = owned_by_tools(name) {
                return Err(Failure::usage(format!("--property {name}: it is set for you: {instead}")));
            }
            cluster.properties.insert(name.clone(), value.clone());
        }
        check_properties(&cluster).map_err(|error| Failure::usage(format!("--property: {}", error.reason)))?;
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
            None => Err(Failure::usage(format!(
                "which brokers? give --brokers HOST:PORT, set {BROKERS}, or run it where {MANIFEST} is"
            ))),
        }
    }

    fn declared(&self, manifest: &Manifest) -> Result<Cluster, Failure> {
        if manifest.clusters.is_empty() {
            let path = manifest.path.display();
            return Err(Failure::usage(format!("{path} declares no cluster: give --brokers HOST:PORT")));
        }
        pick("cluster", self.cluster.as_deref(), &manifest.clusters, manifest).map(|cluster| Cluster::clone(cluster))
    }
}

/// Reads a manifest for its clusters. Everything else in it may be wrong or lack a secret on this machine.
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

/// A cluster by the addresses of its brokers alone.
fn plain(brokers: &str) -> Result<Cluster, Failure> {
    Cluster::at(brokers)
        .ok_or_else(|| Failure::usage(format!("brokers {brokers:?}: expected HOST:PORT, several separated by commas")))
}

#[cfg(test)]
mod tests {
    use super::*;

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
