//! Records from lines of JSON, in a file or on standard input.
//!
//! What bounds it: a line of at most [`MAX_LINE_BYTES`] is held.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _};
use std::path::Path;

use anyhow::Context as _;

use super::Failure;
use super::ndjson::{MAX_LINE_BYTES, RecordLine, without_mark};

/// Reads records until there are no more, or one is wrong. Blank lines are none.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    /// What is read, for people.
    name: String,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Reads standard input. A person at a terminal is told what to type.
    pub fn of_stdin() -> Self {
        if io::stdin().is_terminal() {
            eprintln!("records as lines of JSON, such as {{\"key\": \"k\", \"value\": \"v\"}}; Ctrl-D ends");
        }
        Self::of(BufReader::new(io::stdin()), "standard input")
    }

    /// Reads a file.
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        Ok(Self::of(BufReader::new(file), &name))
    }

    pub(super) fn of(reader: impl BufRead + Send + 'static, name: &str) -> Self {
        Self { reader: Box::new(reader), name: name.to_owned(), line: Vec::new(), number: 0 }
    }

    /// Where the last record stood, such as `orders.ndjson, line 7`.
    pub fn place(&self) -> String {
        format!("{}, line {}", self.name, self.number)
    }

    /// The number of the last record's line, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The length of the last record's line.
    pub fn bytes(&self) -> usize {
        self.line.len()
    }

    fn read(&mut self) -> anyhow::Result<usize> {
        self.number += 1;
        self.line.clear();
        let mut limited = self.reader.by_ref().take(MAX_LINE_BYTES as u64 + 1);
        limited.read_until(b'\n', &mut self.line).with_context(|| format!("cannot read {}", self.name))
    }
}

impl Iterator for Lines {
    type Item = Result<RecordLine, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read() {
                Ok(0) => return None,
                Ok(_) if self.line.len() > MAX_LINE_BYTES => {
                    let longest = MAX_LINE_BYTES >> 20;
                    return Some(Err(Failure::usage(format!("{}: longer than {longest} MiB", self.place()))));
                }
                Ok(_) => {}
                Err(error) => return Some(Err(error.into())),
            }
            let line = without_mark(&self.line, self.number);
            if !line.trim_ascii().is_empty() {
                let wrong = |error| Failure::usage(format!("{}, {error}", self.place()));
                return Some(RecordLine::read(line).map_err(wrong));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<u64, String>> {
        let mut lines = Lines::of(io::Cursor::new(text.to_owned()), "input");
        let mut found = Vec::new();
        while let Some(record) = lines.next() {
            found.push(match record {
                Ok(_) => Ok(lines.number()),
                Err(Failure::Usage(text)) => Err(text),
                Err(Failure::Failed(error)) => Err(error.to_string()),
            });
        }
        found
    }

    #[test]
    fn a_mark_in_front_is_no_part_of_the_first_line() {
        assert_eq!(read("\u{feff}{\"key\": \"a\"}\r\n{\"key\": \"b\"}\r\n"), [Ok(1), Ok(2)]);
        assert_eq!(read("\u{feff}\n{}"), [Ok(2)], "an empty line is none");
        assert!(read("{}\n\u{feff}{}")[1].is_err(), "only in front");
    }

    #[test]
    fn a_line_that_is_wrong_or_too_long_is_told_with_its_place() {
        let found = read("{}\n\n{\"value\": 5}\n");
        assert!(
            found[1].as_ref().is_err_and(|error| error.starts_with("error: input, line 3, column 11: ")),
            "{found:?}"
        );
        let long = format!("{{\"value\": \"{}\"}}", "x".repeat(MAX_LINE_BYTES));
        assert_eq!(read(&long)[0], Err("error: input, line 1: longer than 64 MiB".to_owned()));
    }
}
