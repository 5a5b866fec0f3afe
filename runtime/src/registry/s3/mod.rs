//! Components that are objects in S3, or in a store that speaks its protocol.
//!
//! Every new version of an object is a new revision, whoever uploads it. [`object`] looks at one object,
//! [`signed`] finds its signature, [`client`] asks S3, and [`kept`] is what a node has on its disk while S3 is away.
//! [`archive`] is what authors and operators ask, and [`probe`] tries what a node needs.

pub mod archive;
mod client;
mod kept;
mod object;
pub mod probe;
mod signed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

pub use self::client::{Failure, FailureKind, S3, failure, sdk_config};
use self::kept::Kept;
use self::object::{Ask, Object};
use super::signature::{self, Required};
use super::{Change, Verdict};
use crate::manifest::{self, ObjectName};

/// How many objects are downloaded at once.
const DOWNLOADS: usize = 2;
/// How many notices of one object may wait. Its next look answers all of them.
const ASKS: usize = 64;

/// Watches objects. A clone is the same registry.
#[derive(Clone)]
pub struct ObjectRegistry(Arc<Mutex<Inner>>);

struct Inner {
    changes: mpsc::Sender<Change>,
    folder: Option<PathBuf>,
    runtime: Handle,
    settings: manifest::Registry,
    /// Made with the first object.
    common: Option<Arc<Common<Arc<S3>>>>,
    objects: BTreeMap<ObjectName, Watched>,
}

/// What all objects have in common.
struct Common<S> {
    store: S,
    kept: Kept,
    changes: mpsc::Sender<Change>,
    reconcile: Duration,
    most_bytes: u64,
    /// How many are downloaded at once.
    downloads: Semaphore,
}

/// An object that is watched, until this is dropped.
struct Watched {
    /// The keys that it has to be signed with.
    required: Arc<[Required]>,
    asks: mpsc::Sender<Ask>,
    task: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ObjectRegistry {
    /// Watches nothing yet. Has to be called within a tokio runtime.
    pub fn new(changes: mpsc::Sender<Change>, folder: Option<PathBuf>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            changes,
            folder,
            runtime: Handle::current(),
            settings: manifest::Registry::default(),
            common: None,
            objects: BTreeMap::new(),
        })))
    }

    /// Replaces what is watched: objects, each with the keys that it has to be signed with. With other settings all
    /// objects are looked at again, and so is one with other keys.
    pub fn watch(&self, objects: BTreeMap<ObjectName, Arc<[Required]>>, settings: &manifest::Registry) {
        let mut inner = self.inner();
        if inner.settings != *settings {
            inner.objects.clear();
            (inner.settings, inner.common) = (settings.clone(), None);
        }
        inner.objects.retain(|name, watched| objects.get(name) == Some(&watched.required));
        for (name, required) in objects {
            if !inner.objects.contains_key(&name) {
                let watched = inner.begin(name.clone(), required);
                inner.objects.insert(name, watched);
            }
        }
    }

    /// Looks at an object now, or at the one whose signature this is. `false`: it is watched, and could not be looked
    /// at. One that is not watched needs no look.
    pub async fn look(&self, name: &ObjectName) -> bool {
        let Some(asks) = self.inner().concerned(name).map(|watched| watched.asks.clone()) else { return true };
        let (answer, looked) = oneshot::channel();
        // It may be watched no longer.
        asks.send(Ask::Look(answer)).await.is_err() || looked.await.unwrap_or(true)
    }

    /// Whether the object is watched, or is the signature of one that is.
    pub fn watches(&self, name: &ObjectName) -> bool {
        self.inner().concerned(name).is_some()
    }

    /// Tells an object what became of its content.
    pub fn judged(&self, name: &ObjectName, verdict: Verdict) {
        let inner = self.inner();
        let Some(watched) = inner.objects.get(name) else { return };
        // Only looks can fill the queue, and the next one empties it.
        if let Err(mpsc::error::TrySendError::Full(ask)) = watched.asks.try_send(Ask::Judged(verdict)) {
            let asks = watched.asks.clone();
            inner.runtime.spawn(async move { asks.send(ask).await });
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn concerned(&self, name: &ObjectName) -> Option<&Watched> {
        self.objects.get(name).or_else(|| {
            let signed = self.objects.get(&signature::signed_object(name)?)?;
            (!signed.required.is_empty()).then_some(signed)
        })
    }

    fn begin(&mut self, name: ObjectName, required: Arc<[Required]>) -> Watched {
        let common = self.common.get_or_insert_with(|| {
            Arc::new(Common {
                store: Arc::new(S3::new(self.settings.clone())),
                kept: Kept::open(self.folder.clone()),
                changes: self.changes.clone(),
                reconcile: self.settings.reconcile,
                most_bytes: self.settings.max_bytes,
                downloads: Semaphore::new(DOWNLOADS),
            })
        });
        let (asks, asked) = mpsc::channel(ASKS);
        let object = Object::new(common.clone(), name, required.clone(), asked);
        Watched { required, asks, task: self.runtime.spawn(object.run()).abort_handle() }
    }
}
