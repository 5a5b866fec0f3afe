//! Compiled components on disk.
//!
//! What lies here is native code that will be run, so the folder belongs to this user alone and a
//! file carries a checksum of what was written. A file is named by the component's digest and by
//! everything that decides how it is compiled (the engine's version and settings, the processor).

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
/// What the folder may hold. When it is more, what was not used for longest goes.
const MAX_BYTES: u64 = 1 << 30;
/// A file that was not completed in so long never will be.
const ABANDONED: Duration = Duration::from_secs(3_600);

pub(super) struct Cache {
    folder: PathBuf,
    /// Tells apart code for different engines.
    compatibility: u64,
}

impl Cache {
    /// `None`, with a warning, where the folder cannot be trusted or used.
    pub(super) fn open(folder: &Path, engine: &wasmtime::Engine) -> Option<Self> {
        let mut hasher = Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        match trusted(folder) {
            Ok(()) => Some(Self { folder: folder.to_owned(), compatibility: hasher.finish() }),
            Err(reason) => {
                tracing::warn!("components are compiled at every start: cache {}: {reason}", folder.display());
                None
            }
        }
    }

    pub(super) fn load(&self, engine: &wasmtime::Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        let bytes = fs::read(&path).ok()?;
        // The time of its last use decides what goes first; without it, the time of writing does.
        let _ = File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        let (code, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
        if xxh3_64(code).to_le_bytes() != checksum {
            tracing::warn!("{} is damaged and is written again", path.display());
            let _ = fs::remove_file(&path);
            return None;
        }
        // SAFETY: these bytes were written by `store` of this version of the engine: the folder is
        // this user's alone, the name holds engine and component, the checksum fits.
        #[allow(unsafe_code)]
        unsafe { Component::deserialize(engine, code) }.ok()
    }

    /// A cache that cannot be written costs time only.
    pub(super) fn store(&self, component: &Component, digest: &Digest) {
        if let Err(error) = self.try_store(component, digest) {
            tracing::warn!("cannot keep a compiled component in {}: {error:#}", self.folder.display());
        }
    }

    fn try_store(&self, component: &Component, digest: &Digest) -> wasmtime::Result<()> {
        let code = component.serialize()?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&code)?;
        file.write_all(&xxh3_64(&code).to_le_bytes())?;
        file.as_file().sync_all()?;
        file.persist(self.path(digest))?;
        if let Err(error) = tidy(&self.folder, MAX_BYTES) {
            tracing::warn!("cannot tidy {}: {error}", self.folder.display());
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}-{:016x}.cwasm", self.compatibility))
    }
}

/// Removes compiled components, those first that were not used for longest, until the rest has at
/// most so many bytes, but for the newest. What a node wrote that was killed goes too. Another node that uses one of them compiles it again at its next start.
fn tidy(folder: &Path, most_bytes: u64) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Another node may be tidying too.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let modified = metadata.modified()?;
        if path.extension().is_some_and(|end| end == "cwasm") {
            files.push((modified, metadata.len(), path));
        } else if is_temporary(&path) && modified.elapsed().is_ok_and(|age| age > ABANDONED) {
            let _ = fs::remove_file(&path);
        }
    }
    files.sort_unstable_by(|one, other| other.cmp(one));
    let mut total = 0;
    for (place, (_, bytes, path)) in files.into_iter().enumerate() {
        total += bytes;
        if total > most_bytes && place > 0 {
            tracing::debug!("{} is removed from the cache", path.display());
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Named as [`tempfile`] does.
fn is_temporary(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(".tmp"))
}

/// Makes sure that nobody else can put code into the folder.
fn trusted(folder: &Path) -> Result<(), String> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| error.to_string())?;
    let metadata = fs::metadata(folder).map_err(|error| error.to_string())?;
    let probe = tempfile::NamedTempFile::new_in(folder).map_err(|error| error.to_string())?;
    let own = probe.as_file().metadata().map_err(|error| error.to_string())?.uid();
    if metadata.uid() != own {
        return Err("it belongs to another user".to_owned());
    }
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err("others may write to it: chmod go-w".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        for (age_s, name) in [(30, "old.cwasm"), (10, "new.cwasm"), (20, "middle.cwasm"), (40, "foreign.txt")] {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).expect("written");
            let file = File::options().append(true).open(&path).expect("there");
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).expect("dated");
        }
        tidy(folder.path(), 250).expect("tidied");
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .expect("there")
            .map(|entry| entry.expect("there").file_name().into_string().expect("UTF-8"))
            .collect();
        left.sort();
        assert_eq!(left, ["foreign.txt", "middle.cwasm", "new.cwasm"]);
    }
}
