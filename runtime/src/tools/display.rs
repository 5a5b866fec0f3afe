//! Texts and bytes for a terminal of 80 columns.
//!
//! Bytes are shown in two ways. [`blanked`] is for lists, in which each record has one line: what would break the
//! line becomes a blank. [`shown`] is for the outcome of one record: what cannot be seen is written out.
//! Golden cases compare texts, so they build on [`visible`], which leaves no two texts alike.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal;

use unicode_width::UnicodeWidthChar as _;

use crate::counted::counted;

/// How wide a terminal is at least.
pub const COLUMNS: usize = 80;

/// Stands for what is left out.
pub const CUT: &str = "…";

/// Longest value that is shown whole, in characters.
const MAX_CHARACTERS: usize = 2_000;

/// Whether a stream shows colours. See <https://no-color.org>.
pub fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A line that fits the terminal. If it is longer, its end is left out.
pub fn cut(line: &str) -> Cow<'_, str> {
    if width(line) <= COLUMNS {
        return line.into();
    }
    let mut columns = 0;
    // The last column is for the sign that something is left out.
    let beyond = line.char_indices().find(|&(_, character)| {
        columns += character.width().unwrap_or(0);
        columns >= COLUMNS
    });
    let end = beyond.map_or(line.len(), |(place, _)| place);
    format!("{}{CUT}", &line[..end]).into()
}

/// Text as it is, with blanks for what would break the line; other bytes in hexadecimal. No more than a line
/// of it.
pub fn blanked(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.chars().take(COLUMNS).map(|each| if each.is_control() { ' ' } else { each }).collect(),
        Err(_) => bytes.iter().take(COLUMNS / 2).map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The bytes of one value, or null, as one line that does nothing to a terminal. Nothing is lost but the end of
/// what is long.
pub fn shown(bytes: Option<&[u8]>) -> String {
    match bytes.map(std::str::from_utf8) {
        None => "(null)".to_owned(),
        Some(Ok("")) => "(empty)".to_owned(),
        Some(Ok(text)) => escaped(text),
        Some(Err(_)) => {
            let bytes = bytes.unwrap_or_default();
            let start = bytes[..bytes.len().min(32)].escape_ascii();
            format!("({}: {start}{})", counted(bytes.len(), "byte"), if bytes.len() > 32 { "…" } else { "" })
        }
    }
}

/// A text as one line that does nothing to a terminal. A long one is cut.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        if index == MAX_CHARACTERS {
            let _ = write!(shown, "… ({} bytes in all)", text.len());
            break;
        }
        match character {
            '\n' | '\r' | '\t' => shown.extend(character.escape_default()),
            control if control.is_control() => shown.extend(control.escape_unicode()),
            character => shown.push(character),
        }
    }
    shown
}

/// A text without control characters, on one line.
pub fn plain(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// A text in lines of a width, broken between words where that is possible. What is beyond `most` of
/// them is left out.
pub fn wrapped(text: &str, columns: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.trim_end().split('\n') {
        lines.push(String::new());
        for word in line.split_inclusive(' ') {
            append(&mut lines, word, columns);
        }
        if lines.len() > most {
            lines.truncate(most);
            lines.push(CUT.to_owned());
            break;
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

fn append(lines: &mut Vec<String>, word: &str, columns: usize) {
    let used = lines.last().map_or(0, |line| width(line));
    if used > 0 && used + width(&plain(word.trim_end())) > columns {
        lines.push(String::new());
    }
    for character in word.chars() {
        let piece = visible(character);
        if character != ' ' && lines.last().is_some_and(|line| width(line) + width(&piece) > columns) {
            lines.push(String::new());
        }
        if let Some(last) = lines.last_mut() {
            last.push_str(&piece);
        }
    }
}

/// A character as it stands, or written out if it could not be seen or be mistaken for what is written out.
pub fn visible(character: char) -> String {
    match character {
        '\n' | '\r' | '\t' | '\\' => character.escape_default().collect(),
        character if character.width().unwrap_or(0) == 0 => character.escape_unicode().collect(),
        character => character.into(),
    }
}

/// In columns. Nothing in it needs escaping any more.
pub fn width(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_eighty_columns() {
        assert_eq!(cut(&"x".repeat(80)), "x".repeat(80));
        assert_eq!(cut(&"x".repeat(81)), format!("{}…", "x".repeat(79)));
        let wide = cut(&"日".repeat(50)).into_owned();
        assert_eq!((width(&wide), wide.ends_with("日…")), (79, true), "a character of two columns does not fit");
    }

    #[test]
    fn bytes_of_a_list_break_no_line() {
        assert_eq!(blanked(b"a\x1b[31m\nb"), "a [31m b");
        assert_eq!(blanked(&[0xff, 0]), "ff00");
    }

    #[test]
    fn long_reasons_are_wrapped() {
        assert_eq!(wrapped("ab\ncdefg\n", 3, 5), ["ab", "cde", "fg"]);
        assert_eq!(wrapped("abcdefghi", 2, 2), ["ab", "cd", "…"]);
        assert_eq!(wrapped("", 10, 2), [""]);
        assert_eq!(wrapped("one two three", 7, 9), ["one two", "three"]);
        assert_eq!(wrapped("a bcdefghi j", 4, 9), ["a", "bcde", "fghi", "j"]);
    }

    #[test]
    fn a_long_value_is_cut() {
        assert!(shown(Some(&b"x".repeat(3_000))).ends_with("x… (3000 bytes in all)"));
        assert!(shown(Some(&b"\xff".repeat(40))).starts_with("(40 bytes: "));
    }
}
