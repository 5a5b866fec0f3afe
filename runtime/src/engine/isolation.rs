//! Folders for a revision that must not change anything: see `Setup::isolated`.

use std::sync::Arc;

use tempfile::TempDir;

use crate::manifest::Function;

/// Empty folders, one for each that the function may write to. They are removed when this is dropped.
#[derive(Default)]
pub(super) struct Scratch {
    _folders: Vec<TempDir>,
}

impl Scratch {
    /// Replaces the folders that a function may write to. Folders for reading stay. Fails if the system cannot make
    /// temporary folders.
    pub(super) fn replace(function: &mut Arc<Function>) -> Result<Self, String> {
        let mut folders = Vec::new();
        if function.folders.values().any(|folder| folder.is_writable) {
            let mut own_folders = Function::clone(function);
            for (seen, folder) in own_folders.folders.iter_mut().filter(|(_, folder)| folder.is_writable) {
                let own = tempfile::tempdir()
                    .map_err(|error| format!("an empty folder in place of {seen} cannot be made: {error}"))?;
                folder.path = own.path().to_owned();
                folders.push(own);
            }
            *function = Arc::new(own_folders);
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
        let mut function = manifest.functions["f"].clone();
        let scratch = Scratch::replace(&mut function).expect("folders");
        let folder = |seen: &str| function.folders[seen].path.clone();
        assert_eq!(folder("/models"), own.path());
        let data = folder("/data");
        assert_eq!(fs::read_dir(&data).expect("it is there").count(), 0);
        drop(scratch);
        assert!(!data.exists() && own.path().join("kept").exists());
    }
}
