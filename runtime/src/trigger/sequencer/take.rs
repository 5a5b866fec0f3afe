//! Which records of a window ride in one call.

use std::cmp::Reverse;

use super::super::progress::MAX_METADATA;
use super::{Sequence, State, Window};

/// A record that [`Window::take`] hands out.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<R> {
    pub sequence: Sequence,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    pub record: R,
}

/// How much [`Window::take`] may hand out.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub records: usize,
    /// Not checked for the first record: one that is too large for any batch runs alone.
    pub bytes: usize,
}

impl<R> Window<R> {
    /// Hands out records that may run in one call, in offset order, and appends them to `batch`.
    /// Several records of one line may be among them.
    pub fn take(&mut self, share: Share, batch: &mut Vec<Taken<R>>) {
        self.takes += 1;
        let start = batch.len();
        let mut bytes = 0;
        let mut cohort: Option<usize> = None;
        let mut fresh_allowed = self.fresh_allowance();
        let mut passed_over = Vec::new();
        while let Some(sequence) = self.next_candidate() {
            let taken = batch.len() - start;
            let slot = &self.slots[(sequence - self.base) as usize];
            let limit = slot.cohort.unwrap_or(usize::MAX).min(cohort.unwrap_or(usize::MAX)).min(share.records);
            // Suspects travel among themselves, so that the innocent need not run again.
            let other_kind = taken > 0 && slot.cohort.is_some() != cohort.is_some();
            let fresh = slot.attempts == 0 && sequence != self.base;
            if taken >= limit || taken > 0 && bytes + slot.bytes > share.bytes {
                passed_over.push(sequence);
                break;
            }
            if other_kind || fresh && fresh_allowed == 0 {
                passed_over.push(sequence);
                if passed_over.len() < share.records {
                    continue;
                }
                break;
            }
            fresh_allowed -= usize::from(fresh);
            bytes += slot.bytes;
            cohort = slot.cohort.map(|own| own.min(cohort.unwrap_or(usize::MAX)));
            batch.push(self.start(sequence));
        }
        for sequence in passed_over {
            self.again.push(Reverse(sequence));
        }
    }

    /// The first record that may run, leaving it to the caller: either it starts or it is pushed
    /// onto `again`.
    fn next_candidate(&mut self) -> Option<Sequence> {
        self.cursor = self.cursor.max(self.base);
        loop {
            while self.cursor < self.end() && !self.may_run(self.cursor) {
                self.cursor += 1;
            }
            let fresh = (self.cursor < self.end()).then_some(self.cursor);
            let again = self.again.peek().map(|&Reverse(sequence)| sequence);
            match (again, fresh) {
                (Some(again), fresh) if fresh.is_none_or(|fresh| again < fresh) => {
                    self.again.pop();
                    // What waits here may have been run or put behind its line since.
                    if again >= self.base && self.may_run(again) {
                        return Some(again);
                    }
                }
                (_, Some(fresh)) => {
                    self.cursor += 1;
                    return Some(fresh);
                }
                (_, None) => return None,
            }
        }
    }

    /// Ready, or right behind a record of its line that this very `take` handed out.
    fn may_run(&self, sequence: Sequence) -> bool {
        let slot = &self.slots[(sequence - self.base) as usize];
        match slot.state {
            State::Ready => true,
            State::Behind => slot.line.and_then(|line| self.lines.get(&line)).is_some_and(|line| {
                line.taken.is_some_and(|(take, last)| take == self.takes && slot.previous == Some(last))
            }),
            _ => false,
        }
    }

    fn start(&mut self, sequence: Sequence) -> Taken<R> {
        let takes = self.takes;
        let slot = &mut self.slots[(sequence - self.base) as usize];
        self.ready -= usize::from(slot.state == State::Ready);
        slot.state = State::Running;
        self.running += 1;
        let record = slot.record.take().expect("a record that does not run is in its slot");
        let attempt = slot.attempts + 1;
        let (line, next) = (slot.line, slot.next);
        if let Some(line) = line.and_then(|line| self.lines.get_mut(&line)) {
            line.taken = Some((takes, sequence));
        }
        // The one behind it may ride along; ahead of the cursor it is found anyway.
        if let Some(next) = next.filter(|&next| next < self.cursor) {
            self.again.push(Reverse(next));
        }
        Taken { sequence, attempt, record }
    }

    /// How many records that never failed may start without endangering the size of the progress.
    /// Each open record can at worst split a range in two: two lengths more, of one byte each
    /// unless they span more than 127 offsets, of which there are only so many.
    fn fresh_allowance(&self) -> usize {
        const BYTES: usize = MAX_METADATA / 4 * 3 - 40;
        const RANGE: usize = 2;
        const FAILED: usize = 8;
        let span = usize::try_from(self.next_offset - self.low()).unwrap_or(usize::MAX);
        let used = RANGE * (self.done_runs + self.running) + (RANGE + FAILED) * self.failing + span / 127;
        BYTES.saturating_sub(used) / RANGE
    }
}
