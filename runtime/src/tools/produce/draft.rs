//! A record that is to be produced.

/// What the Kafka client does with the timestamp 0.
pub const NO_ZERO: &str =
    "the Kafka client cannot send 0, the first millisecond of 1970: it takes the time of producing instead";

/// A record that is to be produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The line that it stands in, or its place in the run.
    pub number: u64,
    /// `None`: by key.
    pub partition: Option<i32>,
    /// `None`: the time of producing.
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}
