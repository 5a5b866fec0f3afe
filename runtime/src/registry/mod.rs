//! Where components come from, and the notice that there is a new one.
//!
//! A component is a file or an object in S3. Both are taken on by the same steps: whoever hears of a change
//! only learns that it is time to look, and what a look finds is reported as a [`Change`]. So events that are
//! lost, repeated or out of order harm nothing.
//!
//! | module | |
//! |---|---|
//! | [`file`] | looks at files |
//! | [`s3`] | looks at objects, and keeps what served last on the disk |
//! | [`hints`] | learns from an SQS queue which objects to look at |
//! | [`signature`] | verifies what has to be signed, before it is reported |

pub mod file;
pub mod hints;
pub mod s3;
pub mod signature;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use self::file::FileRegistry;
use self::s3::ObjectRegistry;
use self::signature::Required;
use crate::manifest::{self, Component, Manifest};
use crate::record::revision::{Digest, Origin};

/// What a look at a watched file or object found.
#[derive(Clone, Debug)]
pub struct Change {
    pub source: Component,
    pub found: Found,
}

/// What there is now. Each is reported once, until there is something else.
#[derive(Clone, Debug)]
pub enum Found {
    Content(Content),
    /// There is no content that may be taken, and why: it was deleted, or is too large.
    Nothing(String),
    /// An older content was wanted, and there is none that may be taken.
    NoOlder(String),
    /// The source cannot be asked now, and why. It is asked again and again.
    Away(String),
    /// The source can be asked again, and has nothing new.
    Back,
}

/// The bytes of a file or an object, read whole.
#[derive(Clone)]
pub struct Content {
    pub bytes: Arc<[u8]>,
    pub digest: Digest,
    pub origin: Origin,
    /// When it was published, in milliseconds since 1970-01-01 UTC, if the source tells that.
    pub published_ms: Option<i64>,
    pub standing: Standing,
}

/// What a content is among the contents of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The newest one.
    Newest,
    /// The one that served last on this node, read from its disk before the source was asked.
    Kept,
    /// An older one, because the newer ones were refused and none serves.
    Older,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes, {}, {}", self.bytes.len(), self.digest, self.origin)
    }
}

/// What became of a content that was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Instances of it have started.
    Good(Digest),
    /// Nothing serves, and what was reported last cannot: an older version than this one is wanted. [`None`]: what
    /// was reported last was [`Found::Nothing`].
    OlderWanted(Option<Origin>),
}

/// All that is watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// The manifest, and the components of its functions.
    pub sources: BTreeSet<Component>,
    /// The keys of those that have to be signed. A content that is not is reported as [`Found::Nothing`].
    pub required: BTreeMap<Component, Arc<[Required]>>,
    /// How objects are reached.
    pub settings: manifest::Registry,
}

impl Watched {
    /// All that a manifest names.
    pub fn of(manifest: &Manifest) -> Self {
        let components = manifest.functions.values().map(|function| function.component.clone());
        Self {
            sources: components.chain([Component::File(manifest.path.clone())]).collect(),
            required: signature::required(manifest),
            settings: manifest.registry.clone(),
        }
    }
}

/// The sources of a node.
pub struct Sources {
    files: FileRegistry,
    objects: ObjectRegistry,
}

impl Sources {
    /// Begins to watch, nothing yet. `folder` is where contents of objects are kept over restarts. Has to be called
    /// within a tokio runtime.
    pub fn start(changes: mpsc::Sender<Change>, folder: Option<PathBuf>) -> std::io::Result<Self> {
        Ok(Self { files: FileRegistry::start(changes.clone())?, objects: ObjectRegistry::new(changes, folder) })
    }

    /// Replaces what is watched. Each new source, and each with other keys, is looked at at once, and reported as a
    /// change.
    pub fn watch(&self, watched: Watched) {
        let (mut files, mut objects) = (BTreeMap::new(), BTreeMap::new());
        for source in watched.sources {
            let required = watched.required.get(&source).cloned().unwrap_or_default();
            match source {
                Component::File(path) => drop(files.insert(path, required)),
                Component::Object(name) => drop(objects.insert(name, required)),
            }
        }
        self.files.watch(files);
        self.objects.watch(objects, &watched.settings);
    }

    /// Tells a source what became of its content. A file has no use for that: it has no older content.
    pub fn judged(&self, source: &Component, verdict: Verdict) {
        if let Component::Object(name) = source {
            self.objects.judged(name, verdict);
        }
    }

    /// The objects, for whoever hears that one of them changed.
    pub fn objects(&self) -> &ObjectRegistry {
        &self.objects
    }
}
