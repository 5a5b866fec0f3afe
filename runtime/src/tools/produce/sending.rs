//! Sends records at their pace and accounts for each.
//!
//! What bounds it: at most [`MAX_RECORDS`] and [`MAX_BYTES`] are unacknowledged. Beyond that nothing is taken
//! from the supply.

use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use slab::Slab;

use super::ahead::{Ahead, Wait};
use super::draft::Draft;
use crate::kafka::{Acknowledgement, KafkaSink, Refusal, Sink as _, Wake};
use crate::record::outcome::Timestamp;
use crate::record::{Header, Message};
use crate::signals;
use crate::tools::Failure;
use crate::tools::progress::{Progress, TICK, amount};
use crate::tools::traffic::{Numbers, Pace, Run};

const MAX_RECORDS: usize = 100_000;
const MAX_BYTES: usize = 64 << 20;

/// After this many refusals in a row sending ends, because no record will be accepted. Records that are refused for
/// their own sake do not count: they say nothing about others.
const MOST_REFUSED: u64 = 1_000;

/// How many records are sent before acknowledgements are taken in.
const TURN: usize = 500;

/// Where records come from.
pub enum Supply {
    One(Option<Draft>),
    Lines(Ahead),
    Numbered { numbers: Numbers, partition: Option<i32> },
}

impl Supply {
    /// The name of the run, if records are numbered.
    pub(super) fn run(&self) -> Option<Run> {
        match self {
            Self::Numbered { numbers, .. } => Some(numbers.run()),
            Self::One(_) | Self::Lines(_) => None,
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Self::Lines(_) => "line",
            Self::One(_) | Self::Numbered { .. } => "record",
        }
    }
}

/// The results of sending.
#[derive(Default)]
pub(super) struct Report {
    pub(super) acknowledged: u64,
    /// Bytes of keys, values and headers of these records.
    pub(super) bytes: u64,
    /// Refused records by the client's name for the reason.
    pub(super) refused: BTreeMap<String, Refused>,
    /// How many records were sent.
    pub(super) made: u64,
    pub(super) elapsed: Duration,
    pub(super) interrupted: bool,
    /// What a record's number counts: lines or records.
    pub(super) noun: &'static str,
    /// Why it ended before the supply did.
    pub(super) failure: Option<Failure>,
}

/// Records that were refused for one reason.
pub(super) struct Refused {
    pub(super) count: u64,
    pub(super) reason: String,
    /// The number of the first one.
    pub(super) first: u64,
}

/// A record that is not acknowledged.
struct Sent {
    number: u64,
    bytes: usize,
}

pub(super) struct Sending {
    sink: KafkaSink,
    wake: Wake,
    progress: Progress,
    outstanding: Slab<Sent>,
    outstanding_bytes: usize,
    refused_in_a_row: u64,
    /// The number of the last record that was sent.
    last_number: u64,
    report: Report,
}

/// How a turn ended.
enum Turn {
    /// More records may be ready.
    More,
    /// It has to wait for acknowledgements, or for a line.
    Waits { for_line: bool },
    /// The next record is due after this time.
    Early(Duration),
    /// There are no more.
    Over,
}

impl Sending {
    pub(super) fn new(sink: KafkaSink, wake: Wake, progress: Progress) -> Self {
        Self {
            sink,
            wake,
            progress,
            outstanding: Slab::new(),
            outstanding_bytes: 0,
            refused_in_a_row: 0,
            last_number: 0,
            report: Report::default(),
        }
    }

    /// Sends all records and waits until each is acknowledged or refused. A signal ends the supply, and a second
    /// one ends the waiting.
    pub(super) async fn run(mut self, mut supply: Supply, mut pace: Option<Pace>) -> Result<Report, Failure> {
        self.report.noun = supply.noun();
        let mut stop: Pin<Box<dyn Future<Output = io::Result<&str>>>> = Box::pin(signals::stop());
        let mut line = None;
        let mut is_over = false;
        loop {
            self.collect();
            let turn = if is_over { Turn::Over } else { self.feed(&mut supply, &mut line, pace.as_mut()) };
            if let Turn::Over = turn {
                is_over = true;
                if self.sink.outstanding() == 0 {
                    break;
                }
                self.sink.flush();
            }
            let (records, bytes) = (self.report.acknowledged, self.report.bytes);
            self.progress.show(|elapsed| amount(records, bytes, elapsed));
            let wait = if let Turn::Early(wait) = turn { wait.min(TICK) } else { TICK };
            tokio::select! {
                biased;
                signal = &mut stop => {
                    signal.map_err(anyhow::Error::from)?;
                    if self.report.interrupted {
                        self.sink.abandon();
                        self.collect();
                        break;
                    }
                    self.report.interrupted = true;
                    is_over = true;
                    stop = Box::pin(signals::stop_again());
                }
                () = ready(()), if matches!(turn, Turn::More) => {}
                () = self.wake.wait() => {}
                next = next_line(&mut supply), if matches!(turn, Turn::Waits { for_line: true }) => match next {
                    Some(Ok(draft)) => line = Some(draft),
                    Some(Err(failure)) => {
                        self.report.failure = Some(failure);
                        is_over = true;
                    }
                    None => is_over = true,
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.give_up();
        self.progress.clear();
        self.report.elapsed = self.progress.elapsed();
        Ok(self.report)
    }

    /// Sends the records that are due, as long as there is room.
    fn feed(&mut self, supply: &mut Supply, line: &mut Option<Draft>, mut pace: Option<&mut Pace>) -> Turn {
        for _ in 0..TURN {
            if self.refused_in_a_row >= MOST_REFUSED {
                let (noun, last) = (self.report.noun, self.last_number);
                let gave_up = format!("gave up after 1,000 refused in a row, at {noun} {last}");
                let gave_up = anyhow::anyhow!("{gave_up}; what follows it was not produced");
                self.report.failure = Some(Failure::Failed(gave_up));
                return Turn::Over;
            }
            if self.outstanding.len() >= MAX_RECORDS || self.outstanding_bytes >= MAX_BYTES {
                return Turn::Waits { for_line: false };
            }
            if let (Supply::Lines(lines), None) = (&mut *supply, &line) {
                match lines.try_next() {
                    Some(Ok(draft)) => *line = Some(draft),
                    Some(Err(Wait::Empty)) => return Turn::Waits { for_line: true },
                    Some(Err(Wait::Failed(failure))) => {
                        self.report.failure = Some(failure);
                        return Turn::Over;
                    }
                    None => return Turn::Over,
                }
            }
            if let Some(Err(wait)) = pace.as_mut().map(|pace| pace.take(self.progress.elapsed())) {
                return Turn::Early(wait);
            }
            let draft = match supply {
                Supply::One(draft) => draft.take(),
                Supply::Lines(_) => line.take(),
                Supply::Numbered { numbers, partition } => {
                    let Some(record) = numbers.make() else { return Turn::Over };
                    let (key, value) = (Some(record.key.as_bytes()), Some(record.value.as_bytes()));
                    self.send(record.number, *partition, None, (key, value), &record.headers());
                    continue;
                }
            };
            let Some(draft) = draft else { return Turn::Over };
            let headers: Vec<Header<'_>> =
                draft.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect();
            let content = (draft.key.as_deref(), draft.value.as_deref());
            self.send(draft.number, draft.partition, draft.timestamp_ms, content, &headers);
        }
        Turn::More
    }

    fn send(
        &mut self,
        number: u64,
        partition: Option<i32>,
        timestamp_ms: Option<i64>,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: &[Header<'_>],
    ) {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let of_headers: usize = headers.iter().map(|header| header.name.len() + length(header.value)).sum();
        let bytes = length(key) + length(value) + of_headers;
        let token = self.outstanding.insert(Sent { number, bytes }) as u64;
        self.outstanding_bytes += bytes;
        self.report.made += 1;
        self.last_number = number;
        let timestamp = timestamp_ms.map_or(Timestamp::Now, Timestamp::Milliseconds);
        let message = Message { topic: 0, partition, timestamp, key, value, headers: 0..headers.len(), token };
        self.sink.send(&[message], headers);
    }

    /// Takes in acknowledgements and refusals.
    fn collect(&mut self) {
        let Self { sink, outstanding, outstanding_bytes, report, refused_in_a_row, .. } = self;
        sink.acknowledgements(&mut |Acknowledgement { token, result }| {
            let sent = outstanding.remove(token as usize);
            *outstanding_bytes -= sent.bytes;
            match result {
                Ok(()) => {
                    *refused_in_a_row = 0;
                    report.acknowledged += 1;
                    report.bytes += sent.bytes as u64;
                }
                Err(refusal) => {
                    let is_about_it = matches!(refusal, Refusal::ForGood(_) | Refusal::WithOthers(_));
                    *refused_in_a_row += u64::from(!is_about_it);
                    let (name, reason) = words(refusal);
                    report.refuse(name, reason, sent.number);
                }
            }
        });
    }

    /// Counts all records that are not acknowledged as refused, though some of them may be in the topic.
    fn give_up(&mut self) {
        for (_, sent) in self.outstanding.iter() {
            let reason = "given up without an answer; it may be in the topic all the same".to_owned();
            self.report.refuse("_GIVEN_UP".to_owned(), reason, sent.number);
        }
    }
}

impl Report {
    fn refuse(&mut self, name: String, reason: String, number: u64) {
        let refused = self.refused.entry(name).or_insert(Refused { count: 0, reason, first: number });
        refused.count += 1;
        refused.first = refused.first.min(number);
    }
}

/// Why a record was refused: the client's name for it, and a sentence.
fn words(refusal: Refusal) -> (String, String) {
    match refusal {
        Refusal::ForGood(error) | Refusal::ForNow(error) => (error.name, error.reason),
        Refusal::WithOthers(error) => (error.name, format!("{}, or a record sent together with it", error.reason)),
        Refusal::Following => ("_GAPLESS_GUARANTEE".to_owned(), "a record before it was refused".to_owned()),
    }
}

/// Waits for the next line. Other supplies never need to wait.
async fn next_line(supply: &mut Supply) -> Option<Result<Draft, Failure>> {
    match supply {
        Supply::Lines(lines) => lines.next().await,
        Supply::One(_) | Supply::Numbered { .. } => pending().await,
    }
}
