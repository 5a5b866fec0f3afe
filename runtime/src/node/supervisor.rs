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

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::adoption::{Adoption, Attempt, Offer};
use super::artifacts::{Artifacts, Build, Generation, Taken};
use super::edges::{DataPlane, Prepare, Registry, Serve, Start};
use super::overview::{FunctionView, Overview};
use crate::engine::{Engine, PoolError, Rejected, Setup};
use crate::kafka::check_properties;
use crate::manifest::{self, Cluster, Component, Function, Manifest, Name, Trigger};
use crate::record::Topics;
use crate::record::revision::Digest;
use crate::registry::file::{Change, Content, FileRegistry};
use crate::trigger::Context;
use crate::trigger::budget::Budget;

/// What the supervisor needs from the process.
pub struct Options<E = Engine> {
    pub engine: E,
    /// Name of this node, stable over restarts.
    pub node: Arc<str>,
    /// Returns the value of an environment variable that a manifest refers to.
    pub environment: fn(&str) -> Option<String>,
    /// Changes a manifest before it is applied. `tidegate dev` points its clusters elsewhere.
    pub adapt: Box<dyn Fn(Manifest) -> Manifest + Send>,
}

/// The result of an operation that runs in another task.
enum Event<E: Prepare> {
    Compiled {
        path: PathBuf,
        generation: Generation,
        digest: Digest,
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
    /// Starts to watch the manifest and its components. [`Supervisor::run`] does everything else.
    pub fn new(manifest: Manifest, options: Options) -> std::io::Result<(Self, Stopper, watch::Receiver<Overview>)> {
        let (sender, changes) = mpsc::channel(16);
        let registry = Box::new(FileRegistry::start(sender)?);
        Ok(Self::with(manifest, options, DataPlane, registry, changes))
    }
}

impl<E: Prepare, S: Start<E::Pool>> Supervisor<E, S> {
    /// A supervisor that starts triggers by `start` and watches files by `registry`, which sends to `changes`.
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
                    if change.path == self.manifest.path {
                        self.manifest_changed(change.content);
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
            Event::Compiled { path, generation, digest, result } => match result {
                Ok(compiled) => self.compiled(&path, Build { generation, digest, compiled }),
                Err(rejected) => self.refuse(&path, generation, &rejected.reason),
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
        let components = self.manifest.functions.values().filter_map(|function| {
            let path = path_of(function);
            if path.is_none() {
                tracing::warn!(function = %function.name, "ignored: {} is in S3", function.component);
            }
            path.map(Path::to_owned)
        });
        let watched: BTreeSet<_> = components.chain([self.manifest.path.clone()]).collect();
        self.artifacts.retain(&watched);
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

    fn manifest_changed(&mut self, content: Result<Content, String>) {
        let path = self.manifest.path.clone();
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

    fn component_changed(&mut self, Change { path, content }: Change) {
        let content = match content {
            Ok(content) => content,
            Err(reason) => {
                self.log_refusal(&path, &reason);
                self.artifacts.unreadable(&path, reason);
                return;
            }
        };
        let (generation, digest) = (self.artifacts.changed(&path), content.digest);
        let (engine, events) = (self.options.engine.clone(), self.events.clone());
        tokio::spawn(async move {
            let result = engine.compile(&path, content).await;
            let _ = events.send(Event::Compiled { path, generation, digest, result }).await;
        });
    }

    fn compiled(&mut self, path: &Path, build: Build<E::Compiled>) {
        let revision = build.digest.short();
        match self.artifacts.compiled(path, build) {
            Taken::Overtaken => {
                tracing::debug!(component = %path.display(), revision, "component ignored: there is a newer one");
            }
            _ => tracing::info!(component = %path.display(), revision, "component compiled"),
        }
    }

    /// A component was refused. The revision that serves continues to serve.
    fn refuse(&mut self, path: &Path, generation: Generation, reason: &str) {
        if self.artifacts.refused(path, generation, reason.to_owned()) == Taken::Refused {
            self.log_refusal(path, reason);
        }
    }

    fn log_refusal(&self, path: &Path, reason: &str) {
        let serving = self.artifacts.good(path).map(|good| good.digest.short());
        tracing::error!(component = %path.display(), serving, "component refused: {reason}");
    }

    /// Starts instances for each trigger that could serve a better revision than it does.
    fn prepare_all(&mut self) {
        let now = Instant::now().into_std();
        for (name, phase) in &mut self.triggers {
            let Phase::Running(running) = phase else { continue };
            let Some(function) = self.manifest.functions.get(&running.wanted.trigger.function) else { continue };
            let Some(path) = path_of(function) else { continue };
            let offer = |build: &Build<_>| Offer {
                generation: build.generation,
                digest: build.digest,
                function: function.clone(),
            };
            let offers: Vec<Offer> = self.artifacts.builds(path).map(offer).collect();
            let begun = running.adoption.begin(&offers, now);
            if let Some(serving) = running.adoption.serving() {
                // The trigger already serves the content of this publication, so its instances have started.
                self.artifacts.started(path, serving.generation);
            }
            let Some((attempt, offer)) = begun else { continue };
            let build = self.artifacts.builds(path).find(|build| build.generation == offer.generation);
            let Some(compiled) = build.map(|build| build.compiled.clone()) else { continue };
            let setup = Setup {
                function: offer.function,
                trigger: running.wanted.trigger.clone(),
                topics: running.topics.clone(),
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
                if let Some(path) = path_of(&offer.function) {
                    self.artifacts.started(path, offer.generation);
                }
                running.adoption.serves(offer);
            }
            Err(error) => {
                let serving = running.adoption.serving().map(|serving| serving.digest.short());
                match running.adoption.failed(offer, error.clone(), Instant::now().into_std()) {
                    Some(pause) => tracing::warn!(
                        trigger = %name, revision, serving,
                        "revision not activated; next try in {pause:?}: {error}",
                    ),
                    None => tracing::error!(trigger = %name, revision, serving, "revision refused: {error}"),
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
            let path = path_of(function);
            let view = FunctionView {
                component: function.component.to_string(),
                revision: path.and_then(|path| self.artifacts.good(path)).map(|good| good.digest.to_string()),
                error: path
                    .and_then(|path| self.artifacts.error(path))
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

fn path_of(function: &Function) -> Option<&Path> {
    match &function.component {
        Component::File(path) => Some(path),
        Component::Object(_) => None,
    }
}
