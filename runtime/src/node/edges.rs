//! What the control plane drives, as traits: the engine, the triggers, and the watch over files. Each has
//! one production implementation, which is here, and one in the tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::engine::{Compiled, Completion, Engine, HttpCounts, Pool, PoolError, Rejected, Setup};
use crate::manifest::Name;
use crate::record::revision::Digest;
use crate::registry::file::{Content, FileRegistry};
use crate::trigger::{self, Context, Handle, Status, Unresponsive};

/// Makes instances of components.
pub trait Prepare: Clone + Send + Sync + 'static {
    type Compiled: Clone + Send + 'static;
    /// Instances that serve a trigger.
    type Pool: Send + 'static;

    /// Compiles the newest content of a component. While it waits, newer content may take its place;
    /// then the result is of no interest.
    fn compile(
        &self,
        component: &Path,
        content: Content,
    ) -> impl Future<Output = Result<Self::Compiled, Rejected>> + Send;

    /// Starts instances, which report to `completions`.
    fn warm(
        &self,
        compiled: Self::Compiled,
        setup: Setup,
        completions: mpsc::Sender<Completion>,
    ) -> impl Future<Output = Result<Self::Pool, PoolError>> + Send;

    /// What a function does by HTTP, counted.
    fn http_counts(&self, function: &Name) -> Arc<HttpCounts>;
}

/// Starts triggers.
pub trait Start<P>: Send + 'static {
    type Trigger: Serve<P>;

    /// Starts a trigger. It calls nothing before it adopted a revision.
    fn start(&self, context: Context) -> Self::Trigger;
}

/// A running trigger.
pub trait Serve<P>: Send + 'static {
    /// Where the pools of this trigger report.
    fn completions(&self) -> mpsc::Sender<Completion>;

    /// Has the trigger take on a revision.
    fn adopt(&self, pool: P, revision: Digest) -> Result<(), Unresponsive>;

    fn status(&self) -> watch::Receiver<Status>;

    /// Drains and ends the trigger.
    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// Notices changes of files.
pub trait Registry: Send + 'static {
    /// Replaces the files that are watched. Each new one is reported as a change at once.
    fn watch(&self, paths: BTreeSet<PathBuf>);
}

impl Prepare for Engine {
    type Compiled = Compiled;
    type Pool = Pool;

    async fn compile(&self, component: &Path, content: Content) -> Result<Compiled, Rejected> {
        self.compile_newest(component, content.bytes, content.digest).await
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

    fn status(&self) -> watch::Receiver<Status> {
        self.status()
    }

    async fn stop(self) {
        self.stop().await;
    }
}

impl Registry for FileRegistry {
    fn watch(&self, paths: BTreeSet<PathBuf>) {
        self.watch(paths);
    }
}
