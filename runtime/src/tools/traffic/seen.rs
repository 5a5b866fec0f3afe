//! A set of numbers that takes one bit for each, and nothing for stretches that are complete.

use std::collections::BTreeMap;
use std::ops::Range;

const PAGE: u64 = 1 << 16;

enum Page {
    Full,
    Part { bits: Box<[u64; PAGE as usize / 64]>, missing: u32 },
}

/// A set of numbers.
#[derive(Default)]
pub(super) struct Seen {
    pages: BTreeMap<u64, Page>,
    parts: usize,
}

impl Seen {
    /// Adds a number. False: it was there already.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let page = self.pages.entry(number / PAGE).or_insert_with(|| {
            self.parts += 1;
            Page::Part { bits: Box::new([0; PAGE as usize / 64]), missing: PAGE as u32 }
        });
        let Page::Part { bits, missing } = page else { return false };
        let (word, bit) = place(number);
        if bits[word] & bit != 0 {
            return false;
        }
        bits[word] |= bit;
        *missing -= 1;
        if *missing == 0 {
            *page = Page::Full;
            self.parts -= 1;
        }
        true
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        match self.pages.get(&(number / PAGE)) {
            None => false,
            Some(Page::Full) => true,
            Some(Page::Part { bits, .. }) => {
                let (word, bit) = place(number);
                bits[word] & bit != 0
            }
        }
    }

    /// Counts the numbers of a range that are in the set, looking only at every `step`-th from the first on.
    pub(super) fn count(&self, range: Range<u64>, step: u64) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let pages = self.pages.range(range.start / PAGE..=(range.end - 1) / PAGE);
        let of_page = |(page, content): (&u64, &Page)| {
            let (low, high) = ((page * PAGE).max(range.start), ((page + 1) * PAGE).min(range.end));
            let first = range.start + (low - range.start).div_ceil(step) * step;
            match content {
                Page::Full => high.saturating_sub(first).div_ceil(step),
                Page::Part { .. } => {
                    let numbers = std::iter::successors(Some(first), |number| Some(number + step));
                    numbers.take_while(|number| *number < high).filter(|number| self.contains(*number)).count() as u64
                }
            }
        };
        pages.map(of_page).sum()
    }

    /// How many stretches of 65,536 numbers are not complete. Each takes 8 KiB.
    pub(super) fn parts(&self) -> usize {
        self.parts
    }
}

fn place(number: u64) -> (usize, u64) {
    let within = number % PAGE;
    ((within / 64) as usize, 1 << (within % 64))
}
