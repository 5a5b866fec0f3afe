//! Which revision each trigger serves and tries: starts instances of what it is offered, and hands them over.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::rollouts::Offers;
use super::{Event, Lane, Phase, Supervisor};
use crate::engine::{PoolError, Setup};
use crate::manifest::Name;
use crate::node::adoption::{Adoption, Attempt, Offer};
use crate::node::edges::{Prepare, Serve as _, Start};
use crate::node::relay::message::Publication;
use crate::registry::Verdict;

impl<E: Prepare, S: Start<E::Pool>> Supervisor<E, S> {
    /// Makes each trigger serve and try what it is offered. Returns whether one did not respond.
    pub(super) fn prepare_all(&mut self, offers: &BTreeMap<Name, Offers>) -> bool {
        let names: Vec<Name> = self.triggers.keys().cloned().collect();
        let mut is_refused = false;
        for name in names {
            let Some(Phase::Running(running)) = self.triggers.get(&name) else { continue };
            let Some(offers) = offers.get(&running.wanted.trigger.function) else { continue };
            is_refused |= self.end_trial(&name, offers);
            self.prepare(&name, Lane::Serving, &offers.serving);
            is_refused |= self.go_on_with_trial(&name, offers);
        }
        is_refused
    }

    /// Starts instances of the best offer, if it is better than what the trigger has.
    fn prepare(&mut self, name: &Name, lane: Lane, offers: &[Offer]) {
        let now = Instant::now().into_std();
        let Some(Phase::Running(running)) = self.triggers.get_mut(name) else { return };
        let begun = running.adoption(lane).begin(offers, now);
        if let (Lane::Serving, Some(serving)) = (lane, running.serving.serving())
            && offers.iter().any(|offer| offer.is(serving))
        {
            // The trigger already serves the content of this publication, so its instances have started.
            self.artifacts.started(&serving.function.component, serving.generation);
        }
        let Some((attempt, offer)) = begun else { return };
        let source = &offer.function.component;
        let build = self.artifacts.builds(source).find(|build| build.generation == offer.generation);
        let Some(compiled) = build.map(|build| build.compiled.clone()) else { return };
        let setup = Setup {
            function: offer.function,
            trigger: running.wanted.trigger.clone(),
            topics: running.topics.clone(),
            isolated: offer.is_isolated,
        };
        let (engine, events) = (self.options.engine.clone(), self.events.clone());
        let (trigger, completions) = (name.clone(), running.handle.completions());
        tokio::spawn(async move {
            let result = engine.warm(compiled, setup, completions).await;
            let _ = events.send(Event::Warm { trigger, lane, attempt, result }).await;
        });
    }

    /// The candidate of a trigger is let go or promoted, if it is not on trial any more.
    fn end_trial(&mut self, name: &Name, offers: &Offers) -> bool {
        let Some(Phase::Running(running)) = self.triggers.get_mut(name) else { return false };
        let is_same_function = |trial: &Offer| offers.trial.as_ref().is_some_and(|(offer, ..)| offer.is(trial));
        if running.trial.serving().is_none_or(is_same_function) {
            return false;
        }
        let Some(trial) = running.trial.serving().cloned() else { return false };
        let promoted = offers.serving.first().filter(|best| best.is(&trial)).cloned();
        let done = match &promoted {
            Some(_) => running.handle.promote(),
            // Another candidate takes its place when its instances have started.
            None if offers.trial.is_some() => return false,
            None => running.handle.withdraw(),
        };
        if done.is_err() {
            return true;
        }
        running.trial = Adoption::default();
        let revision = trial.digest.short();
        match promoted {
            Some(offer) => {
                tracing::info!(trigger = %name, revision, "revision promoted: it serves everything");
                running.serving.serves(offer.clone());
                self.reloads.adopted(&offer.function.name);
                self.serves(&offer);
            }
            None => tracing::info!(trigger = %name, revision, "candidate let go"),
        }
        false
    }

    /// Starts or steers the candidate of a trigger.
    fn go_on_with_trial(&mut self, name: &Name, offers: &Offers) -> bool {
        let Some(Phase::Running(running)) = self.triggers.get_mut(name) else { return false };
        let Some((offer, stage, manner)) = &offers.trial else {
            // What is being started is not wanted any more.
            running.trial.begin(&[], Instant::now().into_std());
            return false;
        };
        // Beside itself it would prove nothing, and without another one there is nothing to try it beside.
        let serves_another = |serving: &Offer| serving.digest != offer.digest;
        if !running.serving.serving().is_some_and(serves_another) {
            return false;
        }
        running.wanted_stage = (*stage, *manner);
        self.prepare(name, Lane::Trial, std::slice::from_ref(offer));
        let Some(Phase::Running(running)) = self.triggers.get_mut(name) else { return false };
        let is_tried = running.trial.serving().is_some_and(|trial| trial.is(offer));
        if !is_tried || running.given == (*stage, *manner) {
            return false;
        }
        if running.handle.steer(*stage, *manner).is_err() {
            return true;
        }
        tracing::info!(trigger = %name, revision = offer.digest.short(), stage, "candidate gets {manner}");
        running.given = (*stage, *manner);
        false
    }

    /// Instances have started, or could not be started. Started instances serve from the next call on, unless
    /// a newer revision has replaced them meanwhile.
    pub(super) fn warm(&mut self, name: &Name, lane: Lane, attempt: Attempt, result: Result<E::Pool, PoolError>) {
        let Some(Phase::Running(running)) = self.triggers.get_mut(name) else { return };
        let Some(offer) = running.adoption(lane).ended(attempt) else { return };
        let revision = offer.digest.short();
        let handed_over = result.and_then(|pool| running.hand_over(lane, pool, &offer));
        match handed_over {
            Ok(()) => {
                running.adoption(lane).serves(offer.clone());
                match lane {
                    Lane::Serving => {
                        tracing::info!(trigger = %name, revision, "revision activated");
                        self.reloads.adopted(&offer.function.name);
                        self.serves(&offer);
                    }
                    Lane::Trial => tracing::info!(trigger = %name, revision, "candidate is tried out"),
                }
            }
            Err(error) => {
                let serving = running.serving.serving().map(|serving| serving.digest.short());
                match running.adoption(lane).failed(offer.clone(), error.clone(), Instant::now().into_std()) {
                    Some(pause) => tracing::warn!(
                        trigger = %name, revision, serving,
                        "revision not activated; next try in {pause:?}: {error}",
                    ),
                    None => {
                        tracing::error!(trigger = %name, revision, serving, "revision refused: {error}");
                        self.reloads.refused(&offer.function.name);
                    }
                }
                match (error, lane) {
                    (PoolError::Function(reason), Lane::Serving) => self.fails_at_start(&offer, &reason),
                    (PoolError::Function(reason), Lane::Trial) => self.withdraw_offer(&offer, &reason),
                    (PoolError::Machine(_), _) => {}
                }
            }
        }
    }

    /// A revision serves everything of a trigger.
    fn serves(&mut self, offer: &Offer) {
        let source = &offer.function.component;
        self.artifacts.started(source, offer.generation);
        self.registry.judged(source, Verdict::Good(offer.digest));
    }

    /// A candidate does not start because of its function. It would not on other nodes either.
    fn withdraw_offer(&mut self, offer: &Offer, reason: &str) {
        let source = &offer.function.component;
        let build = self.artifacts.builds(source).find(|build| build.generation == offer.generation);
        let Some(origin) = build.map(|build| build.origin.clone()) else { return };
        let publication = Publication { digest: offer.digest, origin };
        self.withdraw(&offer.function.name, publication, &format!("it does not start: {reason}"));
    }
}
