//! Which builds of each function may serve what, and what is said to the fleet about that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Phase, Supervisor};
use crate::manifest::{Component, Function, Name};
use crate::node::adoption::Offer;
use crate::node::edges::{Prepare, Serve as _, Start};
use crate::node::overview::RolloutView;
use crate::node::relay::message::Publication;
use crate::node::relay::steering;
use crate::node::rollout::{self, Course, Judgement, Known, Older, Sums};
use crate::node::shared::Word;
use crate::record::revision::Digest;
use crate::registry::Verdict;
use crate::trigger::Manner;

/// How often a candidate is judged.
pub(super) const JUDGE: Duration = Duration::from_millis(250);
/// How soon a word is said again that the relay did not bring back.
const AGAIN: Duration = Duration::from_secs(2);

/// What the triggers of a function are offered.
#[derive(Default)]
pub(super) struct Offers {
    /// Builds that may serve everything, the newest first.
    pub(super) serving: Vec<Offer>,
    pub(super) trial: Option<(Offer, u32, Manner)>,
}

impl<E: Prepare, S: Start<E::Pool>> Supervisor<E, S> {
    /// Decides about the builds of all functions, and announces, judges and asks what follows from that.
    pub(super) fn decide(&mut self) -> BTreeMap<Name, Offers> {
        let functions: Vec<_> = self.manifest.functions.values().cloned().collect();
        functions.into_iter().map(|function| (function.name.clone(), self.decide_about(&function))).collect()
    }

    fn decide_about(&mut self, function: &Arc<Function>) -> Offers {
        let (name, source) = (&function.name, &function.component);
        let (plan, known) = self.plan(function);
        let (fleet, node) = (self.fleet.borrow().clone(), self.options.node.clone());
        if let Some(at) = plan.begins {
            let rollout = rollout::begun(&known[at], &node, (self.options.now_ms)());
            self.say(Word::Rollout { function: name.clone(), rollout });
        }
        if let Some(at) = plan.older_than {
            self.ask_for_older(source, &known[at]);
        }
        let mut offers = Offers::default();
        for (build, course) in self.artifacts.builds(source).zip(&plan.courses) {
            let mut offer = Offer {
                generation: build.generation,
                digest: build.digest,
                function: function.clone(),
                is_isolated: false,
            };
            match *course {
                Course::All => offers.serving.push(offer),
                Course::Trial { stage, manner } if offers.trial.is_none() => {
                    offer.is_isolated = manner == Manner::Shadow;
                    offers.trial = Some((offer, stage, manner));
                }
                Course::Trial { .. } | Course::Waits | Course::Begins | Course::Withdrawn(_) => {}
            }
        }
        if let (Some((offer, ..)), Some(settings)) = (&offers.trial, &function.rollout)
            && let Some(state) = fleet.view.rollouts.get(name).filter(|state| state.digest == offer.digest)
        {
            let sums = self.sums(name, state.digest, state.stage);
            let now_ms = (self.options.now_ms)();
            let rollout = match rollout::judge(settings, state, &sums, now_ms) {
                Judgement::Stays => None,
                Judgement::Advances => Some(rollout::advanced(state, &node, now_ms)),
                Judgement::IsPromoted => Some(rollout::promoted(state, &node)),
                Judgement::IsWithdrawn(reason) => {
                    let publication = Publication { digest: state.digest, origin: state.origin.clone() };
                    self.withdraw(name, publication, &reason);
                    None
                }
            };
            if let Some(rollout) = rollout {
                self.say(Word::Rollout { function: name.clone(), rollout });
            }
        }
        offers
    }

    /// What may become of the builds of a function, and what is known of them, both the newest first.
    fn plan(&self, function: &Function) -> (rollout::Plan, Vec<Known>) {
        let source = &function.component;
        let newest = self.artifacts.candidate(source).map(|build| build.generation);
        let known = |build: &crate::node::artifacts::Build<E::Compiled>| Known {
            digest: build.digest,
            origin: build.origin.clone(),
            published_ms: build.published_ms,
            is_new: Some(build.generation) == newest,
            is_outdated: self.artifacts.is_compiling_newer(source, build.generation),
        };
        let known: Vec<_> = self.artifacts.builds(source).map(known).collect();
        let older = match source {
            _ if self.artifacts.awaits_stand_in(source) => Older::Comes,
            Component::Object(_) if !self.artifacts.has_no_older(source) => Older::May,
            Component::File(_) | Component::Object(_) => Older::No,
        };
        let plan = rollout::plan(&function.name, function.rollout.as_ref(), &known, &self.fleet.borrow(), older);
        (plan, known)
    }

    /// How the candidate does on all nodes.
    fn sums(&self, function: &Name, digest: Digest, stage: u32) -> Sums {
        let mut statuses = self.fleet.borrow().candidates(function, &self.options.node);
        let own = self.running().filter(|(_, running)| running.wanted.trigger.function == *function);
        statuses.extend(own.filter_map(|(_, running)| running.handle.status().borrow().candidate.clone()));
        Sums::of(statuses.iter(), digest, stage)
    }

    /// None of the builds may serve everything.
    fn ask_for_older(&mut self, source: &Component, than: &Known) {
        let good = self.artifacts.good(source).map(|good| good.generation);
        good.into_iter().for_each(|generation| self.artifacts.demote(source, generation));
        if self.older_asked.get(source) != Some(&than.origin) {
            self.older_asked.insert(source.clone(), than.origin.clone());
            self.registry.judged(source, Verdict::OlderWanted(Some(than.origin.clone())));
        }
    }

    /// Tells all nodes that a revision must not serve.
    pub(super) fn withdraw(&mut self, function: &Name, publication: Publication, reason: &str) {
        let before = self.fleet.borrow().view.aborts.get(function).cloned();
        let now_ms = (self.options.now_ms)();
        let abort = steering::aborted(publication, reason, before.as_ref(), &self.options.node, now_ms);
        self.say(Word::Abort { function: function.clone(), abort });
    }

    /// Says something to the fleet, unless that was said a moment ago.
    fn say(&mut self, word: Word) {
        let (function, what) = match &word {
            Word::Rollout { function, rollout } => {
                (function.clone(), (rollout.digest, Some((rollout.stage, rollout.promoted))))
            }
            Word::Abort { function, abort } => (function.clone(), (abort.digest, None)),
        };
        let now = Instant::now();
        if self.said.get(&function).is_some_and(|(said, at)| *said == what && now < *at + AGAIN) {
            return;
        }
        match &word {
            Word::Rollout { function, rollout } if rollout.promoted => {
                tracing::info!(%function, revision = rollout.digest.short(), "rollout: it is to serve everything");
            }
            Word::Rollout { function, rollout } => {
                tracing::info!(%function, revision = rollout.digest.short(), stage = rollout.stage, "rollout: next stage");
            }
            Word::Abort { function, abort } => {
                tracing::error!(%function, revision = abort.digest.short(), "revision withdrawn: {}", abort.reason);
            }
        }
        // If the relay is busy, it is said again.
        if self.words.try_send(word).is_ok() {
            self.said.insert(function, (what, now));
        }
    }

    /// What the fleet said about pauses is carried out. Returns whether a trigger did not take it.
    pub(super) fn hold_all(&mut self) -> bool {
        let fleet = self.fleet.borrow().clone();
        let mut is_refused = false;
        for (name, phase) in &mut self.triggers {
            let Phase::Running(running) = phase else { continue };
            let wanted = fleet.view.pauses.get(name).map(|pause| match &*pause.reason {
                "" => format!("paused by {}", pause.from),
                reason => format!("paused by {}: {reason}", pause.from),
            });
            if running.held == wanted {
                continue;
            }
            match running.handle.hold(wanted.clone()) {
                Ok(()) => {
                    match &wanted {
                        Some(reason) => tracing::warn!(trigger = %name, "trigger held: {reason}"),
                        None => tracing::info!(trigger = %name, "trigger resumed"),
                    }
                    running.held = wanted;
                }
                Err(_) => is_refused = true,
            }
        }
        is_refused
    }

    /// The rollout of a function's newest build, for people.
    pub(super) fn rollout_view(&self, function: &Function) -> Option<RolloutView> {
        let settings = function.rollout.as_ref();
        let newest = self.artifacts.candidate(&function.component)?;
        let (plan, _) = self.plan(function);
        let (state, reason, manner) = match plan.courses.first()? {
            Course::All => return None,
            Course::Waits | Course::Begins => ("waiting", None, None),
            Course::Trial { manner, .. } => ("trial", None, Some(manner.to_string())),
            Course::Withdrawn(reason) => ("withdrawn", Some(reason.clone()), None),
        };
        let fleet = self.fleet.borrow();
        let rollout = fleet.rollout(&function.name, newest.digest, &newest.origin);
        let sums = rollout.map(|rollout| self.sums(&function.name, newest.digest, rollout.stage));
        let sums = sums.unwrap_or_default();
        Some(RolloutView {
            revision: newest.digest.to_string(),
            origin: newest.origin.to_string(),
            state,
            reason,
            stage: rollout.map(|rollout| rollout.stage),
            stages: settings.map_or(0, rollout::stage_count),
            manner,
            started_ms: rollout.map(|rollout| rollout.started_ms),
            stage_started_ms: rollout.map(|rollout| rollout.stage_started_ms),
            candidate: sums.candidate,
            stable: sums.stable,
        })
    }
}
