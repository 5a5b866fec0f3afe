//! Watches the breakers of nodes: one that opened because most records fail closes when its probes do not.

use std::collections::BTreeSet;

use super::world::World;

/// Successful probes that are enough if none fails, and failed ones for each that has to succeed more.
const ENOUGH: usize = 3;
const ODDS: usize = 3;

/// The records that a node was called with since its breaker opened, as far as was looked.
#[derive(Default)]
pub struct Probes {
    handled: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    /// It had no reason to be open when it was looked at last.
    is_late: bool,
}

impl Probes {
    /// The function was called with a record. `alone`: with no other one, and no other call runs.
    pub fn tried(&mut self, id: usize, alone: bool, handled: bool) {
        if !alone {
            self.forget();
        } else if handled {
            self.handled.insert(id);
        } else {
            self.failed.insert(id);
        }
    }

    /// The breaker is closed, or another one.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether so many succeeded that the breaker has no reason to be open. Twice as many as are enough, because
    /// it does not know of those whose partition went to others while they ran.
    fn mostly_succeed(&self) -> bool {
        self.handled.len() > 2 * ENOUGH + self.failed.len() / ODDS
    }
}

impl World {
    pub(super) fn watch_probes(&mut self) {
        let mut wrong = None;
        for (node, seat) in self.nodes.iter_mut().enumerate() {
            if !seat.says("most-fail") {
                seat.probes.forget();
            } else if seat.probes.mostly_succeed() && std::mem::replace(&mut seat.probes.is_late, true) {
                // Not at the first look: a node may show for a moment what is over.
                wrong = Some(node);
            }
        }
        let Some(seat) = wrong.map(|node| &self.nodes[node]) else { return };
        let Probes { handled, failed, .. } = &seat.probes;
        let text = format!(
            "{} goes on probing although {} records were handled and {} failed",
            seat.name,
            handled.len(),
            failed.len()
        );
        self.violation("nothing stuck", text);
    }
}
