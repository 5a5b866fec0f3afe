//! What a window says is to be committed.

use super::super::progress::Progress;
use super::{State, Window};
use crate::trigger::route::Route;

impl<R> Window<R> {
    /// Whether progress changed since it was last reported.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Reports progress again even if nothing changes: the last report did not become durable.
    pub fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// What is to be committed. From here on the window is clean.
    pub fn progress(&mut self) -> Progress {
        self.dirty = false;
        let mut progress =
            Progress { partitions_at_start: self.resumed.partitions_at_start, ..Progress::at(self.low()) };
        let mut run: Option<std::ops::Range<i64>> = None;
        for (sequence, slot) in (self.base..).zip(&self.slots) {
            if slot.state == State::Done {
                run.get_or_insert(slot.offset..slot.offset).end = slot.offset + 1;
                continue;
            }
            progress.done.extend(run.take());
            // What a candidate failed begins anew elsewhere: nobody there knows that it was a candidate.
            if slot.has_failure && slot.route == Route::STABLE && self.failure(sequence).has_failed() {
                progress.failed.push(self.failures(sequence));
            }
        }
        progress.done.extend(run);
        self.add_resumed(&mut progress);
        progress
    }

    /// What the last owner did beyond the records that were delivered so far is still true.
    fn add_resumed(&self, progress: &mut Progress) {
        for range in &self.resumed.done {
            let start = range.start.max(self.next_offset);
            if start >= range.end {
                continue;
            }
            match progress.done.last_mut() {
                Some(last) if last.end == start => last.end = range.end,
                _ if start == progress.low => progress.low = range.end,
                _ => progress.done.push(start..range.end),
            }
        }
        progress.failed.extend(self.resumed.failed.iter().filter(|failed| failed.offset >= self.next_offset));
    }
}
