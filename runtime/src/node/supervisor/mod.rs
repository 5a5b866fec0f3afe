//! The control plane: which triggers run, and which revision of its function each of them calls.
//!
//! One task owns all of this state and handles one event after another. Long operations (compiling, starting
//! instances, draining) run in other tasks and send an event at their end. After each event the supervisor
//! compares the running triggers and revisions with the manifest, and starts what is missing. A new revision
//! is compiled and started completely before it replaces the old one. So if any step fails, the old one
//! continues to serve.
//!
//! [`super::artifacts`] knows the revisions of each component, [`super::adoption`] decides which one a trigger
//! takes next, and [`super::edges`] contains the interfaces to the engine, the triggers and the file watcher.

mod components;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::components::Publication;
use crate::engine::{Engine, PoolError, Rejected, Setup};
use crate::kafka::check_properties;
use crate::manifest::{self, Cluster, Component, Manifest, Name, Trigger};
use crate::node::adoption::{Adoption, Attempt, Offer};
use crate::node::artifacts::{Artifacts, Build};
use crate::node::edges::{DataPlane, Prepare, Registry, Serve, Start};
use crate::node::news::News;
use crate::node::outside::Outside;
use crate::node::overview::{FunctionView, Overview};
use crate::record::Topics;
use crate::registry::{Change, Found, Sources, Verdict, Watched};
use crate::trigger::Context;
use crate::trigger::budget::Budget;

/// What the supervisor needs from the process.
pub struct Options<E = Engine> {
    pub engine: E,
    /// Name of this node, stable over restarts.
    pub node: Arc<str>,
    /// Returns the value of an environment variable that a manifest refers to.
    pub environment: fn(&str) -> Option<String>,
    /// The folder where the components of objects are kept over a restart.
    pub kept: Option<PathBuf>,
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
        attempt: Attempt,
        result: Result<E::Pool, PoolError>,
    },
    /// A trigger has stopped after it was told to.
    Gone {
        trigger: Name,
    },
}

/// Tells a running supervisor to stop.
pub struct Stopper(mpsc::Sender<()>);

impl Stopper {
    pub async fn stop(self) {
        // This fails only if the supervisor has already ended.
        let _ = self.0.send(()).await;
    }
}

/// A trigger as the manifest declares it. If this changes, the trigger is stopped and started again, because
/// it needs new clients.
#[derive(Clone, PartialEq)]
struct Wanted {
    trigger: Arc<Trigger>,
    cluster: Arc<Cluster>,
    output_cluster: Arc<Cluster>,
}

enum Phase<T> {
    Running(Box<Running<T>>),
    /// The trigger drains. If the manifest still declares it, it is started again when it has stopped.
    Stopping,
}

struct Running<T> {
    handle: T,
    topics: Arc<Topics>,
    wanted: Wanted,
    adoption: Adoption,
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
    overview: watch::Sender<Overview>,
    stopping: bool,
}

impl Supervisor {
    /// Starts to watch the manifest and its components. [`Supervisor::run`] and [`News::run`] do everything else.
    pub fn new(manifest: Manifest, options: Options) -> std::io::Result<(Self, Stopper, News)> {
        let (sender, changes) = mpsc::channel(16);
        let sources = Sources::start(sender, options.kept.clone())?;
        let (objects, node) = (sources.objects().clone(), options.node.clone());
        let (supervisor, stopper, overview) = Self::with(manifest, options, DataPlane, Box::new(sources), changes);
        Ok((supervisor, stopper, News::new(node, overview, objects)))
    }
}

impl<E: Prepare, S: Start<E::Pool>> Supervisor<E, S> {
    /// A supervisor that starts triggers by `start` and watches the manifest and the components by `registry`, which sends to `changes`.
    pub(super) fn with(
        manifest: Manifest,
        options: Options<E>,
        start: S,
        registry: Box<dyn Registry>,
        changes: mpsc::Receiver<Change>,
    ) -> (Self, Stopper, watch::Receiver<Overview>) {
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
            overview,
            stopping: false,
        };
        (supervisor, Stopper(stopper), shown)
    }

    /// Runs until it is told to stop and every trigger has stopped.
    pub async fn run(mut self) {
        self.apply();
        self.show();
        while !(self.stopping && self.triggers.is_empty()) {
            let next_try = self.next_try();
            let due = async {
                match next_try {
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
                () = due => {}
            }
            self.prepare_all();
            self.show();
        }
    }

    fn take(&mut self, event: Event<E>) {
        match event {
            Event::Compiled { source, publication, result } => match result {
                Ok(compiled) => self.compiled(&source, publication, compiled),
                Err(rejected) => self.refuse(&source, &publication, &rejected.reason),
            },
            Event::Warm { trigger, attempt, result } => self.warm(&trigger, attempt, result),
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
        let components = self.manifest.functions.values().map(|function| function.component.clone());
        let sources: BTreeSet<_> = components.chain([Component::File(self.manifest.path.clone())]).collect();
        self.artifacts.retain(&sources);
        self.registry.watch(Watched { sources, settings: self.manifest.registry.clone() });
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
        let running = Running { handle, topics, wanted, adoption: Adoption::default() };
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
            Found::Nothing(reason) | Found::Away(reason) => Err(reason),
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
        self.apply();
    }

    /// Starts instances for each trigger that could serve a better revision than it does.
    fn prepare_all(&mut self) {
        let now = Instant::now().into_std();
        for (name, phase) in &mut self.triggers {
            let Phase::Running(running) = phase else { continue };
            let Some(function) = self.manifest.functions.get(&running.wanted.trigger.function) else { continue };
            let source = &function.component;
            let offer = |build: &Build<_>| Offer {
                generation: build.generation,
                digest: build.digest,
                function: function.clone(),
            };
            let offers: Vec<Offer> = self.artifacts.builds(source).map(offer).collect();
            let begun = running.adoption.begin(&offers, now);
            if let Some(serving) = running.adoption.serving() {
                // The trigger already serves the content of this publication, so its instances have started.
                self.artifacts.started(source, serving.generation);
            }
            let Some((attempt, offer)) = begun else { continue };
            let build = self.artifacts.builds(source).find(|build| build.generation == offer.generation);
            let Some(compiled) = build.map(|build| build.compiled.clone()) else { continue };
            let setup = Setup {
                function: offer.function,
                trigger: running.wanted.trigger.clone(),
                topics: running.topics.clone(),
                isolated: false,
            };
            let (engine, events) = (self.options.engine.clone(), self.events.clone());
            let (trigger, completions) = (name.clone(), running.handle.completions());
            tokio::spawn(async move {
                let result = engine.warm(compiled, setup, completions).await;
                let _ = events.send(Event::Warm { trigger, attempt, result }).await;
            });
        }
    }

    /// Instances have started, or could not be started. Started instances serve from the next call on, unless
    /// a newer revision has replaced them meanwhile.
    fn warm(&mut self, name: &Name, attempt: Attempt, result: Result<E::Pool, PoolError>) {
        let Some(Phase::Running(running)) = self.triggers.get_mut(name) else { return };
        let Some(offer) = running.adoption.ended(attempt) else { return };
        let revision = offer.digest.short();
        // A trigger that does not respond may respond later, so this is retried like a failure of the machine.
        let adopt =
            |pool| running.handle.adopt(pool, offer.digest).map_err(|error| PoolError::Machine(error.to_string()));
        match result.and_then(adopt) {
            Ok(()) => {
                tracing::info!(trigger = %name, revision, "revision activated");
                self.artifacts.started(&offer.function.component, offer.generation);
                self.registry.judged(&offer.function.component, Verdict::Good(offer.digest));
                running.adoption.serves(offer);
            }
            Err(error) => {
                let serving = running.adoption.serving().map(|serving| serving.digest.short());
                match running.adoption.failed(offer.clone(), error.clone(), Instant::now().into_std()) {
                    Some(pause) => tracing::warn!(
                        trigger = %name, revision, serving,
                        "revision not activated; next try in {pause:?}: {error}",
                    ),
                    None => tracing::error!(trigger = %name, revision, serving, "revision refused: {error}"),
                }
                if let PoolError::Function(reason) = error {
                    self.fails_at_start(&offer, &reason);
                }
            }
        }
    }

    /// The time when the next revision that did not start is tried again.
    fn next_try(&self) -> Option<Instant> {
        self.running().filter_map(|(_, running)| running.adoption.next_try()).min().map(Instant::from_std)
    }

    fn show(&self) {
        let triggers = self.running().map(|(name, running)| (name.to_string(), running.handle.status()));
        // For each function, why one of its triggers does not serve the newest revision.
        let errors: BTreeMap<_, _> = self
            .running()
            .filter_map(|(_, running)| Some((&running.wanted.trigger.function, running.adoption.error()?)))
            .collect();
        let functions = self.manifest.functions.iter().map(|(name, function)| {
            let source = &function.component;
            let good = self.artifacts.good(source);
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
                    .or_else(|| errors.get(name).map(ToString::to_string)),
                http: self.options.engine.http_counts(name),
            };
            (name.to_string(), view)
        });
        self.overview.send_replace(Overview {
            triggers: triggers.collect(),
            functions: functions.collect(),
            manifest_error: self.manifest_error.clone(),
            outside: Outside::of(&self.manifest),
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
