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
