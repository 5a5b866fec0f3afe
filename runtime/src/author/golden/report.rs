//! Results for people, in 80 columns, with colours on a terminal.

use std::fmt::Write as _;

use super::difference::{Difference, Sides, between};
use super::{Case, Verdict, http, shown};
use crate::tools::display::{COLUMNS, plain, width, wrapped};

/// The indent of expected and actual values.
const INDENT: usize = 16;
/// The most lines of one description.
const MAX_LINES: usize = 6;
/// The most records per case and differences per record that are shown.
const MAX_SHOWN: usize = 10;

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    const GREEN: &str = "32";
    const RED: &str = "31";
    const BOLD: &str = "1";

    fn paint(self, style: &str, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The result of a case, without a line break at the end. It is one line if the case passed, and the differences if
/// not.
pub fn verdict(case: &Case, verdict: &Verdict, paint: Paint) -> String {
    let records = case.records().len();
    let s = if records == 1 { "" } else { "s" };
    if verdict.passed() {
        let name = padded(&case.name);
        return format!("{}      {name}  {records} record{s}", paint.paint(Paint::GREEN, "ok"));
    }
    let failed = verdict.differing.len() + verdict.missing.len();
    let what = match (failed, verdict.http_fits()) {
        (0, _) => "HTTP".to_owned(),
        (_, true) => format!("{failed} of {records} record{s}"),
        (_, false) => format!("{failed} of {records} record{s}, HTTP"),
    };
    let mut text = failed_line(&case.name, &what, paint);
    for &index in verdict.differing.iter().take(MAX_SHOWN) {
        let record = &case.records()[index];
        let Some(expected) = &record.expected else { continue };
        place(&mut text, case, verdict, index);
        let expected = expected.resolved(&record.record, verdict.output.as_deref());
        let differences = between(&record.record, &expected, &verdict.answers[index]);
        for difference in differences.iter().take(MAX_SHOWN) {
            write(&mut text, difference, paint);
        }
        more(&mut text, "    ", differences.len(), "differences");
    }
    more(&mut text, "  ", verdict.differing.len(), "records differ");
    if let Some(&first) = verdict.missing.first() {
        place(&mut text, case, verdict, first);
        let (further, it) = match verdict.missing.len() - 1 {
            0 => (String::new(), "it"),
            1 => (", nor has 1 more record".to_owned(), "them"),
            more => (format!(", nor have {more} more records"), "them"),
        };
        let _ = write!(text, "\n    has no expectation{further}:\n    `tidegate test --update` writes {it}");
    }
    unanswered(&mut text, verdict);
    unlike(&mut text, case, verdict, paint);
    unasked(&mut text, case, verdict);
    text
}

/// Requests without an answer, as lines to copy into the case. They are never wrapped.
fn unanswered(text: &mut String, verdict: &Verdict) {
    let what = match verdict.http.request_count {
        0 => return,
        1 => "a request has no answer; write one into the file, such as".to_owned(),
        count => format!("{count} requests have no answer; write one for each into the file, such as"),
    };
    let _ = write!(text, "\n  {what}");
    for request in verdict.http.requests.iter().take(MAX_SHOWN) {
        let _ = write!(text, "\n    {}", http::sample(request));
    }
    more(text, "    ", verdict.http.request_count, "requests");
}

/// Requests that differ from what the case says.
fn unlike(text: &mut String, case: &Case, verdict: &Verdict, paint: Paint) {
    for unlike in verdict.http.unlike.iter().take(MAX_SHOWN) {
        let Some(answer) = case.answers().get(unlike.answer) else { continue };
        let _ = write!(text, "\n  {}:{}", case.path.display(), answer.line);
        let what = format!("{} was sent otherwise", answer.answer.request());
        for line in wrapped(&what, COLUMNS - 4, MAX_LINES) {
            let _ = write!(text, "\n    {line}");
        }
        for difference in unlike.differences.iter().take(MAX_SHOWN) {
            write(text, &http::shown(difference), paint);
        }
        more(text, "    ", unlike.differences.len(), "differences");
    }
    more(text, "  ", verdict.http.unlike_count, "requests were sent otherwise");
}

fn unasked(text: &mut String, case: &Case, verdict: &Verdict) {
    for answer in verdict.http.answers.iter().take(MAX_SHOWN).filter_map(|place| case.answers().get(*place)) {
        let _ = write!(text, "\n  {}:{}", case.path.display(), answer.line);
        let what = format!("nobody asked for {}", answer.answer.request());
        for line in wrapped(&what, COLUMNS - 4, MAX_LINES) {
            let _ = write!(text, "\n    {line}");
        }
    }
    more(text, "  ", verdict.http.answers.len(), "answers were not asked for");
}

/// What to do about cases that failed. `is_http`: HTTP does not fit in any of them.
pub fn hint(is_http: bool) -> &'static str {
    match is_http {
        true => "what is asked and answered by HTTP is yours to write, see `tidegate test --help`",
        false => "`tidegate test --update` accepts what came",
    }
}

/// The result of a case that cannot be run.
pub fn broken(path: &std::path::Path, why: &dyn std::fmt::Display, paint: Paint) -> String {
    let mut text = failed_line(&Case::name_of(path), "cannot be run", paint);
    for line in wrapped(&why.to_string(), COLUMNS - 2, MAX_LINES) {
        let _ = write!(text, "\n  {line}");
    }
    text
}

fn failed_line(name: &str, what: &str, paint: Paint) -> String {
    format!("{}  {}  {what}", paint.paint(Paint::RED, "FAILED"), paint.paint(Paint::BOLD, &padded(name)))
}

fn padded(name: &str) -> String {
    format!("{:<20}", plain(name))
}

/// The line of a record in a form that editors understand, and its topic, partition and offset.
fn place(text: &mut String, case: &Case, verdict: &Verdict, index: usize) {
    let stands = format!("{}:{}", case.path.display(), case.records()[index].line);
    let at = &verdict.places[index];
    let read = format!("{}/{} @{}", plain(&at.topic), at.partition, at.offset);
    let fits = width(&stands) + width(&read) + 4 <= COLUMNS;
    let _ = write!(text, "\n  {stands}{}{read}", if fits { "  " } else { "\n  " });
}

fn more(text: &mut String, indent: &str, count: usize, what: &str) {
    if count > MAX_SHOWN {
        let _ = write!(text, "\n{indent}… {count} {what} in all");
    }
}

fn write(text: &mut String, difference: &Difference, paint: Paint) {
    let about = &difference.about;
    match &difference.sides {
        Sides::Words { expected, came } => {
            let _ = write!(text, "\n    {about}");
            for (label, style, words) in [("expected", Paint::GREEN, expected), ("got", Paint::RED, came)] {
                let lines = words.iter().flat_map(|words| wrapped(words, COLUMNS - INDENT, MAX_LINES));
                for (index, line) in lines.enumerate() {
                    let label = if index == 0 { label } else { "" };
                    let _ = write!(text, "\n      {label:<8}  {}", paint.paint(style, &line));
                }
            }
        }
        Sides::Values { expected, came } => {
            let (at, expected, came) = shown::part(expected, came, COLUMNS - INDENT);
            let at = if at > 0 { format!(", from byte {at}") } else { String::new() };
            let _ = write!(text, "\n    {about}{at}");
            for (label, style, window) in [("expected", Paint::GREEN, &expected), ("got", Paint::RED, &came)] {
                let (before, rest) = window.text.split_at(window.marked.start);
                let (marked, behind) = rest.split_at(window.marked.len());
                let line = format!("      {label:<8}  {before}{}{behind}", paint.paint(style, marked));
                let _ = write!(text, "\n{}", line.trim_end());
            }
            let (before, columns) = came.columns;
            let marks = "^".repeat(columns.max(1));
            let _ = write!(text, "\n{}{}", " ".repeat(INDENT + before), paint.paint(Paint::RED, &marks));
        }
    }
}
