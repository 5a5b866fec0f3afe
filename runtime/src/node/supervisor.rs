//! The control plane: which triggers run, and which revision of its function each of them calls.
//!
//! One task owns all of it and takes one event after the other. What takes long (compiling, starting
//! instances, draining) runs beside it and comes back as an event. Building is always complete
//! before anything is replaced, so whatever fails leaves what was there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::engine::{Compiled, Engine, Pool, PoolError, Rejected, Setup};
use crate::kafka::client::check_properties;
use crate::manifest::{self, Cluster, Component, Function, Manifest, Name, Trigger};
use crate::node::overview::{FunctionView, Overview};
use crate::record::Topics;
use crate::record::revision::Digest;
use crate::registry::file::{Change, Content, FileRegistry};
use crate::trigger::budget::Budget;
use crate::trigger::{self, Handle};

/// How long after instances could not be started they are tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What the supervisor needs of the process.
pub struct Options {
    pub engine: Engine,
    /// Name of this node, stable over restarts.
    pub node: Arc<str>,
    /// Looks up what a manifest substitutes.
    pub environment: fn(&str) -> Option<String>,
    /// Changes a manifest before it is applied. `tidegate dev` points its clusters elsewhere.
    pub adapt: Box<dyn Fn(Manifest) -> Manifest + Send>,
}

/// Everything that can happen.
enum Event {
    /// A watched file has other bytes.
    File(Change),
    Compiled {
        path: PathBuf,
        result: Result<Compiled, Rejected>,
    },
    Warm {
        trigger: Name,
        setup: Setup,
        revision: Digest,
        result: Result<Pool, PoolError>,
    },
    /// Instances could not be started a while ago; maybe now.
    Retry {
        trigger: Name,
    },
    /// A trigger that was told to stop is gone.
    Gone {
        trigger: Name,
    },
    Stop,
}

/// Tells a running supervisor to stop.
pub struct Stopper(mpsc::Sender<Event>);

impl Stopper {
    pub async fn stop(self) {
        // One that has stopped already is content.
        let _ = self.0.send(Event::Stop).await;
    }
}

/// A trigger as the manifest wants it. Two that differ need clients of their own.
#[derive(Clone, PartialEq)]
struct Wanted {
    trigger: Arc<Trigger>,
    cluster: Arc<Cluster>,
    output_cluster: Arc<Cluster>,
}

enum Phase {
    Running {
        handle: Handle,
        topics: Arc<Topics>,
        wanted: Wanted,
    },
    /// It drains; what the manifest wants then is started when it is gone.
    Stopping,
}

/// A component's file and its revisions.
#[derive(Default)]
struct Artifact {
    /// The newest revision whose instances started.
    good: Option<Compiled>,
    /// A newer one that compiles, and is yet to show that it starts.
    candidate: Option<Compiled>,
    /// Why the newest bytes are not what serves.
    error: Option<String>,
}

impl Artifact {
    /// What new instances are made of.
    fn latest(&self) -> Option<&Compiled> {
        self.candidate.as_ref().or(self.good.as_ref())
    }
}

/// The control plane of a node.
pub struct Supervisor {
    options: Options,
    manifest: Manifest,
    manifest_error: Option<String>,
    triggers: BTreeMap<Name, Phase>,
    artifacts: BTreeMap<PathBuf, Artifact>,
    budget: Arc<Budget>,
    files: FileRegistry,
    events: mpsc::Sender<Event>,
    queue: mpsc::Receiver<Event>,
    overview: watch::Sender<Overview>,
    stopping: bool,
}

impl Supervisor {
    /// Starts to watch what the manifest names. [`Supervisor::run`] does the rest.
    pub fn new(manifest: Manifest, options: Options) -> std::io::Result<(Self, Stopper, watch::Receiver<Overview>)> {
        let manifest = (options.adapt)(manifest);
        let (events, queue) = mpsc::channel(64);
        let (changes, mut changed) = mpsc::channel(16);
        let files = FileRegistry::start(changes)?;
        let forward = events.clone();
        tokio::spawn(async move {
            while let Some(change) = changed.recv().await {
                if forward.send(Event::File(change)).await.is_err() {
                    return;
                }
            }
        });
        let (overview, shown) = watch::channel(Overview::default());
        let budget = Budget::new(manifest.limits.buffered_bytes);
        let stopper = Stopper(events.clone());
        let supervisor = Self {
            options,
            manifest,
            manifest_error: None,
            triggers: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            budget,
            files,
            events,
            queue,
            overview,
            stopping: false,
        };
        Ok((supervisor, stopper, shown))
    }

    /// Runs until it is told to stop and every trigger is gone.
    pub async fn run(mut self) {
        self.apply();
        self.show();
        while !(self.stopping && self.triggers.is_empty()) {
            let Some(event) = self.queue.recv().await else { return };
            match event {
                Event::File(change) if change.path == self.manifest.path => self.manifest_changed(change.content),
                Event::File(change) => self.component_changed(change),
                Event::Compiled { path, result } => self.compiled(&path, result),
                Event::Warm { trigger, setup, revision, result } => self.warm(&trigger, &setup, revision, result).await,
                Event::Retry { trigger } => self.make_pool(&trigger),
                Event::Gone { trigger } => {
                    self.triggers.remove(&trigger);
                    self.apply();
                }
                Event::Stop => {
                    self.stopping = true;
                    self.apply();
                }
            }
            self.show();
        }
    }

    /// Makes what runs be what the manifest wants.
    fn apply(&mut self) {
        let wanted = if self.stopping { BTreeMap::new() } else { self.wanted() };
        let surplus: Vec<_> = self
            .triggers
            .iter()
            .filter(|(name, phase)| match phase {
                Phase::Running { wanted: running, .. } => wanted.get(*name) != Some(running),
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
        let components = self.manifest.functions.values().map(|function| path_of(function).to_owned());
        let watched: BTreeSet<_> = components.chain([self.manifest.path.clone()]).collect();
        self.artifacts.retain(|path, _| watched.contains(path));
        self.files.watch(watched);
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
        tracing::info!(trigger = %name, function = %trigger.function, topics = trigger.topics.join(","), "starts");
        let handle = trigger::start(trigger::Context {
            trigger: trigger.clone(),
            cluster: wanted.cluster.clone(),
            output_cluster: wanted.output_cluster.clone(),
            topics: topics.clone(),
            budget: self.budget.clone(),
            node: self.options.node.clone(),
        });
        self.triggers.insert(name.clone(), Phase::Running { handle, topics, wanted });
        self.make_pool(name);
    }

    fn stop(&mut self, name: &Name) {
        if let Some(Phase::Running { handle, .. }) = self.triggers.insert(name.clone(), Phase::Stopping) {
            tracing::info!(trigger = %name, "stops");
            let (events, trigger) = (self.events.clone(), name.clone());
            tokio::spawn(async move {
                handle.stop().await;
                let _ = events.send(Event::Gone { trigger }).await;
            });
        }
    }

    fn manifest_changed(&mut self, content: Result<Content, String>) {
        let path = self.manifest.path.clone();
        let parsed = content.and_then(|content| {
            let text = str::from_utf8(&content.bytes).map_err(|_| "the manifest is not UTF-8".to_owned())?;
            let manifest =
                manifest::parse(&path, text, &self.options.environment).map_err(|errors| errors.to_string())?;
            for cluster in manifest.clusters.values() {
                check_properties(cluster).map_err(|error| format!("[cluster.{}]: {}", cluster.name, error.reason))?;
            }
            Ok(manifest)
        });
        match parsed {
            Ok(manifest) => {
                self.manifest_error = None;
                self.replace_manifest(manifest);
            }
            Err(error) => {
                tracing::error!("the manifest is refused and nothing changes:\n{error}");
                self.manifest_error = Some(error);
            }
        }
    }

    fn replace_manifest(&mut self, manifest: Manifest) {
        let manifest = (self.options.adapt)(manifest);
        if manifest.admin != self.manifest.admin {
            tracing::warn!("admin.listen changes at the next start only");
        }
        self.budget.set_limit(manifest.limits.buffered_bytes);
        if manifest == self.manifest {
            return;
        }
        tracing::info!("another manifest is applied");
        let before = std::mem::replace(&mut self.manifest, manifest);
        self.apply();
        // A function of which only settings changed needs other instances, and no other client.
        let changed: Vec<_> = self
            .manifest
            .triggers
            .values()
            .filter(|trigger| before.functions.get(&trigger.function) != self.manifest.functions.get(&trigger.function))
            .map(|trigger| trigger.name.clone())
            .collect();
        for trigger in changed {
            self.make_pool(&trigger);
        }
    }

    fn component_changed(&mut self, change: Change) {
        let Change { path, content } = change;
        match content {
            Err(error) => self.refuse(&path, error),
            Ok(Content { bytes, digest }) => {
                let (engine, events) = (self.options.engine.clone(), self.events.clone());
                tokio::spawn(async move {
                    let result = engine.compile(bytes, digest).await;
                    let _ = events.send(Event::Compiled { path, result }).await;
                });
            }
        }
    }

    fn compiled(&mut self, path: &Path, result: Result<Compiled, Rejected>) {
        let compiled = match result {
            Ok(compiled) => compiled,
            Err(rejected) => return self.refuse(path, rejected.reason),
        };
        tracing::info!(component = %path.display(), revision = compiled.digest.short(), "a new revision is compiled");
        let artifact = self.artifacts.entry(path.to_owned()).or_default();
        artifact.error = None;
        artifact.candidate = Some(compiled);
        let functions = &self.manifest.functions;
        let triggers = self.manifest.triggers.values();
        let callers: Vec<_> = triggers
            .filter(|trigger| functions.get(&trigger.function).is_some_and(|function| path_of(function) == path))
            .map(|trigger| trigger.name.clone())
            .collect();
        for trigger in callers {
            self.make_pool(&trigger);
        }
    }

    /// Nothing replaces what serves.
    fn refuse(&mut self, path: &Path, reason: String) {
        let artifact = self.artifacts.entry(path.to_owned()).or_default();
        let serving = artifact.good.as_ref().map(|compiled| compiled.digest.short());
        tracing::error!(component = %path.display(), serving, "a revision is refused: {reason}");
        artifact.error = Some(reason);
    }

    /// Starts instances of the newest revision for a trigger.
    fn make_pool(&mut self, name: &Name) {
        let Some(Phase::Running { handle, topics, wanted }) = self.triggers.get(name) else { return };
        let Some(function) = self.manifest.functions.get(&wanted.trigger.function) else { return };
        let Some(compiled) = self.artifacts.get(path_of(function)).and_then(|artifact| artifact.latest().cloned())
        else {
            return;
        };
        let setup = Setup { function: function.clone(), trigger: wanted.trigger.clone(), topics: topics.clone() };
        let (engine, events, completions) = (self.options.engine.clone(), self.events.clone(), handle.completions());
        let (trigger, revision) = (name.clone(), compiled.digest);
        tokio::spawn(async move {
            let result = Pool::warm(&engine, compiled, setup.clone(), completions).await;
            let _ = events.send(Event::Warm { trigger, setup, revision, result }).await;
        });
    }

    /// Instances are ready: they serve from the next call on, unless the world moved on meanwhile.
    async fn warm(&mut self, name: &Name, setup: &Setup, revision: Digest, result: Result<Pool, PoolError>) {
        let path = path_of(&setup.function);
        let latest = self.artifacts.get(path).and_then(Artifact::latest).map(|latest| latest.digest);
        let current = self.manifest.functions.get(&setup.function.name);
        let Some(Phase::Running { handle, wanted, .. }) = self.triggers.get(name) else { return };
        if latest != Some(revision) || current != Some(&setup.function) || wanted.trigger != setup.trigger {
            return;
        }
        match result {
            Ok(pool) => {
                tracing::info!(trigger = %name, revision = revision.short(), "serves a revision");
                handle.adopt(Box::new(pool), revision).await;
                if let Some(artifact) = self.artifacts.get_mut(path)
                    && let Some(candidate) = artifact.candidate.take()
                {
                    artifact.good = Some(candidate);
                }
            }
            Err(error) => {
                self.refuse(path, error.to_string());
                // With a good revision at hand a trigger takes that one; without, it tries again.
                let fallback = self
                    .artifacts
                    .get_mut(path)
                    .is_some_and(|artifact| artifact.good.is_some() && artifact.candidate.take().is_some());
                let pause = if fallback { Duration::ZERO } else { RETRY };
                let (events, trigger) = (self.events.clone(), name.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    let _ = events.send(Event::Retry { trigger }).await;
                });
            }
        }
    }

    fn show(&self) {
        let triggers = self.triggers.iter().filter_map(|(name, phase)| match phase {
            Phase::Running { handle, .. } => Some((name.to_string(), handle.status())),
            Phase::Stopping => None,
        });
        let functions = self.manifest.functions.iter().map(|(name, function)| {
            let artifact = self.artifacts.get(path_of(function));
            let view = FunctionView {
                component: path_of(function).display().to_string(),
                revision: artifact.and_then(|it| it.good.as_ref()).map(|good| good.digest.to_string()),
                error: artifact.and_then(|it| it.error.clone()),
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
}

fn path_of(function: &Function) -> &Path {
    match &function.component {
        Component::File(path) => path,
    }
}
