//! What a guest printed during a call, cut to what the reason of a failure has room for.

/// Most bytes that are kept of a line.
const LINE_BYTES: usize = 300;
/// Most bytes of the first lines.
const FIRST_BYTES: usize = 400;
/// Most bytes of the last lines, which at least one fits into.
const LAST_BYTES: usize = 300;
/// How the lines begin that runtimes print when they die: those of Go, and that of Rust.
const LAST_WORDS: [&str; 3] = ["panic: ", "fatal error: ", "thread '"];

/// The first lines and the last ones.
///
/// Last words begin it anew, whatever was printed before: they say what happened, and a stack of any length
/// may follow. The last ones count, because others may have been survived.
#[derive(Default)]
pub(super) struct Printed {
    first: String,
    last: String,
    has_gap: bool,
}

impl Printed {
    pub(super) fn push(&mut self, line: &str) {
        if LAST_WORDS.iter().any(|words| line.starts_with(words)) {
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

    /// All of it, with `…` for what was left out.
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
    fn what_is_short_is_kept_whole() {
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
    fn last_words_are_the_first_lines() {
        let stack = || counted(0..1_000);
        let words = |words: &str| [words.to_owned()];
        let survived = words("panic: survived").into_iter().chain(stack());
        let text = text(survived.chain(words("fatal error: out of memory")).chain(stack()));
        assert!(text.starts_with("fatal error: out of memory\nline 0\n"), "{text}");
        assert!(text.ends_with("\nline 999"), "{text}");
    }
}
