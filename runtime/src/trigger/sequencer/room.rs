//! How far a window may run ahead, so that its progress fits into a commit's metadata.
//!
//! Every record that runs could at worst split a range of done ones in two. A number of the metadata takes
//! a byte, and one more for each seven bits of its size; the numbers of all ranges add up to the offsets
//! between the low watermark and the newest record, so only so many of them can be large.

use super::Window;
use crate::trigger::route::Route;

/// What of the metadata is not for ranges and failures.
const RESERVED: usize = 40;
/// Numbers of a range.
const RANGE: usize = 2;
/// What a record that failed takes beside its distance: attempts, its first failure, when it is due.
const FAILED: usize = 8;

impl<R> Window<R> {
    /// Records of a route that are ready and that the size of the progress lets start.
    pub fn startable(&self, route: Route) -> usize {
        let ready = self.ready[route.index()].counts;
        (ready.fresh + ready.suspects).min(self.allowance()) + ready.retries
    }

    /// How many records that never failed may start without endangering the size of the progress.
    pub(super) fn allowance(&self) -> usize {
        let bytes = (self.limits.metadata / 4 * 3).saturating_sub(RESERVED).saturating_sub(FAILED * self.failing);
        let numbers = RANGE * (self.done_runs + self.running) + self.failing;
        let span = u64::try_from(self.next_offset - self.low()).unwrap_or(u64::MAX);
        // Either all numbers are as long as the span, or no more of them are long than fit into it.
        let by_length = bytes / bytes_of(span);
        let by_span = bytes.saturating_sub(usize::try_from(span / 127).unwrap_or(usize::MAX));
        by_length.max(by_span).saturating_sub(numbers) / RANGE
    }
}

/// What a number takes in LEB128.
fn bytes_of(number: u64) -> usize {
    (64 - number.leading_zeros() as usize).div_ceil(7).max(1)
}

#[cfg(test)]
mod tests {
    use super::bytes_of;

    #[test]
    fn a_number_takes_a_byte_for_each_seven_bits() {
        for (number, bytes) in [(0, 1), (1, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
            assert_eq!(bytes_of(number), bytes, "{number}");
        }
    }
}
