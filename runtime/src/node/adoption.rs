//! Decides which revision a trigger serves: it knows the revision that serves, the one that is being started,
//! and the ones that failed to start, with the time of the next try. Pure: time is an argument.
//!
//! The trigger is offered the builds of its component, the newest first, and takes the first one that starts.
//! If a revision does not start because of the machine, it is tried again until it starts. If it does not
//! start because of the function, it is given up as long as another revision serves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::artifacts::Generation;
use crate::engine::PoolError;
use crate::manifest::Function;
use crate::record::revision::Digest;

/// The pause after the first failure of a revision. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What instances are created from: a build of the component, and the settings of the function.
#[derive(Clone, Debug)]
pub struct Offer {
    pub generation: Generation,
    pub digest: Digest,
    pub function: Arc<Function>,
    /// Its instances reach nothing outside, because what they do is done by another revision too.
    pub is_isolated: bool,
}

/// Identifies one start of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt(u64);

#[derive(Debug, Default)]
pub struct Adoption {
    serving: Option<Offer>,
    /// The attempt that is running. The results of older attempts that still run are ignored.
    starting: Option<(Attempt, Offer)>,
    failures: Vec<Failure>,
    attempts: u64,
}

/// An offer whose last start failed.
#[derive(Debug)]
struct Failure {
    offer: Offer,
    error: PoolError,
    /// The time of the next try, and the pause before it.
    again: Instant,
    pause: Duration,
}

impl Offer {
    /// Whether both have the same component and settings.
    fn is_like(&self, other: &Self) -> bool {
        self.digest == other.digest && self.has_settings_of(other)
    }

    /// Whether both are the same publication with the same settings.
    pub fn is(&self, other: &Self) -> bool {
        self.generation == other.generation && self.has_settings_of(other)
    }

    fn has_settings_of(&self, other: &Self) -> bool {
        let is_same_function = Arc::ptr_eq(&self.function, &other.function) || self.function == other.function;
        is_same_function && self.is_isolated == other.is_isolated
    }
}

impl Adoption {
    /// Begins to start the best offer, if one is better than the revision that serves or is being started.
    /// `offers` contains all offers, the newest first.
    pub fn begin(&mut self, offers: &[Offer], now: Instant) -> Option<(Attempt, Offer)> {
        let is_offered = |one: &Offer| offers.iter().any(|offer| offer.is(one));
        self.failures.retain(|failure| is_offered(&failure.offer));
        self.starting.take_if(|(_, offer)| !is_offered(offer));
        for offer in offers {
            if self.serving.as_ref().is_some_and(|serving| serving.is_like(offer)) {
                self.serves(offer.clone());
                return None;
            }
            if self.starting.as_ref().is_some_and(|(_, starting)| starting.is(offer)) {
                return None;
            }
            match self.failures.iter().find(|failure| failure.offer.is(offer)) {
                // While an older offer is being started, this one is not tried again, because that would
                // discard the start of the older one.
                Some(failure) if failure.is_due(now, self.serving.is_some()) && self.starting.is_none() => {}
                Some(_) => continue,
                None => {}
            }
            self.attempts += 1;
            let attempt = Attempt(self.attempts);
            self.starting = Some((attempt, offer.clone()));
            return self.starting.clone();
        }
        None
    }

    /// The offer of an attempt that has ended. `None`: a newer attempt has replaced it.
    pub fn ended(&mut self, attempt: Attempt) -> Option<Offer> {
        self.starting.take_if(|(current, _)| *current == attempt).map(|(_, offer)| offer)
    }

    /// Instances of this offer serve now. Failures of older offers are forgotten.
    pub fn serves(&mut self, offer: Offer) {
        self.failures.retain(|failure| failure.offer.generation > offer.generation);
        self.starting = None;
        self.serving = Some(offer);
    }

    /// No instance of this offer could be started. Returns the pause until the next try, if there will be one.
    pub fn failed(&mut self, offer: Offer, error: PoolError, now: Instant) -> Option<Duration> {
        let earlier = self.failures.iter().position(|failure| failure.offer.is(&offer));
        let pause = match earlier.map(|at| self.failures.swap_remove(at)) {
            Some(earlier) => (earlier.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        let failure = Failure { offer, error, again: now + pause, pause };
        let is_tried_again = failure.is_tried_again(self.serving.is_some());
        self.failures.push(failure);
        is_tried_again.then_some(pause)
    }

    /// The time of the next try, if no event comes before.
    pub fn next_try(&self) -> Option<Instant> {
        if self.starting.is_some() {
            return None;
        }
        let again = self.failures.iter().filter(|failure| failure.is_tried_again(self.serving.is_some()));
        again.map(|failure| failure.again).min()
    }

    /// Why the newest offer does not serve, if it is newer than the one that serves.
    pub fn error(&self) -> Option<&PoolError> {
        let newest = self.failures.iter().max_by_key(|failure| failure.offer.generation)?;
        let is_older = |serving: &Offer| newest.offer.generation < serving.generation;
        (!self.serving.as_ref().is_some_and(is_older)).then_some(&newest.error)
    }

    pub fn serving(&self) -> Option<&Offer> {
        self.serving.as_ref()
    }
}

impl Failure {
    /// A failure of the machine may be temporary. A failure of the function is also tried again if no other
    /// revision serves.
    fn is_tried_again(&self, another_serves: bool) -> bool {
        matches!(self.error, PoolError::Machine(_)) || !another_serves
    }

    fn is_due(&self, now: Instant, another_serves: bool) -> bool {
        self.again <= now && self.is_tried_again(another_serves)
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::Component;
    use crate::record::revision::Origin;
    use crate::registry::Standing;

    use super::*;
    use crate::node::artifacts::{Artifacts, Build};

    fn function() -> Arc<Function> {
        let text = "function.f = { component = \"f.wasm\" }";
        let manifest =
            crate::manifest::parse(std::path::Path::new("tidegate.toml"), text, &|_| None).expect("a manifest");
        manifest.functions["f"].clone()
    }

    fn offers(artifacts: &Artifacts<()>, function: &Arc<Function>) -> Vec<Offer> {
        let source = Component::File("f.wasm".into());
        let builds = artifacts.builds(&source);
        builds
            .map(|build| Offer {
                generation: build.generation,
                digest: build.digest,
                function: function.clone(),
                is_isolated: false,
            })
            .collect()
    }

    /// Random publications and results of starts: an offer that serves is never started again, the next try is
    /// in the future unless a start is running, and in the end the newest revision serves.
    #[test]
    fn in_any_history_the_newest_revision_serves_in_the_end() {
        let source = &Component::File("f.wasm".into());
        let function = function();
        for seed in 0..2_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut artifacts, mut adoption) = (Artifacts::new(), Adoption::default());
            let (mut now, mut running) = (Instant::now(), Vec::new());
            for step in 0..60 {
                let is_calm = step >= 40;
                match rng.u8(..4) {
                    0 if !is_calm || artifacts.builds(source).next().is_none() => {
                        let (generation, digest) =
                            (artifacts.changed(source, Standing::Newest), Digest::of(&[rng.u8(..3)]));
                        let origin = Origin::File;
                        artifacts
                            .compiled(source, Build { generation, digest, origin, published_ms: None, compiled: () });
                    }
                    1 => now += Duration::from_secs(rng.u64(..40)),
                    _ => {
                        if let Some((attempt, _)) =
                            (!running.is_empty()).then(|| running.remove(rng.usize(..running.len())))
                            && let Some(offer) = adoption.ended(attempt)
                        {
                            let generation = offer.generation;
                            match rng.u8(..3) {
                                0 if !is_calm => drop(adoption.failed(offer, PoolError::Function(String::new()), now)),
                                1 if !is_calm => drop(adoption.failed(offer, PoolError::Machine(String::new()), now)),
                                _ => {
                                    adoption.serves(offer);
                                    artifacts.started(source, generation);
                                }
                            }
                        }
                    }
                }
                let offers = offers(&artifacts, &function);
                if let Some((attempt, offer)) = adoption.begin(&offers, now) {
                    let serving = adoption.serving().map(|serving| serving.digest);
                    assert_ne!(serving, Some(offer.digest), "seed {seed}: it serves already");
                    running.push((attempt, offer));
                }
                assert!(adoption.next_try().is_none_or(|time| time > now), "seed {seed}: tried again and again");
            }
            // From now on all starts succeed.
            for _ in 0..4 {
                now += LONGEST_PAUSE;
                let offers = offers(&artifacts, &function);
                let begun = adoption.begin(&offers, now);
                running.extend(begun);
                for (attempt, _) in running.drain(..) {
                    if let Some(offer) = adoption.ended(attempt) {
                        artifacts.started(source, offer.generation);
                        adoption.serves(offer);
                    }
                }
            }
            let newest = artifacts.builds(source).next().expect("published").digest;
            let was_given_up = adoption.error().is_some_and(|error| matches!(error, PoolError::Function(_)));
            let serving = adoption.serving().map(|serving| serving.digest);
            assert!(was_given_up || serving == Some(newest), "seed {seed}: the newest is not served");
            assert!(serving.is_some(), "seed {seed}: nothing serves");
        }
    }
}
