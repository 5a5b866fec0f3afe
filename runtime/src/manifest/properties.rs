//! Properties of the Kafka client that Tidegate sets itself, because its promises rest on them.
//!
//! One list for the manifest and for the tools, so that neither forgets one.

use super::Cluster;
use super::diagnostic::{Diagnostic, Report, Span};
use super::field::Key;

/// A value that stands in a reason and is as long as this is what the reason is about.
const TELLING_BYTES: usize = 4;

/// The values of a property that are refused.
enum Refused {
    All,
    AllBut(&'static [&'static str]),
}

use Refused::{All, AllBut};

const TRUE: Refused = AllBut(&["true", "t", "1"]);
const FALSE: Refused = AllBut(&["false", "f", "0"]);

const UNDONE: &str = "it would commit records that are not done";
const REPLICAS: &str = "a message that not all replicas hold can be lost";
const ADDRESSES: &str = "the manifest has a key for the addresses";

/// A property that Tidegate sets itself.
struct Owned {
    name: &'static str,
    /// Which values a manifest cannot give it, why not, and what to do instead.
    refused: Refused,
    why: &'static str,
    instead: &'static str,
    /// What to do instead of giving it to a tool. `None`: a tool may be given it.
    tools: Option<&'static str>,
}

impl Owned {
    const fn new(name: &'static str, refused: Refused, why: &'static str, instead: &'static str) -> Self {
        Self { name, refused, why, instead, tools: None }
    }

    /// Tools set it themselves too.
    const fn tools(self, instead: &'static str) -> Self {
        Self { tools: Some(instead), ..self }
    }
}

const OWNED: &[Owned] = &[
    Owned::new("bootstrap.servers", All, ADDRESSES, "write `brokers` of the cluster").tools("give --brokers"),
    Owned::new("metadata.broker.list", All, ADDRESSES, "write `brokers` of the cluster").tools("give --brokers"),
    Owned::new("group.id", All, "every trigger has its own group", "write `group` of the trigger")
        .tools("no group is joined"),
    Owned::new(
        "group.instance.id",
        All,
        "members that share one throw each other out",
        "remove it: Tidegate makes one of the node's name where it can be used",
    ),
    Owned::new("auto.offset.reset", All, "every trigger has its own start", "write `start` of the trigger")
        .tools("give --from"),
    Owned::new("enable.auto.commit", All, UNDONE, "remove it, see `commit-interval` of the trigger"),
    Owned::new("auto.commit.enable", All, UNDONE, "remove it, see `commit-interval` of the trigger"),
    Owned::new("auto.commit.interval.ms", All, UNDONE, "write `commit-interval` of the trigger"),
    Owned::new("enable.auto.offset.store", All, UNDONE, "remove it, see `commit-interval` of the trigger"),
    Owned::new("offset.store.method", All, "progress is kept in Kafka", "remove it"),
    Owned::new(
        "isolation.level",
        AllBut(&["read_committed"]),
        "records of aborted transactions would be handled",
        "remove it: only committed records are read",
    )
    .tools("committed records are read, all with `consume --uncommitted`"),
    Owned::new(
        "transactional.id",
        All,
        "nodes that share one fence each other",
        "remove it: Tidegate makes one for each trigger and node",
    ),
    Owned::new("enable.idempotence", TRUE, "retries could repeat or reorder messages", "remove it: it is on")
        .tools("it is on"),
    Owned::new("acks", AllBut(&["all", "-1"]), REPLICAS, "remove it: all replicas acknowledge")
        .tools("all replicas acknowledge"),
    Owned::new("request.required.acks", AllBut(&["all", "-1"]), REPLICAS, "remove it: all replicas acknowledge")
        .tools("all replicas acknowledge"),
    Owned::new("delivery.report.only.error", FALSE, "a record is done when its outputs are reported", "remove it")
        .tools("every record is accounted for"),
    Owned::new("queuing.strategy", AllBut(&["fifo"]), "messages would lose their order", "remove it"),
    Owned::new(
        "partitioner",
        All,
        "Tidegate chooses the partition itself, by murmur2 of the key as Java clients do",
        "remove it",
    )
    .tools("partitions are chosen by murmur2 of the key, as Java clients do, or by --partition"),
    Owned::new("enable.partition.eof", FALSE, "the end of a partition would look like a failure", "remove it")
        .tools("it is on"),
    Owned::new("topic.blacklist", All, "a topic that a trigger names would be left out in silence", "remove it")
        .tools("topics are named one by one"),
    Owned::new("plugin.library.paths", All, "code from elsewhere would run inside the node", "remove it")
        .tools("no plugins are loaded"),
];

/// Reports a property that Tidegate sets itself. Returns whether the property may be given.
pub(super) fn refuse_owned(name: &Key, value: &str, report: &mut Report) -> bool {
    let Some(owned) = OWNED.iter().find(|owned| owned.name == name.value) else { return true };
    let allowed = match owned.refused {
        All => false,
        AllBut(values) => values.contains(&value.trim().to_ascii_lowercase().as_str()),
    };
    if !allowed {
        let title = format!("Tidegate sets the property `{}` itself", name.value);
        report.add(Diagnostic::new(&name.span, title, owned.why).help(owned.instead));
    }
    allowed
}

/// Reports properties that the Kafka client does not take as they are, for a reason that names some
/// of them or their values. Without such a name it is about the cluster.
pub(super) fn refuse_together(keys: &[Key], cluster: &Cluster, whole: &Span, reason: String, report: &mut Report) {
    let has_name = |key: &&Key| reason.contains(key.value.as_str());
    let has_value = |key: &&Key| {
        let value = cluster.properties.get(&key.value);
        value.is_some_and(|value| value.len() >= TELLING_BYTES && reason.contains(value.as_str()))
    };
    let mut named: Vec<&Key> = keys.iter().filter(has_name).collect();
    if named.is_empty() {
        named.extend(keys.iter().filter(has_value));
    }
    let title = "the Kafka client does not take these properties";
    let mut spans = named.iter().map(|key| &key.span);
    let diagnostic = Diagnostic::new(spans.next().unwrap_or(whole), title, reason);
    report.add(spans.fold(diagnostic, |diagnostic, span| diagnostic.also(span, "")));
}

/// What to do instead of giving a tool this property. `None`: it may be given.
#[must_use]
pub fn owned_by_tools(name: &str) -> Option<&'static str> {
    OWNED.iter().find(|owned| owned.name == name)?.tools
}
