//! What the control plane controls, as traits: the engine, the triggers, and the file watcher. Each trait has
//! one production implementation in this module, and one in the tests.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::engine::{Compiled, Completion, Engine, HttpCounts, Pool, PoolError, Rejected, Setup};
use crate::manifest::{Component, Name};
use crate::node::shared::{Fleet, Speaker};
use crate::record::revision::Digest;
use crate::registry::{Change, Content, Sources, Verdict, Watched};
use crate::trigger::{self, Context, Handle, Manner, Status, Unresponsive};

/// Compiles components and starts instances of them.
pub trait Prepare: Clone + Send + Sync + 'static {
    type Compiled: Clone + Send + 'static;
    /// Instances that serve a trigger.
    type Pool: Send + 'static;

    /// Compiles the newest content of a component. If newer content replaces it while it waits, it is refused,
    /// and the caller ignores the result.
    fn compile(
        &self,
        source: &Component,
        content: Content,
    ) -> impl Future<Output = Result<Self::Compiled, Rejected>> + Send;

    /// Starts instances, which send their completions to `completions`.
    fn warm(
        &self,
        compiled: Self::Compiled,
        setup: Setup,
        completions: mpsc::Sender<Completion>,
    ) -> impl Future<Output = Result<Self::Pool, PoolError>> + Send;

    /// The counts of the HTTP requests of a function.
    fn http_counts(&self, function: &Name) -> Arc<HttpCounts>;
}

/// Starts triggers.
pub trait Start<P>: Send + 'static {
    type Trigger: Serve<P>;

    /// Starts a trigger. It calls its function only after it has adopted a revision.
    fn start(&self, context: Context) -> Self::Trigger;
}

/// A running trigger.
pub trait Serve<P>: Send + 'static {
    /// The channel for the completions of this trigger's pools.
    fn completions(&self) -> mpsc::Sender<Completion>;

    /// Makes the trigger use a new revision for everything.
    fn adopt(&self, pool: P, revision: Digest) -> Result<(), Unresponsive>;

    /// Makes the trigger try a revision beside the one that serves: see [`Handle::try_out`].
    fn try_out(&self, pool: P, revision: Digest, stage: u32, manner: Manner) -> Result<(), Unresponsive>;

    /// The candidate enters another stage.
    fn steer(&self, stage: u32, manner: Manner) -> Result<(), Unresponsive>;

    /// The candidate serves everything from now on.
    fn promote(&self) -> Result<(), Unresponsive>;

    /// The candidate is let go.
    fn withdraw(&self) -> Result<(), Unresponsive>;

    /// Makes the trigger take no records and start no calls, for this reason, until it is told `None`.
    fn hold(&self, reason: Option<String>) -> Result<(), Unresponsive>;

    fn status(&self) -> watch::Receiver<Status>;

    /// Drains and ends the trigger.
    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// Watches the manifest and the components.
pub trait Registry: Send + 'static {
    /// Replaces what is watched. Each new source is reported as a change at once.
    fn watch(&self, watched: Watched);

    /// Tells a source what became of the content that it reported.
    fn judged(&self, source: &Component, verdict: Verdict);
}

/// What the supervisor acts upon and hears from.
pub struct Edges<S> {
    pub start: S,
    /// Watches the manifest and the components, and sends to `changes`.
    pub registry: Box<dyn Registry>,
    pub changes: mpsc::Receiver<Change>,
    /// What holds for the fleet.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// What is said to it.
    pub words: Speaker,
}

impl Prepare for Engine {
    type Compiled = Compiled;
    type Pool = Pool;

    async fn compile(&self, source: &Component, content: Content) -> Result<Compiled, Rejected> {
        self.compile_newest(source, content.bytes, content.digest).await
    }

    async fn warm(
        &self,
        compiled: Compiled,
        setup: Setup,
        completions: mpsc::Sender<Completion>,
    ) -> Result<Pool, PoolError> {
        Pool::warm(self, compiled, setup, completions).await
    }

    fn http_counts(&self, function: &Name) -> Arc<HttpCounts> {
        self.http_counts(function)
    }
}

/// Starts triggers on Kafka.
#[derive(Debug)]
pub struct DataPlane;

impl Start<Pool> for DataPlane {
    type Trigger = Handle;

    fn start(&self, context: Context) -> Handle {
        trigger::start(context)
    }
}

impl Serve<Pool> for Handle {
    fn completions(&self) -> mpsc::Sender<Completion> {
        self.completions()
    }

    fn adopt(&self, pool: Pool, revision: Digest) -> Result<(), Unresponsive> {
        self.adopt(Box::new(pool), revision)
    }

    fn try_out(&self, pool: Pool, revision: Digest, stage: u32, manner: Manner) -> Result<(), Unresponsive> {
        self.try_out(Box::new(pool), revision, stage, manner)
    }

    fn steer(&self, stage: u32, manner: Manner) -> Result<(), Unresponsive> {
        self.steer(stage, manner)
    }

    fn promote(&self) -> Result<(), Unresponsive> {
        self.promote()
    }

    fn withdraw(&self) -> Result<(), Unresponsive> {
        self.withdraw()
    }

    fn hold(&self, reason: Option<String>) -> Result<(), Unresponsive> {
        self.hold(reason)
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.status()
    }

    async fn stop(self) {
        self.stop().await;
    }
}

impl Registry for Sources {
    fn watch(&self, watched: Watched) {
        self.watch(watched);
    }

    fn judged(&self, source: &Component, verdict: Verdict) {
        self.judged(source, verdict);
    }
}
