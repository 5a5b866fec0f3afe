//! A control plane with a fake engine, fake triggers and fake files, which a test controls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::engine::{Completion, HttpCounts, PoolError, Rejected, Setup};
use crate::manifest::{self, Component, Name};
use crate::node::edges::{Edges, Prepare, Registry, Serve, Start};
use crate::node::overview::Overview;
use crate::node::shared::{Fleet, Word};
use crate::node::supervisor::{Options, Stopper, Supervisor};
use crate::record::revision::{Digest, Origin};
use crate::registry::{Change, Content, Found, Standing, Verdict, Watched};
use crate::trigger::{CandidateStatus, Context, Manner, Status, Unresponsive};

pub const MANIFEST: &str = "tidegate.toml";
/// The component of the function `f`.
pub const COMPONENT: &str = "f.wasm";

/// Sends the result of a start of instances.
type Started = oneshot::Sender<Result<(), PoolError>>;

/// What the fakes share with the test.
#[derive(Default)]
struct State {
    /// The running compilations and starts of instances, in the order in which they began.
    compiling: Vec<(String, oneshot::Sender<Result<String, Rejected>>)>,
    starting: Vec<(String, Setup, Started)>,
    /// The texts of the revisions that each trigger has adopted since it was started, in order.
    adopted: BTreeMap<Name, Vec<String>>,
    /// What each trigger was told of a candidate and of a pause.
    told: BTreeMap<Name, Vec<String>>,
    statuses: BTreeMap<Name, watch::Sender<Status>>,
    /// Triggers that were told to stop. They end when the test tells them to.
    draining: BTreeMap<Name, oneshot::Sender<()>>,
    hangs: bool,
    watched: BTreeSet<Component>,
    /// What sources were told of their contents.
    verdicts: Vec<(String, Verdict)>,
}

#[derive(Clone, Default)]
pub struct Fakes(Arc<Mutex<State>>);

impl Fakes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panicked meanwhile")
    }
}

impl Prepare for Fakes {
    /// The content of a component, which is a text.
    type Compiled = String;
    type Pool = String;

    async fn compile(&self, _source: &Component, content: Content) -> Result<String, Rejected> {
        let text = String::from_utf8(content.bytes.to_vec()).expect("text");
        let (done, result) = oneshot::channel();
        self.state().compiling.push((text, done));
        result.await.expect("the test ends it")
    }

    async fn warm(&self, compiled: String, setup: Setup, _: mpsc::Sender<Completion>) -> Result<String, PoolError> {
        let (done, result) = oneshot::channel();
        self.state().starting.push((compiled.clone(), setup, done));
        result.await.expect("the test ends it").map(|()| compiled)
    }

    fn http_counts(&self, _: &Name) -> Arc<HttpCounts> {
        Arc::default()
    }
}

pub struct FakeTrigger {
    name: Name,
    fakes: Fakes,
    status: watch::Receiver<Status>,
}

impl FakeTrigger {
    fn told(&self, what: String) -> Result<(), Unresponsive> {
        let mut state = self.fakes.state();
        if state.hangs {
            return Err(Unresponsive);
        }
        state.told.entry(self.name.clone()).or_default().push(what);
        Ok(())
    }
}

impl Start<String> for Fakes {
    type Trigger = FakeTrigger;

    fn start(&self, context: Context) -> FakeTrigger {
        let name = context.trigger.name.clone();
        let (sender, status) =
            watch::channel(Status { function: context.trigger.function.to_string(), ..Status::default() });
        let mut state = self.state();
        state.statuses.insert(name.clone(), sender);
        state.adopted.insert(name.clone(), Vec::new());
        FakeTrigger { name, fakes: self.clone(), status }
    }
}

impl Serve<String> for FakeTrigger {
    fn completions(&self) -> mpsc::Sender<Completion> {
        mpsc::channel(1).0
    }

    fn adopt(&self, pool: String, revision: Digest) -> Result<(), Unresponsive> {
        let mut state = self.fakes.state();
        if state.hangs {
            return Err(Unresponsive);
        }
        assert_eq!(revision, Digest::of(pool.as_bytes()), "the pool is of the revision");
        state.statuses[&self.name].send_modify(|status| status.revision = Some(revision.to_string()));
        state.adopted.entry(self.name.clone()).or_default().push(pool);
        Ok(())
    }

    fn try_out(&self, pool: String, _: Digest, stage: u32, manner: Manner) -> Result<(), Unresponsive> {
        self.told(format!("try {pool} in {stage}: {manner}"))
    }

    fn steer(&self, stage: u32, manner: Manner) -> Result<(), Unresponsive> {
        self.told(format!("steer to {stage}: {manner}"))
    }

    fn promote(&self) -> Result<(), Unresponsive> {
        self.told("promote".to_owned())
    }

    fn withdraw(&self) -> Result<(), Unresponsive> {
        self.told("withdraw".to_owned())
    }

    fn hold(&self, reason: Option<String>) -> Result<(), Unresponsive> {
        self.told(reason.unwrap_or_else(|| "resume".to_owned()))
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    async fn stop(self) {
        let (end, ended) = oneshot::channel();
        self.fakes.state().draining.insert(self.name, end);
        let _ = ended.await;
    }
}

impl Registry for Fakes {
    fn watch(&self, watched: Watched) {
        self.state().watched = watched.sources;
    }

    fn judged(&self, source: &Component, verdict: Verdict) {
        self.state().verdicts.push((source.to_string(), verdict));
    }
}

/// A running supervisor.
pub struct World {
    fakes: Fakes,
    changes: mpsc::Sender<Change>,
    overview: watch::Receiver<Overview>,
    fleet: watch::Sender<Arc<Fleet>>,
    words: mpsc::Receiver<Word>,
    stopper: Option<Stopper>,
    pub task: JoinHandle<()>,
}

/// A text as the content of a component.
pub fn content(text: &str, origin: Origin, standing: Standing) -> Found {
    let digest = Digest::of(text.as_bytes());
    Found::Content(Content { bytes: text.as_bytes().into(), digest, origin, published_ms: None, standing })
}

/// A manifest with the function `f` and these triggers of it.
pub fn manifest(triggers: &[&str]) -> String {
    manifest_with("", triggers)
}

/// The same, with further keys of the function.
pub fn manifest_with(function: &str, triggers: &[&str]) -> String {
    let head =
        format!("[cluster.main]\nbrokers = \"localhost\"\n[function.f]\ncomponent = \"{COMPONENT}\"\n{function}\n");
    let table = |name: &&str| {
        format!("[trigger.{name}]\nfunction = \"f\"\ntopics = [\"in-{name}\"]\non-exhausted = \"skip\"\n")
    };
    head + &triggers.iter().map(table).collect::<String>()
}

impl World {
    /// Starts a node with this manifest, and no component yet.
    pub async fn start(text: &str) -> Self {
        let manifest = manifest::parse(Path::new(MANIFEST), text, &|_| None).expect("a good manifest");
        let fakes = Fakes::default();
        let begun = tokio::time::Instant::now();
        let options = Options {
            engine: fakes.clone(),
            node: "node".into(),
            kept: None,
            now_ms: Box::new(move || begun.elapsed().as_millis() as i64),
            environment: |_| None,
            adapt: Box::new(|manifest| manifest),
        };
        let (changes, changed) = mpsc::channel(16);
        let (fleet, shared) = watch::channel(Arc::new(Fleet { is_known: true, ..Fleet::default() }));
        let (speaker, words) = mpsc::channel(16);
        let registry = Box::new(fakes.clone());
        let edges = Edges { start: fakes.clone(), registry, changes: changed, fleet: shared, words: speaker };
        let (supervisor, stopper, overview) = Supervisor::with(manifest, options, edges);
        let task = tokio::spawn(supervisor.run());
        let world = Self { fakes, changes, overview, fleet, words, stopper: Some(stopper), task };
        world.settle().await;
        world
    }

    /// Starts a node whose triggers all serve the revision `v1`.
    pub async fn serving_v1(triggers: &[&str]) -> Self {
        let world = Self::start(&manifest(triggers)).await;
        world.publish("v1").await;
        for trigger in triggers {
            world.start_ends(trigger, "v1", Ok(())).await;
        }
        world
    }

    /// Lets all tasks run until all of them wait.
    pub async fn settle(&self) {
        // The paused clock advances only when no task can run.
        tokio::time::sleep(Duration::from_micros(1)).await;
    }

    /// Reports a new content of a file, or that it cannot be read.
    pub async fn write(&self, path: &str, content: Result<&str, &str>) {
        let found = match content {
            Ok(text) => self::content(text, Origin::File, Standing::Newest),
            Err(reason) => Found::Nothing(reason.to_owned()),
        };
        self.find(&Component::File(path.into()), found).await;
    }

    /// Reports what was found at a source.
    pub async fn find(&self, source: &Component, found: Found) {
        self.changes.send(Change { source: source.clone(), found }).await.expect("the supervisor runs");
        self.settle().await;
    }

    /// What the source was told since the last time that this was asked.
    pub fn verdicts(&self) -> Vec<(String, Verdict)> {
        std::mem::take(&mut self.fakes.state().verdicts)
    }

    /// Writes the component and compiles it.
    pub async fn publish(&self, text: &str) {
        self.write(COMPONENT, Ok(text)).await;
        self.compiled(text).await;
    }

    pub async fn compiled(&self, text: &str) {
        self.compile_ends(text, Ok(text.to_owned())).await;
    }

    /// Ends the oldest compilation of this text.
    #[track_caller]
    pub fn compile_ends(&self, text: &str, result: Result<String, Rejected>) -> impl Future<Output = ()> {
        let mut state = self.fakes.state();
        let at = state.compiling.iter().position(|(compiling, _)| compiling == text);
        let (_, done) = state.compiling.remove(at.unwrap_or_else(|| panic!("{text} is not being compiled")));
        // The supervisor may be gone.
        let _ = done.send(result);
        drop(state);
        self.settle()
    }

    /// Ends a start of instances of this revision for the trigger.
    #[track_caller]
    pub fn start_ends(&self, trigger: &str, text: &str, result: Result<(), PoolError>) -> impl Future<Output = ()> {
        let mut state = self.fakes.state();
        let is_it = |(starting, setup, _): &(String, Setup, _)| starting == text && *setup.trigger.name == *trigger;
        let at = state.starting.iter().position(is_it);
        let (.., done) = state.starting.remove(at.unwrap_or_else(|| panic!("{text} does not start for {trigger}")));
        let _ = done.send(result);
        drop(state);
        self.settle()
    }

    /// The running starts of instances, as `trigger:revision`.
    pub fn starting(&self) -> Vec<String> {
        let shown = |(text, setup, _): &(String, Setup, _)| format!("{}:{text}", setup.trigger.name);
        self.fakes.state().starting.iter().map(shown).collect()
    }

    /// What a trigger was told of candidates and pauses, since this was asked last.
    pub fn told(&self, trigger: &str) -> Vec<String> {
        self.fakes.state().told.get_mut(trigger).map(std::mem::take).unwrap_or_default()
    }

    /// What the supervisor has said to the fleet, since this was asked last.
    pub fn words(&mut self) -> Vec<Word> {
        std::iter::from_fn(|| self.words.try_recv().ok()).collect()
    }

    /// The fleet is as this says from now on.
    pub async fn in_fleet(&self, change: impl FnOnce(&mut Fleet)) {
        self.fleet.send_modify(|fleet| change(Arc::make_mut(fleet)));
        self.settle().await;
    }

    /// The trigger counts this of its candidate.
    pub fn counts(&self, trigger: &str, candidate: CandidateStatus) {
        self.fakes.state().statuses[trigger].send_modify(|status| status.candidate = Some(candidate));
    }

    /// The revisions that a trigger has adopted since it was started.
    pub fn adopted(&self, trigger: &str) -> Vec<String> {
        self.fakes.state().adopted.get(trigger).cloned().unwrap_or_default()
    }

    /// Whether triggers do not respond, so that they adopt nothing.
    pub fn hang(&self, hangs: bool) {
        self.fakes.state().hangs = hangs;
    }

    pub fn draining(&self) -> Vec<String> {
        self.fakes.state().draining.keys().map(ToString::to_string).collect()
    }

    /// Ends a trigger that was told to stop.
    pub async fn drained(&self, trigger: &str) {
        let end = self.fakes.state().draining.remove(trigger).expect("it was told to stop");
        end.send(()).expect("somebody waits for it");
        self.settle().await;
    }

    pub async fn stop(&mut self) {
        self.stopper.take().expect("it was not stopped before").stop().await;
        self.settle().await;
    }

    /// Names of the triggers that run.
    pub fn running(&self) -> Vec<String> {
        self.overview.borrow().triggers.keys().cloned().collect()
    }

    pub fn manifest_error(&self) -> Option<String> {
        self.overview.borrow().manifest_error.clone()
    }

    /// Why the function does not serve its newest revision.
    pub fn function_error(&self) -> Option<String> {
        self.overview.borrow().functions["f"].error.clone()
    }

    /// Why the source of the function cannot be asked.
    pub fn away(&self) -> Option<String> {
        self.overview.borrow().functions["f"].away.clone()
    }

    /// The text of the revision that the function shows, if it is one of these.
    pub fn shown<'a>(&self, texts: &[&'a str]) -> Option<&'a str> {
        let revision = self.overview.borrow().functions["f"].revision.clone()?;
        texts.iter().find(|text| Digest::of(text.as_bytes()).to_string() == revision).copied()
    }

    pub fn watches(&self, path: &str) -> bool {
        self.fakes.state().watched.contains(&Component::File(path.into()))
    }
}
