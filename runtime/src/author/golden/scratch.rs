//! Temporary folders for a case, in place of those that the function may write to.

use std::io;
use std::sync::Arc;

use tempfile::TempDir;

use crate::engine::Setup;
use crate::manifest::Function;

/// Empty folders, one for each that the function may write to. They are removed when this is dropped.
pub(super) struct Scratch {
    _folders: Vec<TempDir>,
}

impl Scratch {
    /// Replaces the folders that a function may write to. Folders for reading stay.
    pub(super) fn replace(setup: &mut Setup) -> io::Result<Self> {
        let mut folders = Vec::new();
        if setup.function.folders.values().any(|folder| folder.is_writable) {
            let mut function = Function::clone(&setup.function);
            for folder in function.folders.values_mut().filter(|folder| folder.is_writable) {
                let own = tempfile::tempdir()?;
                folder.path = own.path().to_owned();
                folders.push(own);
            }
            setup.function = Arc::new(function);
        }
        Ok(Self { _folders: folders })
    }
}
