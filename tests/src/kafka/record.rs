//! What is written to a topic and read from it, with nothing lost in between.

use std::fmt;
use std::sync::Arc;

/// The content of a record. Null and empty are two things everywhere, and a header's name is any
/// bytes, because both are so on the wire.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Milliseconds since 1970-01-01 UTC. None when producing: now.
    pub timestamp: Option<i64>,
    /// Where to produce it. None: by key. Of a record that was read: None, see [`Stored`].
    pub partition: Option<i32>,
}

impl Record {
    /// A record with a value and nothing else.
    pub fn of(value: impl Into<Vec<u8>>) -> Record {
        Record { value: Some(value.into()), ..Record::default() }
    }

    /// A record without a value.
    pub fn null() -> Record {
        Record::default()
    }

    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Record {
        self.key = Some(key.into());
        self
    }

    pub fn header(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Record {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    pub fn null_header(mut self, name: impl Into<Vec<u8>>) -> Record {
        self.headers.push((name.into(), None));
        self
    }

    pub fn headers(mut self, headers: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Record {
        self.headers.extend(headers);
        self
    }

    pub fn timestamp(mut self, millis: i64) -> Record {
        self.timestamp = Some(millis);
        self
    }

    pub fn partition(mut self, partition: i32) -> Record {
        self.partition = Some(partition);
        self
    }

    /// The value as text. Null is "null".
    pub fn text(&self) -> String {
        text(self.value.as_deref())
    }

    /// The value of the first header of that name, as text.
    pub fn header_text(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(have, _)| have == name.as_bytes())?;
        Some(text(value.as_deref()))
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or("null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Readable in the message of a failed assertion, and short.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", shown(self.key.as_deref()), shown(self.value.as_deref()))?;
        for (name, value) in &self.headers {
            write!(f, " [{}={}]", shown(Some(name)), shown(value.as_deref()))?;
        }
        match self.timestamp {
            Some(timestamp) => write!(f, " @{timestamp}"),
            None => Ok(()),
        }
    }
}

/// A record in its place: one that the broker acknowledged, or one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub record: Record,
}

fn shown(bytes: Option<&[u8]>) -> String {
    const LONGEST: usize = 80;
    match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() > LONGEST => format!("{}… ({} bytes)", bytes[..LONGEST].escape_ascii(), bytes.len()),
        Some(bytes) => bytes.escape_ascii().to_string(),
    }
}
