//! Finds partitions that are added to topics while they are read.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::plan::Plan;
use crate::tools::connection::Connection;

/// How often topics are looked at, unless the client's property says otherwise.
const EVERY: Duration = Duration::from_secs(10);

/// How often the client itself looks, in milliseconds; -1 means never. Triggers follow it too.
const PROPERTY: &str = "topic.metadata.refresh.interval.ms";

/// How long brokers have to answer about one topic. Without an answer they are asked again later.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks on a helper thread, so that unreachable brokers hold up nothing.
pub(super) struct Looking {
    every: Duration,
    next: Instant,
    asked: Option<JoinHandle<Vec<(usize, i32)>>>,
}

impl Looking {
    /// `None`: the plan has no use for new partitions.
    pub(super) fn new(plan: &Plan) -> Option<Self> {
        if plan.to_end || plan.partition.is_some() {
            return None;
        }
        let every = match plan.cluster.properties.get(PROPERTY).and_then(|text| text.trim().parse::<i64>().ok()) {
            Some(milliseconds) => Duration::from_millis(u64::try_from(milliseconds).ok().filter(|every| *every > 0)?),
            None => EVERY,
        };
        Some(Self { every, next: Instant::now() + every, asked: None })
    }

    /// The number of partitions of each topic, by its index in the plan, if an answer came since the last call.
    /// Asks again if it is time.
    pub(super) async fn found(&mut self, connection: &Connection, plan: &Plan) -> Vec<(usize, i32)> {
        if let Some(asked) = self.asked.take_if(|asked| asked.is_finished()) {
            return asked.await.unwrap_or_default();
        }
        if self.asked.is_none() && Instant::now() >= self.next {
            self.next = Instant::now() + self.every;
            let (reader, topics) = (connection.scan.reader(), plan.topics.clone());
            let count = move |(place, topic): (usize, String)| Some((place, reader.partitions(&topic, LIMIT).ok()?));
            let ask = move || topics.into_iter().enumerate().filter_map(count).collect();
            self.asked = Some(tokio::task::spawn_blocking(ask));
        }
        Vec::new()
    }
}
