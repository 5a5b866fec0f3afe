//! Makes the result of calls durable: messages out, acknowledgements back, dead letters.
//!
//! At least once: a record is done when the broker has acknowledged its messages, and progress is
//! committed after that. The steps are those of a transaction too; only what makes them durable
//! together would differ.

use std::sync::Arc;

use super::calls::CallKey;
use crate::kafka::{Acknowledgement, Refusal, Sink};
use crate::record::batch::Batch;
use crate::record::columns::Field;
use crate::record::outcome::{Checked, Fault, Headers, Timestamp};
use crate::record::{Header, Message, Record, Topics};

/// Prefix of the headers that a dead letter gets.
pub const HEADER_PREFIX: &str = "tidegate-";

/// The record that a message belongs to. Good until the message is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The call that the record was in.
    pub call: CallKey,
    /// Its index in the call's batch.
    pub index: usize,
    /// The message is the record's dead letter.
    pub dead_letter: bool,
}

impl Token {
    const INDEX_BITS: u32 = 32;

    fn pack(self) -> u64 {
        u64::from(self.dead_letter) << 63 | (self.call as u64) << Self::INDEX_BITS | self.index as u64
    }

    fn unpack(token: u64) -> Self {
        Self {
            dead_letter: token >> 63 == 1,
            call: (token << 1 >> (Self::INDEX_BITS + 1)) as usize,
            index: (token & u64::from(u32::MAX)) as usize,
        }
    }
}

/// How much went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub messages: usize,
    pub bytes: usize,
}

/// What became of a message.
#[derive(Debug)]
pub struct Delivered {
    pub token: Token,
    pub result: Result<(), Refusal>,
}

/// What a dead letter says about its record, beside the record itself.
#[derive(Debug)]
pub struct DeadLetter<'a> {
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
    /// `None` from the moment that a producer was given up until another one takes over. Nothing may
    /// be sent then.
    sink: Option<S>,
    /// The producer was given up: what is under way may still be acknowledged.
    retiring: bool,
    topics: Arc<Topics>,
}

impl<S: Sink> Delivery<S> {
    pub fn new(topics: Arc<Topics>) -> Self {
        Self { sink: None, retiring: false, topics }
    }

    pub fn sink(&self) -> Option<&S> {
        self.sink.as_ref()
    }

    pub fn sink_mut(&mut self) -> Option<&mut S> {
        self.sink.as_mut()
    }

    /// Another producer takes over.
    pub fn replace(&mut self, sink: S) {
        (self.sink, self.retiring) = (Some(sink), false);
    }

    /// Nothing more may be sent by this producer.
    pub fn retire(&mut self) {
        self.retiring = true;
        self.sink.iter_mut().for_each(Sink::flush);
    }

    pub fn is_retiring(&self) -> bool {
        self.retiring
    }

    /// Takes the producer away.
    pub fn take(&mut self) -> Option<S> {
        self.sink.take()
    }

    /// Messages that are not acknowledged.
    pub fn outstanding(&self) -> usize {
        self.sink.as_ref().map_or(0, Sink::outstanding)
    }

    /// Whether more messages may be under way.
    pub fn has_room(&self) -> bool {
        self.sink.as_ref().is_some_and(|sink| sink.outstanding() < sink.most_outstanding())
    }

    fn produce(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]) {
        match &mut self.sink {
            Some(sink) if !self.retiring => sink.send(messages, headers),
            _ => debug_assert!(false, "nothing is sent while the gate is closed"),
        }
    }

    /// Produces the messages of the records for which `is_handled` is true; those of others are
    /// thrown away.
    pub fn send(
        &mut self,
        checked: &Checked,
        batch: &Batch,
        call: CallKey,
        is_handled: impl Fn(usize) -> bool,
    ) -> Sent {
        let mut messages = Vec::with_capacity(checked.len());
        let mut headers: Vec<Header<'_>> = Vec::new();
        let mut bytes = 0;
        for message in checked.messages().filter(|message| is_handled(message.source)) {
            let record = batch.record(message.source);
            let first_header = headers.len();
            match message.headers {
                Headers::AsInSource => headers.extend(record.headers()),
                Headers::Own(own) => headers.extend(own),
            }
            let message = Message {
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
                token: Token { call, index: message.source, dead_letter: false }.pack(),
            };
            bytes += message.bytes(&headers[first_header..]);
            messages.push(message);
        }
        if !messages.is_empty() {
            self.produce(&messages, &headers);
        }
        Sent { messages: messages.len(), bytes }
    }

    /// Produces a record, byte for byte, to the dead letter topic, with headers that say why.
    /// `None`: there is no such topic.
    pub fn dead_letter(&mut self, record: &impl Record, letter: &DeadLetter<'_>, token: Token) -> Option<Sent> {
        let topic = self.topics.dead_letters()?;
        let facts = [
            ("topic", letter.topic.to_owned()),
            ("partition", letter.partition.to_string()),
            ("offset", record.offset().to_string()),
            ("timestamp", record.timestamp_ms().unwrap_or(-1).to_string()),
            ("trigger", letter.trigger.to_owned()),
            ("function", letter.function.to_owned()),
            ("revision", letter.revision.to_owned()),
            ("attempts", letter.attempts.to_string()),
            ("cause", letter.fault.cause.to_string()),
            ("reason", letter.fault.reason.clone()),
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
        let bytes = message.bytes(&headers);
        self.produce(&[message], &headers);
        Some(Sent { messages: 1, bytes })
    }

    /// Hands out what became of messages since the last call.
    pub fn acknowledgements(&mut self, mut each: impl FnMut(Delivered)) {
        let Some(sink) = &mut self.sink else { return };
        sink.acknowledgements(&mut |Acknowledgement { token, result }| {
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
            Token { call: 0, index: 0, dead_letter: false },
            Token { call: (1 << 31) - 1, index: u32::MAX as usize, dead_letter: true },
            Token { call: 5, index: 6, dead_letter: false },
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
