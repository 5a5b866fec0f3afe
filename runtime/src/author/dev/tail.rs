//! Shows the records of all topics as they go, one line each.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Role;
use crate::author::golden::width;
use crate::kafka::source::Event;
use crate::kafka::source::Membership;
use crate::kafka::{Error, Fetched, Partition, Source, Wake};
use crate::manifest::Cluster;
use crate::record::Record;

/// How long a line is at most, in columns: it fits a terminal of 80.
const WIDTH: usize = 80;
/// How often the tail looks at its queues without being woken.
const LOOK: Duration = Duration::from_secs(1);

/// The only member of a group, which reads every topic from its beginning.
pub struct Tail {
    source: Source,
    wake: Wake,
    topics: Vec<(String, Role)>,
}

impl Tail {
    /// Needs a tokio runtime with IO. Each has a group of its own.
    pub fn new(cluster: &Cluster, group: &str, topics: &BTreeMap<String, Role>) -> Result<Self, Error> {
        let (wake, end) = Wake::new().map_err(|error| Error::local(&error))?;
        let names: Vec<_> = topics.keys().cloned().collect();
        let membership = Membership { owner: "dev", group, topics: &names, queue_bytes: 1 << 20 };
        let source = Source::new(cluster, &membership, "tidegate-dev", &end)?;
        source.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self { source, wake, topics: topics.iter().map(|(name, role)| (name.clone(), *role)).collect() })
    }

    /// Hands out lines until nobody takes them.
    pub async fn run(&mut self, mut show: impl FnMut(Line) -> bool) {
        let mut is_shown = true;
        loop {
            while let Some(event) = self.source.next_event() {
                let answered = match event {
                    Event::Assigned(positions) => self.source.assign(&positions),
                    Event::Revoked { partitions, .. } => self.source.unassign(&partitions),
                    Event::Committed(_) => Ok(()),
                    Event::Error(error) => Err(error),
                };
                if let Err(error) = answered {
                    tracing::debug!("tail: {error}");
                }
            }
            let topics = &self.topics;
            let shown = |partition: Partition, record: Fetched| {
                let (topic, role) = &topics[partition.topic];
                is_shown = is_shown && show(Line::new(topic, *role, partition.number, &record));
            };
            if self.source.take(100, shown, |error| tracing::debug!("tail: {error}")) == 0 {
                let _ = tokio::time::timeout(LOOK, self.wake.wait()).await;
            } else {
                // Others of this task get their turn, however many records there are.
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
            text.push_str(&format!(" {}", readable(key)));
        }
        if role == Role::DeadLetters {
            for name in ["tidegate-cause", "tidegate-reason"] {
                let header = record.headers().find(|header| header.name == name.as_bytes());
                text.push_str(&format!(" {}", readable(header.and_then(|header| header.value).unwrap_or_default())));
            }
        } else {
            text.push_str(&format!(" │ {}", record.value().map_or_else(|| "null".to_owned(), readable)));
        }
        Self { role, text }
    }
}

impl Role {
    /// Which way a record goes.
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
        if width(&self.text) <= WIDTH {
            return formatter.write_str(&self.text);
        }
        let mut columns = 0;
        // The last column is for the sign that something is left out.
        let beyond = self.text.char_indices().find(|&(_, character)| {
            columns += width(character.encode_utf8(&mut [0; 4]));
            columns >= WIDTH
        });
        let end = beyond.map_or(self.text.len(), |(place, _)| place);
        write!(formatter, "{}…", &self.text[..end])
    }
}

/// Text as it is, without what would break a line; other bytes in hexadecimal.
fn readable(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.chars().map(|each| if each.is_control() { ' ' } else { each }).collect(),
        Err(_) => bytes.iter().take(WIDTH / 2).map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::OwnedRecord;

    #[test]
    fn a_line_shows_a_record_in_eighty_columns() {
        let record = OwnedRecord { offset: 7, key: Some(b"k".to_vec()), value: None, ..OwnedRecord::default() };
        assert_eq!(Line::new("orders", Role::Input, 2, &record).to_string(), "→ orders/2@7 k │ null");
        let long = OwnedRecord { value: Some(vec![b'x'; 500]), ..record.clone() };
        assert_eq!(Line::new("orders", Role::Output, 2, &long).to_string().chars().count(), WIDTH);
        let wide = OwnedRecord { value: Some("日".repeat(500).into_bytes()), ..record.clone() };
        let shown = Line::new("orders", Role::Output, 2, &wide).to_string();
        // A character of two columns does not fit into the last one.
        assert!((WIDTH - 1..=WIDTH).contains(&width(&shown)) && shown.ends_with("日…"), "{shown}");
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
