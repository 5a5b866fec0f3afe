//! Looks now and then whether topics have more partitions.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::plan::Plan;
use crate::tools::connection::Connection;

/// How often, unless the client's property says so.
const EVERY: Duration = Duration::from_secs(10);

/// How often the client itself looks, in milliseconds; -1: never. Triggers go by it too.
const PROPERTY: &str = "topic.metadata.refresh.interval.ms";

/// How long brokers have for the answer about a topic. If they have none, they are asked again.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks on a helper thread, so that brokers that are away hold up nothing.
pub(super) struct Looking {
    every: Duration,
    next: Instant,
    asked: Option<JoinHandle<Vec<(usize, i32)>>>,
}

impl Looking {
    /// `None`: nobody wants to know.
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

    /// For each topic, by its place in the plan, how many partitions it has, if an answer came since
    /// the last call. Asks if it is time.
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
