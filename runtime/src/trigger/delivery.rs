//! Makes the result of calls durable: messages out, acknowledgements back, dead letters.
//!
//! At least once: a record is done when the broker has acknowledged its messages, and progress is
//! committed after that. The steps are those of a transaction too; only what makes them durable
//! together would differ.

use std::ops::Range;
use std::sync::Arc;

use super::calls::CallKey;
use crate::kafka::{Acknowledgement, Refusal, Sink};
use crate::record::batch::Batch;
use crate::record::outcome::{Checked, Fault, Timestamp};
use crate::record::{Header, Message, Record, Topics};

/// Prefix of the headers that a dead letter gets.
pub const HEADER_PREFIX: &str = "tidegate-";

/// Messages of an outcome that are handed to the sink at once. Those of a batch with the default size
/// go together.
const CHUNK_MESSAGES: usize = 1_024;
/// How many headers, which are listed for the sink, end a chunk too.
const CHUNK_HEADERS: usize = 16 << 10;

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

    pub fn unpack(token: u64) -> Self {
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
    /// Acknowledgements wake the loop.
    wakes: bool,
    topics: Arc<Topics>,
}

impl<S: Sink> Delivery<S> {
    pub fn new(topics: Arc<Topics>) -> Self {
        Self { sink: None, retiring: false, wakes: true, topics }
    }

    /// Whether acknowledgements wake the loop. Returns whether they do from now on, and did not before:
    /// then some may have come in silence.
    pub fn set_wakes(&mut self, wakes: bool) -> bool {
        let began = wakes && !self.wakes;
        if wakes != self.wakes {
            self.wakes = wakes;
            self.sink.iter_mut().for_each(|sink| sink.set_wakes(wakes));
        }
        began
    }

    /// Whether acknowledgements wake the loop.
    pub fn wakes(&self) -> bool {
        self.wakes
    }

    pub fn sink(&self) -> Option<&S> {
        self.sink.as_ref()
    }

    pub fn sink_mut(&mut self) -> Option<&mut S> {
        self.sink.as_mut()
    }

    /// Another producer takes over.
    pub fn replace(&mut self, sink: S) {
        (self.sink, self.retiring, self.wakes) = (Some(sink), false, true);
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
    /// thrown away. A part of them at a time is made ready for the sink, and the headers of a record
    /// that several messages inherit are listed once.
    pub fn send(
        &mut self,
        checked: &Checked,
        batch: &Batch,
        call: CallKey,
        is_handled: impl Fn(usize) -> bool,
    ) -> Sent {
        let mut messages = Vec::with_capacity(checked.len().min(CHUNK_MESSAGES));
        let mut headers: Vec<Header<'_>> = Vec::new();
        // The source whose headers were inherited last, and where they lie in `headers`.
        let mut inherited: Option<(usize, Range<usize>)> = None;
        let mut sent = Sent::default();
        for message in checked.resolved(batch).filter(|message| is_handled(message.source)) {
            let known = inherited.take().filter(|(source, _)| message.inherits_headers && *source == message.source);
            let place = known.map_or_else(
                || {
                    let first = headers.len();
                    headers.extend(message.headers);
                    first..headers.len()
                },
                |(_, place)| place,
            );
            if message.inherits_headers {
                inherited = Some((message.source, place.clone()));
            }
            sent.messages += 1;
            sent.bytes = sent.bytes.saturating_add(message.bytes);
            messages.push(Message {
                topic: message.topic,
                partition: message.partition,
                timestamp: message.timestamp,
                key: message.key,
                value: message.value,
                headers: place,
                token: Token { call, index: message.source, dead_letter: false }.pack(),
            });
            if messages.len() == CHUNK_MESSAGES || headers.len() >= CHUNK_HEADERS {
                self.produce(&messages, &headers);
                messages.clear();
                headers.clear();
                inherited = None;
            }
        }
        if !messages.is_empty() {
            self.produce(&messages, &headers);
        }
        sent
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
            timestamp: Timestamp::Now,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Metadata, TopicsQuestion};
    use crate::record::OwnedRecord;
    use crate::record::outcome::Outcome;

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

    /// Counts what it is handed.
    #[derive(Default)]
    struct CountingSink {
        messages: usize,
        bytes: usize,
        most_headers: usize,
    }

    impl Sink for CountingSink {
        fn send(&mut self, messages: &[Message<'_>], headers: &[Header<'_>]) {
            self.messages += messages.len();
            self.bytes +=
                messages.iter().map(|message| message.bytes(&headers[message.headers.clone()])).sum::<usize>();
            self.most_headers = self.most_headers.max(headers.len());
        }

        fn acknowledgements(&mut self, _each: &mut dyn FnMut(Acknowledgement)) {}

        fn outstanding(&self) -> usize {
            0
        }

        fn flush(&mut self) {}

        fn abandon(&mut self) {}

        fn update(&mut self, _metadata: &Metadata) {}

        fn ask(&self, _answer: TopicsQuestion) {}
    }

    #[test]
    fn inherited_headers_are_listed_once_and_others_a_part_at_a_time() {
        let topics = Arc::new(Topics::new(Some("out"), &[], None));
        let record = OwnedRecord { headers: vec![(b"h".to_vec(), None); 1_000], ..OwnedRecord::default() };
        let mut batch = Batch::new("in".into(), 0);
        (0..200).for_each(|_| batch.push(&record, 1));
        #[track_caller]
        fn check(topics: &Arc<Topics>, batch: &Batch, sources: Vec<u32>, most_headers: usize) {
            let messages = sources.len();
            let outcome = Outcome { sources, ..Outcome::default() }.check(batch.len(), topics).expect("it is good");
            let mut delivery = Delivery::new(topics.clone());
            delivery.replace(CountingSink::default());
            let sent = delivery.send(&outcome, batch, 0, |_| true);
            let sink = delivery.sink().expect("it has one");
            assert_eq!((sent.messages, sent.bytes), (messages, messages * batch.record(0).bytes()));
            assert_eq!((sink.messages, sink.bytes), (sent.messages, sent.bytes));
            assert_eq!(sink.most_headers, most_headers);
        }
        check(&topics, &batch, vec![7; 5_000], 1_000);
        check(&topics, &batch, (0..200).collect(), 17_000);
    }
}
