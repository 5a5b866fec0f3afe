//! The settings of all Kafka clients. Properties in the manifest override them; [`crate::manifest`] refuses
//! properties that must not be changed.

use std::collections::BTreeMap;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::broker::Batching;
use super::client::{Client, Error, refused};
use crate::manifest::Cluster;

/// The settings of a group member.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// The trigger that the consumer belongs to, for log lines.
    pub owner: &'a str,
    pub group: &'a str,
    /// All topics that the member will ever subscribe to. [`Partition::topic`](super::Partition::topic) is an
    /// index into this list.
    pub topics: &'a [String],
    /// How many bytes the client prefetches into one queue: into the shared queue of all partitions that
    /// flow, or into the queue of one partition that is held back.
    pub queue_bytes: u64,
    /// The name of a static member. If such a member starts again, it gets its partitions back without a
    /// rebalance. If it ends, no other member gets its partitions until its session times out. If it is
    /// killed, a KIP-848 group refuses the restarted member until then.
    pub instance: Option<&'a str>,
}

/// Properties that every client gets.
const SHARED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    // Each trigger asks for metadata every few seconds anyway. An outdated leader costs at most one failed
    // request.
    ("topic.metadata.refresh.interval.ms", "60000"),
    // After how long a client notices that a broker is available again. Each client also tries to connect to
    // an unavailable broker this often.
    ("reconnect.backoff.max.ms", "2000"),
    ("log.connection.close", "false"),
    // Log lines arrive as events.
    ("log.queue", "true"),
];

/// Properties of every group member.
const MEMBER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // Used only if the broker no longer has an offset: reading continues with the oldest remaining record.
    ("auto.offset.reset", "earliest"),
    ("isolation.level", "read_committed"),
    // How long fetching stops after the prefetch queue was full. With the default of 1 s the queue would run
    // empty.
    ("fetch.queue.backoff.ms", "10"),
    // How long a broker waits for new records before it answers a fetch request, so an idle consumer sends one
    // request to each broker in this time. If such a request is running when a partition is added, fetching of
    // that partition starts up to this much later.
    ("fetch.wait.max.ms", "500"),
];

/// Properties of a member of a classic group. In the newer protocol (KIP-848) the broker has all of these
/// settings, and the client refuses them.
const CLASSIC_MEMBER: &[(&str, &str)] = &[
    ("partition.assignment.strategy", "cooperative-sticky"),
    // A member learns from the answer to a heartbeat that other members join or leave. So a rebalance takes
    // two to three heartbeats, and with the default of 3 s they would be most of its time. 500 ms costs two
    // small requests a second for each trigger of a node.
    ("heartbeat.interval.ms", "500"),
    // `session.timeout.ms` keeps its default of 45 s: a shorter one would take partitions from nodes that only
    // pause.
];

/// Properties of every producer.
const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    // Messages never time out in the client; Tidegate decides when to give them up.
    ("message.timeout.ms", "0"),
    // How long a message waits for more messages of its partition. A record is done that much later. A busy
    // loop sends many messages at once, so a short time is enough to save requests.
    ("linger.ms", "1"),
    // The same choice as in the sink, for messages whose partition the client chooses.
    ("partitioner", "murmur2_random"),
    // Only the limit of the topic should apply. Requests still stay below `batch.size`.
    ("message.max.bytes", "67108864"),
    // Tidegate itself limits the bytes of all unacknowledged messages.
    ("queue.buffering.max.messages", "0"),
    ("queue.buffering.max.kbytes", "2097151"),
];

/// The settings of a client of the cluster. `ours` overrides the shared settings.
pub(super) fn settings(cluster: &Cluster, node: &str, ours: &[(&str, &str)]) -> ClientConfig {
    let mut all: BTreeMap<&str, &str> = SHARED.iter().copied().collect();
    all.insert("client.id", node);
    all.extend(ours.iter().copied());
    all.extend(cluster.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let mut config = ClientConfig::new();
    for (key, value) in all {
        config.set(key, value);
    }
    config.set("log.queue", "true");
    config.set("bootstrap.servers", &cluster.brokers);
    // Clients of the rdkafka crate take the level from here. For other clients it is the default.
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

pub(super) fn member(cluster: &Cluster, membership: &Membership<'_>, client_id: &str) -> ClientConfig {
    let queue_kbytes = (membership.queue_bytes / 1_024).max(1).to_string();
    // The client counts only keys and values, but needs about half a KiB more for each record. So the number
    // of records is limited too.
    let queue_records = (membership.queue_bytes / 1_024).clamp(1_000, 10_000_000).to_string();
    let mut ours = MEMBER.to_vec();
    ours.extend([
        ("group.id", membership.group),
        ("queued.max.messages.kbytes", queue_kbytes.as_str()),
        ("queued.min.messages", queue_records.as_str()),
    ]);
    if let Some(instance) = membership.instance {
        ours.push(("group.instance.id", instance));
    }
    if cluster.has_classic_groups() {
        ours.extend(CLASSIC_MEMBER);
    }
    settings(cluster, client_id, &ours)
}

pub(super) fn producer(cluster: &Cluster, client_id: &str, batching: Batching) -> ClientConfig {
    let mut config = settings(cluster, client_id, PRODUCER);
    match batching {
        Batching::Full => drop(config.set("enable.gapless.guarantee", "true")),
        Batching::Single => drop(config.set("batch.num.messages", "1")),
        Batching::Separate => {}
    }
    config
}

/// Checks that librdkafka accepts the properties of a cluster: each of them, and all of them together for a
/// group member and for a producer. Needs no broker.
pub fn check_properties(cluster: &Cluster) -> Result<(), Error> {
    settings(cluster, "check", &[]).create_native_config().map_err(refused)?;
    let membership = Membership { owner: "check", group: "check", topics: &[], queue_bytes: 1 << 20, instance: None };
    // Without addresses, the clients do not try to connect.
    let without_brokers = |mut config: ClientConfig| {
        config.remove("bootstrap.servers");
        config.remove("metadata.broker.list");
        config
    };
    Client::consumer(&without_brokers(member(cluster, &membership, "check")))?;
    Client::producer(&without_brokers(producer(cluster, "check", Batching::Full)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Name;

    fn check(properties: &[(&str, &str)]) -> Result<(), String> {
        let name = Name::new("main").expect("a name");
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        check_properties(&Cluster { name, brokers: "kafka:9092".to_owned(), properties }).map_err(|error| error.reason)
    }

    #[track_caller]
    fn check_refused(properties: &[(&str, &str)], reason: &str) {
        let error = check(properties).expect_err("refused");
        assert!(error.contains(reason), "{properties:?}: {error}");
    }

    #[test]
    fn properties_that_conflict_with_each_other_or_with_our_settings_are_refused() {
        let new = ("group.protocol", "consumer");
        check_refused(&[new, ("session.timeout.ms", "6000")], "`session.timeout.ms` is not supported");
        check_refused(&[new, ("partition.assignment.strategy", "range")], "`group.remote.assignor`");
        check_refused(&[("partition.assignment.strategy", "range,cooperative-sticky")], "same protocol type");
        check_refused(&[("max.poll.interval.ms", "5000")], "`session.timeout.ms`");
        check_refused(&[("max.in.flight", "10")], "`enable.idempotence`");
        check_refused(&[("retries", "0")], "`enable.idempotence`");
        check_refused(&[("message.timeout.ms", "1")], "`linger.ms`");
        let scram = ("sasl.mechanism", "SCRAM-SHA-256");
        let user = [("sasl.username", "u"), ("sasl.password", "p")];
        check_refused(&[("security.protocol", "sasl_plaintext"), scram, user[0], user[1]], "SCRAM-SHA-256");
        check_refused(&[("max.poll.records", "5")], "\"max.poll.records\"");
        check_refused(&[("linger.ms", "soon")], "\"queue.buffering.max.ms\"");
    }

    #[test]
    fn properties_that_work_for_a_trigger_are_accepted() {
        for properties in [
            &[][..],
            &[("group.protocol", "consumer")],
            &[("session.timeout.ms", "6000")],
            &[("compression.type", "zstd")],
            &[("group.protocol", "classic"), ("partition.assignment.strategy", "range")],
            &[("queue.buffering.max.messages", "1")],
            &[("sasl.mechanism", "SCRAM-SHA-256")],
            &[("message.max.bytes", "200000000"), ("linger.ms", "400000"), ("heartbeat.interval.ms", "60000")],
        ] {
            assert_eq!(check(properties), Ok(()), "{properties:?}");
        }
    }
}
