//! What served last of each object, on the disk of this node: with it a node starts and serves while S3 is away.
//!
//! For each object there is a small file that says which content it was, and one with the bytes, which is named
//! after their digest. The digest is checked when they are read. Writes are atomic, so nodes may share a folder.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::manifest::ObjectName;
use crate::record::revision::{Digest, Origin};

/// Bytes that no object needs stay for so long, because another node may be about to need them.
const UNUSED: Duration = Duration::from_secs(600);

/// The folder of what is kept. Without one nothing is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: Option<PathBuf>,
}

/// What served last of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub object: String,
    pub digest: Digest,
    pub origin: Origin,
    /// When it was published, in milliseconds since 1970-01-01 UTC.
    pub published_ms: Option<i64>,
    /// The signatures that fitted, if it had to be signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<String>,
}

impl Kept {
    /// Makes the folder if it is not there. Only this user may read it. If that fails, nothing is kept, which is
    /// logged as a warning.
    pub fn open(folder: Option<PathBuf>) -> Self {
        let usable = folder.filter(|folder| {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            if let Err(error) = &made {
                tracing::warn!(
                    "no component is kept over a restart, because {} cannot be made: {error}",
                    folder.display()
                );
            }
            made.is_ok()
        });
        Self { folder: usable }
    }

    /// A file to download into. On the disk of the folder, so that it can be kept by renaming it.
    pub fn temporary(&self) -> io::Result<NamedTempFile> {
        match &self.folder {
            Some(folder) => NamedTempFile::new_in(folder),
            None => NamedTempFile::new(),
        }
    }

    /// What served last, if it is there and whole.
    pub fn load(&self, object: &ObjectName) -> Option<(Entry, Vec<u8>)> {
        let folder = self.folder.as_deref()?;
        let entry: Entry = serde_json::from_slice(&fs::read(entry_path(folder, object)).ok()?).ok()?;
        let bytes = fs::read(bytes_path(folder, &entry.digest)).ok()?;
        let is_whole = entry.object == object.to_string() && Digest::of(&bytes) == entry.digest;
        if !is_whole {
            tracing::warn!("what was kept of {object} in {} is damaged and not used", folder.display());
        }
        is_whole.then_some((entry, bytes))
    }

    /// Keeps a content in place of what was kept of its object before.
    pub fn keep(&self, object: &ObjectName, entry: &Entry, file: NamedTempFile) -> io::Result<()> {
        let Some(folder) = self.folder.as_deref() else { return Ok(()) };
        file.as_file().sync_all()?;
        file.persist(bytes_path(folder, &entry.digest))?;
        self.name(object, entry)
    }

    /// Says that a content which is kept already is that of the object.
    pub fn name(&self, object: &ObjectName, entry: &Entry) -> io::Result<()> {
        let Some(folder) = self.folder.as_deref() else { return Ok(()) };
        let text = serde_json::to_vec_pretty(entry)?;
        let file = NamedTempFile::new_in(folder)?;
        fs::write(file.path(), text)?;
        file.as_file().sync_all()?;
        file.persist(entry_path(folder, object))?;
        remove_unused(folder)
    }
}

fn entry_path(folder: &Path, object: &ObjectName) -> PathBuf {
    folder.join(format!("{}.json", Digest::of(object.to_string().as_bytes())))
}

fn bytes_path(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(format!("{digest}.wasm"))
}

/// Removes bytes that no object needs, and what a node left that was killed while it wrote.
fn remove_unused(folder: &Path) -> io::Result<()> {
    let (mut needed, mut others) = (BTreeSet::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "json") {
            // Another node may have replaced it meanwhile.
            let entry = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Entry>(&text).ok());
            needed.extend(entry.map(|entry| bytes_path(folder, &entry.digest)));
        } else {
            others.push(path);
        }
    }
    let is_old = |path: &Path| {
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > UNUSED))
    };
    for path in others.into_iter().filter(|path| !needed.contains(path) && is_old(path)) {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    fn object(key: &str) -> ObjectName {
        ObjectName::new("bucket", key).expect("a name")
    }

    fn entry(object: &ObjectName, text: &str) -> Entry {
        Entry {
            object: object.to_string(),
            digest: Digest::of(text.as_bytes()),
            origin: Origin::Version(text.to_owned()),
            published_ms: Some(1),
            signatures: vec![format!("signature of {text}")],
        }
    }

    fn keep(kept: &Kept, object: &ObjectName, text: &str) {
        let mut file = kept.temporary().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        kept.keep(object, &entry(object, text), file).expect("kept");
    }

    #[test]
    fn what_served_last_is_there_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Kept::open(Some(folder.path().join("kept")));
        let (one, two) = (object("one.wasm"), object("two.wasm"));
        assert_eq!(open().load(&one), None);
        keep(&open(), &one, "v1");
        keep(&open(), &one, "v2");
        assert_eq!(open().load(&one), Some((entry(&one, "v2"), b"v2".to_vec())));
        assert_eq!(open().load(&two), None);
    }

    #[test]
    fn what_is_damaged_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(Some(folder.path().to_owned()));
        let one = object("one.wasm");
        keep(&kept, &one, "v1");
        fs::write(bytes_path(folder.path(), &Digest::of(b"v1")), "v1, damaged").expect("written");
        assert_eq!(kept.load(&one), None);
        fs::write(entry_path(folder.path(), &one), "{").expect("written");
        assert_eq!(kept.load(&one), None);
    }

    #[test]
    fn bytes_that_no_object_needs_are_removed_after_a_while() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(Some(folder.path().to_owned()));
        let (one, two) = (object("one.wasm"), object("two.wasm"));
        keep(&kept, &one, "v1");
        keep(&kept, &two, "shared");
        keep(&kept, &one, "shared");
        let v1 = bytes_path(folder.path(), &Digest::of(b"v1"));
        assert!(v1.exists(), "another node may be about to need it");
        let old = SystemTime::now() - UNUSED * 2;
        for path in fs::read_dir(folder.path()).expect("there") {
            let path = path.expect("there").path();
            File::options().append(true).open(path).expect("there").set_modified(old).expect("dated");
        }
        keep(&kept, &one, "v2");
        assert!(!v1.exists());
        assert_eq!(kept.load(&two).map(|(_, bytes)| bytes), Some(b"shared".to_vec()), "the other object needs it");
    }
}
