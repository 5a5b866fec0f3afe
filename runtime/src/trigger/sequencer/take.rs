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
    /// Hands out records that may run in one call, in offset order. Several records of one line may
    /// be among them.
    pub fn take(&mut self, share: Share, mut each: impl FnMut(Taken<R>)) {
        self.takes = self.takes.wrapping_add(1);
        let (mut taken, mut bytes) = (0, 0);
        let mut cohort: Option<usize> = None;
        let mut fresh_allowed = self.fresh_allowance();
        let mut passed_over = Vec::new();
        while let Some(sequence) = self.next_candidate() {
            let trouble = self.trouble(sequence);
            let own_bytes = self.slot(sequence).bytes as usize;
            let limit = trouble.cohort.unwrap_or(usize::MAX).min(cohort.unwrap_or(usize::MAX)).min(share.records);
            // Suspects travel among themselves, so that the innocent need not run again.
            let other_kind = taken > 0 && trouble.cohort.is_some() != cohort.is_some();
            let fresh = trouble.attempts == 0 && sequence != self.base;
            if taken >= limit || taken > 0 && bytes + own_bytes > share.bytes {
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
            bytes += own_bytes;
            cohort = trouble.cohort.map(|own| own.min(cohort.unwrap_or(usize::MAX)));
            each(self.start(sequence, trouble.attempts + 1));
            taken += 1;
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
        match self.slot(sequence).state {
            State::Ready => true,
            State::Behind => {
                self.ahead(sequence).is_some_and(|ahead| ahead.state == State::Running && ahead.take == self.takes)
            }
            _ => false,
        }
    }

    fn start(&mut self, sequence: Sequence, attempt: u32) -> Taken<R> {
        let (takes, cursor) = (self.takes, self.cursor);
        let slot = self.slot_mut(sequence);
        let was_ready = slot.state == State::Ready;
        slot.state = State::Running;
        slot.take = takes;
        let record = slot.record.take().expect("a record that does not run is in its slot");
        let distance = u64::from(slot.next);
        self.ready -= usize::from(was_ready);
        self.running += 1;
        // The one behind it may ride along; ahead of the cursor it is found anyway.
        if distance > 0 && sequence + distance < cursor {
            self.again.push(Reverse(sequence + distance));
        }
        Taken { sequence, attempt, record }
    }

    /// Records that are ready and that the size of the progress lets start.
    pub fn startable(&self) -> usize {
        self.ready.min(self.fresh_allowance() + self.failing)
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
