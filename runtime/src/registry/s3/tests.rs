//! One object against a store that a test controls, on one thread and with a paused clock.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::client::{Download, Failure, FailureKind, Head, Store};
use super::kept::Kept;
use super::object::{Ask, Object};
use super::{Common, ObjectRegistry, manifest};
use crate::manifest::ObjectName;
use crate::record::revision::{Digest, Origin};
use crate::registry::signature::tests::Signer;
use crate::registry::signature::{self, Required};
use crate::registry::{Change, Found, Standing, Verdict};

const RECONCILE: Duration = Duration::from_secs(10);
const MOST_BYTES: u64 = 10;

/// Versions of one object and of its signature, the oldest first. The text of a version is its id too.
#[derive(Clone, Default)]
struct FakeStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    versions: Vec<String>,
    signatures: Vec<String>,
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

    fn sign(&self, signature: String) {
        self.change(|state| state.signatures.push(signature));
    }

    fn looks(&self) -> u32 {
        self.0.lock().expect("whole").looks
    }

    fn there(&self, name: &ObjectName) -> Result<Vec<String>, Failure> {
        let state = self.0.lock().expect("whole");
        if state.is_away {
            return Err(Failure { kind: FailureKind::Later, reason: "away".to_owned() });
        }
        Ok(if is_signature(name) { state.signatures.clone() } else { state.versions.clone() })
    }
}

fn is_signature(name: &ObjectName) -> bool {
    name.key().ends_with(signature::SUFFIX)
}

impl Store for FakeStore {
    async fn newest(&self, name: &ObjectName) -> Result<Head, Failure> {
        let is_signature = is_signature(name);
        self.change(|state| state.looks += u32::from(!is_signature));
        let versions = self.there(name)?;
        let missing = || Failure { kind: FailureKind::Missing, reason: "not there".to_owned() };
        let newest = versions.last().filter(|_| is_signature || !self.0.lock().expect("whole").is_deleted);
        newest.map(|text| head(text)).ok_or_else(missing)
    }

    async fn versions(&self, name: &ObjectName) -> Result<Vec<Head>, Failure> {
        Ok(self.there(name)?.iter().rev().map(|text| head(text)).collect())
    }

    async fn fetch(
        &self,
        name: &ObjectName,
        origin: &Origin,
        _: u64,
        mut into: NamedTempFile,
    ) -> Result<Download, Failure> {
        self.there(name)?;
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
        Self::signed(store, kept, &[])
    }

    /// An object that has to be signed.
    fn signed(store: &FakeStore, kept: Kept, required: &[Required]) -> Self {
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
        tokio::spawn(Object::new(Arc::new(common), name, required.into(), asked).run());
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

    /// Whether nothing is reported for so long.
    async fn is_silent(&mut self, seconds: u64) -> bool {
        tokio::time::timeout(Duration::from_secs(seconds), self.changes.recv()).await.is_err()
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

#[tokio::test(start_paused = true)]
async fn a_version_is_reported_when_its_signature_comes() {
    let (store, signer) = (FakeStore::default(), Signer::new(1));
    store.publish("v1");
    let mut object = Watching::signed(&store, nothing_kept(), &[signer.required()]);
    assert!(object.is_silent(50).await, "the signature may still come");
    assert!(store.looks() < 12, "{}", store.looks());
    store.sign(signer.sign(b"v1"));
    assert!(object.look().await);
    assert_eq!(object.next().await, "v1");
    store.sign(signer.sign(b"v2"));
    assert!(object.is_silent(600).await, "what serves had a signature that fitted");
    store.publish("v2");
    assert_eq!(object.next().await, "v2");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_nobody_signs_is_refused_after_a_minute_and_taken_when_somebody_does() {
    let (store, signer, other) = (FakeStore::default(), Signer::new(1), Signer::new(2));
    store.publish("v1");
    store.sign(other.sign(b"v1"));
    let mut object = Watching::signed(&store, nothing_kept(), &[signer.required()]);
    let begun = tokio::time::Instant::now();
    let reason = object.next().await;
    assert!(reason.contains("s3://bucket/f.wasm.minisig is by the key"), "{reason}");
    assert!((60..62).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert!(object.is_silent(600).await, "it is said once");
    store.sign("damaged".to_owned());
    assert!(object.look().await);
    assert!(object.next().await.contains("is no signature of minisign"));
    store.sign(signer.sign(b"v1"));
    assert!(object.look().await);
    assert_eq!(object.next().await, "v1");
    store.publish("v2");
    object.look().await;
    assert!(object.is_silent(50).await, "the next version is waited for again");
    assert!(object.next().await.contains("of another content"));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_published_again_has_the_signature_of_its_first_time() {
    let (store, signer) = (FakeStore::default(), Signer::new(1));
    for text in ["v1", "v2", "v3"] {
        store.sign(signer.sign(text.as_bytes()));
    }
    store.publish("v1");
    let mut object = Watching::signed(&store, nothing_kept(), &[signer.required()]);
    let begun = tokio::time::Instant::now();
    assert_eq!(object.next().await, "v1");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_newest_version_that_is_signed_is_looked_for() {
    let (store, signer) = (FakeStore::default(), Signer::new(1));
    for text in ["v1", "v2", "v3"] {
        store.publish(text);
    }
    store.sign(signer.sign(b"v1"));
    let mut object = Watching::signed(&store, nothing_kept(), &[signer.required()]);
    assert!(object.next().await.contains("of another content"));
    let begun = tokio::time::Instant::now();
    object.judge(Verdict::OlderWanted(None)).await;
    assert!(object.next().await.contains("of another content"), "v2");
    object.judge(Verdict::OlderWanted(None)).await;
    assert_eq!(object.next().await, "older v1");
    assert!(begun.elapsed() < Duration::from_secs(1), "older versions are not waited for");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_goes_before_its_signature_comes_is_forgotten() {
    let (store, signer) = (FakeStore::default(), Signer::new(1));
    store.publish("v1");
    store.sign(signer.sign(b"v1"));
    let mut object = Watching::signed(&store, nothing_kept(), &[signer.required()]);
    assert_eq!(object.next().await, "v1");
    store.publish("v2");
    assert!(object.is_silent(20).await);
    store.change(|state| drop(state.versions.pop()));
    let before = store.looks();
    assert!(object.is_silent(600).await);
    assert!(store.looks() - before < 100, "{}", store.looks() - before);
}

#[tokio::test(start_paused = true)]
async fn what_served_last_is_verified_again_with_the_signature_that_is_kept_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = || Kept::open(Some(folder.path().to_owned()));
    let (store, signer, other) = (FakeStore::default(), Signer::new(1), Signer::new(2));
    store.publish("v1");
    store.sign(signer.sign(b"v1"));
    let mut object = Watching::signed(&store, kept(), &[signer.required()]);
    assert_eq!(object.next().await, "v1");
    object.judge(Verdict::Good(Digest::of(b"v1"))).await;
    object.look().await;
    store.change(|state| state.is_away = true);
    let mut object = Watching::signed(&store, kept(), &[signer.required()]);
    assert_eq!(object.next().await, "kept v1");
    let mut object = Watching::signed(&store, kept(), &[other.required()]);
    assert_eq!(object.next().await, "away: away", "the manifest has another key now");
}

#[tokio::test]
async fn an_event_of_a_signature_is_one_of_its_object() {
    let (changes, _received) = mpsc::channel(16);
    let registry = ObjectRegistry::new(changes, None);
    let name = |key: &str| ObjectName::new("bucket", key).expect("a name");
    let settings = manifest::Registry { endpoint: "http://127.0.0.1:9".parse().ok(), ..Default::default() };
    let signed: Arc<[Required]> = [Signer::new(1).required()].into();
    let objects = [(name("signed.wasm"), signed), (name("other.wasm"), Arc::default())];
    registry.watch(objects.into(), &settings);
    for (key, concerns) in [
        ("signed.wasm", true),
        ("signed.wasm.minisig", true),
        ("other.wasm", true),
        ("other.wasm.minisig", false),
        ("third.wasm", false),
        ("third.wasm.minisig", false),
    ] {
        assert_eq!(registry.watches(&name(key)), concerns, "{key}");
    }
}
