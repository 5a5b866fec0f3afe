//! Records of a window go another way, because a candidate comes, goes, or gets another share of the keys.
//!
//! Key groups know nothing of routes: a record runs when the one ahead of it is out of the way, whatever revision
//! that one went to. A record that leaves a candidate begins anew: what the candidate made of it says nothing about
//! the revision that it goes to.

use super::{Failure, Sequence, State, Window};
use crate::trigger::route::Route;

impl<R> Window<R> {
    /// Asks of all records that are in no call, and not handled, where they go from now on.
    pub fn reroute(&mut self, mut route_of: impl FnMut(&R) -> Route) {
        self.ready.iter_mut().for_each(super::Ready::clear);
        for sequence in self.base..self.end() {
            let slot = self.slot(sequence);
            let is_idle = matches!(slot.state, State::Behind | State::Ready | State::Waiting);
            let Some(record) = slot.record.as_ref().filter(|_| is_idle) else { continue };
            let route = route_of(record);
            // It has waited for another try of the candidate.
            if self.redirect(sequence, route) && self.slot(sequence).state == State::Waiting {
                self.slot_mut(sequence).state = State::Ready;
            }
            if self.slot(sequence).state == State::Ready {
                self.enter_ready(sequence);
            }
        }
        let (base, slots) = (self.base, &self.slots);
        let waits = |sequence: Sequence| {
            sequence.checked_sub(base).is_some_and(|at| slots[at as usize].state == State::Waiting)
        };
        self.waiting.retain(|entry| waits(entry.0.1));
    }

    /// The candidate serves from now on: all records go to it, and what is known of them stays.
    pub fn merge_routes(&mut self) {
        self.ready.iter_mut().for_each(super::Ready::clear);
        for sequence in self.base..self.end() {
            self.slot_mut(sequence).route = Route::STABLE;
            if self.slot(sequence).state == State::Ready {
                self.enter_ready(sequence);
            }
        }
    }

    /// A record that is in no queue of ready ones goes this way from now on. Returns whether it leaves a candidate by
    /// that, and begins anew.
    pub fn redirect(&mut self, sequence: Sequence, route: Route) -> bool {
        let route = if self.failure(sequence).stays { Route::STABLE } else { route };
        let before = std::mem::replace(&mut self.slot_mut(sequence).route, route);
        let leaves = before == Route::CANARY && route == Route::STABLE;
        if leaves {
            self.begin_anew(sequence, false);
        }
        leaves
    }

    /// A candidate gives up a record that is in a call. It runs anew by the revision that serves, whatever
    /// candidates there will be.
    pub fn hand_over(&mut self, sequence: Sequence, record: R) {
        self.begin_anew(sequence, true);
        self.slot_mut(sequence).route = Route::STABLE;
        self.put_back(sequence, record);
    }

    /// The same for a record that was handled, of which the broker refused a message for good. Its group has waited
    /// for the message: see [`Window::set_careful`].
    pub fn take_back(&mut self, sequence: Sequence, record: R) {
        let slot = self.slot_mut(sequence);
        debug_assert_eq!(slot.state, State::Sent);
        (slot.state, slot.unacknowledged) = (State::Running, 0);
        self.sent -= 1;
        self.running += 1;
        self.hand_over(sequence, record);
    }

    /// Forgets the failures of a record. `stays`: it goes to the revision that serves from now on.
    fn begin_anew(&mut self, sequence: Sequence, stays: bool) {
        let before = self.failure(sequence);
        self.failing -= usize::from(before.has_failed());
        self.reasons.remove(&sequence);
        self.dirty |= before.has_failed();
        let stays = stays || before.stays;
        self.slot_mut(sequence).has_failure = stays;
        if stays {
            self.failures.insert(sequence, Failure { stays, ..Failure::default() });
        } else {
            self.failures.remove(&sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::{Limits, Share};
    use super::*;
    use crate::trigger::clock::Now;
    use crate::trigger::progress::{MAX_METADATA, Progress};

    fn now() -> Now {
        Now { instant: Instant::now(), unix: Duration::from_secs(1_800_000_000) }
    }

    /// A window of so many records, of which the even ones are a candidate's.
    fn window(records: i64) -> Window<i64> {
        let limits = Limits { records: 10_000, bytes: usize::MAX, metadata: MAX_METADATA };
        let mut window = Window::new(Progress::at(0), limits);
        for offset in 0..records {
            window.admit(offset, None, even(&offset), 10, offset, now());
        }
        window
    }

    fn even(offset: &i64) -> Route {
        if offset % 2 == 0 { Route::CANARY } else { Route::STABLE }
    }

    fn take(window: &mut Window<i64>, route: Route) -> Vec<Sequence> {
        let mut taken = Vec::new();
        window.take(route, Share { records: usize::MAX, bytes: usize::MAX }, |one| taken.push(one.sequence));
        taken
    }

    #[test]
    fn records_that_do_not_run_are_routed_anew_and_none_is_found_twice() {
        let mut window = window(6);
        assert_eq!((window.ready(Route::STABLE), window.ready(Route::CANARY)), (3, 3));
        window.reroute(|_| Route::STABLE);
        window.reroute(even);
        window.reroute(|offset| if *offset < 2 { Route::CANARY } else { Route::STABLE });
        assert_eq!(take(&mut window, Route::CANARY), [0, 1]);
        assert_eq!(take(&mut window, Route::STABLE), [2, 3, 4, 5]);
        assert_eq!((window.ready(Route::STABLE), window.ready(Route::CANARY)), (0, 0));
    }

    #[test]
    fn what_waits_for_another_try_of_a_candidate_runs_at_once_and_anew_when_that_is_gone() {
        let (mut window, now) = (window(2), now());
        let hour = Duration::from_secs(3_600);
        for route in [Route::CANARY, Route::STABLE] {
            for sequence in take(&mut window, route) {
                window.failed(sequence, true, now);
                window.wait(sequence, hour, now, sequence as i64, |_| {});
            }
        }
        window.reroute(|_| Route::STABLE);
        assert_eq!(take(&mut window, Route::STABLE), [0]);
        assert_eq!((window.failures(0).attempts, window.failures(1).attempts), (0, 1));
        assert_eq!(window.next_due(), Some(now.instant + hour), "what the serving revision failed waits on");
        window.put_back(0, 0);
        window.merge_routes();
        assert_eq!(take(&mut window, Route::STABLE), [0]);
    }

    #[test]
    fn a_candidate_that_is_promoted_keeps_what_is_known_of_its_records() {
        let (mut window, now) = (window(4), now());
        let taken = take(&mut window, Route::CANARY);
        window.failed(taken[0], true, now);
        window.wait(taken[0], Duration::from_secs(60), now, 0, |_| {});
        window.merge_routes();
        assert!(!window.redirect(taken[1], Route::STABLE), "its call goes on");
        assert_eq!(take(&mut window, Route::STABLE), [1, 3]);
        assert_eq!(window.failures(taken[0]).attempts, 1);
        window.wake(now.instant + Duration::from_secs(60));
        assert_eq!(take(&mut window, Route::STABLE), [0]);
    }

    #[test]
    fn a_record_that_a_candidate_gave_up_stays_with_the_revision_that_serves() {
        let (mut window, now) = (window(1), now());
        take(&mut window, Route::CANARY);
        window.failed(0, true, now);
        window.hand_over(0, 0);
        window.reroute(|_| Route::CANARY);
        assert_eq!((window.ready(Route::STABLE), window.ready(Route::CANARY)), (1, 0));
        assert_eq!(take(&mut window, Route::STABLE), [0]);
        assert_eq!((window.failures(0).attempts, window.progress().failed.len()), (0, 0));
        window.redirect(0, Route::CANARY);
        window.put_back(0, 0);
        assert_eq!(take(&mut window, Route::STABLE), [0]);
        window.handled(0, 0);
        assert_eq!(window.low(), 1);
    }

    #[test]
    fn a_handled_record_whose_message_was_refused_runs_before_what_waits_behind_it() {
        let limits = Limits { records: 10, bytes: usize::MAX, metadata: MAX_METADATA };
        let mut window = Window::new(Progress::at(0), limits);
        window.set_careful(true);
        for offset in 0..2 {
            window.admit(offset, Some(7), Route::CANARY, 10, offset, now());
        }
        assert_eq!(take(&mut window, Route::CANARY), [0]);
        window.handled(0, 1);
        window.take_back(0, 0);
        assert_eq!((window.sent(), window.running(), window.ready(Route::CANARY)), (0, 0, 0));
        assert_eq!(take(&mut window, Route::STABLE), [0]);
        window.handled(0, 0);
        assert_eq!(take(&mut window, Route::CANARY), [1], "a key group goes on whatever way its records go");
    }
}
