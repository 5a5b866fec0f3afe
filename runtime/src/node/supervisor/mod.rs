//! The control plane: which triggers run, and which revision of its function each of them calls.
//!
//! One task owns all of this state and handles one event after another. Long operations (compiling, starting
//! instances, draining) run in other tasks and send an event at their end. After each event the supervisor
//! compares the running triggers and revisions with the manifest, and starts what is missing. A new revision
//! is compiled and started completely before it replaces the old one. So if any step fails, the old one
//! continues to serve.
//!
//! [`super::artifacts`] knows the revisions of each component, [`super::rollout`] decides which of them may serve,
//! [`super::adoption`] which one a trigger takes next, and [`super::edges`] contains the interfaces to the engine, the triggers and the file watcher.

mod components;
mod revisions;
mod rollouts;
mod running;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::components::Publication;
use self::running::{Lane, Phase, Running, Wanted};
use crate::engine::{Engine, PoolError, Rejected};
use crate::kafka::check_properties;
use crate::manifest::{self, Cluster, Component, Manifest, Name, Trigger};
use crate::node::adoption::{Adoption, Attempt};
use crate::node::artifacts::Artifacts;
use crate::node::edges::{DataPlane, Edges, Prepare, Registry, Serve, Start};
use crate::node::news::News;
use crate::node::outside::Outside;
use crate::node::overview::{Candidate, FunctionView, Overview};
use crate::node::reloads::Reloads;
use crate::node::shared::{Fleet, Speaker};
use crate::record::Topics;
use crate::record::revision::{Digest, Origin};
use crate::registry::{Change, Found, Sources, Watched};
use crate::trigger::budget::Budget;
use crate::trigger::{Context, Manner};

/// How long a node that starts waits for what the fleet has said, before it takes records without knowing that.
const FLEET_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);
/// How soon a trigger that does not respond is told again.
const TELL_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// What the supervisor needs from the process.
pub struct Options<E = Engine> {
    pub engine: E,
    /// Name of this node, stable over restarts.
    pub node: Arc<str>,
    /// Returns the value of an environment variable that a manifest refers to.
    pub environment: fn(&str) -> Option<String>,
    /// The folder where the components of objects are kept over a restart.
    pub kept: Option<PathBuf>,
    /// The time in milliseconds since 1970.
    pub now_ms: Box<dyn Fn() -> i64 + Send>,
    /// Changes a manifest before it is applied. `tidegate dev` points its clusters elsewhere.
    pub adapt: Box<dyn Fn(Manifest) -> Manifest + Send>,
}

/// The result of an operation that runs in another task.
enum Event<E: Prepare> {
    Compiled {
        source: Component,
        publication: Publication,
        result: Result<E::Compiled, Rejected>,
    },
    Warm {
        trigger: Name,
        lane: Lane,
        attempt: Attempt,
        result: Result<E::Pool, PoolError>,
    },
    /// A trigger has stopped after it was told to.
    Gone {
        trigger: Name,
    },
}

/// What was said to the fleet: of which revision, and its stage and whether it is promoted. `None`: it was aborted.
type Said = (Digest, Option<(u32, bool)>);

/// Tells a running supervisor to stop.
pub struct Stopper(mpsc::Sender<()>);

impl Stopper {
    pub async fn stop(self) {
        // This fails only if the supervisor has already ended.
        let _ = self.0.send(()).await;
    }
}

/// The control plane of a node.
pub struct Supervisor<E: Prepare = Engine, S: Start<E::Pool> = DataPlane> {
    options: Options<E>,
    start: S,
    manifest: Manifest,
    manifest_error: Option<String>,
    triggers: BTreeMap<Name, Phase<S::Trigger>>,
    artifacts: Artifacts<E::Compiled>,
    budget: Arc<Budget>,
    registry: Box<dyn Registry>,
    changes: mpsc::Receiver<Change>,
    /// Other tasks send their results here.
    events: mpsc::Sender<Event<E>>,
    queue: mpsc::Receiver<Event<E>>,
    stop: mpsc::Receiver<()>,
    reloads: Arc<Reloads>,
    overview: watch::Sender<Overview>,
    /// What holds for the fleet, and when it is waited for no longer at the start.
    fleet: watch::Receiver<Arc<Fleet>>,
    fleet_limit: Instant,
    words: Speaker,
    /// What was said last about each function, and when.
    said: BTreeMap<Name, (Said, Instant)>,
    /// For each component the version than which an older one was asked for.
    older_asked: BTreeMap<Component, Origin>,
    /// When something is looked at again without any event.
    again: Option<Instant>,
    stopping: bool,
}

impl Supervisor {
    /// Starts to watch the manifest and its components. [`Supervisor::run`] and [`News::run`] do everything else.
    pub fn new(manifest: Manifest, options: Options) -> std::io::Result<(Self, Stopper, News)> {
        let (sender, changes) = mpsc::channel(16);
        let sources = Sources::start(sender, options.kept.clone())?;
        let (objects, node) = (sources.objects().clone(), options.node.clone());
        let fleet = Arc::new(Fleet { is_known: manifest.control.is_none(), ..Fleet::default() });
        let (shared, fleet) = watch::channel(fleet);
        let (words, spoken) = mpsc::channel(64);
        let edges = Edges { start: DataPlane, registry: Box::new(sources), changes, fleet, words };
        let (supervisor, stopper, overview) = Self::with(manifest, options, edges);
        Ok((supervisor, stopper, News::new(node, overview, objects, shared, spoken)))
    }
}

impl<E: Prepare, S: Start<E::Pool>> Supervisor<E, S> {
    /// A supervisor within these edges.
    pub(super) fn with(
        manifest: Manifest,
        options: Options<E>,
        edges: Edges<S>,
    ) -> (Self, Stopper, watch::Receiver<Overview>) {
        let Edges { start, registry, changes, fleet, words } = edges;
        let manifest = (options.adapt)(manifest);
        let (events, queue) = mpsc::channel(64);
        let (stopper, stop) = mpsc::channel(1);
        let (overview, shown) = watch::channel(Overview::default());
        let budget = Budget::new(manifest.limits.buffered_bytes);
        let supervisor = Self {
            options,
            start,
            manifest,
            manifest_error: None,
            triggers: BTreeMap::new(),
            artifacts: Artifacts::new(),
            budget,
            registry,
            changes,
            events,
            queue,
            stop,
            reloads: Arc::default(),
            overview,
            fleet,
            fleet_limit: Instant::now() + FLEET_LIMIT,
            words,
            said: BTreeMap::new(),
            older_asked: BTreeMap::new(),
            again: None,
            stopping: false,
        };
        (supervisor, Stopper(stopper), shown)
    }

    /// Runs until it is told to stop and every trigger has stopped.
    pub async fn run(mut self) {
        self.apply();
        self.show();
        while !(self.stopping && self.triggers.is_empty()) {
            let next_due = self.next_due();
            let due = async {
                match next_due {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(event) = self.queue.recv() => self.take(event),
                Some(change) = self.changes.recv() => {
                    if change.source == Component::File(self.manifest.path.clone()) {
                        self.manifest_changed(change.found);
                    } else {
                        self.component_changed(change);
                    }
                }
                Some(()) = self.stop.recv() => {
                    self.stopping = true;
                    self.apply();
                }
                Ok(()) = self.fleet.changed() => {}
                () = due => {}
            }
            self.go_on();
            self.show();
        }
    }

    fn take(&mut self, event: Event<E>) {
        match event {
            Event::Compiled { source, publication, result } => match result {
                Ok(compiled) => self.compiled(&source, publication, compiled),
                Err(rejected) => self.refuse(&source, &publication, &rejected.reason),
            },
            Event::Warm { trigger, lane, attempt, result } => self.warm(&trigger, lane, attempt, result),
            Event::Gone { trigger } => {
                self.triggers.remove(&trigger);
                self.apply();
            }
        }
    }

    /// Stops and starts triggers, so that the triggers that the manifest declares are running.
    fn apply(&mut self) {
        let wanted = if self.stopping { BTreeMap::new() } else { self.wanted() };
        let surplus: Vec<_> = self
            .triggers
            .iter()
            .filter(|(name, phase)| match phase {
                Phase::Running(running) => wanted.get(*name) != Some(&running.wanted),
                Phase::Stopping => false,
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in surplus {
            self.stop(&name);
        }
        for (name, wanted) in wanted {
            if !self.triggers.contains_key(&name) {
                self.start(&name, wanted);
            }
        }
        let watched = Watched::of(&self.manifest);
        self.artifacts.retain(&watched.sources);
        self.registry.watch(watched);
    }

    fn wanted(&self) -> BTreeMap<Name, Wanted> {
        let clusters = &self.manifest.clusters;
        let wanted = |trigger: &Arc<Trigger>| {
            Some(Wanted {
                trigger: trigger.clone(),
                cluster: clusters.get(&trigger.cluster)?.clone(),
                output_cluster: clusters.get(&trigger.output_cluster)?.clone(),
            })
        };
        let triggers = self.manifest.triggers.iter();
        triggers.filter_map(|(name, trigger)| Some((name.clone(), wanted(trigger)?))).collect()
    }

    fn start(&mut self, name: &Name, wanted: Wanted) {
        let trigger = &wanted.trigger;
        let topics = Topics::new(trigger.output.as_deref(), &trigger.allow_topics, trigger.dead_letters.as_deref());
        let topics = Arc::new(topics);
        tracing::info!(
            trigger = %name,
            function = %trigger.function,
            topics = trigger.topics.join(","),
            group = trigger.group,
            "trigger started",
        );
        let handle = self.start.start(Context {
            trigger: trigger.clone(),
            cluster: wanted.cluster.clone(),
            output_cluster: wanted.output_cluster.clone(),
            topics: topics.clone(),
            budget: self.budget.clone(),
            node: self.options.node.clone(),
        });
        let first = (0, Manner::Shadow);
        let running = Running {
            handle,
            topics,
            wanted,
            serving: Adoption::default(),
            trial: Adoption::default(),
            wanted_stage: first,
            given: first,
            held: None,
        };
        self.triggers.insert(name.clone(), Phase::Running(Box::new(running)));
    }

    fn stop(&mut self, name: &Name) {
        let Some(Phase::Running(running)) = self.triggers.insert(name.clone(), Phase::Stopping) else { return };
        let group = &running.wanted.trigger.group;
        if self.stopping || self.manifest.triggers.contains_key(name) {
            tracing::info!(trigger = %name, group, "trigger draining");
        } else {
            tracing::warn!(trigger = %name, group, "trigger draining: it is no longer in the manifest");
        }
        let (events, trigger) = (self.events.clone(), name.clone());
        tokio::spawn(async move {
            running.handle.stop().await;
            tracing::info!(trigger = %trigger, "trigger stopped");
            let _ = events.send(Event::Gone { trigger }).await;
        });
    }

    fn manifest_changed(&mut self, found: Found) {
        let path = self.manifest.path.clone();
        let content = match found {
            Found::Content(content) => Ok(content),
            Found::Nothing(reason) | Found::NoOlder(reason) | Found::Away(reason) => Err(reason),
            Found::Back => return,
        };
        let parsed = content.and_then(|content| {
            let text = str::from_utf8(&content.bytes).map_err(|_| "the manifest is not UTF-8".to_owned())?;
            let accepts = |cluster: &Cluster| check_properties(cluster).map_err(|error| error.reason);
            let manifest = manifest::parse_checked(&path, text, &self.options.environment, &accepts);
            let manifest = manifest.and_then(|manifest| manifest.check_runs().map(|()| manifest));
            manifest.map_err(|errors| errors.to_string())
        });
        match parsed {
            Ok(manifest) => {
                self.manifest_error = None;
                self.replace_manifest(manifest);
            }
            Err(error) => {
                tracing::error!("manifest refused; the last valid one stays in use:\n{error}");
                self.manifest_error = Some(error);
            }
        }
    }

    fn replace_manifest(&mut self, manifest: Manifest) {
        let manifest = (self.options.adapt)(manifest);
        if manifest.admin != self.manifest.admin {
            tracing::warn!("the change of [admin] takes effect only after a restart of the node");
        }
        self.budget.set_limit(manifest.limits.buffered_bytes);
        if manifest == self.manifest {
            return;
        }
        tracing::info!(functions = manifest.functions.len(), triggers = manifest.triggers.len(), "manifest reloaded",);
        self.manifest = manifest;
        self.reloads.retain(&self.manifest);
        self.apply();
    }

    /// Makes the triggers do what the manifest, the components and the fleet say.
    fn go_on(&mut self) {
        // What is paused must not take records before that is known.
        let now = Instant::now();
        self.again = None;
        if !self.fleet.borrow_and_update().is_known && now < self.fleet_limit {
            self.again = Some(self.fleet_limit);
            return;
        }
        let is_refused = self.hold_all();
        let offers = self.decide();
        let is_on_trial = offers.values().any(|offers| offers.trial.is_some());
        let is_refused = self.prepare_all(&offers) || is_refused;
        let again = [is_refused.then_some(TELL_AGAIN), is_on_trial.then_some(rollouts::JUDGE)];
        self.again = again.into_iter().flatten().min().map(|pause| now + pause);
    }

    /// The time when something is to be done without any event.
    fn next_due(&self) -> Option<Instant> {
        let adoptions = self.running().flat_map(|(_, running)| [&running.serving, &running.trial]);
        let tries = adoptions.filter_map(Adoption::next_try).map(Instant::from_std);
        tries.chain(self.again).min()
    }

    fn show(&self) {
        let triggers = self.running().map(|(name, running)| (name.to_string(), running.handle.status()));
        // For each function, why one of its triggers does not serve the newest revision.
        let errors: BTreeMap<_, _> = self
            .running()
            .filter_map(|(_, running)| Some((&running.wanted.trigger.function, running.serving.error()?)))
            .collect();
        let functions = self.manifest.functions.iter().map(|(name, function)| {
            let source = &function.component;
            let good = self.artifacts.good(source);
            let rollout = self.rollout_view(function);
            let withdrawn =
                rollout.as_ref().and_then(|rollout| Some(format!("withdrawn: {}", rollout.reason.as_ref()?)));
            let newest = self.artifacts.builds(source).next();
            let candidate = newest.filter(|newest| good.is_none_or(|good| good.generation != newest.generation));
            let view = FunctionView {
                component: source.to_string(),
                revision: good.map(|good| good.digest.to_string()),
                origin: good.map(|good| good.origin.to_string()),
                published_ms: good.and_then(|good| good.published_ms),
                away: self.artifacts.away_reason(source).map(str::to_owned),
                error: self
                    .artifacts
                    .error(source)
                    .map(str::to_owned)
                    .or_else(|| errors.get(name).map(ToString::to_string))
                    .or(withdrawn),
                rollout,
                candidate: candidate.map(|build| Candidate {
                    digest: build.digest,
                    origin: build.origin.clone(),
                    published_ms: build.published_ms,
                }),
                http: self.options.engine.http_counts(name),
            };
            (name.to_string(), view)
        });
        self.overview.send_replace(Overview {
            triggers: triggers.collect(),
            functions: functions.collect(),
            manifest_error: self.manifest_error.clone(),
            outside: Outside::of(&self.manifest),
            reloads: self.reloads.clone(),
            buffer_limit_bytes: self.manifest.limits.buffered_bytes,
            started: true,
            stopping: self.stopping,
        });
    }

    fn running(&self) -> impl Iterator<Item = (&Name, &Running<S::Trigger>)> {
        self.triggers.iter().filter_map(|(name, phase)| match phase {
            Phase::Running(running) => Some((name, &**running)),
            Phase::Stopping => None,
        })
    }
}
