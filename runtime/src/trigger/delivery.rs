//! Makes the result of calls durable: messages out, acknowledgements back, dead letters.
//!
//! At least once: a record is done when the broker has acknowledged its messages, and progress is
//! committed after that. The steps are those of a transaction too; only what makes them durable
//! together would differ.

use std::sync::Arc;

use super::sequencer::Sequence;
use crate::kafka::{Acknowledgement, Refusal, Sink};
use crate::outcome::{Checked, Fault, Field, Headers, Timestamp};
use crate::record::{Header, Message, Record, Topics};

/// Prefix of the headers that a dead letter gets.
pub const HEADER_PREFIX: &str = "tidegate-";

/// The record that a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Place in the table of assigned partitions.
    pub slot: usize,
    /// Which assignment of that place. Wraps around; two that are confused would have to be 1,024
    /// assignments apart with a message still under way.
    pub epoch: u16,
    pub sequence: Sequence,
    /// The message is the record's dead letter.
    pub dead_letter: bool,
}

impl Token {
    const SLOT_BITS: u32 = 14;
    const EPOCH_BITS: u32 = 10;
    /// How many partitions one trigger can own on one node.
    pub const MAX_SLOTS: usize = 1 << Self::SLOT_BITS;

    fn pack(self) -> u64 {
        let sequence_bits = 63 - Self::SLOT_BITS - Self::EPOCH_BITS;
        u64::from(self.dead_letter) << 63
            | (self.slot as u64) << (63 - Self::SLOT_BITS)
            | u64::from(self.epoch) << sequence_bits
            | self.sequence & ((1 << sequence_bits) - 1)
    }

    fn unpack(token: u64) -> Self {
        let sequence_bits = 63 - Self::SLOT_BITS - Self::EPOCH_BITS;
        Self {
            dead_letter: token >> 63 == 1,
            slot: (token >> (63 - Self::SLOT_BITS)) as usize & (Self::MAX_SLOTS - 1),
            epoch: (token >> sequence_bits) as u16 & Self::EPOCH_MASK,
            sequence: token & ((1 << sequence_bits) - 1),
        }
    }

    pub const EPOCH_MASK: u16 = (1 << Self::EPOCH_BITS) - 1;
}

/// What became of a message.
#[derive(Debug)]
pub struct Delivered {
    pub token: Token,
    pub result: Result<(), Refusal>,
}

/// What a dead letter says about its record, beside the record itself.
#[derive(Debug)]
pub struct Obituary<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub trigger: &'a str,
    pub function: &'a str,
    pub revision: &'a str,
    pub attempts: u32,
    pub fault: &'a Fault,
}

/// The outputs of one trigger.
pub struct Delivery<S> {
    sink: S,
    topics: Arc<Topics>,
}

impl<S: Sink> Delivery<S> {
    pub fn new(sink: S, topics: Arc<Topics>) -> Self {
        Self { sink, topics }
    }

    pub fn sink(&self) -> &S {
        &self.sink
    }

    pub fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Produces the messages of a call whose record is still in `records`; those of records that
    /// were taken out are thrown away. `token` names the record at an index.
    pub fn send<R: Record>(&mut self, checked: &Checked, records: &[Option<R>], token: impl Fn(usize) -> Token) {
        let mut messages = Vec::with_capacity(checked.len());
        let mut headers: Vec<Header<'_>> = Vec::new();
        for message in checked.messages() {
            let Some(record) = &records[message.source] else { continue };
            let first_header = headers.len();
            match message.headers {
                Headers::AsInSource => headers.extend(record.headers()),
                Headers::Own(own) => headers.extend(own),
            }
            messages.push(Message {
                topic: message.topic,
                partition: message.partition,
                timestamp_ms: match message.timestamp {
                    Timestamp::AsInSource => record.timestamp_ms(),
                    Timestamp::Now => None,
                    Timestamp::Milliseconds(milliseconds) => Some(milliseconds),
                },
                key: resolve(message.key, record.key()),
                value: resolve(message.value, record.value()),
                headers: first_header..headers.len(),
                token: token(message.source).pack(),
            });
        }
        if !messages.is_empty() {
            self.sink.send(&messages, &headers);
        }
    }

    /// Produces a record, byte for byte, to the dead letter topic, with headers that say why.
    /// `false`: there is no such topic.
    pub fn dead_letter(&mut self, record: &impl Record, obituary: &Obituary<'_>, token: Token) -> bool {
        let Some(topic) = self.topics.dead_letters() else { return false };
        let facts = [
            ("topic", obituary.topic.to_owned()),
            ("partition", obituary.partition.to_string()),
            ("offset", record.offset().to_string()),
            ("timestamp", record.timestamp_ms().unwrap_or(-1).to_string()),
            ("trigger", obituary.trigger.to_owned()),
            ("function", obituary.function.to_owned()),
            ("revision", obituary.revision.to_owned()),
            ("attempts", obituary.attempts.to_string()),
            ("cause", obituary.fault.cause.to_string()),
            ("reason", obituary.fault.reason.clone()),
        ];
        let facts = facts.map(|(name, value)| (format!("{HEADER_PREFIX}{name}"), value));
        let mut headers: Vec<Header<'_>> = record.headers().collect();
        headers
            .extend(facts.iter().map(|(name, value)| Header { name: name.as_bytes(), value: Some(value.as_bytes()) }));
        let message = Message {
            topic,
            partition: None,
            timestamp_ms: None,
            key: record.key(),
            value: record.value(),
            headers: 0..headers.len(),
            token: Token { dead_letter: true, ..token }.pack(),
        };
        self.sink.send(&[message], &headers);
        true
    }

    /// Hands out what became of messages since the last call.
    pub fn acknowledgements(&mut self, mut each: impl FnMut(Delivered)) {
        self.sink.acknowledgements(&mut |Acknowledgement { token, result }| {
            each(Delivered { token: Token::unpack(token), result });
        });
    }
}

fn resolve<'a>(field: Field<'a>, source: Option<&'a [u8]>) -> Option<&'a [u8]> {
    match field {
        Field::AsInSource => source,
        Field::Null => None,
        Field::Bytes(bytes) => Some(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        for token in [
            Token { slot: 0, epoch: 0, sequence: 0, dead_letter: false },
            Token { slot: Token::MAX_SLOTS - 1, epoch: Token::EPOCH_MASK, sequence: (1 << 39) - 1, dead_letter: true },
            Token { slot: 5, epoch: 6, sequence: 7, dead_letter: false },
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
