//! Which records of a window ride in one call.

use super::ready::Kind;
use super::{Sequence, State, Window};
use crate::trigger::route::Route;

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
    /// Hands out records of one route that may run in one call, in offset order. Several records of
    /// one key group may be among them.
    pub fn take(&mut self, route: Route, share: Share, mut each: impl FnMut(Taken<R>)) {
        self.takes = self.takes.wrapping_add(1);
        for kind in self.ready_of(route).turns() {
            let taken = match kind {
                Kind::Retry => self.take_retries(route, share, &mut each),
                Kind::Fresh | Kind::Suspect => self.take_in_order(route, kind, share, &mut each),
            };
            if taken > 0 {
                return;
            }
        }
    }

    /// Hands out one record of a route alone, which is to say something about the others: one that never failed, if
    /// there is any. `lot` is any number, which draws it. In the order of their offsets some that fail would
    /// hide all the good ones behind them.
    pub fn take_one(&mut self, route: Route, lot: usize, mut each: impl FnMut(Taken<R>)) {
        self.takes = self.takes.wrapping_add(1);
        for kind in [Kind::Fresh, Kind::Suspect] {
            if let Some(sequence) = self.drawn(route, kind, lot) {
                self.ready_of(route).take_out(kind, sequence);
                each(self.start(sequence));
                return;
            }
        }
        self.take_retries(route, Share { records: 1, bytes: usize::MAX }, &mut each);
    }

    /// Any record of a kind that may run.
    fn drawn(&self, route: Route, kind: Kind, lot: usize) -> Option<Sequence> {
        let may_run_ahead = self.allowance() > 0;
        let candidates =
            self.slots.iter().zip(self.base..).filter(|(slot, _)| slot.state == State::Ready && slot.route == route);
        let mut candidates = candidates.map(|(_, sequence)| sequence).filter(|&sequence| {
            let may_start = may_run_ahead || sequence == self.base || self.has_failed(sequence);
            may_start && self.kind(sequence) == kind
        });
        let most = candidates.clone().count();
        candidates.nth(lot.checked_rem(most)?)
    }

    /// Fresh records, or suspects, with those behind them that may ride along.
    fn take_in_order(&mut self, route: Route, kind: Kind, share: Share, each: &mut impl FnMut(Taken<R>)) -> usize {
        let (mut taken, mut bytes, mut most) = (0, 0, share.records);
        let mut allowance = self.allowance();
        while let Some(sequence) = self.next_candidate(route, kind) {
            let failure = self.failure(sequence);
            let own_bytes = self.slot(sequence).bytes as usize;
            let never_failed = !failure.has_failed() && sequence != self.base;
            most = most.min(failure.group.unwrap_or(usize::MAX));
            let is_full = taken >= most || taken > 0 && bytes + own_bytes > share.bytes;
            if is_full || never_failed && allowance == 0 {
                break;
            }
            self.ready_of(route).pop(kind);
            allowance -= usize::from(never_failed);
            bytes += own_bytes;
            taken += 1;
            each(self.start(sequence));
            self.invite_rider(sequence);
        }
        taken
    }

    /// Records whose time came, however far they are apart.
    fn take_retries(&mut self, route: Route, share: Share, each: &mut impl FnMut(Taken<R>)) -> usize {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(sequence) = self.next_candidate(route, Kind::Retry) {
            let own_bytes = self.slot(sequence).bytes as usize;
            if taken.len() >= share.records || !taken.is_empty() && bytes + own_bytes > share.bytes {
                break;
            }
            self.ready_of(route).pop(Kind::Retry);
            bytes += own_bytes;
            taken.push(sequence);
        }
        // A record may have left an entry behind when it was here before.
        taken.sort_unstable();
        taken.dedup();
        taken.iter().for_each(|&sequence| each(self.start(sequence)));
        taken.len()
    }

    /// The next record of a kind that may run. What is stale before it is thrown away.
    fn next_candidate(&mut self, route: Route, kind: Kind) -> Option<Sequence> {
        while let Some(sequence) = self.ready_of(route).peek(kind) {
            if sequence >= self.base && self.is_of(sequence, route, kind) && self.may_run(sequence) {
                return Some(sequence);
            }
            self.ready_of(route).pop(kind);
        }
        None
    }

    fn is_of(&self, sequence: Sequence, route: Route, kind: Kind) -> bool {
        self.slot(sequence).route == route && self.kind(sequence) == kind
    }

    /// Ready, or right behind a record of its key group that this very `take` handed out.
    fn may_run(&self, sequence: Sequence) -> bool {
        match self.slot(sequence).state {
            State::Ready => true,
            State::Behind => {
                self.ahead(sequence).is_some_and(|ahead| ahead.state == State::Running && ahead.take == self.takes)
            }
            _ => false,
        }
    }

    fn start(&mut self, sequence: Sequence) -> Taken<R> {
        if self.slot(sequence).state == State::Ready {
            self.leave_ready(sequence);
        }
        let takes = self.takes;
        let attempt = self.failure(sequence).attempts + 1;
        let slot = self.slot_mut(sequence);
        slot.state = State::Running;
        slot.take = takes;
        let record = slot.record.take().expect("a record that does not run is in its slot");
        self.running += 1;
        Taken { sequence, attempt, record }
    }

    /// The record right behind one that was just taken may ride along, if it is of the same kind.
    fn invite_rider(&mut self, sequence: Sequence) {
        let distance = u64::from(self.slot(sequence).next);
        if distance == 0 || self.careful {
            return;
        }
        let rider = sequence + distance;
        let (kind, route) = (self.kind(rider), self.slot(rider).route);
        if route == self.slot(sequence).route && self.slot(rider).state == State::Behind {
            self.ready_of(route).add_rider(kind, rider);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::trigger::clock::Now;
    use crate::trigger::progress::{MAX_METADATA, Progress};
    use crate::trigger::sequencer::Limits;

    /// Good records are found, however many bad ones lie before them.
    #[test]
    fn a_record_that_is_taken_alone_is_any_that_never_failed() {
        let limits = Limits { records: 10_000, bytes: usize::MAX, metadata: MAX_METADATA };
        let mut window = Window::new(Progress::at(0), limits);
        let now = Now { instant: Instant::now(), unix: Duration::from_secs(1_800_000_000) };
        for offset in 0..400 {
            window.admit(offset, None, Route::STABLE, 10, offset, now);
        }
        let mut failing = Vec::new();
        window.take(Route::STABLE, Share { records: 3, bytes: usize::MAX }, |one| failing.push(one.sequence));
        for &sequence in &failing {
            window.failed(sequence, true, now);
            window.wait(sequence, Duration::ZERO, now, 0, |_| {});
        }
        window.wake(now.instant);

        let (mut rng, mut drawn) = (fastrand::Rng::with_seed(1), Vec::new());
        for _ in 0..40 {
            window.take_one(Route::STABLE, rng.usize(..), |one| drawn.push(one.sequence));
        }
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 40);
        assert!((10..30).contains(&drawn.iter().filter(|&&sequence| sequence >= 200).count()), "{drawn:?}");
        assert!(failing.iter().all(|sequence| !drawn.contains(sequence)), "they say nothing new");

        let mut rest = BTreeSet::new();
        while window.ready(Route::STABLE) > 0 {
            window.take(Route::STABLE, Share { records: 7, bytes: usize::MAX }, |one| {
                assert!(rest.insert(one.sequence), "{} is taken twice", one.sequence);
            });
        }
        assert_eq!(rest.len(), 360, "all the others are still there");
    }
}
