//! Folders for a revision that must not change anything: see [`Setup::isolated`].

use std::sync::Arc;

use tempfile::TempDir;

use super::pool::Setup;
use crate::manifest::Function;

/// Empty folders, one for each that the function may write to. They are removed when this is dropped.
#[derive(Default)]
pub(super) struct Scratch {
    _folders: Vec<TempDir>,
}

impl Scratch {
    /// Replaces the folders that a function may write to. Folders for reading stay. Fails if the system cannot make
    /// temporary folders.
    pub(super) fn replace(setup: &mut Setup) -> Result<Self, String> {
        let mut folders = Vec::new();
        if setup.function.folders.values().any(|folder| folder.is_writable) {
            let mut function = Function::clone(&setup.function);
            for (seen, folder) in function.folders.iter_mut().filter(|(_, folder)| folder.is_writable) {
                let own = tempfile::tempdir()
                    .map_err(|error| format!("an empty folder in place of {seen} cannot be made: {error}"))?;
                folder.path = own.path().to_owned();
                folders.push(own);
            }
            setup.function = Arc::new(function);
        }
        Ok(Self { _folders: folders })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::manifest;
    use crate::record::Topics;

    #[test]
    fn folders_for_writing_are_empty_ones_that_vanish_and_those_for_reading_stay() {
        let own = tempfile::tempdir().expect("a folder");
        let path = own.path().display();
        fs::write(own.path().join("kept"), b"x").expect("a file");
        let text = format!(
            "[cluster.main]\nbrokers = \"localhost:9\"\n[function.f]\ncomponent = \"f.wasm\"\n\
             folders = {{ \"/data\" = {{ path = \"{path}\", write = true }}, \"/models\" = {{ path = \"{path}\" }} }}\n\
             [trigger.t]\nfunction = \"f\"\ntopics = [\"in\"]\non-exhausted = \"skip\"\n"
        );
        let manifest = manifest::parse(Path::new("tidegate.toml"), &text, &|_| None).expect("a good manifest");
        let mut setup = Setup {
            function: manifest.functions["f"].clone(),
            trigger: manifest.triggers["t"].clone(),
            topics: Arc::new(Topics::new(None, &[], None)),
            isolated: true,
        };
        let scratch = Scratch::replace(&mut setup).expect("folders");
        let folder = |seen: &str| setup.function.folders[seen].path.clone();
        assert_eq!(folder("/models"), own.path());
        let data = folder("/data");
        assert_eq!(fs::read_dir(&data).expect("it is there").count(), 0);
        drop(scratch);
        assert!(!data.exists() && own.path().join("kept").exists());
    }
}
