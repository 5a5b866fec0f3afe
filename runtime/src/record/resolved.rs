//! The messages of an outcome as they are produced: what a message leaves to its source record is
//! taken from that record. The size of an outcome is the sum over these messages, and delivery sends
//! these messages, so what was checked is what is sent.

use super::batch::Batch;
use super::columns::{Field, HeaderRun};
use super::outcome::{Cause, Checked, Fault, Headers, Messages, Timestamp};
use super::{HEADER_OVERHEAD_BYTES, Record as _, bytes, header_bytes};
use crate::counted::counted;

/// Most bytes that the messages of one outcome may take, those of their sources included. A batch that
/// takes more itself may always be forwarded.
const MAX_BYTES: usize = 64 << 20;

/// A message with all that is produced.
#[derive(Clone, Copy, Debug)]
pub struct ResolvedMessage<'a> {
    /// Index of the record it comes from.
    pub source: usize,
    /// Place in [`Topics`](super::Topics).
    pub topic: usize,
    /// `None`: by key.
    pub partition: Option<i32>,
    /// [`Timestamp::AsInSource`] only if its source has none.
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: HeaderRun<'a>,
    /// Whether the headers are those of its source, so that all such messages of one source share them.
    pub inherits_headers: bool,
    /// What it takes, as [`super::Message::bytes`] counts it.
    pub bytes: usize,
}

/// Walks the messages of an outcome, in order.
pub struct Resolved<'a> {
    messages: Messages<'a>,
    batch: &'a Batch,
    /// The last source whose headers were inherited, and what they take. Sources ascend, so the headers
    /// of a record are added up once, however many messages inherit them.
    inherited: Option<(usize, usize)>,
}

impl<'a> Iterator for Resolved<'a> {
    type Item = ResolvedMessage<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.messages.next()?;
        let source = message.source;
        let record = self.batch.record(source);
        let (headers, headers_take) = match message.headers {
            Headers::Own(own) => (own, header_bytes(own)),
            Headers::AsInSource => {
                let known = self.inherited.filter(|(known, _)| *known == source);
                let (_, take) = known.unwrap_or_else(|| (source, header_bytes(record.headers())));
                self.inherited = Some((source, take));
                (record.headers(), take)
            }
        };
        let (key, value) = (field(message.key, record.key()), field(message.value, record.value()));
        Some(ResolvedMessage {
            source,
            topic: message.topic,
            partition: message.partition,
            timestamp: match message.timestamp {
                Timestamp::AsInSource => Timestamp::of_source(record.timestamp_ms()),
                own => own,
            },
            key,
            value,
            headers,
            inherits_headers: matches!(message.headers, Headers::AsInSource),
            bytes: bytes(key, value, headers_take),
        })
    }
}

fn field<'a>(field: Field<'a>, source: Option<&'a [u8]>) -> Option<&'a [u8]> {
    match field {
        Field::AsInSource => source,
        Field::Null => None,
        Field::Bytes(bytes) => Some(bytes),
    }
}

impl Checked {
    /// The messages as they are produced. The batch is the one that the outcome was checked against.
    pub fn resolved<'a>(&'a self, batch: &'a Batch) -> Resolved<'a> {
        Resolved { messages: self.messages(), batch, inherited: None }
    }

    /// Checks what the messages take.
    pub fn check_size(self, batch: &Batch) -> Result<Self, Fault> {
        let limit = MAX_BYTES.max(batch.record_bytes());
        if self.is_surely_within(limit, batch) {
            return Ok(self);
        }
        let total = self.resolved(batch).fold(0, |sum: usize, message| sum.saturating_add(message.bytes));
        if total > limit {
            let reason = format!(
                "{} of {} MiB in all, with what they have of their records; at most {} MiB are allowed",
                counted(self.len(), "message"),
                total.div_ceil(1 << 20),
                limit >> 20
            );
            return Err(Fault::new(Cause::BadOutcome, reason));
        }
        Ok(self)
    }

    /// Whether a bound says so that costs next to nothing: if no record has two messages, they take at
    /// most what all records take, and what the function added.
    fn is_surely_within(&self, limit: usize, batch: &Batch) -> bool {
        let outcome = self.outcome();
        let headers = &outcome.headers;
        let columns = [&outcome.keys, &outcome.values, &headers.names, &headers.values];
        let added = columns.iter().fold(0, |sum: usize, column| sum.saturating_add(column.data.len()));
        let added = added.saturating_add(headers.names.lens.len().saturating_mul(HEADER_OVERHEAD_BYTES));
        batch.record_bytes().saturating_add(added) <= limit && outcome.sources.is_sorted_by(|one, next| one < next)
    }
}

#[cfg(test)]
mod tests;
