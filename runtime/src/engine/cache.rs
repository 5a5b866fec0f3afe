//! The cache of compiled components on disk.
//!
//! The files contain native code that this process will run. So only this user may write to the folder, and
//! each file ends with a checksum of its content. The name of a file consists of the digest of the component
//! and a hash of everything that changes the compiled code: the version and settings of the engine, and the
//! processor.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::component::Component;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::record::revision::Digest;

const CHECKSUM_BYTES: usize = 8;
/// The maximum size of all files in the folder. Beyond it, the least recently used files are removed.
const MAX_BYTES: u64 = 1 << 30;
/// A temporary file of this age was left by a node that was killed while it wrote.
const STALE_TEMPORARY: Duration = Duration::from_secs(3_600);

pub(super) struct Cache {
    folder: PathBuf,
    /// A hash of the version and settings of the engine, and of the processor.
    compatibility: u64,
}

impl Cache {
    /// Returns `None` and logs a warning if the folder is not safe or cannot be used.
    pub(super) fn open(folder: &Path, engine: &wasmtime::Engine) -> Option<Self> {
        let mut hasher = Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        match check_folder(folder) {
            Ok(()) => Some(Self { folder: folder.to_owned(), compatibility: hasher.finish() }),
            Err(reason) => {
                tracing::warn!(
                    "every start compiles all components, because the cache {} cannot be used: {reason}",
                    folder.display()
                );
                None
            }
        }
    }

    pub(super) fn load(&self, engine: &wasmtime::Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        let bytes = fs::read(&path).ok()?;
        // The file that was used least recently is removed first. If this fails, the time of writing counts.
        let _ = File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        let (code, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
        if xxh3_64(code).to_le_bytes() != checksum {
            tracing::warn!("the cache file {} is damaged; the component is compiled again", path.display());
            let _ = fs::remove_file(&path);
            return None;
        }
        // SAFETY: `store` of this version of the engine wrote these bytes: only this user can write to the
        // folder, the file name contains the engine and the component, and the checksum matches.
        #[allow(unsafe_code)]
        unsafe { Component::deserialize(engine, code) }.ok()
    }

    /// Only logs an error: without the file, the next start takes longer, and nothing else changes.
    pub(super) fn store(&self, component: &Component, digest: &Digest) {
        if let Err(error) = self.try_store(component, digest) {
            tracing::warn!("cannot write a compiled component to {}: {error:#}", self.folder.display());
        }
    }

    fn try_store(&self, component: &Component, digest: &Digest) -> wasmtime::Result<()> {
        let code = component.serialize()?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&code)?;
        file.write_all(&xxh3_64(&code).to_le_bytes())?;
        file.as_file().sync_all()?;
        file.persist(self.path(digest))?;
        if let Err(error) = remove_old(&self.folder, MAX_BYTES) {
            tracing::warn!("cannot remove old files from {}: {error}", self.folder.display());
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}-{:016x}.cwasm", self.compatibility))
    }
}

/// Removes the least recently used compiled components until the others have at most `most_bytes` together.
/// The newest one always stays. Also removes the temporary files of nodes that were killed. If another node
/// uses a removed file, that node compiles the component again at its next start.
fn remove_old(folder: &Path, most_bytes: u64) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Another node may have removed the file meanwhile.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let modified = metadata.modified()?;
        if path.extension().is_some_and(|end| end == "cwasm") {
            files.push((modified, metadata.len(), path));
        } else if is_temporary(&path) && modified.elapsed().is_ok_and(|age| age > STALE_TEMPORARY) {
            let _ = fs::remove_file(&path);
        }
    }
    files.sort_unstable_by(|one, other| other.cmp(one));
    let mut total = 0;
    for (place, (_, bytes, path)) in files.into_iter().enumerate() {
        total += bytes;
        if total > most_bytes && place > 0 {
            tracing::debug!("removing {} from the cache, which is full", path.display());
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Whether [`tempfile`] chose the name.
fn is_temporary(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(".tmp"))
}

/// Creates the folder if it does not exist, and checks that no other user can write code to it.
fn check_folder(folder: &Path) -> Result<(), String> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| error.to_string())?;
    let metadata = fs::metadata(folder).map_err(|error| error.to_string())?;
    let probe = tempfile::NamedTempFile::new_in(folder).map_err(|error| error.to_string())?;
    let own = probe.as_file().metadata().map_err(|error| error.to_string())?.uid();
    if metadata.uid() != own {
        return Err("it belongs to another user".to_owned());
    }
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err("other users may write to it: run chmod go-w".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_files_are_removed_first() {
        let folder = tempfile::tempdir().expect("a folder");
        for (age_s, name) in [(30, "old.cwasm"), (10, "new.cwasm"), (20, "middle.cwasm"), (40, "foreign.txt")] {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).expect("written");
            let file = File::options().append(true).open(&path).expect("there");
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).expect("dated");
        }
        remove_old(folder.path(), 250).expect("removed");
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .expect("there")
            .map(|entry| entry.expect("there").file_name().into_string().expect("UTF-8"))
            .collect();
        left.sort();
        assert_eq!(left, ["foreign.txt", "middle.cwasm", "new.cwasm"]);
    }
}
