//! Shows two values on one line each, around the place where they differ.
//!
//! Different texts never look the same, because everything that is not plain text is escaped: control characters,
//! characters without a width such as combining accents, and the backslash.

use std::ops::Range;

use crate::tools::display::{CUT, visible, width};

/// How many columns are shown before the first difference, at least.
const LEAD: usize = 16;

/// A part of a text, and which columns of it differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) text: String,
    /// The bytes of `text` that differ.
    pub(super) marked: Range<usize>,
    /// The number of columns before them, and of them.
    pub(super) columns: (usize, usize),
}

/// Both texts around the first difference, and its offset in bytes.
pub(super) fn part(expected: &[u8], came: &[u8], width: usize) -> (usize, Window, Window) {
    let are_texts = std::str::from_utf8(expected).is_ok() && std::str::from_utf8(came).is_ok();
    let pieces = |bytes| Pieces { bytes, is_text: are_texts };
    let sides = [pieces(expected), pieces(came)];
    let shorter = expected.len().min(came.len());
    let same = expected.iter().zip(came).take_while(|(one, other)| one == other).count();
    let start = sides.iter().map(|side| side.boundary_before(same)).min().unwrap_or(same);
    let same_end =
        expected.iter().rev().zip(came.iter().rev()).take(shorter - start).take_while(|(one, other)| one == other);
    let same_end = same_end.count();
    let ends = sides.each_ref().map(|side| side.boundary_after(side.bytes.len() - same_end));

    let rest = sides.iter().map(|side| side.width(start, width)).max().unwrap_or(0);
    // Both ends may need a sign that something is left out.
    let lead = (width - 2).saturating_sub(rest).max(LEAD);
    let first = sides[0].back(start, lead);
    let [expected, came] = [0, 1].map(|side| sides[side].window(first, start..ends[side], width));
    (start, expected, came)
}

/// Bytes as the pieces that they are shown in: characters of a text, or single bytes.
struct Pieces<'a> {
    bytes: &'a [u8],
    is_text: bool,
}

impl Pieces<'_> {
    fn is_boundary(&self, place: usize) -> bool {
        // All bytes of a character except its first begin with the bits 10.
        !self.is_text || self.bytes.get(place).is_none_or(|byte| byte & 0xC0 != 0x80)
    }

    fn boundary_before(&self, place: usize) -> usize {
        (0..=place).rev().find(|&place| self.is_boundary(place)).unwrap_or(0)
    }

    fn boundary_after(&self, place: usize) -> usize {
        (place..self.bytes.len()).find(|&place| self.is_boundary(place)).unwrap_or(self.bytes.len())
    }

    /// The piece that begins at a place, and where the next one does. `None`: there is no more.
    fn at(&self, place: usize) -> Option<(String, usize)> {
        let &byte = self.bytes.get(place)?;
        if !self.is_text {
            return Some((byte.escape_ascii().to_string(), place + 1));
        }
        let next = self.boundary_after(place + 1);
        let text = std::str::from_utf8(&self.bytes[place..next]).unwrap_or_default();
        Some((text.chars().map(visible).collect(), next))
    }

    /// The columns from a place on, if they are fewer than `most`.
    fn width(&self, mut place: usize, most: usize) -> usize {
        let mut columns = 0;
        while columns < most
            && let Some((text, next)) = self.at(place)
        {
            (columns, place) = (columns + width(&text), next);
        }
        columns.min(most)
    }

    /// The place that at most so many columns before another one begin at.
    fn back(&self, place: usize, most: usize) -> usize {
        let (mut first, mut columns) = (place, 0);
        while first > 0 {
            let before = self.boundary_before(first - 1);
            columns += self.at(before).map_or(0, |(text, _)| width(&text));
            if columns > most {
                break;
            }
            first = before;
        }
        first
    }

    fn window(&self, first: usize, marked: Range<usize>, most: usize) -> Window {
        let mut text = if first > 0 { CUT.to_owned() } else { String::new() };
        let mut columns = width(&text);
        let mut window = Window { text: String::new(), marked: 0..0, columns: (0, 0) };
        let mut place = first;
        loop {
            if place == marked.start {
                window.marked = text.len()..text.len();
                window.columns = (columns, 0);
            }
            let Some((piece, next)) = self.at(place) else { break };
            let is_last = next == self.bytes.len();
            if columns + width(&piece) + usize::from(!is_last) > most {
                text.push_str(CUT);
                break;
            }
            columns += width(&piece);
            text.push_str(&piece);
            if place >= marked.start && next <= marked.end {
                window.marked.end = text.len();
                window.columns.1 = columns - window.columns.0;
            }
            place = next;
        }
        window.text = text;
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws both texts with `^` under what is different.
    #[track_caller]
    fn check(expected: &[u8], came: &[u8], width: usize, place: usize, drawn: &str) {
        let (found, one, other) = part(expected, came, width);
        let marks = |window: &Window| {
            let (before, of) = window.columns;
            assert_eq!(super::width(&window.text[..window.marked.start]), before);
            assert_eq!(super::width(&window.text[window.marked.clone()]), of);
            format!("{}{}", " ".repeat(before), "^".repeat(of))
        };
        let lines = [one.text.clone(), marks(&one), other.text.clone(), marks(&other)];
        assert!(lines.iter().all(|line| super::width(line) <= width), "{lines:#?}");
        assert_eq!((found, lines.map(|line| line.trim_end().to_owned()).join("\n").as_str()), (place, drawn));
    }

    #[test]
    fn short_texts_are_shown_whole() {
        check(b"HELLO", b"HALLO", 40, 1, "HELLO\n ^\nHALLO\n ^");
        check(b"HELLO", b"HELLO!", 40, 5, "HELLO\n\nHELLO!\n     ^");
        check(b"", b"x", 40, 0, "\n\nx\n^");
        check(b"aaa", b"aa", 40, 2, "aaa\n  ^\naa\n");
        check(b"abcd", b"abxxcd", 40, 2, "abcd\n\nabxxcd\n  ^^");
    }

    #[test]
    fn of_long_texts_the_surroundings_are_shown() {
        let one = format!("{}1{}", "a".repeat(100), "b".repeat(100));
        let other = format!("{}22{}", "a".repeat(100), "b".repeat(100));
        let cut = "…aaaaaaaaaaaaaaaa";
        let drawn = format!(
            "{cut}1{}…\n{space}^\n{cut}22{}…\n{space}^^",
            "b".repeat(21),
            "b".repeat(20),
            space = " ".repeat(17)
        );
        check(one.as_bytes(), other.as_bytes(), 40, 100, &drawn);
        // Towards the end there is more room before it.
        let (one, other) = (format!("{}1", "a".repeat(100)), format!("{}2", "a".repeat(100)));
        let lead = format!("…{}", "a".repeat(37));
        let space = " ".repeat(38);
        check(one.as_bytes(), other.as_bytes(), 40, 100, &format!("{lead}1\n{space}^\n{lead}2\n{space}^"));
    }

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        check(b"a\nb", b"a\\nb", 40, 1, "a\\nb\n ^^\na\\\\nb\n ^^^");
        check(b"\x1b[31m", b"", 40, 0, "\\u{1b}[31m\n^^^^^^^^^^\n\n");
        check("e\u{301}".as_bytes(), "\u{e9}".as_bytes(), 40, 0, "e\\u{301}\n^^^^^^^^\n\u{e9}\n^");
        check("日本".as_bytes(), "日米".as_bytes(), 40, 3, "日本\n  ^^\n日米\n  ^^");
        check(b"a\xff", b"a\xfe", 40, 1, "a\\xff\n ^^^^\na\\xfe\n ^^^^");
        check("aé".as_bytes(), b"a\xff", 40, 1, "a\\xc3\\xa9\n ^^^^^^^^\na\\xff\n ^^^^");
    }

    #[test]
    fn every_pair_of_texts_fits_and_is_marked() {
        let mut chance = fastrand::Rng::with_seed(7);
        let mut text = || -> String {
            let pool = ['a', 'b', '\n', 'é', '日', '\u{301}', '\\', '"'];
            (0..chance.usize(..60)).map(|_| pool[chance.usize(..pool.len())]).collect()
        };
        for _ in 0..5_000 {
            let (one, other) = (text(), text());
            let (place, expected, came) = part(one.as_bytes(), other.as_bytes(), 30);
            for window in [&expected, &came] {
                assert!(width(&window.text) <= 30, "{one:?} {other:?}: {window:?}");
                assert!(window.text.is_char_boundary(window.marked.start) && window.marked.end <= window.text.len());
            }
            assert_eq!(one == other, place == one.len() && place == other.len());
        }
    }
}
