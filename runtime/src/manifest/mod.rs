//! The manifest: the file `tidegate.toml`, in which an operator declares clusters, functions and triggers. This
//! module turns its text into a [`Manifest`], which is always consistent, or into [`Errors`], which name every
//! mistake with its line and what to write instead.
//!
//! The steps, one module each:
//!
//! 1. TOML is parsed. After a syntax error nothing else is checked, because any further error would be a guess.
//! 2. `substitute`: `${NAME}` is replaced in strings.
//! 3. `schema`: unknown keys are refused. The JSON Schema for editors decides which keys there are.
//! 4. `raw`, `words`, `amounts`, `shapes`, `component`, `hosts`, `field`: serde reads the values. A value that does not
//!    fit is kept as a broken field, so that one pass finds all of them.
//! 5. `check` and the modules that it calls: mistakes that only show when several values are compared.
//!
//! Bounds: a manifest has at most 1 MiB, the file of a secret 64 KiB, that of a public key 4 KiB. This module reads
//! these files and the environment, and nothing else. It does not check whether a component exists, librdkafka knows a
//! property, or a topic can be reached: their users find out.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize as _;
use toml::de::DeTable;

mod amounts;
mod brokers;
mod check;
mod component;
mod control;
mod declared;
mod diagnostic;
mod field;
mod file;
mod function;
mod hosts;
mod http;
mod properties;
mod raw;
mod registry;
mod rollout;
mod runs;
mod schema;
mod secret;
mod shapes;
mod shares;
mod substitute;
mod topics;
mod trigger;
mod urls;
mod words;

#[cfg(test)]
mod tests;

pub use component::{Component, InvalidComponent, ObjectName};
pub use control::Control;
pub use diagnostic::Errors;
pub use hosts::{AllowedHost, Host, InvalidEntry, Network, Origin, Scheme};
pub use http::Http;
pub use properties::owned_by_tools;
pub use registry::Registry;
pub use rollout::{AbortIf, Rollout};
pub use schema::json_schema;
pub use secret::Secret;
pub use shares::{Multiple, Share};

use diagnostic::{Diagnostic, Report};

/// Looks up a variable of the environment. Returns [`None`] if it is not set.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Whether the Kafka client takes the properties of a cluster, or why not. A reason names the
/// properties that it is about.
pub type ClusterCheck<'a> = dyn Fn(&Cluster) -> Result<(), String> + 'a;

/// Reads a manifest, replaces `${NAME}` in its strings, and checks it.
///
/// Paths in the manifest are relative to the folder of `path`. Secrets are read now, so a changed
/// secret takes effect when the manifest is loaded again.
///
/// # Errors
///
/// All mistakes at once, or the one reason why the file cannot be read.
pub fn load(path: &Path, environment: &Environment) -> Result<Manifest, Errors> {
    load_checked(path, environment, &|_| Ok(()))
}

/// Does what [`load`] does, and has the properties of clusters checked by the one who knows them.
///
/// # Errors
///
/// As [`load`].
pub fn load_checked(path: &Path, environment: &Environment, accepts: &ClusterCheck) -> Result<Manifest, Errors> {
    let text = file::manifest(path).map_err(|title| Errors::about_file(path, title))?;
    parse_checked(path, &text, environment, accepts)
}

/// Does the same as [`load`] with a text that was read already. `path` says where the text is from.
///
/// # Errors
///
/// All mistakes at once.
pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Manifest, Errors> {
    parse_checked(path, text, environment, &|_| Ok(()))
}

/// Does what [`load_checked`] does with a text that is at hand already.
///
/// # Errors
///
/// All mistakes at once.
pub fn parse_checked(
    path: &Path,
    text: &str,
    environment: &Environment,
    accepts: &ClusterCheck,
) -> Result<Manifest, Errors> {
    let mut report = Report::default();
    match understand(path, text, environment, accepts, &mut report) {
        Some(manifest) if report.is_empty() => Ok(manifest),
        _ => Err(report.into_errors(path, text)),
    }
}

fn understand(
    path: &Path,
    text: &str,
    environment: &Environment,
    accepts: &ClusterCheck,
    report: &mut Report,
) -> Option<Manifest> {
    let (mut tree, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.add(Diagnostic::syntax(error, text.len()));
    }
    if !report.is_empty() {
        return None;
    }
    substitute::in_table(tree.get_mut(), environment, report);
    registry::refuse_credentials(tree.get_mut(), report);
    schema::refuse_unknown_keys(tree.get_mut(), report);
    match raw::RawManifest::deserialize(toml::de::Deserializer::from(tree)) {
        Ok(raw) => Some(check::manifest(raw, path, environment, accepts, report)),
        Err(error) => {
            report.add(Diagnostic::syntax(&error, text.len()));
            None
        }
    }
}

/// A manifest without mistakes. Two of them can be compared, whole or trigger by trigger.
///
/// An example with all defaults:
///
#[doc = concat!("```toml\n", include_str!("testdata/good/sample.toml"), "```")]
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The file that it was read from, as it was given to [`load`].
    pub path: PathBuf,
    /// The clusters that were declared, used or not.
    pub clusters: BTreeMap<Name, Arc<Cluster>>,
    /// The functions that were declared, used or not.
    pub functions: BTreeMap<Name, Arc<Function>>,
    /// The triggers. Every function and cluster that one names is in the maps above.
    pub triggers: BTreeMap<Name, Arc<Trigger>>,
    /// What this node may use, over all triggers.
    pub limits: Limits,
    /// The admin server.
    pub admin: Admin,
    /// Where components in S3 come from, and how often to look for new ones.
    pub registry: Registry,
    /// How the nodes of a fleet hear of each other. Without it each is alone.
    pub control: Option<Control>,
}

/// The name of a cluster, function or trigger: 1 to 63 of `a-z`, `0-9` and `-`, the first one a
/// letter. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The text is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 63 of a-z, 0-9 and '-', and starts with a letter")]
pub struct InvalidName;

impl Name {
    /// Makes a name out of a text.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if the text is not 1 to 63 of `a-z`, `0-9` and `-`, the first one a letter.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let starts_with_letter = text.starts_with(|c: char| c.is_ascii_lowercase());
        if starts_with_letter && text.len() <= 63 && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName)
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Allows a lookup by text in a map by name.
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A Kafka cluster.
#[derive(Clone, PartialEq)]
pub struct Cluster {
    /// Its name in the manifest.
    pub name: Name,
    /// The addresses of its brokers: `host:port`, several separated by commas.
    pub brokers: String,
    /// Further properties for the Kafka client, by librdkafka's names. None of those that
    /// Tidegate sets itself is among them.
    pub properties: BTreeMap<String, String>,
}

impl Cluster {
    /// Whether its groups speak the classic protocol, not that of KIP-848.
    #[must_use]
    pub fn has_classic_groups(&self) -> bool {
        self.properties.get("group.protocol").is_none_or(|protocol| !protocol.eq_ignore_ascii_case("consumer"))
    }
}

/// Does not show the values of properties, because there are passwords among them.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.name)
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// A function: a component and what it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name in the manifest.
    pub name: Name,
    /// Where the component is.
    pub component: Component,
    /// Environment variables. No name starts with `TIDEGATE_`, none is in `secrets` too.
    pub env: BTreeMap<String, String>,
    /// Further environment variables, whose values are never logged.
    pub secrets: BTreeMap<String, Secret>,
    /// How long one call may take, above zero.
    pub deadline: Duration,
    /// How much memory one instance may use, in bytes.
    pub memory_bytes: u64,
    /// Whether instances serve more than one call.
    pub reuse: Reuse,
    /// What it may request by HTTP.
    pub http: Http,
    /// The folders that it sees, by their absolute paths in the function. There are no other files.
    pub folders: BTreeMap<String, Folder>,
    /// How a new revision takes over. Without it, it gets all records at once.
    pub rollout: Option<Rollout>,
    /// The minisign public key that a component has to be signed with: the text of its file. Without it no signature
    /// is needed.
    pub require_signature: Option<String>,
}

/// A folder of this node that a function sees. If it does not exist, an instance cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it is. A relative path was joined to the folder of the manifest.
    pub path: PathBuf,
    /// Whether the function may change what is in it.
    pub is_writable: bool,
}

/// Whether an instance serves more than one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reuse {
    /// An instance serves call after call, up to `max_calls`, or without end.
    Pooled { max_calls: Option<NonZeroU64> },
    /// Every call gets a new instance.
    Fresh,
}

/// A trigger: topics that call a function for each of their records.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// Its name in the manifest.
    pub name: Name,
    /// The function that it calls.
    pub function: Name,
    /// The cluster that it reads from.
    pub cluster: Name,
    /// The topics that it reads: at least one, without repetitions.
    pub topics: Vec<String>,
    /// The topic for messages that name no other. Without it such a message fails its record.
    pub output: Option<String>,
    /// The cluster of all that it writes: output, dead letters, `allow_topics`.
    pub output_cluster: Name,
    /// Further topics that the function may address.
    pub allow_topics: Vec<String>,
    /// The topic of dead letters. Always set if `on_exhausted` is [`OnExhausted::DeadLetter`].
    pub dead_letters: Option<String>,
    /// What happens to a record when its attempts are used up.
    pub on_exhausted: OnExhausted,
    /// Which records wait for each other.
    pub ordering: Ordering,
    /// How often a record can take effect.
    pub delivery: Delivery,
    /// The consumer group. No other trigger has it on this cluster.
    pub group: String,
    /// How it is a member of its group.
    pub member: Member,
    /// Where to start in a partition for which the group has committed no offset.
    pub start: Start,
    /// How many instances it may have on this node.
    pub instances: Instances,
    /// The most that one call carries.
    pub batch: BatchLimits,
    /// When to try again, and when to give up.
    pub retry: RetryPolicy,
    /// The most that it holds of one partition.
    pub window: Window,
    /// How often progress is committed, above zero.
    pub commit_interval: Duration,
    /// How long running calls may go on when a partition is taken away.
    pub rebalance_drain: Duration,
    /// How long messages may wait for their acknowledgement when a partition is taken away.
    pub message_drain: Duration,
    /// How long running calls may go on at shutdown.
    pub drain: Duration,
}

/// What happens to a record when its attempts are used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExhausted {
    /// It goes to the trigger's `dead_letters`.
    #[default]
    DeadLetter,
    /// The trigger pauses.
    Pause,
    /// It is skipped, and counted.
    Skip,
}

/// Which records of a partition wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// Records with the same key.
    #[default]
    Key,
    /// All.
    Partition,
    /// None.
    None,
}

/// How a trigger is a member of its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Member {
    /// Each start is a new member, and one that ends leaves.
    #[default]
    Dynamic,
    /// The member has a name, of node and trigger. It takes its partitions back when it starts again, and
    /// leaves them to others when its session is over.
    Static,
}

/// How often a record can take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Once, and again after a crash.
    #[default]
    AtLeastOnce,
}

/// Where to start in a partition for which the group has committed no offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record.
    #[default]
    Earliest,
    /// After the newest record.
    Latest,
    /// At the first record that is not older than this.
    Timestamp {
        /// Milliseconds since 1970-01-01 UTC, not negative.
        millis: i64,
    },
    /// At these offsets by partition, neither of them negative; other partitions at the oldest
    /// record. The trigger has exactly one topic.
    Offsets(BTreeMap<i32, i64>),
}

/// How many instances a trigger may have on this node. `min` is not above `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instances {
    /// How many are kept ready.
    pub min: u32,
    /// How many run at once, at most.
    pub max: NonZeroU32,
}

/// The most that one call carries. Neither is above what the [`Window`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records.
    pub records: NonZeroU32,
    /// Bytes of keys, values and headers. A larger record gets a call of its own.
    pub bytes: u64,
}

/// When to try a record again, and when to give up. `backoff` is not above `max_backoff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of attempts in all, including the first.
    pub attempts: NonZeroU32,
    /// The wait before the second attempt. It doubles before each further attempt. Above zero.
    pub backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
    /// No further attempt is made once this time has passed since the first.
    pub max_age: Duration,
}

/// The most that a trigger holds of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Records.
    pub records: NonZeroU32,
    /// Bytes of keys, values and headers.
    pub bytes: u64,
}

/// What this node may use, over all triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of records and outputs that are held in memory.
    pub buffered_bytes: u64,
}

/// The admin server: is the node alive and ready, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens. If that is not a loopback address and there is no token, `/health` and `/v1` are refused.
    pub listen: SocketAddr,
    /// What requests of `/health` and `/v1` have to carry: one or more visible ASCII characters.
    pub token: Option<Secret>,
}
