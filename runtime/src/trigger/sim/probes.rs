//! Watches the breakers of nodes: one that opened because most records fail closes when its probes do not.

use std::collections::BTreeSet;
use std::time::Duration;

use super::time::ms;
use super::topics::Place;
use super::world::World;

/// Successful probes that are enough if none fails, and failed ones for each that has to succeed more.
const ENOUGH: usize = 3;
const ODDS: usize = 3;
/// How long after a failed probe there is none: twice as long each time, until one succeeds.
const FIRST_PAUSE: Duration = ms(500);
const LONGEST_PAUSE: Duration = ms(30_000);

/// The records that a node was called with since its breaker opened, as far as was looked.
#[derive(Default)]
pub struct Probes {
    handled: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    /// It had no reason to be open when it was looked at last.
    is_late: bool,
    pause: Duration,
    /// When probes failed, and how long there was none then.
    pauses: Vec<(Duration, Duration)>,
    /// When there were probes, and of which partition.
    turns: Vec<(Duration, Place)>,
}

impl Probes {
    /// The function was called with a record. `is_probe`: the node shows that its breaker is open, and calls it with
    /// no other one while no other call runs.
    pub fn tried(&mut self, (id, place): (usize, Place), is_probe: bool, handled: bool, now: Duration) {
        if !is_probe {
            return self.forget();
        }
        self.turns.push((now, place));
        if handled {
            self.handled.insert(id);
            self.pause = FIRST_PAUSE;
        } else if self.failed.insert(id) {
            // One that fails again says nothing new, and makes nobody wait longer.
            self.pause = (2 * self.pause.max(FIRST_PAUSE)).min(LONGEST_PAUSE);
            self.pauses.push((now, self.pause));
        }
    }

    /// How long the records of a partition may have had to wait since then because new ones failed. Not at all,
    /// if it did not have its turn among so many.
    pub fn paused(&self, place: Place, partitions: usize, since: Duration) -> Duration {
        let others = self.turns.iter().rev().take_while(|(at, probed)| *at >= since && *probed != place);
        if others.count() > partitions {
            return Duration::ZERO;
        }
        self.pauses.iter().filter(|&&(at, pause)| at + pause > since).map(|(_, pause)| pause).sum()
    }

    /// The breaker is closed, or another one.
    pub fn forget(&mut self) {
        let (pauses, turns) = (std::mem::take(&mut self.pauses), std::mem::take(&mut self.turns));
        *self = Self { pauses, turns, ..Self::default() };
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
            // Of two revisions it is not known whose breaker is open.
            if !seat.says("most-fail") || seat.told.tried.is_some() {
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
