//! The file of a case: reading it, and rewriting it with new expectations.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::Verdict;
use super::answers::HttpAnswer;
use super::expectation::{self, Expectation};
use super::http;
use crate::files::{self, Replacement};
use crate::tools::ndjson::{self, Malformed, RecordLine};

/// The folder of cases in a project.
pub const FOLDER: &str = "cases";
const MAX_BYTES: u64 = 64 << 20;

/// A file of cases that cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("{}, line {line}, {malformed}", .path.display())]
    Line { path: PathBuf, line: usize, malformed: Malformed },
    #[error("{}: {reason}", .path.display())]
    File { path: PathBuf, reason: String },
}

/// Records with their expectations, and the answers that stand in for the network.
#[derive(Debug)]
pub struct Case {
    /// The file's name without its ending.
    pub name: String,
    pub path: PathBuf,
    text: String,
    records: Vec<CaseRecord>,
    answers: Vec<CaseAnswer>,
}

/// An answer by HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CaseAnswer {
    /// From 1.
    pub(super) line: usize,
    pub(super) answer: HttpAnswer,
}

/// A record of a case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CaseRecord {
    /// From 1.
    pub(super) line: usize,
    pub(super) record: RecordLine,
    pub(super) expected: Option<Expectation>,
}

/// The case files of a project, sorted by name. Empty if there is no folder for them.
pub fn find(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(files::base(folder).join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "ndjson") && !is_hidden(path));
    paths.sort_by(|one, other| one.file_stem().cmp(&other.file_stem()));
    Ok(paths)
}

impl Case {
    /// The name of the case in a file.
    pub fn name_of(path: &Path) -> String {
        path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub fn read(path: &Path) -> Result<Self, Broken> {
        let refused = |reason: String| Broken::File { path: path.to_owned(), reason };
        let mut bytes = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|error| refused(error.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(refused(format!("larger than {} MiB: make several cases of it", MAX_BYTES >> 20)));
        }
        Self::parse(path, bytes)
    }

    pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, Broken> {
        let (mut records, mut answers): (Vec<CaseRecord>, Vec<CaseAnswer>) = (Vec::new(), Vec::new());
        for (text, line) in bytes.split(|&byte| byte == b'\n').zip(1_usize..) {
            let text = ndjson::without_mark(text, line as u64);
            let broken = |malformed| Broken::Line { path: path.to_owned(), line, malformed };
            let wrong = |reason: &str| broken(Malformed { column: 1, reason: reason.to_owned() });
            if text.trim_ascii().is_empty() {
                continue;
            }
            if http::is_one(text) {
                let answer = http::read(text).map_err(broken)?;
                answers.push(CaseAnswer { line, answer });
                continue;
            }
            if !expectation::is_one(text) {
                let record = RecordLine::read(text).map_err(broken)?;
                records.push(CaseRecord { line, record, expected: None });
                continue;
            }
            let expected = Expectation::read(text).map_err(broken)?;
            let Some(last) = records.last_mut() else {
                return Err(wrong("no record stands above this expectation; write the record first"));
            };
            if last.expected.replace(expected).is_some() {
                let reason = "a second expectation of the same record; put all its messages into one list";
                return Err(wrong(reason));
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| Broken::File {
            path: path.to_owned(),
            reason: "not UTF-8; bytes are written {\"base64\": \"…\"}".to_owned(),
        })?;
        if records.is_empty() {
            let reason = "it holds no record; write one such as {\"key\": \"k\", \"value\": \"v\"}".to_owned();
            return Err(Broken::File { path: path.to_owned(), reason });
        }
        Ok(Self { name: Self::name_of(path), path: path.to_owned(), text, records, answers })
    }

    pub(super) fn records(&self) -> &[CaseRecord] {
        &self.records
    }

    /// The answers in the order in which they are given.
    pub(super) fn answers(&self) -> &[CaseAnswer] {
        &self.answers
    }

    /// Replaces the file with one that expects what came. Lines that need no change stay as they are. A case that
    /// passed is not touched. Neither is one whose answers by HTTP do not fit, because other answers would give
    /// other results. Returns whether the file was written.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or the author has changed it since it was read.
    pub fn update(&self, verdict: &Verdict) -> io::Result<bool> {
        if verdict.passed() || !verdict.http_fits() {
            return Ok(false);
        }
        let mut file = Replacement::begin(&self.path)?;
        file.write_all(self.updated(verdict).as_bytes())?;
        // Before the look, so that hardly any time is left to type in.
        file.sync()?;
        if fs::read(&self.path)? != self.text.as_bytes() {
            return Err(io::Error::other("changed while it was tested; run again"));
        }
        file.finish()?;
        Ok(true)
    }

    fn updated(&self, verdict: &Verdict) -> String {
        let mut text = String::with_capacity(self.text.len());
        let mut next = 0;
        // A line that is written ends as the record above it.
        let mut end = "\n";
        for (line, number) in self.text.split_inclusive('\n').zip(1..) {
            if self.records.get(next).is_some_and(|record| record.line == number) {
                next += 1;
                text.push_str(line);
                match line.strip_suffix('\n') {
                    Some(line) => end = if line.ends_with('\r') { "\r\n" } else { "\n" },
                    None => text.push_str(end),
                }
                if self.records[next - 1].expected.is_none() {
                    text.push_str(&self.answer(next - 1, verdict));
                    text.push_str(end);
                }
            } else if next == 0 || self.is_kept(number, line) || verdict.differing.binary_search(&(next - 1)).is_err() {
                text.push_str(line);
            } else {
                text.push_str(&self.answer(next - 1, verdict));
                text.push_str(end);
            }
        }
        text
    }

    /// Whether a line stays as it is in an update.
    fn is_kept(&self, number: usize, line: &str) -> bool {
        line.trim().is_empty() || self.answers.binary_search_by_key(&number, |answer| answer.line).is_ok()
    }

    fn answer(&self, index: usize, verdict: &Verdict) -> String {
        expectation::line(&self.records[index].record, &verdict.answers[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author::golden::answers::HttpLeft;
    use crate::record::outcome::{Cause, Fault, Timestamp};
    use crate::tools::ndjson::Message;

    fn parse(text: &str) -> Result<Case, String> {
        Case::parse(Path::new("cases/a.ndjson"), text.into()).map_err(|broken| broken.to_string())
    }

    #[test]
    fn records_and_expectations_are_told_apart() {
        let case = parse("{\"value\": \"a\"}\r\n\n{\"messages\": [{}]}\n{\"value\": \"b\"}\n").expect("good");
        let lines: Vec<(usize, bool)> =
            case.records().iter().map(|record| (record.line, record.expected.is_some())).collect();
        assert_eq!((case.name.as_str(), lines), ("a", vec![(1, true), (4, false)]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_what_to_write() {
        let check = |text: &str, message: &str| assert_eq!(parse(text).expect_err(text), message, "{text}");
        let at = |place: &str, reason: &str| format!("cases/a.ndjson, line {place}: {reason}");
        check(
            "{\"messages\": []}",
            &at("1, column 1", "no record stands above this expectation; write the record first"),
        );
        check(
            "{}\n{\"messages\": []}\n{\"messages\": []}",
            &at("3, column 1", "a second expectation of the same record; put all its messages into one list"),
        );
        check("{}\n  hello", &at("2, column 3", "a record is an object such as {\"key\": \"k\", \"value\": \"v\"}"));
        check(
            "{}\n{\"messages\": [{\"valeu\": \"x\"}]}",
            &at(
                "2, column 22",
                "unknown field `valeu`, expected one of `topic`, `partition`, `timestamp`, `key`, `value`, `headers`",
            ),
        );
        check(
            "{}\n{\"failure\": {\"cause\": \"panic\"}}",
            &at(
                "2, column 30",
                "no cause is called panic; there are retry, reject, trap, exit, deadline, memory, bad-outcome",
            ),
        );
        check(
            "{}\n{\"failure\": {\"cause\": \"trap\", \"reason\": \"x\"}}",
            &at("2, column 1", "only the cause of a trap is compared: leave its reason out"),
        );
        check(
            "{}\n{\"failure\": {\"cause\": \"reject\"}}",
            &at("2, column 1", "the reason of a reject is compared: write \"reason\": \"…\" beside its cause"),
        );
        check(
            "{}\n{\"failure\": {\"cause\": \"trap\"}, \"messages\": []}",
            &at("2, column 1", "a record has messages or a failure, not both"),
        );
        check("\n", "cases/a.ndjson: it holds no record; write one such as {\"key\": \"k\", \"value\": \"v\"}");
    }

    #[test]
    fn an_update_keeps_every_line_that_is_right() {
        let http = "{\"http\": \"GET https://api.example.com/7\", \"answer\": {\"status\": 200}}\n";
        let text = format!(
            "{{ \"value\": \"a\" }}\n{{ \"messages\": [ {{}} ] }}\n\n{{\"value\": \"b\"}}\n{http}{{\"messages\": []}}\n{http}{{\"value\": \"c\"}}"
        );
        let text = text.as_str();
        let case = parse(text).expect("good");
        let message = |value: &[u8]| Message {
            topic: None,
            partition: None,
            timestamp: Timestamp::AsInSource,
            key: None,
            value: Some(value.to_vec()),
            headers: Vec::new(),
        };
        let verdict = Verdict {
            places: Vec::new(),
            answers: vec![Ok(vec![message(b"a")]), Ok(vec![message(b"B")]), Err(Fault::new(Cause::Reject, "no"))],
            output: None,
            differing: vec![1],
            missing: vec![2],
            http: HttpLeft::default(),
        };
        let expected = format!(
            "{{ \"value\": \"a\" }}\n{{ \"messages\": [ {{}} ] }}\n\n{{\"value\": \"b\"}}\n{http}\
             {{\"messages\":[{{\"value\":\"B\"}}]}}\n{http}{{\"value\": \"c\"}}\n\
             {{\"failure\":{{\"cause\":\"reject\",\"reason\":\"no\"}}}}\n"
        );
        assert_eq!(case.updated(&verdict), expected);

        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join(FOLDER)).expect("a folder");
        let path = folder.path().join("cases/a.ndjson");
        fs::write(&path, text).expect("written");
        fs::write(folder.path().join("cases/notes.txt"), "").expect("written");
        assert!(Case::read(&path).expect("good").update(&verdict).expect("written"));
        assert_eq!(fs::read_to_string(&path).expect("a text"), expected);
        assert_eq!(find(folder.path()).expect("a folder"), [path], "nothing else is left there");
    }

    fn rejected(records: usize, differing: &[usize], missing: &[usize]) -> Verdict {
        Verdict {
            places: Vec::new(),
            answers: vec![Err(Fault::new(Cause::Reject, "no")); records],
            output: None,
            differing: differing.to_vec(),
            missing: missing.to_vec(),
            http: HttpLeft::default(),
        }
    }

    #[test]
    fn a_file_from_windows_is_read_and_keeps_its_line_ends() {
        let http = "{\"http\": \"GET https://api.example.com/7\", \"answer\": {\"status\": 200}}\r\n";
        let no = "{\"failure\":{\"cause\":\"reject\",\"reason\":\"no\"}}";
        let read = "{\"value\": \"a\"}\r\n{\"messages\": []}\r\n\r\n{\"value\": \"b\"}\r\n{}\n{\"messages\": []}\n{}";
        let written =
            format!("{{\"value\": \"a\"}}\r\n{no}\r\n\r\n{{\"value\": \"b\"}}\r\n{no}\r\n{{}}\n{no}\n{{}}\n{no}\n");
        for first in ["", http] {
            let case = parse(&format!("\u{feff}{first}{read}")).expect("good");
            assert_eq!((case.answers().len(), case.records().len()), (usize::from(!first.is_empty()), 4));
            assert_eq!(case.updated(&rejected(4, &[0, 2], &[1, 3])), format!("\u{feff}{first}{written}"));
        }
        let last = parse("{}\r\n{\"messages\": []}\r\n{}").expect("good");
        assert_eq!(last.updated(&rejected(2, &[], &[1])), format!("{{}}\r\n{{\"messages\": []}}\r\n{{}}\r\n{no}\r\n"));
        assert!(parse("{}\n\u{feff}{}").is_err_and(|error| error.contains("line 2, column 1")), "only in front");
    }

    #[test]
    fn a_case_behind_a_link_is_written_where_it_lies() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, link] = ["a.ndjson", "link.ndjson"].map(|name| folder.path().join(name));
        fs::write(&path, "{}\n").expect("written");
        std::os::unix::fs::symlink("a.ndjson", &link).expect("linked");
        assert!(Case::read(&link).expect("good").update(&rejected(1, &[], &[0])).expect("written"));
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&path).expect("a text").lines().count(), 2);
    }

    #[test]
    fn what_is_typed_while_a_case_is_tested_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.ndjson");
        fs::write(&path, "{\"value\": \"a\"}\n").expect("written");
        let case = Case::read(&path).expect("good");
        let silent = |records: usize| Verdict {
            places: Vec::new(),
            answers: vec![Ok(Vec::new()); records],
            output: None,
            differing: Vec::new(),
            missing: (0..records).collect(),
            http: HttpLeft::default(),
        };
        let typed = "{\"value\": \"a\"}\n{\"value\": \"b\"}\n";
        fs::write(&path, typed).expect("written");
        let refused = case.update(&silent(1)).expect_err("not over what was typed");
        assert_eq!(refused.to_string(), "changed while it was tested; run again");
        assert_eq!(fs::read_to_string(&path).expect("a text"), typed);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left there");
        assert!(Case::read(&path).is_ok_and(|case| case.update(&silent(2)).expect("written")));
    }
}
