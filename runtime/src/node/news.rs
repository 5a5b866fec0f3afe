//! What a node hears from outside about new revisions, and what it tells the other nodes of its fleet.
//!
//! | | |
//! |---|---|
//! | an event in the SQS queue | the object is looked at, and the other nodes are told |
//! | a hint of another node | the object is looked at |
//! | this node's state | the other nodes are told |
//! | what holds for the fleet: aborts, rollouts, pauses | the supervisor is told |
//! | what the supervisor decided about the fleet | the other nodes are told |
//!
//! None of it decides anything: whoever hears something looks at S3, and takes on what is there. So a node
//! without a queue and without a relay serves the same revisions, only later.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::outside::{Outside, Topic};
use super::overview::Overview;
use super::relay::fleet::View;
use super::relay::message::Message;
use super::relay::{self, Relay};
use super::shared::{Fleet, Word};
use super::steer::{Heard, Steer, Unsaid};
use crate::kafka::notices::Absent;
use crate::manifest::ObjectName;
use crate::registry::hints::{Act, HintCounts, Hints};
use crate::registry::s3::ObjectRegistry;

/// How often the other nodes are told the state of this one if nothing else changes, and during a rollout, whose
/// limits are judged by what all nodes tell.
const TELL: Duration = Duration::from_secs(5);
const TELL_TRIAL: Duration = Duration::from_millis(500);
/// How long a look may take before the event counts as not acted upon, and comes again.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// The relay, as long as there is one.
type Slot = Arc<Mutex<Option<Relay>>>;

/// The counts of the events of the queue, as long as there is one.
type HintsSlot = Arc<Mutex<Option<Arc<HintCounts>>>>;

/// Hears and tells news until the supervisor ends.
pub struct News {
    node: Arc<str>,
    overview: watch::Receiver<Overview>,
    objects: ObjectRegistry,
    outside: Outside,
    hints: Option<Hints>,
    hint_counts: HintsSlot,
    relay: Slot,
    heard: Option<mpsc::Receiver<relay::Event>>,
    view: Option<watch::Receiver<View>>,
    /// Whether the relay's topic was read to its end.
    is_known: bool,
    fleet: watch::Sender<Arc<Fleet>>,
    words: mpsc::Receiver<Word>,
}

impl News {
    pub(super) fn new(
        node: Arc<str>,
        overview: watch::Receiver<Overview>,
        objects: ObjectRegistry,
        fleet: watch::Sender<Arc<Fleet>>,
        words: mpsc::Receiver<Word>,
    ) -> Self {
        Self {
            node,
            overview,
            objects,
            outside: Outside::default(),
            hints: None,
            hint_counts: HintsSlot::default(),
            relay: Slot::default(),
            heard: None,
            view: None,
            is_known: false,
            fleet,
            words,
        }
    }

    /// What the supervisor shows.
    pub fn overview(&self) -> watch::Receiver<Overview> {
        self.overview.clone()
    }

    /// A handle for those who ask what is heard and say something to the fleet.
    pub fn steering(&self) -> Steering {
        Steering { node: self.node.clone(), relay: self.relay.clone(), hint_counts: self.hint_counts.clone() }
    }

    pub async fn run(mut self) {
        let mut told = Instant::now();
        loop {
            let is_trial = self.overview.borrow().triggers.values().any(|status| status.borrow().candidate.is_some());
            let tell = told + if is_trial { TELL_TRIAL } else { TELL };
            let outside = self.overview.borrow_and_update().outside.clone();
            if outside != self.outside {
                self.listen(outside).await;
            }
            tokio::select! {
                changed = self.overview.changed() => if changed.is_err() {
                    break;
                },
                () = tokio::time::sleep_until(tell) => {}
                event = next(&mut self.heard) => {
                    self.hear(event);
                    continue;
                }
                () = seen(&mut self.view) => {
                    self.share();
                    continue;
                }
                Some(word) = self.words.recv() => {
                    self.say(word);
                    continue;
                }
            }
            told = Instant::now();
            if let Some(relay) = &*lock(&self.relay) {
                relay.status(self.overview.borrow().to_json());
            }
        }
        self.listen(Outside::default()).await;
    }

    /// Listens elsewhere from now on.
    async fn listen(&mut self, outside: Outside) {
        self.hints = None;
        if outside.topic != self.outside.topic {
            (self.heard, self.view, self.is_known) = (None, None, false);
            let old = lock(&self.relay).take();
            if let Some(old) = old {
                old.stop().await;
            }
            if let Some(Topic { cluster, topic, fleet }) = &outside.topic {
                let (relay, heard) = Relay::start(cluster, topic, fleet, &self.node, Absent::Create);
                self.view = Some(relay.view());
                *lock(&self.relay) = Some(relay);
                self.heard = Some(heard);
            }
        }
        self.hints = outside.queue.as_ref().map(|queue| {
            let acting = Acting { objects: self.objects.clone(), relay: self.relay.clone() };
            Hints::follow(&queue.url, queue.region.clone(), Arc::new(acting))
        });
        *lock(&self.hint_counts) = self.hints.as_ref().map(|hints| hints.counts.clone());
        self.outside = outside;
        self.share();
    }

    fn hear(&mut self, event: Option<relay::Event>) {
        match event {
            Some(relay::Event::Hint(hint)) => {
                let Ok(name) = ObjectName::new(&hint.bucket, &hint.key) else { return };
                let objects = self.objects.clone();
                // Further hints of the same object end with the same look.
                tokio::spawn(async move { objects.look(&name).await });
            }
            Some(relay::Event::CaughtUp) => {
                self.is_known = true;
                self.share();
            }
            // The view shows it.
            Some(_) => {}
            None => self.heard = None,
        }
    }

    /// Tells the supervisor what holds for the fleet.
    fn share(&self) {
        let relay = lock(&self.relay);
        let view = relay.as_ref().map(|relay| relay.view().borrow().clone()).unwrap_or_default();
        let fleet = Fleet { is_known: self.is_known || relay.is_none(), view };
        self.fleet.send_if_modified(|shared| {
            let differs = **shared != fleet;
            if differs {
                *shared = Arc::new(fleet);
            }
            differs
        });
    }

    /// Tells the other nodes. Without a relay, or while it has too much to do, the supervisor says it again.
    fn say(&self, word: Word) {
        let relay = lock(&self.relay);
        let Some(relay) = &*relay else { return };
        let said = match word {
            Word::Rollout { function, rollout } => relay.rollout(&function, rollout),
            Word::Abort { function, abort } => relay.abort(&function, abort),
        };
        if let Err(busy) = said {
            tracing::debug!("not said to the fleet: {busy}");
        }
    }
}

/// The next thing that the relay says. Waits without end if there is none.
async fn next(heard: &mut Option<mpsc::Receiver<relay::Event>>) -> Option<relay::Event> {
    match heard {
        Some(heard) => heard.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits until something is known that was not before. Without end if there is no relay.
async fn seen(view: &mut Option<watch::Receiver<View>>) {
    let Some(shown) = view else { return std::future::pending().await };
    if shown.changed().await.is_err() {
        *view = None;
    }
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See [`News::steering`].
#[derive(Clone)]
pub struct Steering {
    node: Arc<str>,
    relay: Slot,
    hint_counts: HintsSlot,
}

impl Steer for Steering {
    fn node(&self) -> &str {
        &self.node
    }

    fn view(&self) -> Option<View> {
        lock(&self.relay).as_ref().map(|relay| relay.view().borrow().clone())
    }

    fn say(&self, message: Message) -> Result<(), Unsaid> {
        let relay = lock(&self.relay);
        relay.as_ref().ok_or(Unsaid::NoRelay)?.say(message).map_err(|_| Unsaid::Busy)
    }

    fn heard(&self) -> Heard {
        let ignored = lock(&self.relay).as_ref().map(Relay::ignored);
        Heard { ignored, hints: lock(&self.hint_counts).clone() }
    }
}

/// Acts upon events of the queue.
struct Acting {
    objects: ObjectRegistry,
    relay: Slot,
}

impl Act for Acting {
    fn concerns(&self, object: &ObjectName) -> bool {
        self.objects.watches(object)
    }

    async fn act(&self, objects: BTreeSet<ObjectName>) -> bool {
        let is_told = objects.iter().all(|object| {
            let relay = lock(&self.relay);
            relay.as_ref().is_none_or(|relay| relay.hint(object.bucket(), object.key(), None, None).is_ok())
        });
        let looks = join_all(objects.iter().map(|object| self.objects.look(object)));
        let looked = tokio::time::timeout(LOOK_LIMIT, looks).await;
        is_told && looked.is_ok_and(|looked| looked.into_iter().all(|worked| worked))
    }
}
