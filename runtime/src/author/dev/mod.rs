//! The author's loop of `tidegate dev`: an embedded broker, builds and golden cases on save, records
//! as they go.
//!
//! It runs the same node as `tidegate run`. It differs in two things: every cluster of the manifest is
//! the embedded broker, and what was built here needs no signature.

mod build;
mod lines;
mod sources;
mod tail;
pub mod terminal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use build::Builder;
pub use lines::{Short, say};
pub use sources::{Sources, Target, project};
pub use tail::{Line, Tail};

use crate::kafka::embedded::{CLIENT_PROPERTIES, EmbeddedBroker};
use crate::kafka::sink::Batching;
use crate::kafka::{Error, KafkaSink, Metadata, Refusal, Sink as _, Wake};
use crate::manifest::{Cluster, Component, Manifest};
use crate::record::Message;
use crate::record::outcome::Timestamp;

/// Points all clusters of a manifest at the embedded broker, and creates its topics there. Components in files need
/// no signature: they were built here.
pub fn embed(mut manifest: Manifest, broker: &EmbeddedBroker, partitions: i32) -> Manifest {
    manifest.clusters = manifest
        .clusters
        .into_iter()
        .map(|(name, cluster)| {
            // Properties of the real cluster are dropped: the embedded broker does not speak TLS, for example.
            let properties = CLIENT_PROPERTIES.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
            let brokers = broker.address();
            (name, Arc::new(Cluster { brokers, properties: properties.collect(), name: cluster.name.clone() }))
        })
        .collect();
    for function in manifest.functions.values_mut().filter(|function| matches!(function.component, Component::File(_)))
    {
        Arc::make_mut(function).require_signature = None;
    }
    for topic in topics(&manifest).into_keys() {
        if let Err(error) = broker.create_topic(&topic, partitions) {
            tracing::error!("topic {topic} cannot be created: {error}");
        }
    }
    manifest
}

/// The role of a topic for the triggers of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Input,
    Output,
    DeadLetters,
}

/// All topics that a manifest names. A topic with several roles counts as an output.
pub fn topics(manifest: &Manifest) -> BTreeMap<String, Role> {
    let mut topics = BTreeMap::new();
    for trigger in manifest.triggers.values() {
        for topic in &trigger.topics {
            topics.entry(topic.clone()).or_insert(Role::Input);
        }
        for topic in trigger.output.iter().chain(&trigger.allow_topics) {
            topics.insert(topic.clone(), Role::Output);
        }
        topics.extend(trigger.dead_letters.clone().map(|topic| (topic, Role::DeadLetters)));
    }
    topics
}

/// The files of the components of a manifest. Components in S3 have none.
pub fn components(manifest: &Manifest) -> BTreeSet<&Path> {
    let components = manifest.functions.values().filter_map(|function| match &function.component {
        Component::File(path) => Some(path.as_path()),
        Component::Object(_) => None,
    });
    components.collect()
}

/// The key and value of a line that was typed: `key:value`, or a value alone.
pub fn typed(line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let colon = line.iter().position(|&byte| byte == b':');
    match colon.map(|colon| (&line[..colon], &line[colon + 1..])) {
        Some((key, value)) if !key.iter().any(|byte| b"{[\" ".contains(byte)) => (Some(key), value),
        _ => (None, line),
    }
}

/// The most lines that may be on their way to the broker.
const MOST_TYPED: usize = 1_000;
/// How long the last lines may take at the end.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Produces typed lines to one topic.
pub struct Typist {
    sink: KafkaSink,
    wake: Wake,
}

impl Typist {
    /// Needs a tokio runtime with IO.
    pub fn new(cluster: &Cluster, topic: &str, partitions: i32) -> Result<Self, Error> {
        let (wake, end) = Wake::new();
        let topics = [topic.to_owned()];
        let mut sink = KafkaSink::new(cluster, "dev", "tidegate-dev", &topics, Batching::Full, &end)?;
        let partitions = BTreeMap::from([(topic.to_owned(), partitions)]);
        sink.update(&Metadata { partitions, ..Metadata::default() });
        Ok(Self { sink, wake })
    }

    /// Produces one line as soon as there is room for it.
    pub async fn produce(&mut self, line: &[u8], refused: &mut impl FnMut(Refusal)) {
        while self.sink.outstanding() >= MOST_TYPED {
            self.acknowledged(refused).await;
        }
        let (key, value) = typed(line);
        let value = Some(value);
        let message =
            Message { topic: 0, partition: None, timestamp: Timestamp::Now, key, value, headers: 0..0, token: 0 };
        self.sink.send(&[message], &[]);
    }

    /// Waits for the lines that are on their way, for a limited time.
    pub async fn finish(mut self, refused: &mut impl FnMut(Refusal)) {
        let all = async {
            while self.sink.outstanding() > 0 {
                self.acknowledged(refused).await;
            }
        };
        let _ = tokio::time::timeout(LAST_LINES, all).await;
    }

    /// Waits until the broker has acknowledged or refused some lines.
    pub async fn acknowledged(&mut self, refused: &mut impl FnMut(Refusal)) {
        self.wake.wait().await;
        self.sink.acknowledgements(&mut |acknowledgement| {
            if let Err(refusal) = acknowledgement.result {
                refused(refusal);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::typed;

    #[test]
    fn a_typed_line_may_have_a_key() {
        let check = |line: &str, key: Option<&str>, value: &str| {
            assert_eq!(typed(line.as_bytes()), (key.map(str::as_bytes), value.as_bytes()), "{line}");
        };
        check("42:hello", Some("42"), "hello");
        check("hello", None, "hello");
        check(":hello", Some(""), "hello");
        check(r#"{"a":1}"#, None, r#"{"a":1}"#);
        check("see: this", Some("see"), " this");
    }
}
