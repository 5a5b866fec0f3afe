//! Tables for a terminal of 80 columns. Pure.

use crate::tools::display::{CUT, cut, plain, width};

/// Between two columns.
const GAP: &str = "  ";

/// A table with a head.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Column {
    head: &'static str,
    most: usize,
}

impl Table {
    /// A table of columns, each with its head and how wide it may be.
    pub fn new(columns: &[(&'static str, usize)]) -> Self {
        let columns = columns.iter().map(|(head, most)| Column { head, most: *most }).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row. Cells that are missing are empty, and what a terminal could not show is written out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let fits = |(cell, column): (String, &Column)| shortened(&plain(&cell), column.most);
        self.rows.push(cells.into_iter().zip(&self.columns).map(fits).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its lines, none longer than a terminal is wide.
    pub fn lines(&self) -> Vec<String> {
        let head = self.columns.iter().map(|column| column.head.to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&self.rows).collect();
        let widest = |at: usize| all.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        let line = |row: &&Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, wide)| {
                let padding = " ".repeat(wide.saturating_sub(width(cell)));
                format!("{cell}{padding}")
            });
            cut(cells.collect::<Vec<_>>().join(GAP).trim_end()).into_owned()
        };
        all.iter().map(line).collect()
    }
}

/// A text of at most so many columns.
fn shortened(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if width(&short) + width(character.encode_utf8(&mut [0; 4])) + width(CUT) > most {
            break;
        }
        short.push(character);
    }
    short + CUT
}

/// A span of time, as one number with its unit.
pub fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number in at most six characters.
pub fn compact(number: u64) -> String {
    match number {
        0..1_000_000 => number.to_string(),
        1_000_000..100_000_000 => format!("{}k", number / 1_000),
        100_000_000..100_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// A size in binary units.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_fit() {
        let mut table = Table::new(&[("NAME", 6), ("STATE", 200)]);
        table.row(["a".to_owned(), "good".to_owned()]);
        table.row(["much too long".to_owned(), "x".repeat(100)]);
        table.row(["line\nbreak".to_owned()]);
        let lines = table.lines();
        assert_eq!(&lines[..2], ["NAME    STATE", "a       good"]);
        assert!(lines[2].starts_with("much …  xxx") && width(&lines[2]) == 80, "{lines:?}");
        assert_eq!(lines[3], "line\\…");
    }

    #[test]
    fn large_numbers_are_short() {
        let numbers = [999_999, 1_000_000, 99_999_999, 123_456_789, 123_456_789_012].map(compact);
        assert_eq!(numbers, ["999999", "1000k", "99999k", "123M", "123G"]);
    }

    #[test]
    fn spans_are_one_number() {
        let spans = [0, 1_999, 119_999, 120_000, 7_199_000, 7_200_000, 172_800_000].map(span);
        assert_eq!(spans, ["0 s", "1 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
    }
}
