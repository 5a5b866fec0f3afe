//! Revisions that are tried, and triggers that an operator holds: when that happens in a history, what each node was
//! told of it, and whether calls go by it.
//!
//! | promise | how it is judged |
//! |---|---|
//! | routes | while a node tries a revision, each record is called by the one that the hash of its key says, on all nodes alike; those that the candidate failed may be called by the serving one |
//! | held | no call starts after the node was told to hold |
//! | shadow | no message of a shadow is sent, and one that does the same as the serving revision differs in nothing |
//! | dead letters | none is made by a revision that never served |

use std::fmt;
use std::time::Duration;

use super::fault::{Fault, What};
use super::function::Revision;
use super::load::Fate;
use super::time::ms;
use super::world::World;
use crate::engine::Call;
use crate::manifest::Share;
use crate::record::Record;
use crate::record::outcome::Outcome;
use crate::trigger::route::{Route, Source, Split};
use crate::trigger::trial::Manner;

/// The date of all messages of shadows. No other message has it.
pub const SHADOW_MS: i64 = 666;

/// What is wrong with a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// It asks for a retry of everything.
    Retries,
    /// It rejects each second record.
    Rejects,
    /// It traps at each fifth one.
    Traps,
    /// No instance of it starts.
    NoStart,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "",
            Self::Retries => " (broken)",
            Self::Rejects => " (rejects)",
            Self::Traps => " (traps)",
            Self::NoStart => " (does not start)",
        })
    }
}

/// How a trial ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Withdrawn,
    Promoted,
    /// Its revision is adopted like any other.
    Adopted,
}

/// A revision that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    pub revision: Revision,
    pub manner: Manner,
}

/// What a node was told, as far as it has obeyed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub serving: Option<Revision>,
    pub tried: Option<Tried>,
    pub held: bool,
}

/// Draws what is tried in a case, in some of them nothing.
pub fn draw_trials(rng: &mut fastrand::Rng) -> Vec<Fault> {
    let mut faults = Vec::new();
    if rng.u32(..5) > 1 {
        return faults;
    }
    let over = ms(rng.u64(500..20_000));
    for _ in 0..rng.usize(1..=2) {
        let flaw = match rng.u32(..10) {
            0..5 => Flaw::None,
            5 | 6 => Flaw::Retries,
            7 => Flaw::Rejects,
            8 => Flaw::Traps,
            _ => Flaw::NoStart,
        };
        let ends = match rng.u32(..4) {
            0 | 1 if flaw == Flaw::None => End::Promoted,
            2 if flaw == Flaw::None => End::Adopted,
            _ => End::Withdrawn,
        };
        let at = over.mul_f64(rng.f64());
        let lasts = ms(if rng.bool() { rng.u64(50..2_000) } else { rng.u64(2_000..15_000) });
        faults.push(Fault { at, lasts, what: What::TriedOut { flaw, manner: draw_manner(rng), ends } });
        for _ in 0..rng.usize(..3) {
            let at = at + lasts.mul_f64(rng.f64());
            faults.push(Fault { at, lasts: Duration::ZERO, what: What::Steered { manner: draw_manner(rng) } });
        }
    }
    if rng.u32(..3) == 0 {
        faults.push(Fault { at: over.mul_f64(rng.f64()), lasts: ms(rng.u64(100..8_000)), what: What::Held });
    }
    faults
}

fn draw_manner(rng: &mut fastrand::Rng) -> Manner {
    let basis_points = [0, 500, 2_500, 5_000, 9_000, 10_000][rng.usize(..6)];
    Share::of_basis_points(basis_points).map_or(Manner::Shadow, Manner::Share)
}

impl World {
    /// A call starts: may it, and with these records? Returns whether it is one of a shadow.
    pub fn check_lane(&mut self, node: usize, revision: Revision, ids: &[usize], call: &Call) -> bool {
        let Told { serving, tried, held } = self.nodes[node].told;
        if held {
            self.violation("held", format!("node {node} calls {revision} although it was told to hold"));
        }
        let is_serving = serving == Some(revision);
        let candidate = tried.filter(|tried| tried.revision == revision);
        if !is_serving && candidate.is_none() {
            self.violation("routes", format!("node {node} calls {revision}, which neither serves nor is tried"));
        }
        let Some(Tried { revision: tried, manner }) = tried else { return false };
        let share = match manner {
            Manner::Shadow if candidate.is_some() => return true,
            Manner::Shadow => return false,
            Manner::Share(share) => share,
        };
        let split = Split::new(&tried.digest(), share, self.trigger.ordering);
        let (topic, partition) = (call.batch.topic().to_string(), call.batch.partition());
        let expected = if candidate.is_some() { Route::CANARY } else { Route::STABLE };
        for (&id, record) in ids.iter().zip(call.batch.records()) {
            let source = Source { topic: &topic, partition, offset: record.offset(), key: record.key() };
            if split.route(source) != expected && (candidate.is_some() || !self.may_be_handed_over(id)) {
                let text = format!("{} is called by {revision} while {share} of the keys are tried", self.record(id));
                self.violation("routes", text);
            }
        }
        false
    }

    /// A candidate may have given the record up.
    fn may_be_handed_over(&self, id: usize) -> bool {
        self.items[id].fate == Fate::TooLarge || self.books.has_failed(id)
    }

    /// Dates the messages of a shadow so that they are known where they do not belong.
    pub fn mark_shadow(outcome: &mut Outcome) {
        outcome.timestamps = vec![SHADOW_MS; outcome.sources.len()];
    }

    /// What nodes show of shadows that do the same as the revision that serves.
    pub fn watch_shadows(&mut self) {
        let mut wrong = None;
        for (node, seat) in self.nodes.iter().enumerate() {
            let Some(tried) = seat.told.tried.filter(|_| !self.served_flawed) else { continue };
            let Some(status) = seat.status.as_ref().map(|status| status.borrow()) else { continue };
            let shadow =
                status.candidate.as_ref().filter(|shown| shown.revision == tried.revision.digest().to_string());
            let Some(shadow) = shadow.and_then(|shown| shown.shadow.as_ref()) else { continue };
            if tried.revision.flaw == Flaw::None && shadow.differing > 0 {
                wrong = Some(format!("node {node} shows a shadow that differs: {shadow:?}"));
            }
        }
        wrong.into_iter().for_each(|text| self.violation("shadow", text));
    }
}
