//! Shows the records of all topics as they arrive, one line for each.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Role;
use crate::kafka::source::Membership;
use crate::kafka::{Broker as _, Error, Event, Fetched, Partition, Source, Taken, Wake};
use crate::manifest::Cluster;
use crate::record::Record;
use crate::tools::display::{blanked, cut};

/// How often the tail checks its queues if nothing wakes it.
const LOOK: Duration = Duration::from_secs(1);

/// The only member of a group, which reads every topic from its beginning.
pub struct Tail {
    source: Source,
    wake: Wake,
    topics: Vec<(String, Role)>,
}

impl Tail {
    /// Needs a tokio runtime with IO. Each tail needs a group of its own.
    pub fn new(cluster: &Cluster, group: &str, topics: &BTreeMap<String, Role>) -> Result<Self, Error> {
        let (wake, end) = Wake::new();
        let names: Vec<_> = topics.keys().cloned().collect();
        let membership = Membership { owner: "dev", group, topics: &names, queue_bytes: 1 << 20, instance: None };
        let mut source = Source::new(cluster, &membership, "tidegate-dev", &end)?;
        source.subscribe(&names)?;
        Ok(Self { source, wake, topics: topics.iter().map(|(name, role)| (name.clone(), *role)).collect() })
    }

    /// Passes lines to `show` until it returns false.
    pub async fn run(&mut self, mut show: impl FnMut(Line) -> bool) {
        let mut is_shown = true;
        loop {
            while let Some(event) = self.source.next_event() {
                let answered = match event {
                    Event::Assigned(positions) => self.source.assign(&positions),
                    Event::Revoked { partitions, .. } => self.source.unassign(&partitions),
                    Event::Committed { .. } => Ok(()),
                    Event::Error(error) => Err(error),
                };
                if let Err(error) = answered {
                    tracing::debug!("tail: {error}");
                }
            }
            let topics = &self.topics;
            let shown = |partition: Partition, taken: Taken<Fetched>| match taken {
                Taken::Record(record) => {
                    let (topic, role) = &topics[partition.topic];
                    is_shown = is_shown && show(Line::new(topic, *role, partition.number, &record));
                }
                Taken::Failed { error, .. } => tracing::debug!("tail: {error}"),
            };
            if self.source.take(100, shown) == 0 {
                let _ = tokio::time::timeout(LOOK, self.wake.wait()).await;
            } else {
                // Give the other futures of this task a turn, however many records there are.
                tokio::task::yield_now().await;
            }
            if !is_shown {
                return;
            }
        }
    }
}

/// A record, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub role: Role,
    text: String,
}

impl Line {
    fn new(topic: &str, role: Role, partition: i32, record: &impl Record) -> Self {
        let mut text = format!("{} {topic}/{partition}@{}", role.sign(), record.offset());
        if let Some(key) = record.key() {
            text.push_str(&format!(" {}", blanked(key)));
        }
        if role == Role::DeadLetters {
            for name in ["tidegate-cause", "tidegate-reason"] {
                let header = record.headers().find(|header| header.name == name.as_bytes());
                text.push_str(&format!(" {}", blanked(header.and_then(|header| header.value).unwrap_or_default())));
            }
        } else {
            text.push_str(&format!(" │ {}", record.value().map_or_else(|| "null".to_owned(), blanked)));
        }
        Self { role, text }
    }
}

impl Role {
    /// The direction of a record.
    fn sign(self) -> char {
        match self {
            Self::Input => '→',
            Self::Output => '←',
            Self::DeadLetters => '✗',
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&cut(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::OwnedRecord;
    use crate::tools::display::{COLUMNS, width};

    #[test]
    fn a_line_shows_a_record_in_eighty_columns() {
        let record = OwnedRecord { offset: 7, key: Some(b"k".to_vec()), value: None, ..OwnedRecord::default() };
        assert_eq!(Line::new("orders", Role::Input, 2, &record).to_string(), "→ orders/2@7 k │ null");
        let long = OwnedRecord { value: Some(vec![b'x'; 500]), ..record.clone() };
        assert_eq!(Line::new("orders", Role::Output, 2, &long).to_string().chars().count(), COLUMNS);
        let wide = OwnedRecord { value: Some("日".repeat(500).into_bytes()), ..record.clone() };
        let shown = Line::new("orders", Role::Output, 2, &wide).to_string();
        // A character of two columns does not fit into the last one.
        assert!((COLUMNS - 1..=COLUMNS).contains(&width(&shown)) && shown.ends_with("日…"), "{shown}");
        let binary = OwnedRecord { key: None, value: Some(vec![0xff, 0]), ..record };
        assert_eq!(Line::new("orders", Role::Output, 2, &binary).to_string(), "← orders/2@7 │ ff00");
    }

    #[test]
    fn a_dead_letter_shows_why() {
        let header = |name: &str, value: &str| (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()));
        let headers = vec![header("tidegate-cause", "trap"), header("tidegate-reason", "panicked\nhere")];
        let record = OwnedRecord { headers, ..OwnedRecord::default() };
        assert_eq!(Line::new("dead", Role::DeadLetters, 0, &record).to_string(), "✗ dead/0@0 trap panicked here");
    }
}
