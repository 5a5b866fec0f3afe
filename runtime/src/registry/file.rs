//! Components, and the manifest, in files.
//!
//! Files are looked at, not listened to: a look every quarter of a second costs microseconds, works
//! on every file system and through every symbolic link (Kubernetes swaps one to update a
//! ConfigMap), and cannot die. A file counts as changed when it has looked the same twice, so that
//! one which is still being written is left alone, and when its bytes differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::{Change, Content, Found, Standing};
use crate::manifest::Component;
use crate::record::revision::{Digest, Origin};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Looks at files on a thread of its own, since a file system may hang. It ends with its handle or
/// with the receiver of its changes.
pub struct FileRegistry {
    /// What is to be watched. The newest set counts, so nobody ever waits for the thread.
    paths: watch::Sender<BTreeSet<PathBuf>>,
    thread: Thread,
}

impl FileRegistry {
    pub fn start(changes: mpsc::Sender<Change>) -> io::Result<Self> {
        let (paths, wanted) = watch::channel(BTreeSet::new());
        let builder = std::thread::Builder::new().name("tidegate-files".to_owned());
        let handle = builder.spawn(move || look(wanted, &changes))?;
        Ok(Self { paths, thread: handle.thread().clone() })
    }

    /// Replaces the files that are watched. The first look at a new one is taken at once, and
    /// reported as a change.
    pub fn watch(&self, paths: BTreeSet<PathBuf>) {
        self.paths.send_replace(paths);
        self.thread.unpark();
    }
}

fn look(mut wanted: watch::Receiver<BTreeSet<PathBuf>>, changes: &mpsc::Sender<Change>) {
    let mut watches: BTreeMap<PathBuf, Watch> = BTreeMap::new();
    let mut next_look = Instant::now();
    loop {
        match wanted.has_changed() {
            Ok(true) => {
                let paths = wanted.borrow_and_update();
                watches.retain(|path, _| paths.contains(path));
                for path in paths.iter() {
                    watches.entry(path.clone()).or_default();
                }
            }
            Ok(false) => {}
            Err(_) => return,
        }
        // Files that are known are looked at in even steps, whatever wakes the thread: two looks
        // that tell the same must lie apart.
        let is_time = Instant::now() >= next_look;
        for (path, watch) in watches.iter_mut().filter(|(_, watch)| is_time || watch.seen.is_none()) {
            if let Some(found) = watch.look(path)
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
#[derive(Default)]
struct Watch {
    seen: Option<Look>,
    /// The look whose content was reported.
    reported: Option<Look>,
    digest: Option<Digest>,
}

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
    fn look(&mut self, path: &Path) -> Option<Found> {
        let look = Look::at(path);
        let first = self.seen.is_none();
        let settled = self.seen.replace(look) == Some(look);
        if !(first || settled) || self.reported == Some(look) {
            return None;
        }
        let read = fs::read(path);
        // Written to while it was read: the next look decides.
        if Look::at(path) != look {
            return None;
        }
        self.reported = Some(look);
        match read {
            Ok(bytes) => {
                let digest = Digest::of(&bytes);
                let new = self.digest.replace(digest) != Some(digest);
                new.then(|| {
                    Found::Content(Content {
                        bytes: bytes.into(),
                        digest,
                        origin: Origin::File,
                        published_ms: None,
                        standing: Standing::Newest,
                    })
                })
            }
            Err(error) => {
                self.digest = None;
                Some(Found::Nothing(format!("cannot read {}: {error}", path.display())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(watch: &mut Watch, path: &Path) -> Option<Result<Vec<u8>, ()>> {
        watch.look(path).map(|found| match found {
            Found::Content(content) => Ok(content.bytes.to_vec()),
            _ => Err(()),
        })
    }

    #[test]
    fn a_file_is_reported_once_and_again_when_its_bytes_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let mut watch = Watch::default();
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
        let mut watch = Watch::default();
        assert_eq!(content(&mut watch, &path), Some(Ok(b"one".to_vec())), "the first look is enough");
        fs::rename(&path, folder.path().join("b")).expect("renamed");
        fs::write(&path, "one").expect("written");
        assert_eq!((content(&mut watch, &path), content(&mut watch, &path)), (None, None));
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
        let mut watch = Watch::default();
        assert_eq!(content(&mut watch, &path), Some(Ok(b"1".to_vec())));
        link("2");
        content(&mut watch, &path);
        assert_eq!(content(&mut watch, &path), Some(Ok(b"2".to_vec())));
    }
}
