//! Compiled components on disk.
//!
//! What lies here is native code that will be run, so the folder belongs to this user alone and a
//! file carries a checksum of what was written. A file is named by the component's digest and by
//! everything that decides how it is compiled (the engine's version and settings, the processor).

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wasmtime::component::Component;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::revision::Digest;

const CHECKSUM_BYTES: usize = 8;

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
        let (code, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
        if xxh3_64(code).to_le_bytes() != checksum {
            tracing::warn!("{} is damaged and is written again", path.display());
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
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}-{:016x}.cwasm", self.compatibility))
    }
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
