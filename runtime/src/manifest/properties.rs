//! Properties of the Kafka client that Tidegate sets itself, because its promises rest on them.

use super::diagnostic::{Diagnostic, Report};
use super::field::At;

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

/// Reports a property that Tidegate sets itself.
pub(super) fn refuse_owned(name: &At<String>, value: &str, report: &mut Report) {
    let owned = OWNED.iter().find(|(owned, ..)| *owned == name.value);
    let Some((_, refused, why, instead)) = owned else {
        return;
    };
    let allowed = match refused {
        All => false,
        AllBut(values) => values.contains(&value.trim().to_ascii_lowercase().as_str()),
    };
    if !allowed {
        let title = format!("Tidegate sets the property `{}` itself", name.value);
        report.add(Diagnostic::new(&name.span, title, *why).help(*instead));
    }
}
