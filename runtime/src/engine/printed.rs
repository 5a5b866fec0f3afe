//! A shortened copy of what a guest printed during a call, for the reason of a failure.

/// The maximum number of bytes that are kept of one line.
const LINE_BYTES: usize = 300;
/// The maximum size of the first lines.
const FIRST_BYTES: usize = 400;
/// The maximum size of the last lines. At least one line fits.
const LAST_BYTES: usize = 300;
/// How lines begin that a language runtime prints when the program fails: two of Go, and one of Rust.
const FAILURE_PREFIXES: [&str; 3] = ["panic: ", "fatal error: ", "thread '"];

/// Keeps the first lines and the last lines.
///
/// A line with one of the [`FAILURE_PREFIXES`] discards all lines before it and becomes the first line,
/// because it says what happened and a long stack trace may follow. The last such line counts, because the
/// function may have recovered from earlier failures.
#[derive(Default)]
pub(super) struct Printed {
    first: String,
    last: String,
    has_gap: bool,
}

impl Printed {
    pub(super) fn push(&mut self, line: &str) {
        if FAILURE_PREFIXES.iter().any(|prefix| line.starts_with(prefix)) {
            *self = Self::default();
        }
        let line = &line[..line.floor_char_boundary(LINE_BYTES)];
        if self.last.is_empty() && self.first.len() + line.len() < FIRST_BYTES {
            self.first.push_str(line);
            self.first.push('\n');
            return;
        }
        self.last.push_str(line);
        self.last.push('\n');
        while self.last.len() > LAST_BYTES + 1 {
            let end_of_line = self.last.find('\n').unwrap_or_default();
            self.last.drain(..=end_of_line);
            self.has_gap = true;
        }
    }

    /// The kept lines, with `…` where lines are missing.
    pub(super) fn text(&self) -> String {
        let gap = if self.has_gap { "…\n" } else { "" };
        let text = format!("{}{gap}{}", self.first, self.last);
        text.trim_end_matches('\n').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: impl IntoIterator<Item = String>) -> String {
        let mut printed = Printed::default();
        lines.into_iter().for_each(|line| printed.push(&line));
        printed.text()
    }

    fn counted(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
        range.map(|n| format!("line {n}"))
    }

    #[test]
    fn short_output_is_kept_completely() {
        assert_eq!(text([]), "");
        assert_eq!(text(counted(0..3)), "line 0\nline 1\nline 2");
        let long = || "ü".repeat(1_000);
        assert_eq!(text([long(), long()]), ["ü".repeat(150), "ü".repeat(150)].join("\n"));
    }

    #[test]
    fn the_first_and_the_last_lines_are_kept() {
        let text = text(counted(0..10_000));
        assert!(text.starts_with("line 0\nline 1\n"), "{text}");
        assert!(text.ends_with("line 9998\nline 9999"), "{text}");
        let (first, last) = text.split_once("\n…\n").expect("a gap");
        assert!(first.len() <= FIRST_BYTES && last.len() <= LAST_BYTES, "{} {}", first.len(), last.len());
        assert!(first.len() > FIRST_BYTES - 10 && last.len() > LAST_BYTES - 20, "{} {}", first.len(), last.len());
    }

    #[test]
    fn the_last_failure_message_becomes_the_first_line() {
        let stack = || counted(0..1_000);
        let line = |text: &str| [text.to_owned()];
        let recovered = line("panic: recovered").into_iter().chain(stack());
        let text = text(recovered.chain(line("fatal error: out of memory")).chain(stack()));
        assert!(text.starts_with("fatal error: out of memory\nline 0\n"), "{text}");
        assert!(text.ends_with("\nline 999"), "{text}");
    }
}
