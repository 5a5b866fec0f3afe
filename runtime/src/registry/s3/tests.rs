//! One object against a store that a test controls, on one thread and with a paused clock.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::client::{Download, Failure, FailureKind, Head, Store};
use super::kept::Kept;
use super::object::{Ask, Common, Object};
use crate::manifest::ObjectName;
use crate::record::revision::{Digest, Origin};
use crate::registry::{Change, Found, Standing, Verdict};

const RECONCILE: Duration = Duration::from_secs(10);
const MOST_BYTES: u64 = 10;

/// Versions of one object, the oldest first. The text of a version is its id too.
#[derive(Clone, Default)]
struct FakeStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    versions: Vec<String>,
    is_deleted: bool,
    is_away: bool,
    looks: u32,
}

fn head(text: &str) -> Head {
    Head { origin: Origin::Version(text.to_owned()), bytes: text.len() as u64, written_ms: Some(7) }
}

impl FakeStore {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().expect("whole"));
    }

    fn publish(&self, text: &str) {
        self.change(|state| {
            state.versions.push(text.to_owned());
            state.is_deleted = false;
        });
    }

    fn looks(&self) -> u32 {
        self.0.lock().expect("whole").looks
    }

    fn there(&self) -> Result<Vec<String>, Failure> {
        let state = self.0.lock().expect("whole");
        if state.is_away {
            return Err(Failure { kind: FailureKind::Later, reason: "away".to_owned() });
        }
        Ok(state.versions.clone())
    }
}

impl Store for FakeStore {
    async fn newest(&self, _: &ObjectName) -> Result<Head, Failure> {
        self.change(|state| state.looks += 1);
        let versions = self.there()?;
        let missing = || Failure { kind: FailureKind::Missing, reason: "not there".to_owned() };
        let newest = versions.last().filter(|_| !self.0.lock().expect("whole").is_deleted);
        newest.map(|text| head(text)).ok_or_else(missing)
    }

    async fn versions(&self, _: &ObjectName) -> Result<Vec<Head>, Failure> {
        Ok(self.there()?.iter().rev().map(|text| head(text)).collect())
    }

    async fn fetch(
        &self,
        _: &ObjectName,
        origin: &Origin,
        _: u64,
        mut into: NamedTempFile,
    ) -> Result<Download, Failure> {
        self.there()?;
        let Origin::Version(text) = origin else { panic!("versions only") };
        into.write_all(text.as_bytes()).expect("written");
        Ok(Download { file: into, digest: Digest::of(text.as_bytes()) })
    }
}

/// An object that is watched.
struct Watching {
    store: FakeStore,
    asks: mpsc::Sender<Ask>,
    changes: mpsc::Receiver<Change>,
}

impl Watching {
    fn start(store: &FakeStore, kept: Kept) -> Self {
        let (sender, changes) = mpsc::channel(16);
        let common = Common {
            store: store.clone(),
            kept,
            changes: sender,
            reconcile: RECONCILE,
            most_bytes: MOST_BYTES,
            downloads: Semaphore::new(1),
        };
        let (asks, asked) = mpsc::channel(64);
        let name = ObjectName::new("bucket", "f.wasm").expect("a name");
        tokio::spawn(Object::new(Arc::new(common), name, asked).run());
        Self { store: store.clone(), asks, changes }
    }

    /// The next change, in words.
    async fn next(&mut self) -> String {
        let change = tokio::time::timeout(Duration::from_secs(3_600), self.changes.recv()).await;
        match change.expect("a change within an hour").expect("it runs").found {
            Found::Content(content) => {
                let text = String::from_utf8(content.bytes.to_vec()).expect("text");
                assert_eq!(content.digest, Digest::of(text.as_bytes()));
                assert_eq!(content.origin, Origin::Version(text.clone()));
                match content.standing {
                    Standing::Newest => text,
                    Standing::Kept => format!("kept {text}"),
                    Standing::Older => format!("older {text}"),
                }
            }
            Found::Nothing(reason) => format!("nothing: {reason}"),
            Found::NoOlder(reason) => format!("no older: {reason}"),
            Found::Away(reason) => format!("away: {reason}"),
            Found::Back => "back".to_owned(),
        }
    }

    async fn look(&self) -> bool {
        let (answer, looked) = oneshot::channel();
        self.asks.send(Ask::Look(answer)).await.expect("it runs");
        looked.await.expect("it runs")
    }

    async fn judge(&self, verdict: Verdict) {
        self.asks.send(Ask::Judged(verdict)).await.expect("it runs");
    }

    async fn refuse(&self, text: &str) {
        self.judge(Verdict::OlderWanted(Some(Origin::Version(text.to_owned())))).await;
    }
}

fn nothing_kept() -> Kept {
    Kept::open(None)
}

#[tokio::test(start_paused = true)]
async fn a_new_version_is_found_by_a_notice_and_without_one() {
    let store = FakeStore::default();
    store.publish("v1");
    let mut object = Watching::start(&store, nothing_kept());
    assert_eq!(object.next().await, "v1");
    store.publish("v2");
    let begun = tokio::time::Instant::now();
    assert!(object.look().await);
    assert_eq!(object.next().await, "v2");
    assert!(begun.elapsed() < Duration::from_millis(100));
    store.publish("v3");
    assert_eq!(object.next().await, "v3");
    assert!(begun.elapsed() <= RECONCILE);
    store.publish("v2");
    assert_eq!(object.next().await, "v2", "an older content is published anew");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_notices_are_a_few_looks() {
    let store = FakeStore::default();
    store.publish("v1");
    let mut object = Watching::start(&store, nothing_kept());
    object.next().await;
    let before = store.looks();
    let looks = (0..100).map(|_| object.look());
    assert!(futures_util::future::join_all(looks).await.into_iter().all(|worked| worked));
    assert!(store.looks() - before <= 4, "{}", store.looks() - before);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_asked_until_it_answers() {
    let store = FakeStore::default();
    store.publish("v1");
    store.change(|state| state.is_away = true);
    let mut object = Watching::start(&store, nothing_kept());
    assert_eq!(object.next().await, "away: away");
    assert!(!object.look().await, "a notice is not done");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(object.store.looks() < 100, "{}", object.store.looks());
    store.change(|state| state.is_away = false);
    assert_eq!((object.next().await, object.next().await), ("v1".to_owned(), "back".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_reported_once_and_undone_by_the_same_version() {
    let store = FakeStore::default();
    store.publish("v1");
    let mut object = Watching::start(&store, nothing_kept());
    object.next().await;
    store.change(|state| state.is_deleted = true);
    object.look().await;
    object.look().await;
    assert_eq!(object.next().await, "nothing: not there");
    store.change(|state| state.is_deleted = false);
    object.look().await;
    assert_eq!(object.next().await, "v1");
    assert!(object.changes.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_newest_version_that_is_not_refused_is_looked_for() {
    let store = FakeStore::default();
    for text in ["v1", "v2", "v3", "much too large"] {
        store.publish(text);
    }
    let mut object = Watching::start(&store, nothing_kept());
    assert!(object.next().await.contains("has 14 bytes, more than the 10"));
    object.judge(Verdict::OlderWanted(None)).await;
    assert_eq!(object.next().await, "older v3");
    object.refuse("v3").await;
    assert_eq!(object.next().await, "older v2");
    object.refuse("v3").await;
    object.look().await;
    assert!(object.changes.try_recv().is_err(), "that was said of another version");
    store.publish("v5");
    object.look().await;
    assert_eq!(object.next().await, "v5");
    object.refuse("v5").await;
    assert_eq!(object.next().await, "older v2", "it was not refused yet");
    object.refuse("v2").await;
    assert_eq!(object.next().await, "older v1");
    object.refuse("v1").await;
    assert!(object.next().await.starts_with("no older: no version"));
}

#[tokio::test(start_paused = true)]
async fn a_node_starts_with_what_served_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = || Kept::open(Some(folder.path().to_owned()));
    let store = FakeStore::default();
    store.publish("v1");
    let mut object = Watching::start(&store, kept());
    object.next().await;
    object.judge(Verdict::Good(Digest::of(b"v1"))).await;
    store.publish("v2");
    object.look().await;
    assert_eq!(object.next().await, "v2");
    object.judge(Verdict::Good(Digest::of(b"something else"))).await;
    object.look().await;
    // `v2` was never found good.
    store.change(|state| state.is_away = true);
    let mut object = Watching::start(&store, kept());
    assert_eq!((object.next().await, object.next().await), ("kept v1".to_owned(), "away: away".to_owned()));
    store.change(|state| state.is_away = false);
    assert_eq!((object.next().await, object.next().await), ("v2".to_owned(), "back".to_owned()));
}
