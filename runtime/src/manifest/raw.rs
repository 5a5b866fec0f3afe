//! The manifest as it is written. What is documented here is what the user reads: these comments
//! become the descriptions of the JSON Schema.
//!
//! Limits and defaults are in the types. Unknown keys are found by the schema, before serde sees
//! them; `deny_unknown_fields` tells the schema that there may be none.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::amounts::{DAY, GIB, HOUR, KIB, MIB, MINUTE, NO_DEFAULT, NO_MAXIMUM, Period, SECOND, Size, TIB, Whole};
use super::field::{Field, Key};
use super::hosts::{AllowedHost, Network};
use super::shapes::{RawFolder, RawOutput, Scalar};
use super::shares::{Percentage, Step};
use super::urls::{Endpoint, Queue};
use super::words::{Brokers, DeliveryWord, FilePath, Group, Listen, Region, ReuseWord, Spelling, Topic, Variable};
use super::{Component, Member, Multiple, Name, OnExhausted, Ordering, Start};

/// A section of named tables.
pub(super) type Section<T> = Field<BTreeMap<Key, Field<T>>>;

fn names() -> Value {
    Name::schema().to_value()
}

/// Tidegate's manifest. In every string `${NAME}` is replaced by the environment variable NAME,
/// and `${NAME:-default}` by the default if NAME is not set or empty; `$${` stands for `${`.
/// Relative paths start at the folder of the manifest.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "tidegate.toml")]
pub(super) struct RawManifest {
    /// Kafka clusters by name. A trigger uses "main" unless it names another one. A name is 1 to 63
    /// of a-z, 0-9 and '-', the first one a letter.
    #[schemars(extend("propertyNames" = names()))]
    pub cluster: Section<RawCluster>,
    /// Functions by name.
    #[schemars(extend("propertyNames" = names()))]
    pub function: Section<RawFunction>,
    /// Triggers by name: topics that call a function for each of their records.
    #[schemars(extend("propertyNames" = names()))]
    pub trigger: Section<RawTrigger>,
    /// What this node may use, all triggers together.
    pub limits: Field<RawLimits>,
    /// The admin server: is the node alive and ready, and if not, why.
    pub admin: Field<RawAdmin>,
    /// Where components in S3 come from. Without it: AWS, in the region that its SDK finds.
    pub registry: Field<RawRegistry>,
    /// How the nodes of a fleet hear of each other: through a topic that all of them read. Without it
    /// each node is alone.
    pub control: Field<RawControl>,
}

/// A Kafka cluster.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [cluster.name]")]
#[schemars(extend("required" = ["brokers"]))]
pub(super) struct RawCluster {
    /// Where to find the cluster: host:port, several separated by commas. The port is 9092 unless
    /// it is given. Required.
    pub brokers: Field<Brokers>,
    /// Further properties for the Kafka client, by librdkafka's names, such as "client.rack" or
    /// "sasl.username". Those that Tidegate sets itself are refused.
    pub properties: Field<BTreeMap<Key, Field<Scalar>>>,
}

/// A function: a component and what it is given.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [function.name]")]
#[schemars(extend("required" = ["component"]))]
pub(super) struct RawFunction {
    /// The component: a file, relative to the folder of the manifest, or an object in S3 such as
    /// "s3://bucket/path/name.wasm". A bucket is 3 to 63 of a-z, 0-9, '.' and '-'. A key is 1 to 1024
    /// bytes, is taken as it is written and does not end in '/'. Required.
    pub component: Field<Component>,
    /// Environment variables of the function. Names that start with TIDEGATE_ are refused.
    pub env: Field<BTreeMap<Key, Field<String>>>,
    /// Further environment variables, whose values come from elsewhere and are never logged.
    pub secrets: Field<BTreeMap<Key, Field<RawSecret>>>,
    /// How long one call may take, 1ms to 1h. A call that takes longer has failed.
    pub deadline: Field<Period<1, HOUR, SECOND>>,
    /// How much memory one instance may use, 64KiB to 4GiB.
    pub memory: Field<Size<{ 64 * KIB }, { 4 * GIB }, { 64 * MIB }>>,
    /// "pooled": an instance serves call after call. "fresh": every call gets a new instance,
    /// which costs more and keeps nothing from one call to the next.
    pub reuse: Field<ReuseWord>,
    /// An instance is replaced after so many calls. Without it, it serves on until it fails. Only
    /// with reuse = "pooled".
    pub max_calls: Field<Whole<1, NO_MAXIMUM, NO_DEFAULT>>,
    /// Hosts that the function may ask by HTTP, each with its scheme, and with a port if it is not
    /// that of the scheme: "https://api.example.com", "http://10.0.0.7:8080". "https://*.example.com"
    /// stands for all names below example.com. Without it every request is refused. Whatever a name
    /// stands for, its address has to be public or in allow-networks; an address that is written
    /// here is allowed itself, and "http://localhost:8080" may be this machine.
    pub allow_hosts: Field<Vec<Field<AllowedHost>>>,
    /// Networks that are not public in which the hosts of allow-hosts may be, such as "10.0.0.0/8",
    /// or single addresses.
    pub allow_networks: Field<Vec<Field<Network>>>,
    /// Limits of each request by HTTP. The function may ask for less time, not for more.
    pub http: Field<RawHttp>,
    /// Folders of this node that the function sees, by the absolute path under which it sees them:
    /// { "/geo" = "data/geo" }, for reading only; { "/scratch" = { path = "scratch", write = true } }
    /// for writing too. Without it there are no files. All instances of a function see the same
    /// folders; how much is written there has no limit. `tidegate check` warns of one that is not there.
    pub folders: Field<BTreeMap<Key, Field<RawFolder>>>,
    /// How a new revision takes over. Without it, it gets all records at once.
    pub rollout: Field<RawRollout>,
    /// The file of a minisign public key, relative to the folder of the manifest, at most 4 KiB. It is
    /// read when the manifest is loaded. The signature lies beside the component, under its name with
    /// .minisig at the end; a component that is not signed with this key is refused. If several functions
    /// use a component, it is signed for each of them that has a key. Without it no signature is needed.
    pub require_signature: Field<FilePath>,
}

/// Limits of each request by HTTP.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table such as { timeout = \"30s\", max-response = \"16MiB\" }"
)]
pub(super) struct RawHttp {
    /// How long it may take to look up the name, to connect and to agree on TLS, 1ms to 1m.
    pub connect_timeout: Field<Period<1, MINUTE, { 2 * SECOND }>>,
    /// How long it may take from then until the head of the answer is there, 1ms to 1h.
    pub first_byte_timeout: Field<Period<1, HOUR, { 10 * SECOND }>>,
    /// How long all of it may take, with both bodies and waiting for a connection, 1ms to 1h. The
    /// function's deadline ends it too, a little earlier, so that the function can still say so.
    pub timeout: Field<Period<1, HOUR, { 30 * SECOND }>>,
    /// The most that the body of a request may have, 1KiB to 1GiB.
    pub max_request: Field<Size<KIB, GIB, MIB>>,
    /// The most that the body of an answer may have, 1KiB to 1GiB. It is handed to the function
    /// piece by piece and not held.
    pub max_response: Field<Size<KIB, GIB, { 16 * MIB }>>,
    /// How many requests may be under way at once to one entry of allow-hosts, 1 to 10000. Further
    /// ones wait. So many connections at most are kept for the next requests.
    pub connections: Field<Whole<1, 10_000, 100>>,
}

/// How a new revision takes over.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table such as { steps = [\"5%\", \"25%\"], bake = \"2m\" }"
)]
pub(super) struct RawRollout {
    /// The shares of keys that the new revision gets, one step after another, before it gets all: 1 to
    /// 10 percentages with at most two decimals, above 0% and below 100%, each above the one before.
    /// Required unless shadow = true.
    #[schemars(extend("maxItems" = 10))]
    pub steps: Field<Vec<Field<Step>>>,
    /// How long each step takes at least, 1s to 7days. The step of a shadow takes as long.
    pub bake: Field<Period<SECOND, { 7 * DAY }, { 2 * MINUTE }>>,
    /// How many records the new revision has to handle in each step before the next one, 0 to
    /// 1000000000. Before that neither failure-rate nor latency ends the rollout.
    pub min_records: Field<Whole<0, 1_000_000_000, 100>>,
    /// What ends the rollout: all nodes go back to the revision before. Only the limits that are given
    /// count. Without any: failure-rate = "5%" and traps = 1.
    pub abort_if: Field<RawAbortIf>,
    /// Whether the new revision is a shadow before the first step: for the time of bake it is called
    /// with all records beside the revision that serves, and what it sends goes nowhere. It is not, if
    /// nothing is said. Without steps it gets all records after that.
    pub shadow: Field<bool>,
}

/// Limits that end a rollout when the new revision reaches one.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table such as { failure-rate = \"1%\", traps = 1, latency = \"2x\" }"
)]
pub(super) struct RawAbortIf {
    /// Failed records among all that the new revision handled: a percentage with at most two
    /// decimals, above 0% and at most 100%.
    pub failure_rate: Field<Percentage<10_000>>,
    /// So many calls that trapped, from 1 on. It does not wait for min-records.
    pub traps: Field<Whole<1, NO_MAXIMUM, NO_DEFAULT>>,
    /// So many times as long as the revision that serves takes: a multiple with at most two decimals
    /// such as "1.5x", above 1x and at most 1000x.
    pub latency: Field<Multiple>,
}

/// Where a secret comes from: one of the two. It is read when the manifest is loaded.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "{ env = \"NAME\" } or { file = \"/run/secrets/name\" }"
)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct RawSecret {
    /// The environment variable of this node that holds it.
    pub env: Field<Variable>,
    /// The file that holds it, at most 64 KiB. One line break at its end is cut.
    pub file: Field<FilePath>,
}

/// A trigger: topics that call a function for each of their records.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [trigger.name]")]
#[schemars(extend("required" = ["function", "topics"]))]
pub(super) struct RawTrigger {
    /// The function to call. Required.
    pub function: Field<Name>,
    /// The cluster to read from.
    #[schemars(extend("default" = "main"))]
    pub cluster: Field<Name>,
    /// The topics to read. At least one. Required.
    #[schemars(extend("minItems" = 1))]
    pub topics: Field<Vec<Field<Topic>>>,
    /// The topic for messages that name no other: "topic", or { cluster = "other", topic = "topic" }
    /// to write to another cluster. Without it such a message fails its record.
    pub output: Field<RawOutput>,
    /// Further topics that the function may address, on the output's cluster.
    pub allow_topics: Field<Vec<Field<Topic>>>,
    /// The topic for records that were rejected or tried in vain, on the output's cluster. Required
    /// unless on-exhausted says otherwise.
    pub dead_letters: Field<Topic>,
    /// What becomes of a record that was tried in vain. "dead-letter": it goes to dead-letters.
    /// "pause": the trigger pauses. "skip": the record is skipped and counted.
    pub on_exhausted: Field<OnExhausted>,
    /// Which records of a partition wait for each other. "key": those with the same key.
    /// "partition": all. "none": none, and they may be handled in any order.
    pub ordering: Field<Ordering>,
    /// How often a record can take effect. "at-least-once": once, and again after a crash. This
    /// version has no other.
    #[schemars(extend("enum" = ["at-least-once"]))]
    pub delivery: Field<DeliveryWord>,
    /// The consumer group. Without it: tidegate-<name of the trigger>. One trigger for one group.
    pub group: Field<Group>,
    /// How the trigger is a member of its group. "dynamic": each start is a new member, and a node that ends
    /// leaves its partitions to others at once. "static": the member is named after node and trigger (KIP-345).
    /// A node that starts again under its name, killed or not, takes its partitions back without a rebalance;
    /// one that ends for good keeps them from others until session.timeout.ms of the cluster is over, 45 s if
    /// that is not given. For nodes that are replaced under their name, as in a StatefulSet. Not with
    /// group.protocol = consumer (KIP-848).
    pub member: Field<Member>,
    /// Where to start in a partition for which the group has committed no offset. "earliest",
    /// "latest", a time such as "2026-01-31T00:00:00Z", or offsets by partition such as
    /// { 0 = 1234, 1 = 99 }, which starts other partitions at the earliest record and needs a
    /// trigger with exactly one topic. With "latest" a partition that is added to a topic later is
    /// read from its beginning, and so is one without an offset of a topic of which the group has
    /// committed others with another start.
    pub start: Field<Start>,
    /// How many instances the trigger may have on this node.
    pub instances: Field<RawInstances>,
    /// The most that one call carries.
    pub batch: Field<RawBatch>,
    /// When to try a record again, and when to give up.
    pub retry: Field<RawRetry>,
    /// The most that is held of one partition.
    pub window: Field<RawWindow>,
    /// How often progress is committed, 1ms to 1m. After a crash what was done since the last commit
    /// is repeated, and what was running.
    pub commit_interval: Field<Period<1, MINUTE, 100>>,
    /// How long running calls may go on when a partition moves to another node, 0s to 1m. The
    /// trigger's other partitions on this node stand still meanwhile.
    pub rebalance_drain: Field<Period<0, MINUTE, 100>>,
    /// How long messages may wait for their acknowledgement when a partition moves to another node, 0s
    /// to 4m, and 15s below the cluster's max.poll.interval.ms, which is 5m if not given. What is not acknowledged by then is given up
    /// and handled again by the next owner, so that nothing old is written after its messages. The
    /// trigger's other partitions on this node stand still meanwhile.
    pub message_drain: Field<Period<0, { 4 * MINUTE }, { 30 * SECOND }>>,
    /// How long running calls may go on at shutdown, 0s to 1h.
    pub drain: Field<Period<0, HOUR, { 10 * SECOND }>>,
}

/// How many instances a trigger may have on this node.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table such as { min = 1, max = 8 }")]
pub(super) struct RawInstances {
    /// So many are kept ready, 0 to 4000 and not above max.
    pub min: Field<Whole<0, 4_000, 1>>,
    /// So many run at once at most, 1 to 4000. A node has so many of all triggers together.
    pub max: Field<Whole<1, 4_000, 8>>,
}

/// The most that one call carries.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table such as { records = 500, bytes = \"256KiB\" }"
)]
pub(super) struct RawBatch {
    /// Records, 1 to 100000 and not above window.records.
    pub records: Field<Whole<1, 100_000, 500>>,
    /// Bytes of keys, values and headers, 1KiB to 64MiB and not above window.bytes. A larger record
    /// is called alone.
    pub bytes: Field<Size<KIB, { 64 * MIB }, { 256 * KIB }>>,
}

/// When to try a record again, and when to give up.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table such as { attempts = 5, backoff = \"100ms\" }"
)]
pub(super) struct RawRetry {
    /// So many tries in all, the first one included, 1 to 1000000.
    pub attempts: Field<Whole<1, 1_000_000, 5>>,
    /// The wait before the second try, doubled before each further one. 1ms to 1h and not above
    /// max-backoff.
    pub backoff: Field<Period<1, HOUR, 100>>,
    /// The longest wait, 1ms to 1day.
    pub max_backoff: Field<Period<1, DAY, { 10 * SECOND }>>,
    /// No further try once so much time has passed since the first one, 1ms to 30days.
    pub max_age: Field<Period<1, { 30 * DAY }, HOUR>>,
}

/// The most that is held of one partition.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table such as { records = 10000, bytes = \"16MiB\" }"
)]
pub(super) struct RawWindow {
    /// Records, 1 to 1000000.
    pub records: Field<Whole<1, 1_000_000, 10_000>>,
    /// Bytes of keys, values and headers, 1KiB to 4GiB.
    pub bytes: Field<Size<KIB, { 4 * GIB }, { 16 * MIB }>>,
}

/// What this node may use, all triggers together.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [limits]")]
pub(super) struct RawLimits {
    /// How much of records and outputs is held in memory, 1MiB to 1TiB. When it is reached, topics
    /// are read more slowly.
    pub buffered: Field<Size<MIB, TIB, { 512 * MIB }>>,
}

/// The admin server: is the node alive and ready, and if not, why.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [admin]")]
pub(super) struct RawAdmin {
    /// Where it listens: IP address and port. On another address than a loopback one everybody who
    /// reaches it can ask the probes /livez and /readyz; /health and /v1 are refused there unless there
    /// is a token.
    pub listen: Field<Listen>,
    /// What a request for /health or /v1 has to carry, as "Authorization: Bearer" and the token: one or
    /// more visible ASCII characters, better 32 random ones. It comes from { env = "NAME" } or
    /// { file = "/run/secrets/name" } when the manifest is loaded. Without it nothing is asked for, and
    /// only on a loopback address are these paths answered.
    pub token: Field<RawSecret>,
}

/// Where components in S3 come from. Credentials do not stand here: they come from the default chain of
/// the AWS SDK (environment, profile, web identity, container, instance).
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [registry]")]
pub(super) struct RawRegistry {
    /// The region of the buckets: 1 to 63 of a-z, A-Z, 0-9, '_' and '-', such as "eu-central-1".
    /// Without it: what the default chain of the AWS SDK finds, as in AWS_REGION.
    pub region: Field<Region>,
    /// The URL of a store that speaks the protocol of S3, such as "http://localhost:9000": http or
    /// https, without a user or query. Without it: AWS.
    pub endpoint: Field<Endpoint>,
    /// Whether the bucket stands in the path of a URL and not in its host. Most stores that are not
    /// AWS's need true.
    #[schemars(extend("default" = false))]
    pub path_style: Field<bool>,
    /// The URL of the SQS queue that gets the notifications of the buckets, http or https, without a
    /// user or query. Without it new revisions are only found every reconcile.
    pub queue: Field<Queue>,
    /// How often to look for new revisions, notified or not, 1s to 1h.
    pub reconcile: Field<Period<SECOND, HOUR, { 10 * SECOND }>>,
    /// The most that a component from S3 may have, 1KiB to 1GiB. A larger one is refused.
    pub max_size: Field<Size<KIB, GIB, { 64 * MIB }>>,
}

/// How the nodes of a fleet hear of each other.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a table [control]")]
pub(super) struct RawControl {
    /// The cluster of the topic. Required if more than one is declared; otherwise it is that one.
    pub cluster: Field<Name>,
    /// The compacted topic that all nodes of the fleet read and write. No trigger may use it.
    #[schemars(extend("default" = "tidegate-control"))]
    pub topic: Field<Topic>,
    /// The name that the nodes which belong together share: 1 to 63 of a-z, 0-9 and '-', the first one
    /// a letter. Several fleets can share a topic.
    #[schemars(extend("default" = "default"))]
    pub fleet: Field<Name>,
}
