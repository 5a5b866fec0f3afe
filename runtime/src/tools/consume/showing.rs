//! Records as lines: for people in 80 columns, or as NDJSON.

use std::fmt::Write as _;
use std::io::{BufWriter, IntoInnerError, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

use super::reading::{Ended, Range, Receiver};
use crate::counted::counted;
use crate::files::Replacement;
use crate::kafka::{Fetched, Partition};
use crate::record::Record;
use crate::tools::display::{blanked, cut};
use crate::tools::output::Output;
use crate::tools::{Failure, ndjson};

/// Which records are shown.
#[derive(Default)]
pub struct Filter {
    pub key: Option<String>,
    /// A record needs all of these.
    pub headers: Vec<(String, String)>,
}

impl Filter {
    fn takes(&self, record: &impl Record) -> bool {
        let has = |(name, value): &(String, String)| {
            record.headers().any(|header| header.name == name.as_bytes() && header.value == Some(value.as_bytes()))
        };
        self.key.as_ref().is_none_or(|key| record.key() == Some(key.as_bytes())) && self.headers.iter().all(has)
    }
}

/// The output for lines, and the form in which they are written.
pub struct Lines {
    target: Target,
    json: bool,
}

enum Target {
    Stdout(Output),
    /// The old content stays if no line is written or something fails.
    File {
        path: PathBuf,
        file: BufWriter<Replacement>,
    },
}

impl Lines {
    pub fn json_to_stdout() -> Self {
        Self { target: Target::Stdout(Output::new()), json: true }
    }

    pub fn readable_to_stdout() -> Self {
        Self { target: Target::Stdout(Output::new()), json: false }
    }

    /// Writes to a file, which is replaced if there is a line and all went well.
    pub fn json_to_file(path: &Path) -> anyhow::Result<Self> {
        let file = Replacement::begin(path).with_context(|| format!("cannot write {}", path.display()))?;
        let target = Target::File { path: path.to_owned(), file: BufWriter::new(file) };
        Ok(Self { target, json: true })
    }

    /// Completes the output.
    fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        let Target::File { path, file } = self.target else { return Ok(()) };
        let finished = file.into_inner().map_err(IntoInnerError::into_error).and_then(Replacement::finish);
        finished.with_context(|| format!("cannot write {}", path.display()))
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        match &mut self.target {
            Target::Stdout(output) => output.line(line),
            Target::File { path, file } => {
                writeln!(file, "{line}").with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        match &mut self.target {
            Target::Stdout(output) => output.flush(),
            Target::File { path, file } => file.flush().with_context(|| format!("cannot write {}", path.display())),
        }
    }

    fn is_closed(&self) -> bool {
        matches!(&self.target, Target::Stdout(output) if output.is_closed())
    }
}

/// Shows records until there are enough.
pub struct Showing<'a> {
    topics: &'a [String],
    filter: Filter,
    lines: Lines,
    wanted: Option<u64>,
    /// A record that cannot be read completely is an error.
    only_whole: bool,
    shown: u64,
}

impl<'a> Showing<'a> {
    /// `wanted`: show this many records. `None`: without an end.
    pub fn new(topics: &'a [String], filter: Filter, lines: Lines, wanted: Option<u64>) -> Self {
        Self { topics, filter, lines, wanted, only_whole: false, shown: 0 }
    }

    /// From now on a record that cannot be read completely is an error.
    pub fn only_whole(self) -> Self {
        Self { only_whole: true, ..self }
    }

    /// How many records were shown.
    pub fn shown(&self) -> u64 {
        self.shown
    }

    /// Decides whether it ended well. A timeout or the end is fine, unless fewer than `needed` records came.
    pub fn judge(mut self, ended: Ended, needed: Option<u64>) -> Result<(), Failure> {
        let shown = self.shown;
        match (ended, needed.filter(|needed| shown < *needed)) {
            (Ended::Timeout, Some(needed)) => {
                self.lines.flush()?;
                Err(Failure::Failed(anyhow::anyhow!("{shown} of {} came in time", counted(needed, "record"))))
            }
            (Ended::End, Some(needed)) => {
                self.lines.flush()?;
                Err(Failure::Failed(anyhow::anyhow!("{shown} of {} are there", counted(needed, "record"))))
            }
            _ => Ok(self.lines.finish()?),
        }
    }

    fn has_enough(&self) -> ControlFlow<()> {
        if self.lines.is_closed() || self.wanted.is_some_and(|wanted| self.shown >= wanted) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl Receiver for Showing<'_> {
    async fn begin(&mut self, _ranges: &[Range]) {}

    fn deleted(&mut self, place: &str, goes_on: i64) -> anyhow::Result<()> {
        self.lines.flush()?;
        tracing::warn!("{place}: records were deleted before they were read; goes on at offset {goes_on}");
        Ok(())
    }

    fn defective(&mut self, place: &str, defect: &str) -> anyhow::Result<()> {
        let past = "go on behind it with --partition NUMBER --from OFFSET";
        anyhow::ensure!(!self.only_whole, "{place}: {defect}, so it cannot be recorded; {past}");
        self.lines.flush()?;
        tracing::warn!("{place}: {defect}; it is shown without them");
        Ok(())
    }

    fn takes(&self, record: &Fetched) -> bool {
        self.filter.takes(record)
    }

    fn record(&mut self, partition: Partition, record: &Fetched) -> anyhow::Result<ControlFlow<()>> {
        let topic = &self.topics[partition.topic];
        self.lines.line(&if self.lines.json {
            ndjson::record(topic, partition.number, 1, record)
        } else {
            readable(topic, partition.number, record)
        })?;
        self.shown += 1;
        Ok(self.has_enough())
    }

    fn pause(&mut self) -> anyhow::Result<ControlFlow<()>> {
        self.lines.flush()?;
        Ok(self.has_enough())
    }
}

/// A record in one line that does nothing to a terminal.
fn readable(topic: &str, partition: i32, record: &impl Record) -> String {
    let mut line = format!("{topic}/{partition}@{}", record.offset());
    if let Some(time) = record.timestamp_ms().and_then(time) {
        let _ = write!(line, " {time}");
    }
    let field = |bytes: Option<&[u8]>| bytes.map_or_else(|| "null".to_owned(), blanked);
    let _ = write!(line, " {} │ {}", field(record.key()), field(record.value()));
    cut(&line).into_owned()
}

/// A time to the second. `None`: it lies beyond the year 9999.
fn time(milliseconds: i64) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(milliseconds).ok()?))?;
    let mut text = String::new();
    write!(text, "{}", humantime::format_rfc3339_seconds(time)).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::OwnedRecord;
    use crate::tools::display::COLUMNS;

    #[test]
    fn a_readable_line_fits_eighty_columns() {
        let record = OwnedRecord { offset: 7, key: Some(b"k\x1b[31m".to_vec()), ..OwnedRecord::default() };
        assert_eq!(readable("orders", 2, &record), "orders/2@7 k [31m │ null");
        let dated = OwnedRecord { timestamp_ms: Some(1_700_000_000_123), key: None, value: Some(Vec::new()), ..record };
        assert_eq!(readable("orders", 2, &dated), "orders/2@7 2023-11-14T22:13:20Z null │ ");
        let long = OwnedRecord { value: Some(vec![b'x'; 500]), ..dated.clone() };
        assert_eq!(readable("orders", 2, &long).chars().count(), COLUMNS);
        let binary = OwnedRecord { value: Some(vec![0xff, 0]), timestamp_ms: Some(i64::MAX), ..dated };
        assert_eq!(readable("orders", 2, &binary), "orders/2@7 null │ ff00");
    }

    #[test]
    fn a_filter_wants_the_key_and_every_header() {
        let header = |name: &str, value: Option<&str>| (name.into(), value.map(|value| value.as_bytes().to_vec()));
        let headers = vec![header("a", Some("1")), header("b", None), header("a", Some("2"))];
        let record = OwnedRecord { key: Some(b"k".to_vec()), headers, ..OwnedRecord::default() };
        let filter = |key: Option<&str>, headers: &[(&str, &str)]| Filter {
            key: key.map(str::to_owned),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        assert!(filter(None, &[]).takes(&record));
        assert!(filter(Some("k"), &[("a", "1"), ("a", "2")]).takes(&record));
        assert!(!filter(Some("other"), &[]).takes(&record));
        assert!(!filter(Some("k"), &[("a", "1"), ("b", "")]).takes(&record));
    }
}
