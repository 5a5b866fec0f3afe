//! The settings of clients, all in one place. What the manifest says wins, except over what
//! [`crate::manifest`] refuses.

use std::collections::BTreeMap;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::broker::Batching;
use super::client::{Client, Error, refused};
use crate::manifest::Cluster;

/// What a consumer is a member of.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// The trigger that the consumer belongs to, for log lines.
    pub owner: &'a str,
    pub group: &'a str,
    /// What [`Partition::topic`](super::Partition::topic) counts in. All topics that are ever subscribed to.
    pub topics: &'a [String],
    /// Bound of what the client fetches ahead in one queue: of all partitions together that flow, or
    /// of one that is held back.
    pub queue_bytes: u64,
    /// The name of a static member. One that is started again takes its partitions back without a
    /// rebalance; one that ends keeps them from others until its session is over. A KIP-848 group
    /// refuses the heir of a killed member until then.
    pub instance: Option<&'a str>,
}

/// Properties that every client gets.
const SHARED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    // The probe asks every few seconds; a stale view of leaders costs a failed request at most.
    ("topic.metadata.refresh.interval.ms", "60000"),
    // How long a broker that is back may stay unnoticed. A broker that is away gets a connection
    // attempt of each client as often.
    ("reconnect.backoff.max.ms", "2000"),
    ("log.connection.close", "false"),
    // Log lines are events.
    ("log.queue", "true"),
];

/// Of every member of a group.
const MEMBER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // Only for offsets that the broker no longer has: what is left of the partition.
    ("auto.offset.reset", "earliest"),
    ("isolation.level", "read_committed"),
    // How long fetching stops after the prefetch was full; the default of 1 s starves it.
    ("fetch.queue.backoff.ms", "10"),
    // What is asked for when there is nothing: a request of each broker in so long. A partition that comes
    // to a broker of which nothing arrives is fetched up to so much later.
    ("fetch.wait.max.ms", "500"),
];

/// Of a member of a classic group. The newer protocol (KIP-848) has all of these on the broker, and
/// the client refuses them.
const CLASSIC_MEMBER: &[(&str, &str)] = &[
    ("partition.assignment.strategy", "cooperative-sticky"),
    // A member learns from the answer to a heartbeat that others join or leave, so a rebalance takes
    // two to three of them; with the default of 3 s that is most of its time. It costs two small
    // requests a second for each trigger of a node.
    ("heartbeat.interval.ms", "500"),
    // `session.timeout.ms` stays 45 s: shorter ones take partitions from nodes that only pause.
];

/// Of every producer.
const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    // A message is given up by us, not by a clock.
    ("message.timeout.ms", "0"),
    // How long a message waits for others of its partition. It adds as much to the time until a
    // record is done. A busy loop hands over many at once, so it need not be long to save requests.
    ("linger.ms", "1"),
    // As the sink chooses, for messages that it leaves to the client.
    ("partitioner", "murmur2_random"),
    // The topic's own limit decides; requests stay below `batch.size` all the same.
    ("message.max.bytes", "67108864"),
    // The bound is ours, in bytes, all that is not acknowledged.
    ("queue.buffering.max.messages", "0"),
    ("queue.buffering.max.kbytes", "2097151"),
];

/// A client of the cluster with these settings over the shared ones.
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
    // The wrapper's clients take it from here, others have it by default.
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

pub(super) fn member(cluster: &Cluster, membership: &Membership<'_>, client_id: &str) -> ClientConfig {
    let queue_kbytes = (membership.queue_bytes / 1_024).max(1).to_string();
    // The client counts content only, and takes about half a KiB for each record beside it.
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

/// Whether librdkafka takes the properties of a cluster: each by itself, and all of them together
/// for a member of a group and for a producer. Needs no broker.
pub fn check_properties(cluster: &Cluster) -> Result<(), Error> {
    settings(cluster, "check", &[]).create_native_config().map_err(refused)?;
    let membership = Membership { owner: "check", group: "check", topics: &[], queue_bytes: 1 << 20, instance: None };
    // Without brokers there is nothing to connect to.
    let nowhere = |mut config: ClientConfig| {
        config.remove("bootstrap.servers");
        config.remove("metadata.broker.list");
        config
    };
    Client::consumer(&nowhere(member(cluster, &membership, "check")))?;
    Client::producer(&nowhere(producer(cluster, "check", Batching::Full)))?;
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
        let told = check(properties).expect_err("refused");
        assert!(told.contains(reason), "{properties:?}: {told}");
    }

    #[test]
    fn properties_that_exclude_each_other_or_the_settings_of_a_trigger_are_refused() {
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
    fn properties_that_a_trigger_can_work_with_are_taken() {
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
