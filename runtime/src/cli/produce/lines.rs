//! Records from lines of JSON, read by a thread of its own: reading standard input may take for ever.
//!
//! What bounds it: the channel holds 64 records, so the reader waits for the producer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _};
use std::path::Path;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::NO_ZERO;
use super::sending::OwnedDraft;
use crate::cli::Failure;
use crate::cli::connect::usage;
use crate::ndjson::{MAX_LINE_BYTES, RecordLine};

/// Records that are read ahead.
const AHEAD: usize = 64;

/// What is taken from a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Of all lines.
    pub(super) partition: Option<i32>,
    pub(super) keep_partitions: bool,
    pub(super) keep_timestamps: bool,
}

pub(super) struct Lines {
    records: mpsc::Receiver<Result<OwnedDraft, Failure>>,
}

impl Lines {
    /// Opens a file, or standard input if it is called `-`.
    pub(super) fn open(path: &Path, settings: Settings) -> Result<Self, Failure> {
        let (sender, records) = mpsc::channel(AHEAD);
        let read: Box<dyn FnOnce() + Send> = if path.as_os_str() == "-" {
            if io::stdin().is_terminal() {
                eprintln!("records as lines of JSON, such as {{\"key\": \"k\", \"value\": \"v\"}}; Ctrl-D ends");
            }
            Box::new(move || read(io::stdin().lock(), "standard input", settings, &sender))
        } else {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
            Box::new(move || read(BufReader::new(file), &name, settings, &sender))
        };
        let thread = std::thread::Builder::new().name("tidegate-lines".to_owned()).spawn(read);
        thread.context("cannot start a thread")?;
        Ok(Self { records })
    }

    /// The next record, if it was read already. `None`: there are no more.
    pub(super) fn try_next(&mut self) -> Option<Result<OwnedDraft, Wait>> {
        match self.records.try_recv() {
            Ok(record) => Some(record.map_err(Wait::Failed)),
            Err(mpsc::error::TryRecvError::Empty) => Some(Err(Wait::Empty)),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
        }
    }

    /// Waits for the next record.
    pub(super) async fn next(&mut self) -> Option<Result<OwnedDraft, Failure>> {
        self.records.recv().await
    }
}

/// Why there is no record.
pub(super) enum Wait {
    /// Not yet.
    Empty,
    /// The input cannot be read, or a line of it is wrong.
    Failed(Failure),
}

fn read(mut reader: impl BufRead, name: &str, settings: Settings, records: &mpsc::Sender<Result<OwnedDraft, Failure>>) {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let limited = reader.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line);
        let record = match limited.with_context(|| format!("cannot read {name}")) {
            Ok(0) => return,
            Ok(_) if line.trim_ascii().is_empty() => continue,
            Ok(_) => record(&line, number, settings).map_err(|reason| usage(format!("{name}, line {number}{reason}"))),
            Err(error) => Err(Failure::Failed(error)),
        };
        let is_last = record.is_err();
        if records.blocking_send(record).is_err() || is_last {
            return;
        }
    }
}

/// A line as a record, or what is wrong with it.
fn record(line: &[u8], number: u64, settings: Settings) -> Result<OwnedDraft, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!(": longer than {} MiB", MAX_LINE_BYTES >> 20));
    }
    let line = RecordLine::read(line).map_err(|error| format!(", {error}"))?;
    let timestamp_ms = line.timestamp.filter(|_| settings.keep_timestamps);
    if timestamp_ms == Some(0) {
        return Err(format!(", timestamp 0: {NO_ZERO}; leave it out, or give --now"));
    }
    Ok(OwnedDraft {
        number,
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

    fn drafts(text: &str, settings: Settings) -> Vec<Result<OwnedDraft, String>> {
        let (sender, mut records) = mpsc::channel(8);
        read(text.as_bytes(), "input", settings, &sender);
        drop(sender);
        let text = |failure| match failure {
            Failure::Usage(text) => text,
            Failure::Failed(error) => error.to_string(),
        };
        std::iter::from_fn(|| records.try_recv().ok()).map(|record| record.map_err(text)).collect()
    }

    #[test]
    fn lines_are_records_until_one_is_wrong() {
        let found = drafts("{\"key\": \"a\"}\n\n{\"value\": \"b\"}\n{\"value\": 5}\n{\"value\": \"c\"}\n", PLAIN);
        let first = OwnedDraft { number: 1, key: Some(b"a".to_vec()), ..OwnedDraft::default() };
        let second = OwnedDraft { number: 3, value: Some(b"b".to_vec()), ..OwnedDraft::default() };
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
