//! Folders that a case may write in, instead of those of the manifest.

use std::io;
use std::sync::Arc;

use tempfile::TempDir;

use crate::engine::Setup;
use crate::manifest::Function;

/// Empty folders, one for each that the function may write in. They are removed with this.
pub(super) struct Scratch {
    _folders: Vec<TempDir>,
}

impl Scratch {
    /// Gives a function folders of its own in place of those that it may write in. The ones that it only
    /// reads stay as they are.
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
