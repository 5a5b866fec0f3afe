//! The data of the contract: what is read from Kafka, what crosses into a function, and what comes
//! back. Plain data, no IO.

pub mod batch;
pub mod columns;
pub mod outcome;
pub mod resolved;
pub mod revision;

use outcome::Timestamp;

/// A record, wherever it lies: in the Kafka client's own buffers, in a batch, or as an
/// [`OwnedRecord`].
pub trait Record {
    fn offset(&self) -> i64;
    /// Milliseconds since 1970-01-01 UTC; `None`: unknown.
    fn timestamp_ms(&self) -> Option<i64>;
    /// `None` is null, which is not empty.
    fn key(&self) -> Option<&[u8]>;
    /// `None` is null, which is not empty.
    fn value(&self) -> Option<&[u8]>;
    /// The header at this place, from 0; `None` behind the last one.
    fn header(&self, index: usize) -> Option<Header<'_>>;

    /// What it takes of memory, roughly.
    fn bytes(&self) -> usize {
        bytes(self.key(), self.value(), header_bytes(self.headers()))
    }

    /// What of it cannot be read, and why, so that no function may be given it. `None`: it is whole.
    fn defect(&self) -> Option<&str> {
        None
    }

    /// Copies the record out of memory that it keeps from others. For records that stay for long.
    fn detach(&mut self) {}

    /// All headers, in order.
    fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        (0..).map_while(|index| self.header(index))
    }
}

/// A header. Its name is bytes: Kafka does not check that it is UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: &'a [u8],
    /// `None` is null, which is not empty.
    pub value: Option<&'a [u8]>,
}

/// A record with memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedRecord {
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl OwnedRecord {
    /// Copies a record.
    pub fn copy_of(record: &impl Record) -> Self {
        Self {
            offset: record.offset(),
            timestamp_ms: record.timestamp_ms(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.headers().map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

impl Record for OwnedRecord {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn header(&self, index: usize) -> Option<Header<'_>> {
        let (name, value) = self.headers.get(index)?;
        Some(Header { name, value: value.as_deref() })
    }
}

/// The topics that a trigger may write to, in an order that [`Message::topic`] counts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    names: Vec<String>,
    output: Option<usize>,
    dead_letters: Option<usize>,
    /// How many of `names` a function may address.
    granted: usize,
}

impl Topics {
    pub fn new(output: Option<&str>, allowed: &[String], dead_letters: Option<&str>) -> Self {
        let mut names: Vec<String> =
            output.into_iter().chain(allowed.iter().map(String::as_str)).map(String::from).collect();
        let granted = names.len();
        let dead_letters = dead_letters.map(|topic| {
            names.iter().position(|name| name == topic).unwrap_or_else(|| {
                names.push(topic.to_owned());
                names.len() - 1
            })
        });
        Self { names, output: output.map(|_| 0), dead_letters, granted }
    }

    /// All of them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Where messages go that name no topic.
    pub fn output(&self) -> Option<usize> {
        self.output
    }

    pub fn dead_letters(&self) -> Option<usize> {
        self.dead_letters
    }

    /// The place of a topic that functions may address.
    pub fn granted(&self, name: &str) -> Option<usize> {
        self.names[..self.granted].iter().position(|granted| granted == name)
    }
}

/// What is produced: one message, lying in memory of its source or of an outcome.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Place in [`Topics`].
    pub topic: usize,
    /// `None`: by the key, as Kafka's own clients do.
    pub partition: Option<i32>,
    /// [`Timestamp::AsInSource`] only if its source has none: then it is the time of producing too.
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Place of its headers in the list that comes with the messages.
    pub headers: std::ops::Range<usize>,
    /// Comes back with the acknowledgement.
    pub token: u64,
}

impl Message<'_> {
    /// What it takes in the client's queue, roughly, with these headers of its own.
    pub fn bytes(&self, headers: &[Header<'_>]) -> usize {
        bytes(self.key, self.value, header_bytes(headers.iter().copied()))
    }
}

/// What a record or a message takes, roughly, whose headers take so much. Everything that is bounded
/// or counted by size is measured with this function, so that no two sizes of one message differ.
pub fn bytes(key: Option<&[u8]>, value: Option<&[u8]>, header_bytes: usize) -> usize {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    OVERHEAD_BYTES.saturating_add(length(key)).saturating_add(length(value)).saturating_add(header_bytes)
}

/// What headers take, roughly.
pub fn header_bytes<'a>(headers: impl Iterator<Item = Header<'a>>) -> usize {
    headers.fold(0, |sum: usize, header| {
        let content = header.name.len().saturating_add(header.value.map_or(0, <[u8]>::len));
        sum.saturating_add(HEADER_OVERHEAD_BYTES).saturating_add(content)
    })
}

/// What a record or message takes beside its content, roughly.
pub const OVERHEAD_BYTES: usize = 128;
/// What a header takes beside its content, roughly.
pub const HEADER_OVERHEAD_BYTES: usize = 32;
