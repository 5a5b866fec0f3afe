//! Tries the topics of a manifest: that of the relay, and those that triggers read and write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::finding::Finding;
use super::policy;
use crate::kafka::cleanup::{Compaction, compaction};
use crate::kafka::create::{Created, may_create_topic};
use crate::kafka::survey::{Rights, TopicFacts, survey};
use crate::kafka::{Error, ErrorKind};
use crate::manifest::{Cluster, Manifest, Name};

/// How long each question may take.
const LIMIT: Duration = Duration::from_secs(8);

/// What a node does with a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    reads: bool,
    writes: bool,
}

/// Tries the topics of each cluster.
pub async fn check(manifest: &Manifest) -> Vec<Finding> {
    let relay = manifest.control.as_ref().map(|control| (&control.cluster, control.topic.as_str()));
    let mut findings = Vec::new();
    for (cluster, topics) in uses(manifest) {
        let Some(cluster) = manifest.clusters.get(&cluster) else { continue };
        let relay = relay.filter(|(name, _)| **name == cluster.name).map(|(_, topic)| topic);
        findings.extend(check_cluster(cluster, &topics, relay).await);
    }
    findings
}

/// What is done with which topics, by cluster.
fn uses(manifest: &Manifest) -> BTreeMap<Name, BTreeMap<String, Use>> {
    let mut all: BTreeMap<Name, BTreeMap<String, Use>> = BTreeMap::new();
    let mut note = |cluster: &Name, topic: &str, reads: bool, writes: bool| {
        let found = all.entry(cluster.clone()).or_default().entry(topic.to_owned()).or_default();
        (found.reads, found.writes) = (found.reads || reads, found.writes || writes);
    };
    for trigger in manifest.triggers.values() {
        trigger.topics.iter().for_each(|topic| note(&trigger.cluster, topic, true, false));
        let written: BTreeSet<&String> =
            trigger.output.iter().chain(&trigger.allow_topics).chain(&trigger.dead_letters).collect();
        written.into_iter().for_each(|topic| note(&trigger.output_cluster, topic, false, true));
    }
    if let Some(control) = &manifest.control {
        note(&control.cluster, &control.topic, true, true);
    }
    all
}

async fn check_cluster(cluster: &Arc<Cluster>, topics: &BTreeMap<String, Use>, relay: Option<&str>) -> Vec<Finding> {
    let names: Vec<String> = topics.keys().cloned().collect();
    let (asked, of) = (names.clone(), cluster.clone());
    let found = tokio::task::spawn_blocking(move || survey(&of, &asked, LIMIT)).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            let text = format!("cluster {} at {}: {}", cluster.name, cluster.brokers, error.reason);
            return vec![Finding::wrong(text)];
        }
        Err(error) => return vec![Finding::unknown(format!("cluster {}: {error}", cluster.name))],
    };
    let mut findings = vec![Finding::good(format!("cluster {} at {}: it answers", cluster.name, cluster.brokers))];
    for (topic, facts) in names.iter().zip(found) {
        if Some(topic.as_str()) == relay {
            findings.extend(check_relay(cluster, topic, &facts).await);
        } else {
            findings.extend(check_topic(cluster, topic, topics.get(topic).copied().unwrap_or_default(), &facts));
        }
    }
    findings
}

fn check_topic(cluster: &Cluster, topic: &str, used: Use, facts: &Result<TopicFacts, Error>) -> Vec<Finding> {
    match facts {
        Ok(facts) => {
            let lacks = lacking(cluster, topic, used, facts.rights);
            if lacks.is_empty() { vec![Finding::good(format!("topic {topic}: it is there"))] } else { lacks }
        }
        Err(error) => vec![unusable(cluster, topic, error).unwrap_or_else(|| {
            Finding::wrong(format!("topic {topic}: there is none")).remedy(policy::creation(
                cluster,
                topic,
                "NUMBER",
                &[],
            ))
        })],
    }
}

/// The finding for a topic that cannot be asked about. [`None`]: it is missing.
fn unusable(cluster: &Cluster, topic: &str, error: &Error) -> Option<Finding> {
    match error.kind {
        ErrorKind::UnknownTopic => None,
        ErrorKind::Denied => Some(
            Finding::wrong(format!("topic {topic}: it may not be described, or is missing"))
                .remedy(policy::acl(cluster, "Describe", topic)),
        ),
        _ => Some(Finding::wrong(format!("topic {topic}: {}", error.reason))),
    }
}

/// What of the rights is missing, if the brokers say which there are.
fn lacking(cluster: &Cluster, topic: &str, used: Use, rights: Option<Rights>) -> Vec<Finding> {
    let Some(rights) = rights else { return Vec::new() };
    let needs = [(used.reads, rights.read, "Read", "read"), (used.writes, rights.write, "Write", "written")];
    let missing = needs.into_iter().filter(|(is_needed, is_there, ..)| *is_needed && !is_there);
    let finding = |(_, _, operation, done): (bool, bool, &str, &str)| {
        Finding::wrong(format!("topic {topic}: it may not be {done}")).remedy(policy::acl(cluster, operation, topic))
    };
    missing.map(finding).collect()
}

async fn check_relay(cluster: &Cluster, topic: &str, facts: &Result<TopicFacts, Error>) -> Vec<Finding> {
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => {
            return match unusable(cluster, topic, error) {
                Some(finding) => vec![finding],
                None => vec![missing_relay(cluster, topic).await],
            };
        }
    };
    let mut findings = lacking(cluster, topic, Use { reads: true, writes: true }, facts.rights);
    if findings.is_empty() {
        let text = match facts.rights {
            Some(_) => format!("topic {topic} of [control]: it is there, and can be read and written"),
            None => format!("topic {topic} of [control]: it is there; the brokers do not say who may use it"),
        };
        findings.push(Finding::good(text));
    }
    if facts.partitions != 1 {
        findings.push(Finding::wrong(format!(
            "topic {topic} of [control]: it has {} partitions instead of 1, and only partition 0 is used; delete it, \
             and the nodes make another one",
            facts.partitions
        )));
    }
    match tokio::time::timeout(2 * LIMIT, compaction(cluster, topic, LIMIT)).await {
        Ok(Ok(Compaction::On)) => findings.push(Finding::good(format!("topic {topic} of [control]: it is compacted"))),
        Ok(Ok(Compaction::Off)) => findings.push(
            Finding::wrong(format!(
                "topic {topic} of [control]: it is not compacted, so the brokers will delete what is needed"
            ))
            .remedy(format!(
                "kafka-configs.sh --bootstrap-server {} --alter --topic {topic} \\\n  --add-config cleanup.policy=compact",
                cluster.brokers
            )),
        ),
        Ok(Ok(Compaction::Unknown)) => {}
        Ok(Err(error)) => {
            findings.push(
                Finding::unknown(format!("topic {topic} of [control]: whether it is compacted: {}", error.reason))
                    .remedy(policy::acl(cluster, "DescribeConfigs", topic)),
            );
        }
        Err(_) => findings.push(Finding::unknown(format!("topic {topic} of [control]: whether it is compacted: no answer"))),
    }
    findings
}

async fn missing_relay(cluster: &Cluster, topic: &str) -> Finding {
    let by_hand = || policy::creation(cluster, topic, "1", &["cleanup.policy=compact"]);
    match may_create_topic(cluster, topic, 1, LIMIT).await {
        Ok(Created::Now | Created::Before) => {
            Finding::good(format!("topic {topic} of [control]: there is none yet; the first node makes it, and may"))
        }
        Ok(Created::Unsupported) => {
            Finding::unknown(format!("topic {topic} of [control]: there is none yet")).remedy(by_hand())
        }
        Err(error) => Finding::wrong(format!(
            "topic {topic} of [control]: there is none, and a node may not make it: {}",
            error.reason
        ))
        .remedy(format!("{}\nor let nodes make it:\n{}", by_hand(), policy::acl(cluster, "Create", topic))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::finding::Level;
    use super::*;

    #[test]
    fn topics_are_used_as_triggers_and_the_relay_use_them() {
        let text = r#"
            [cluster.main]
            brokers = "kafka:9092"
            [function.f]
            component = "f.wasm"
            [trigger.t]
            function = "f"
            topics = ["in"]
            output = "out"
            allow-topics = ["audit"]
            dead-letters = "dead"
            [control]
        "#;
        let manifest = crate::manifest::parse(Path::new("t.toml"), text, &|_| None);
        let manifest = manifest.unwrap_or_else(|errors| panic!("{errors}"));
        let uses = uses(&manifest);
        let main: Vec<_> = uses["main"].iter().map(|(topic, used)| (topic.as_str(), used.reads, used.writes)).collect();
        let expected = [
            ("audit", false, true),
            ("dead", false, true),
            ("in", true, false),
            ("out", false, true),
            ("tidegate-control", true, true),
        ];
        assert_eq!(main, expected);
    }

    #[test]
    fn rights_that_are_missing_are_named_with_their_command() {
        let cluster = Cluster::at("kafka:9092").expect("a cluster");
        let check = |used: Use, rights: Option<Rights>, level: Level, text: &str, remedy: Option<&str>| {
            let found = check_topic(&cluster, "t", used, &Ok(TopicFacts { partitions: 1, rights }));
            assert_eq!((found[0].level, found[0].text.as_str()), (level, text));
            let given = found[0].remedy.as_deref();
            assert!(remedy.is_none_or(|remedy| given.is_some_and(|given| given.contains(remedy))), "{given:?}");
        };
        let (reads, writes) = (Use { reads: true, writes: false }, Use { reads: false, writes: true });
        let all = Some(Rights { read: true, write: false });
        check(reads, all, Level::Good, "topic t: it is there", None);
        check(writes, all, Level::Wrong, "topic t: it may not be written", Some("--operation Write --topic t"));
        check(writes, None, Level::Good, "topic t: it is there", None);
        let missing = Err(Error::new(ErrorKind::UnknownTopic, "no"));
        let found = check_topic(&cluster, "t", reads, &missing);
        assert!(found[0].remedy.as_ref().is_some_and(|remedy| remedy.contains("--create --topic t")), "{found:?}");
    }
}
