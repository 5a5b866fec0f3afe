//! Finds or creates the topic, and opens the way to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::counted::counted;
use crate::kafka::create::{Created, create_topic};
use crate::kafka::scan::Isolation;
use crate::kafka::sink::Batching;
use crate::kafka::{Error, ErrorKind, KafkaSink, Metadata, Sink as _, Wake};
use crate::manifest::Cluster;
use crate::tools::Failure;
use crate::tools::connection::{self, Connection, LIMIT};

/// How long a broker may take to create a topic by itself when it is asked about it.
const AUTOMATIC: Duration = Duration::from_secs(1);
/// How long a broker may take to create a topic on request.
const CREATION: Duration = Duration::from_secs(5);
/// How long a topic that was created may take to have partitions.
const CREATED: Duration = Duration::from_secs(10);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// A record is given up if the broker does not take it in this time.
const PATIENCE_MS: &str = "60000";

/// A sink for one topic. Needs a tokio runtime with IO.
pub(super) async fn open(
    cluster: &Cluster,
    topic: &str,
    create: Option<i32>,
    partition: Option<i32>,
) -> Result<(KafkaSink, Wake), Failure> {
    let topics = [topic.to_owned()];
    let mut cluster = cluster.clone();
    cluster.properties.entry("message.timeout.ms".to_owned()).or_insert_with(|| PATIENCE_MS.to_owned());
    let (wake, end) = Wake::new();
    let connection = Connection::new(&cluster, &[], Isolation::Committed)?;
    let mut found = connection.partitions(topic)?;
    let mut created = Created::Before;
    if let (Err(_), Some(partitions)) = (&found, create) {
        created = create_topic(&cluster, topic, partitions, CREATION)
            .await
            .with_context(|| format!("topic {topic} cannot be created"))?;
        if created != Created::Unsupported {
            found = wait(CREATED, || connection.partitions(topic)).await?;
        }
    }
    if created == Created::Unsupported {
        // Asked by a client that allows it, a broker may create the topic by itself.
        cluster.properties.insert("allow.auto.create.topics".to_owned(), "true".to_owned());
    }
    let sink = KafkaSink::new(&cluster, "produce", "tidegate", &topics, Batching::Separate, &end);
    let mut sink = sink.map_err(anyhow::Error::from)?;
    if created == Created::Unsupported {
        let reader = sink.reader();
        let ask = || {
            let mut metadata = reader.metadata(LIMIT).map_err(|error| connection.unanswered(error))?;
            Ok(metadata.missing.remove(topic).map_or_else(|| metadata.partitions_of(topic), Err))
        };
        found = wait(AUTOMATIC, ask).await?;
    }
    let partitions = found.map_err(|error| missing(topic, &error, create))?;
    if let Some(wanted) = create.filter(|wanted| *wanted != partitions) {
        let why = if created == Created::Unsupported { "the broker chose" } else { "it was there before" };
        eprintln!("note: {topic} has {}, not {wanted}: {why}", counted(partitions, "partition"));
    }
    if let Some(partition) = partition.filter(|partition| *partition >= partitions) {
        return Err(Failure::usage(format!(
            "--partition {partition}: {topic} has {}",
            connection::partitions(partitions)
        )));
    }
    sink.update(&Metadata { partitions: BTreeMap::from([(topic.to_owned(), partitions)]), ..Metadata::default() });
    Ok((sink, wake))
}

/// Asks until the topic has partitions or the time is up.
async fn wait(
    limit: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Result<i32, Error>>,
) -> anyhow::Result<Result<i32, Error>> {
    let end = Instant::now() + limit;
    loop {
        let found = ask()?;
        if found.is_ok() || Instant::now() >= end {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn missing(topic: &str, error: &Error, create: Option<i32>) -> Failure {
    let help = if create.is_none() && error.kind == ErrorKind::UnknownTopic {
        "; give --create PARTITIONS to create it"
    } else {
        ""
    };
    connection::missing(topic, "written", &format!("{}{help}", error.reason))
}
