//! Reads records from lines of JSON ahead of the producer, on a thread of its own: standard input may never
//! end, and reading it blocks.
//!
//! What bounds it: the channel has 64 places. A record takes one place, and one more for each MiB of its
//! line, so the reader waits for the producer.

use std::path::Path;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::draft::{Draft, NO_ZERO};
use crate::tools::Failure;
use crate::tools::lines::Lines;
use crate::tools::ndjson::RecordLine;

/// Places in the channel.
const AHEAD: usize = 64;
/// A record takes one place more for each of these bytes of its line.
const PLACE_BYTES: usize = 1 << 20;

/// What takes a place in the channel.
enum Place {
    /// A part of the record that comes next.
    Part,
    Record(Result<Draft, Failure>),
}

/// What is taken from a line.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The partition of all records.
    pub partition: Option<i32>,
    pub keep_partitions: bool,
    pub keep_timestamps: bool,
}

/// Records that are read ahead.
pub struct Ahead {
    places: mpsc::Receiver<Place>,
}

impl Ahead {
    /// Opens a file, or standard input if it is called `-`.
    pub fn open(path: &Path, settings: Settings) -> Result<Self, Failure> {
        let file = if path.as_os_str() == "-" { None } else { Some(Lines::of_file(path)?) };
        let (sender, places) = mpsc::channel(AHEAD);
        let read = move || read(file.unwrap_or_else(Lines::of_stdin), settings, &sender);
        let thread = std::thread::Builder::new().name("tidegate-lines".to_owned()).spawn(read);
        thread.context("cannot start a thread")?;
        Ok(Self { places })
    }

    /// The next record, if it was read already. `None`: there are no more.
    pub(super) fn try_next(&mut self) -> Option<Result<Draft, Wait>> {
        loop {
            return match self.places.try_recv() {
                Ok(Place::Part) => continue,
                Ok(Place::Record(record)) => Some(record.map_err(Wait::Failed)),
                Err(mpsc::error::TryRecvError::Empty) => Some(Err(Wait::Empty)),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            };
        }
    }

    /// Waits for the next record.
    pub(super) async fn next(&mut self) -> Option<Result<Draft, Failure>> {
        loop {
            if let Place::Record(record) = self.places.recv().await? {
                return Some(record);
            }
        }
    }
}

/// Why there is no record.
pub(super) enum Wait {
    /// Not yet.
    Empty,
    /// The input cannot be read, or a line of it is wrong.
    Failed(Failure),
}

fn read(mut lines: Lines, settings: Settings, places: &mpsc::Sender<Place>) {
    while let Some(line) = lines.next() {
        let record = line.and_then(|line| draft(line, &lines, settings));
        let is_last = record.is_err();
        let parts = (0..lines.bytes() / PLACE_BYTES).map(|_| Place::Part);
        for place in parts.chain([Place::Record(record)]) {
            if places.blocking_send(place).is_err() {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}

/// The record of the line that was read last, or what is wrong with it.
fn draft(line: RecordLine, lines: &Lines, settings: Settings) -> Result<Draft, Failure> {
    let timestamp_ms = line.timestamp.filter(|_| settings.keep_timestamps);
    if timestamp_ms == Some(0) {
        let place = lines.place();
        return Err(Failure::usage(format!("{place}, timestamp 0: {NO_ZERO}; leave it out, or give --now")));
    }
    Ok(Draft {
        number: lines.number(),
        partition: settings.partition.or(line.partition.filter(|_| settings.keep_partitions)),
        timestamp_ms,
        key: line.key.0,
        value: line.value.0,
        headers: line.headers.into_iter().map(|pair| (pair.name, pair.value)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Settings = Settings { partition: None, keep_partitions: false, keep_timestamps: true };

    fn input(text: &str) -> Lines {
        Lines::of(std::io::Cursor::new(text.to_owned()), "input")
    }

    fn drafts(text: &str, settings: Settings) -> Vec<Result<Draft, String>> {
        let (sender, places) = mpsc::channel(AHEAD);
        read(input(text), settings, &sender);
        drop(sender);
        let mut ahead = Ahead { places };
        let text = |wait| match wait {
            Wait::Failed(Failure::Usage(text)) => text,
            Wait::Failed(Failure::Failed(error)) => error.to_string(),
            Wait::Empty => "there may be more".to_owned(),
        };
        std::iter::from_fn(|| ahead.try_next()).map(|record| record.map_err(text)).collect()
    }

    #[test]
    fn a_large_record_takes_the_places_of_several() {
        let line = |mebibytes: usize| format!("{{\"value\": \"{}\"}}\n", "x".repeat(mebibytes << 20));
        let text = [line(3), line(0), line(20)].concat();
        let (sender, places) = mpsc::channel(AHEAD);
        read(input(&text), PLAIN, &sender);
        assert_eq!(places.len(), (1 + 3) + 1 + (1 + 20));
        let lengths: Vec<usize> = drafts(&text, PLAIN)
            .into_iter()
            .map(|draft| draft.expect("a record").value.expect("a value").len())
            .collect();
        assert_eq!(lengths, [3 << 20, 0, 20 << 20]);
    }

    #[test]
    fn lines_are_records_until_one_is_wrong() {
        let found = drafts("{\"key\": \"a\"}\n\n{\"value\": \"b\"}\n{\"value\": 5}\n{\"value\": \"c\"}\n", PLAIN);
        let first = Draft { number: 1, key: Some(b"a".to_vec()), ..Draft::default() };
        let second = Draft { number: 3, value: Some(b"b".to_vec()), ..Draft::default() };
        assert_eq!(found[..2], [Ok(first), Ok(second)]);
        let error = found[2].as_ref().expect_err("a number is no value");
        assert!(error.starts_with("error: input, line 4, column 11: "), "{error}");
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn partition_and_time_of_a_line_count_as_told() {
        let line = r#"{"topic": "t", "partition": 3, "offset": 9, "timestamp": 5, "value": "v"}"#;
        let of = |settings| drafts(line, settings)[0].clone().map(|draft| (draft.partition, draft.timestamp_ms));
        assert_eq!(of(PLAIN), Ok((None, Some(5))));
        assert_eq!(of(Settings { keep_partitions: true, keep_timestamps: false, ..PLAIN }), Ok((Some(3), None)));
        assert_eq!(of(Settings { partition: Some(1), ..PLAIN }), Ok((Some(1), Some(5))));
    }

    #[test]
    fn the_time_zero_is_refused_unless_it_is_not_kept() {
        let line = r#"{"timestamp": 0, "value": "v"}"#;
        let error = drafts(line, PLAIN)[0].clone().expect_err("it would become now");
        assert!(error.contains("line 1, timestamp 0: the Kafka client cannot send 0"), "{error}");
        assert!(drafts(line, Settings { keep_timestamps: false, ..PLAIN })[0].is_ok());
    }
}
