//! Properties of the Kafka client that Tidegate sets itself, because its promises rest on them.

use super::Cluster;
use super::diagnostic::{Diagnostic, Report, Span};
use super::field::Key;

/// A value that stands in a reason and is as long as this is what the reason is about.
const TELLING_BYTES: usize = 4;

/// Which values of a property are refused.
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

/// Name, what is refused, why, and what to do instead.
const OWNED: &[(&str, Refused, &str, &str)] = &[
    ("bootstrap.servers", All, ADDRESSES, "write `brokers` of the cluster"),
    ("metadata.broker.list", All, ADDRESSES, "write `brokers` of the cluster"),
    ("group.id", All, "every trigger has its own group", "write `group` of the trigger"),
    (
        "group.instance.id",
        All,
        "members that share one throw each other out",
        "remove it: Tidegate makes one of the node's name where it can be used",
    ),
    ("auto.offset.reset", All, "every trigger has its own start", "write `start` of the trigger"),
    ("enable.auto.commit", All, UNDONE, "remove it, see `commit-interval` of the trigger"),
    ("auto.commit.enable", All, UNDONE, "remove it, see `commit-interval` of the trigger"),
    ("auto.commit.interval.ms", All, UNDONE, "write `commit-interval` of the trigger"),
    ("enable.auto.offset.store", All, UNDONE, "remove it, see `commit-interval` of the trigger"),
    ("offset.store.method", All, "progress is kept in Kafka", "remove it"),
    (
        "isolation.level",
        AllBut(&["read_committed"]),
        "records of aborted transactions would be handled",
        "remove it: only committed records are read",
    ),
    (
        "transactional.id",
        All,
        "nodes that share one fence each other",
        "remove it: Tidegate makes one for each trigger and node",
    ),
    ("enable.idempotence", TRUE, "retries could repeat or reorder messages", "remove it: it is on"),
    ("acks", AllBut(&["all", "-1"]), REPLICAS, "remove it: all replicas acknowledge"),
    ("request.required.acks", AllBut(&["all", "-1"]), REPLICAS, "remove it: all replicas acknowledge"),
    ("delivery.report.only.error", FALSE, "a record is done when its outputs are reported", "remove it"),
    ("queuing.strategy", AllBut(&["fifo"]), "messages would lose their order", "remove it"),
    (
        "partitioner",
        All,
        "Tidegate chooses the partition itself, by murmur2 of the key as Java clients do",
        "remove it",
    ),
];

/// Reports a property that Tidegate sets itself, and says whether it is none.
pub(super) fn refuse_owned(name: &Key, value: &str, report: &mut Report) -> bool {
    let owned = OWNED.iter().find(|(owned, ..)| *owned == name.value);
    let Some((_, refused, why, instead)) = owned else {
        return true;
    };
    let allowed = match refused {
        All => false,
        AllBut(values) => values.contains(&value.trim().to_ascii_lowercase().as_str()),
    };
    if !allowed {
        let title = format!("Tidegate sets the property `{}` itself", name.value);
        report.add(Diagnostic::new(&name.span, title, *why).help(*instead));
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
