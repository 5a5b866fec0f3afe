//! Components, and the manifest, in files.
//!
//! Files are looked at, not listened to: a look every quarter of a second costs microseconds, works
//! on every file system and through every symbolic link (Kubernetes swaps one to update a
//! ConfigMap), and cannot die. A file counts as changed when it has looked the same twice, so that
//! one which is still being written is left alone, and when its bytes differ.
//!
//! A component that has to be signed is looked at together with its signature. The two are replaced one after the
//! other, so a signature that does not fit may be followed by one that does, or by the component that it is of.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::signature::{self, Required, Unsigned};
use super::{Change, Content, Found, Standing};
use crate::manifest::Component;
use crate::record::revision::{Digest, Origin};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long a component may be there without a signature that fits, before it is refused.
const SIGNATURE_PATIENCE: Duration = Duration::from_secs(5);

/// The files that are watched, each with the keys that it has to be signed with.
type Paths = BTreeMap<PathBuf, Arc<[Required]>>;

/// Looks at files on a thread of its own, since a file system may hang. It ends with its handle or
/// with the receiver of its changes.
pub struct FileRegistry {
    /// What is to be watched. The newest set counts, so nobody ever waits for the thread.
    paths: watch::Sender<Paths>,
    thread: Thread,
}

impl FileRegistry {
    pub fn start(changes: mpsc::Sender<Change>) -> io::Result<Self> {
        let (paths, wanted) = watch::channel(Paths::new());
        let builder = std::thread::Builder::new().name("tidegate-files".to_owned());
        let handle = builder.spawn(move || look(wanted, &changes))?;
        Ok(Self { paths, thread: handle.thread().clone() })
    }

    /// Replaces the files that are watched, each with the keys that it has to be signed with. The first look at a new
    /// one, or at one with other keys, is taken at once, and reported as a change.
    pub fn watch(&self, paths: Paths) {
        self.paths.send_replace(paths);
        self.thread.unpark();
    }
}

fn look(mut wanted: watch::Receiver<Paths>, changes: &mpsc::Sender<Change>) {
    let mut watches: BTreeMap<PathBuf, Watch> = BTreeMap::new();
    let mut next_look = Instant::now();
    loop {
        match wanted.has_changed() {
            Ok(true) => {
                let paths = wanted.borrow_and_update();
                watches.retain(|path, watch| paths.get(path) == Some(&watch.required));
                for (path, required) in paths.iter() {
                    watches.entry(path.clone()).or_insert_with(|| Watch::new(path, required.clone()));
                }
            }
            Ok(false) => {}
            Err(_) => return,
        }
        // Files that are known are looked at in even steps, whatever wakes the thread: two looks
        // that tell the same must lie apart.
        let is_time = Instant::now() >= next_look;
        for (path, watch) in watches.iter_mut().filter(|(_, watch)| is_time || watch.seen.is_none()) {
            if let Some(found) = watch.look(path, Instant::now())
                && changes.blocking_send(Change { source: Component::File(path.clone()), found }).is_err()
            {
                return;
            }
        }
        if is_time {
            next_look = Instant::now() + LOOK;
        }
        std::thread::park_timeout(next_look.saturating_duration_since(Instant::now()));
    }
}

/// What is known of one file.
struct Watch {
    required: Arc<[Required]>,
    /// Where the signature is. [`None`]: it needs none.
    signature: Option<PathBuf>,
    seen: Option<Looks>,
    /// The look whose content was reported, or is in doubt.
    read: Option<Looks>,
    /// The content that was reported.
    digest: Option<Digest>,
    /// Since when no signature fits, and why.
    doubt: Option<(Instant, Unsigned)>,
}

/// How the file looks, and its signature.
type Looks = (Look, Look);

/// What tells whether a file is the same as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Missing,
    File { device: u64, inode: u64, bytes: u64, modified_ns: i128, changed_ns: i128 },
}

impl Look {
    fn at(path: &Path) -> Self {
        let Ok(metadata) = fs::metadata(path) else { return Self::Missing };
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self::File {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Watch {
    fn new(path: &Path, required: Arc<[Required]>) -> Self {
        let signature = (!required.is_empty()).then(|| signature::beside_file(path));
        Self { required, signature, seen: None, read: None, digest: None, doubt: None }
    }

    fn look(&mut self, path: &Path, now: Instant) -> Option<Found> {
        let look = self.looks(path);
        let first = self.seen.is_none();
        let settled = self.seen.replace(look) == Some(look);
        if !(first || settled) {
            return None;
        }
        if self.read == Some(look) {
            let (_, unsigned) = self.doubt.take_if(|(since, _)| now >= *since + SIGNATURE_PATIENCE)?;
            self.digest = None;
            return Some(Found::Nothing(unsigned.to_string()));
        }
        let read = fs::read(path);
        let signature = self.signature.as_deref().and_then(read_signature);
        // Written to while it was read: the next look decides.
        if self.looks(path) != look {
            return None;
        }
        self.read = Some(look);
        match read {
            Ok(bytes) => self.take(path, bytes, signature.as_slice(), now),
            Err(error) => {
                (self.digest, self.doubt) = (None, None);
                Some(Found::Nothing(format!("cannot read {}: {error}", path.display())))
            }
        }
    }

    fn looks(&self, path: &Path) -> Looks {
        (Look::at(path), self.signature.as_deref().map_or(Look::Missing, Look::at))
    }

    fn take(&mut self, path: &Path, bytes: Vec<u8>, signatures: &[String], now: Instant) -> Option<Found> {
        let digest = Digest::of(&bytes);
        if self.digest == Some(digest) {
            // Its signature fitted. If it was replaced, it is that of the content which comes next.
            self.doubt = None;
            return None;
        }
        if let Err(unsigned) = signature::verify(&path.display(), &self.required, signatures, &bytes) {
            let since = self.doubt.take().map_or(now, |(since, _)| since);
            self.doubt = Some((since, unsigned));
            return None;
        }
        (self.digest, self.doubt) = (Some(digest), None);
        Some(Found::Content(Content {
            bytes: bytes.into(),
            digest,
            origin: Origin::File,
            published_ms: None,
            standing: Standing::Newest,
        }))
    }
}

/// The text of a signature, or its beginning if it is too long for one.
fn read_signature(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(signature::MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::signature::tests::Signer;

    fn unsigned(path: &Path) -> Watch {
        Watch::new(path, Arc::default())
    }

    fn content(watch: &mut Watch, path: &Path) -> Option<Result<Vec<u8>, ()>> {
        watch.look(path, Instant::now()).map(|found| match found {
            Found::Content(content) => Ok(content.bytes.to_vec()),
            _ => Err(()),
        })
    }

    #[test]
    fn a_file_is_reported_once_and_again_when_its_bytes_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let mut watch = unsigned(&path);
        assert_eq!(content(&mut watch, &path), Some(Err(())), "missing at first");
        assert_eq!(content(&mut watch, &path), None);
        fs::write(&path, "one").expect("written");
        assert_eq!(content(&mut watch, &path), None, "it may still be written to");
        assert_eq!(content(&mut watch, &path), Some(Ok(b"one".to_vec())));
        assert_eq!(content(&mut watch, &path), None);
        fs::write(&path, "more").expect("written");
        content(&mut watch, &path);
        assert_eq!(content(&mut watch, &path), Some(Ok(b"more".to_vec())));
    }

    #[test]
    fn the_same_bytes_again_are_no_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("written");
        let mut watch = unsigned(&path);
        assert_eq!(content(&mut watch, &path), Some(Ok(b"one".to_vec())), "the first look is enough");
        fs::rename(&path, folder.path().join("b")).expect("renamed");
        fs::write(&path, "one").expect("written");
        assert_eq!((content(&mut watch, &path), content(&mut watch, &path)), (None, None));
    }

    /// A component that has to be signed, at times that a test chooses.
    struct Signed {
        folder: tempfile::TempDir,
        watch: Watch,
        start: Instant,
    }

    impl Signed {
        fn new(signer: &Signer) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let watch = Watch::new(&folder.path().join("a"), [signer.required()].into());
            Self { folder, watch, start: Instant::now() }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.path().join(name), text).expect("written");
        }

        /// What two looks after so many seconds find.
        fn look(&mut self, seconds: u64) -> Option<Result<Vec<u8>, String>> {
            let (path, now) = (self.folder.path().join("a"), self.start + Duration::from_secs(seconds));
            let found = self.watch.look(&path, now).or_else(|| self.watch.look(&path, now))?;
            Some(match found {
                Found::Content(content) => Ok(content.bytes.to_vec()),
                Found::Nothing(reason) => Err(reason),
                other => panic!("{other:?}"),
            })
        }
    }

    #[test]
    fn a_component_is_taken_when_its_signature_fits_whichever_comes_first() {
        let signer = Signer::new(1);
        let mut signed = Signed::new(&signer);
        signed.write("a", "one");
        assert_eq!(signed.look(0), None, "its signature may still come");
        signed.write("a.minisig", &signer.sign(b"one"));
        assert_eq!(signed.look(1), Some(Ok(b"one".to_vec())));
        signed.write("a.minisig", &signer.sign(b"three"));
        assert_eq!((signed.look(2), signed.look(60)), (None, None), "what fitted goes on");
        signed.write("a", "three");
        assert_eq!(signed.look(61), Some(Ok(b"three".to_vec())));
    }

    #[test]
    fn a_component_without_a_signature_that_fits_is_refused_after_a_while_and_taken_when_one_does() {
        let (signer, other) = (Signer::new(1), Signer::new(2));
        let mut signed = Signed::new(&signer);
        signed.write("a", "one");
        signed.write("a.minisig", &other.sign(b"one"));
        assert_eq!((signed.look(0), signed.look(4)), (None, None));
        let refused = signed.look(5).expect("a reason").expect_err("it is not signed with this key");
        assert!(refused.contains("is by the key"), "{refused}");
        assert_eq!(signed.look(6), None, "it is said once");
        signed.write("a.minisig", &signer.sign(b"one"));
        assert_eq!(signed.look(7), Some(Ok(b"one".to_vec())));
        signed.write("a", "more");
        assert_eq!((signed.look(8), signed.look(12)), (None, None));
        assert!(signed.look(13).is_some_and(|found| found.is_err_and(|reason| reason.contains("another content"))));
        signed.write("a", "one");
        assert_eq!(signed.look(14), Some(Ok(b"one".to_vec())), "it was refused meanwhile");
    }

    #[test]
    fn a_swapped_symbolic_link_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        for version in ["1", "2"] {
            fs::create_dir(folder.path().join(version)).expect("a folder");
            fs::write(folder.path().join(version).join("a"), version).expect("written");
        }
        let link = |to: &str| {
            let new = folder.path().join("new");
            std::os::unix::fs::symlink(to, &new).expect("a link");
            fs::rename(new, folder.path().join("data")).expect("renamed");
        };
        link("1");
        let path = folder.path().join("data").join("a");
        let mut watch = unsigned(&path);
        assert_eq!(content(&mut watch, &path), Some(Ok(b"1".to_vec())));
        link("2");
        content(&mut watch, &path);
        assert_eq!(content(&mut watch, &path), Some(Ok(b"2".to_vec())));
    }
}
