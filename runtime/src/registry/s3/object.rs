//! Looks at one object: at once, whenever somebody says that it is time, and every `reconcile`.
//!
//! A look asks for the newest version, and downloads it if it is another one than was reported last. While S3
//! cannot be asked, looks are repeated after pauses that grow up to `reconcile`. A version that has to be signed is
//! reported when a signature fits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Common;
use super::client::{Download, Failure, FailureKind, Head, Store};
use super::kept::Entry;
use super::signed::{self, Pending};
use crate::manifest::{Component, ObjectName};
use crate::record::revision::{Digest, Origin};
use crate::registry::signature::{self, Required};
use crate::registry::{Change, Content, Found, Standing, Verdict};

/// The pause after the first look that failed. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// What an object is told.
#[derive(Debug)]
pub(super) enum Ask {
    /// It may have changed. The answer comes when it was looked at, and says whether that worked.
    Look(oneshot::Sender<bool>),
    Judged(Verdict),
}

/// One object that is watched.
pub(super) struct Object<S> {
    common: Arc<Common<S>>,
    name: ObjectName,
    /// The keys that it has to be signed with.
    required: Arc<[Required]>,
    asks: mpsc::Receiver<Ask>,
    /// The newest version, which was reported or may not be taken.
    newest: Option<Origin>,
    /// What was reported last.
    reported: Option<Reported>,
    /// The newest version, while an older one was reported after it. It may yet be good.
    before: Option<Reported>,
    /// Whether the last look found that there is no such object, which was reported.
    is_gone: bool,
    /// Whether an older version than those is wanted, and was not found yet.
    is_older_wanted: bool,
    /// Versions that are not wanted any more, because they were refused.
    refused: BTreeSet<Origin>,
    /// The newest version, as long as its signature may still come.
    pending: Option<Pending>,
    /// The newest version was refused because no signature fits, of which this was the newest.
    unsigned: Option<Option<Origin>>,
    /// Whether S3 answered last, and the pause until it is asked again if not.
    away: Option<Duration>,
    rng: fastrand::Rng,
}

/// A content that was reported.
struct Reported {
    entry: Entry,
    /// Kept when it is good. [`None`]: it is kept already.
    file: Option<NamedTempFile>,
}

impl<S: Store> Object<S> {
    pub(super) fn new(
        common: Arc<Common<S>>,
        name: ObjectName,
        required: Arc<[Required]>,
        asks: mpsc::Receiver<Ask>,
    ) -> Self {
        Self {
            common,
            name,
            required,
            asks,
            newest: None,
            reported: None,
            before: None,
            is_gone: false,
            is_older_wanted: false,
            refused: BTreeSet::new(),
            pending: None,
            unsigned: None,
            away: None,
            rng: fastrand::Rng::new(),
        }
    }

    /// Looks until nobody can ask any more.
    pub(super) async fn run(mut self) {
        self.begin().await;
        let mut due = Instant::now();
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.note(ask, &mut waiting).await,
                    None => return,
                },
            }
            // A hundred notices are one look.
            while let Ok(ask) = self.asks.try_recv() {
                self.note(ask, &mut waiting).await;
            }
            let looked = match self.look().await {
                Ok(()) if self.is_older_wanted => self.look_back().await,
                looked => looked,
            };
            let worked = looked.is_ok();
            due = Instant::now() + self.pause(looked).await;
            for answer in waiting {
                // Nobody may wait for it any more.
                let _ = answer.send(worked);
            }
        }
    }

    /// Reports what served last on this node, before S3 is asked.
    async fn begin(&mut self) {
        let (kept, name) = (self.common.kept.clone(), self.name.clone());
        let required = self.required.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let (entry, bytes) = kept.load(&name)?;
            match signature::verify(&name, &required, &entry.signatures, &bytes) {
                Ok(_) => Some((entry, bytes)),
                Err(unsigned) => {
                    tracing::warn!(component = %name, "what served last on this node is not used: {unsigned}");
                    None
                }
            }
        });
        let Ok(Some((entry, bytes))) = loaded.await else { return };
        self.newest = Some(entry.origin.clone());
        let content = Content {
            bytes: bytes.into(),
            digest: entry.digest,
            origin: entry.origin.clone(),
            published_ms: entry.published_ms,
            standing: Standing::Kept,
        };
        self.reported = Some(Reported { entry, file: None });
        self.report(Found::Content(content)).await;
    }

    async fn note(&mut self, ask: Ask, waiting: &mut Vec<oneshot::Sender<bool>>) {
        match ask {
            Ask::Look(answer) => waiting.push(answer),
            Ask::Judged(Verdict::Good(digest)) => self.keep(digest).await,
            Ask::Judged(Verdict::OlderWanted(than)) => {
                let reported = self.reported.as_ref().map(|reported| &reported.entry.origin);
                // Something newer may have been reported meanwhile.
                if than.as_ref() == reported {
                    self.refused.extend(than);
                    self.is_older_wanted = true;
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        match self.common.store.newest(&self.name).await {
            Ok(head) => {
                self.is_gone = false;
                self.pending.take_if(|pending| pending.head.origin != head.origin);
                if self.newest.as_ref() == Some(&head.origin) && !self.has_another_signature().await? {
                    return Ok(());
                }
                let origin = head.origin.clone();
                // Another version than the one that was refused is waited for again.
                self.unsigned.take_if(|_| self.newest.as_ref() != Some(&origin));
                self.take(head, Standing::Newest).await?;
                if self.pending.is_none() {
                    self.newest = Some(origin);
                    self.is_older_wanted = false;
                }
            }
            Err(failure) if failure.kind == FailureKind::Missing => {
                if !std::mem::replace(&mut self.is_gone, true) {
                    (self.newest, self.reported, self.before) = (None, None, None);
                    (self.pending, self.unsigned) = (None, None);
                    self.report(Found::Nothing(failure.reason)).await;
                }
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Looks for an older version, because none serves and the newer ones cannot.
    async fn look_back(&mut self) -> Result<(), Failure> {
        let versions = self.common.store.versions(&self.name).await?;
        let newer = |version: &Head| Some(&version.origin) == self.newest.as_ref();
        let behind = versions.iter().position(newer).map_or(0, |at| at + 1);
        let older = versions.into_iter().skip(behind).find(|version| !self.refused.contains(&version.origin));
        match older {
            Some(head) => {
                self.take(head, Standing::Older).await?;
                self.is_older_wanted = false;
                Ok(())
            }
            None => {
                self.is_older_wanted = false;
                self.report(Found::NoOlder(format!("no version of {} can serve", self.name))).await;
                Ok(())
            }
        }
    }

    /// Downloads and reports a version.
    async fn take(&mut self, head: Head, standing: Standing) -> Result<(), Failure> {
        let most_bytes = self.common.most_bytes;
        if head.bytes > most_bytes {
            let reason = format!(
                "{} of {} has {} bytes, more than the {most_bytes} that [registry] max-size allows",
                head.origin, self.name, head.bytes
            );
            return self.refuse(head, reason).await;
        }
        let pending = match self.pending.take_if(|pending| pending.head.origin == head.origin) {
            Some(pending) => pending,
            None => match self.download(&head).await {
                Ok(download) => Pending::new(head, download, Instant::now()),
                Err(failure) if failure.kind == FailureKind::Refused => return self.refuse(head, failure.reason).await,
                // It was removed since, and the next look finds another one.
                Err(failure) => return Err(Failure { kind: FailureKind::Later, ..failure }),
            },
        };
        let path = pending.download.file.path().to_owned();
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        let bytes: Arc<[u8]> = match read {
            Ok(Ok(bytes)) => bytes.into(),
            Ok(Err(error)) => return Err(local(&self.name, &error)),
            Err(error) => return Err(local(&self.name, &std::io::Error::other(error))),
        };
        let Some((Pending { head, download, .. }, signatures)) = self.verify(pending, &bytes, standing).await? else {
            return Ok(());
        };
        let entry = Entry {
            object: self.name.to_string(),
            digest: download.digest,
            origin: head.origin.clone(),
            published_ms: head.written_ms,
            signatures,
        };
        let replaced = self.reported.replace(Reported { entry, file: Some(download.file) });
        self.before = self.before.take().or(replaced).filter(|_| standing == Standing::Older);
        let content =
            Content { bytes, digest: download.digest, origin: head.origin, published_ms: head.written_ms, standing };
        self.report(Found::Content(content)).await;
        Ok(())
    }

    async fn download(&self, head: &Head) -> Result<Download, Failure> {
        let closed = |error| local(&self.name, &std::io::Error::other(error));
        let _permit = self.common.downloads.acquire().await.map_err(closed)?;
        let into = self.common.kept.temporary().map_err(|error| local(&self.name, &error))?;
        self.common.store.fetch(&self.name, &head.origin, self.common.most_bytes, into).await
    }

    /// Whether the newest version was refused for want of a signature, and there is another one now.
    async fn has_another_signature(&self) -> Result<bool, Failure> {
        let Some(last) = &self.unsigned else { return Ok(false) };
        let newest = signed::newest(&self.common, &self.name).await?;
        Ok(newest.map(|head| head.origin) != *last)
    }

    /// Hands a version back with the signatures that fit, if it may be reported. If none fits, the newest version is
    /// looked at again for a while, and refused after that; an older one is refused at once.
    async fn verify(
        &mut self,
        pending: Pending,
        bytes: &Arc<[u8]>,
        standing: Standing,
    ) -> Result<Option<(Pending, Vec<String>)>, Failure> {
        if self.required.is_empty() {
            return Ok(Some((pending, Vec::new())));
        }
        let is_newest = standing == Standing::Newest;
        let beside = match signed::verify(&self.common, &self.name, &self.required, bytes).await {
            Ok(beside) => beside,
            Err(failure) => {
                self.pending = Some(pending).filter(|_| is_newest);
                return Err(failure);
            }
        };
        match beside.fitting {
            Ok(fitting) => {
                self.refused.remove(&pending.head.origin);
                self.unsigned.take_if(|_| is_newest);
                return Ok(Some((pending, fitting)));
            }
            // Only a version that has not been refused before is waited for.
            Err(_) if is_newest && self.unsigned.is_none() && !pending.is_over(Instant::now()) => {
                self.pending = Some(pending);
            }
            Err(unsigned) => {
                if is_newest {
                    self.unsigned = Some(beside.newest);
                }
                self.refuse(pending.head, unsigned.to_string()).await?;
            }
        }
        Ok(None)
    }

    async fn refuse(&mut self, head: Head, reason: String) -> Result<(), Failure> {
        self.refused.insert(head.origin);
        self.reported = None;
        self.report(Found::Nothing(reason)).await;
        Ok(())
    }

    /// Keeps what was reported, if that is what is good.
    async fn keep(&mut self, digest: Digest) {
        let reported = self.reported.iter_mut().chain(&mut self.before);
        let Some(reported) = reported.into_iter().find(|reported| reported.entry.digest == digest) else { return };
        let Some(file) = reported.file.take() else { return };
        let (kept, name, entry) = (self.common.kept.clone(), self.name.clone(), reported.entry.clone());
        let written = tokio::task::spawn_blocking(move || kept.keep(&name, &entry, file)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(component = %self.name, "it is not kept over a restart: {error}");
        }
    }

    /// How long until the next look.
    async fn pause(&mut self, looked: Result<(), Failure>) -> Duration {
        let reconcile = self.common.reconcile;
        let pause = match looked {
            Ok(()) => {
                if self.away.take().is_some() {
                    self.report(Found::Back).await;
                }
                let now = Instant::now();
                self.pending.as_mut().map_or(reconcile, |pending| pending.next_pause(now).min(reconcile))
            }
            Err(failure) => {
                let pause = self.away.map_or(FIRST_PAUSE, |pause| pause * 2).min(reconcile);
                if self.away.replace(pause).is_none() {
                    self.report(Found::Away(failure.reason)).await;
                }
                pause
            }
        };
        // Not all nodes at once.
        pause.mul_f64(0.75 + self.rng.f64() / 4.0)
    }

    async fn report(&self, found: Found) {
        let change = Change { source: Component::Object(self.name.clone()), found };
        // The node stops if nobody hears it.
        let _ = self.common.changes.send(change).await;
    }
}

/// The disk of this node is at fault.
fn local(name: &ObjectName, error: &std::io::Error) -> Failure {
    Failure { kind: FailureKind::Later, reason: format!("cannot write what is downloaded of {name}: {error}") }
}
