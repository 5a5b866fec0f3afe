//! Files that are replaced atomically, and paths in the form that people use.
//!
//! A program that reads the file meanwhile sees the old content or the new content, never half of it. A pipe
//! or a device cannot be replaced, so it is written into.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The new content of a file. [`Replacement::finish`] puts it in the place of the old content. If it is dropped
/// before that, or if nothing was written, the file stays as it was.
pub struct Replacement(Target);

enum Target {
    /// The content is written to another file in the same folder: only there a rename is atomic.
    File {
        place: PathBuf,
        aside: Option<NamedTempFile>,
    },
    Stream(File),
}

impl Replacement {
    /// Begins to replace a file. The file need not exist, its folder must. A symbolic link stays, and the file
    /// that it points to is replaced. `/dev/stdout` and its like are written into even where they lead to a
    /// file, because others may write to it too.
    pub fn begin(path: &Path) -> io::Result<Self> {
        if let Some(file) = fs::metadata(path).ok().and_then(|found| own_output(&found)) {
            return Ok(Self(Target::Stream(file)));
        }
        // The path itself is opened, because the pipe of a redirected /dev/stdout has no other path.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Ok(Self(Target::Stream(File::options().write(true).open(path)?)));
        }
        Ok(Self(Target::File { place: place(path)?, aside: None }))
    }

    /// Writes everything to the disk. This takes long, and saves that time at the end.
    pub fn sync(&self) -> io::Result<()> {
        match &self.0 {
            Target::File { aside: Some(aside), .. } => aside.as_file().sync_all(),
            Target::File { aside: None, .. } | Target::Stream(_) => Ok(()),
        }
    }

    /// Puts the new content in its place, with the permissions of the old file.
    pub fn finish(self) -> io::Result<()> {
        self.sync()?;
        let Target::File { place, aside: Some(aside) } = self.0 else { return Ok(()) };
        if let Ok(found) = fs::metadata(&place) {
            aside.as_file().set_permissions(found.permissions())?;
        }
        aside.persist(place)?;
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let (place, aside) = match &mut self.0 {
            Target::Stream(file) => return Ok(file),
            Target::File { place, aside } => (place, aside),
        };
        let aside = match aside {
            Some(aside) => aside,
            None => aside.insert(beside(place)?),
        };
        Ok(aside.as_file_mut())
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    /// Does nothing: there is no buffer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output or standard error, whichever goes to this file. `None`: neither does.
pub fn own_output(found: &Metadata) -> Option<File> {
    let handles = [io::stdout().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()];
    let is_it = |file: &File| file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()));
    handles.into_iter().flatten().map(File::from).find(is_it)
}

/// A new file in the folder of another one. The umask decides who may read it, as it does for any new file.
fn beside(place: &Path) -> io::Result<NamedTempFile> {
    let permissions = fs::Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(".tidegate-").permissions(permissions).tempfile_in(folder(place))
}

/// Where a path leads. A link may point to a file that is not there yet.
fn place(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => place(&folder(path).join(target)),
            Err(_) => Ok(path.to_owned()),
        },
        found => found,
    }
}

/// The folder that a file lies in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A folder as the beginning of a path, the way a person writes it: `a.wasm` and not `./a.wasm`.
pub fn base(folder: &Path) -> &Path {
    if folder == Path::new(".") { Path::new("") } else { folder }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    fn replace(path: &Path, content: &str) -> io::Result<()> {
        let mut replacement = Replacement::begin(path)?;
        replacement.write_all(content.as_bytes())?;
        replacement.finish()
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("a text")
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_permissions() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, plain] = ["a", "plain"].map(|name| folder.path().join(name));
        let mode = |path: &Path| fs::metadata(path).expect("is there").mode() & 0o777;
        fs::write(&plain, "").expect("written");
        replace(&path, "old").expect("replaced");
        assert_eq!(mode(&path), mode(&plain), "a new file is as any other");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        let mut reader = File::open(&path).expect("opens");
        replace(&path, "newer").expect("replaced");
        let mut seen = String::new();
        reader.read_to_string(&mut seen).expect("a text");
        assert_eq!((seen.as_str(), text(&path).as_str(), mode(&path)), ("old", "newer", 0o640));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing else is left there");
    }

    #[test]
    fn what_is_not_finished_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "old").expect("written");
        let mut replacement = Replacement::begin(&path).expect("begins");
        replacement.write_all(b"newer").expect("written");
        drop(replacement);
        Replacement::begin(&path).expect("begins").finish().expect("nothing was written");
        assert_eq!(text(&path), "old");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_link_stays_and_what_it_points_to_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("deeper")).expect("a folder");
        symlink("deeper/a", at("link")).expect("linked");
        symlink("link", at("further")).expect("linked");
        for (link, content) in [("further", "made"), ("link", "replaced")] {
            replace(&at(link), content).expect("replaced");
            assert_eq!(text(&at("deeper/a")), content);
            assert!(at("link").is_symlink() && at("further").is_symlink(), "{content}");
        }
    }

    #[test]
    fn a_pipe_is_written_into() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo starts").success());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || text(&path)
        });
        replace(&path, "through").expect("written");
        // First, because of a pipe that was replaced the reader never hears.
        assert!(fs::metadata(&path).expect("is there").file_type().is_fifo());
        assert_eq!(reader.join().expect("reads"), "through");
    }

    #[test]
    fn a_pipe_without_a_name_is_written_into() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        replace(Path::new(&format!("/dev/fd/{}", writer.as_raw_fd())), "through").expect("written");
        drop(writer);
        let mut seen = String::new();
        reader.read_to_string(&mut seen).expect("a text");
        assert_eq!(seen, "through");
    }

    #[test]
    fn what_can_be_neither_replaced_nor_written_into_is_refused_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let _listener = UnixListener::bind(&path).expect("bound");
        assert!(replace(&path, "x").is_err());
        assert!(fs::metadata(&path).expect("is there").file_type().is_socket());
        assert!(replace(folder.path(), "x").is_err(), "a folder is no file");
    }

    #[test]
    fn the_folder_of_the_process_is_left_out_of_paths() {
        for (folder, expected) in [(".", "a"), ("./", "a"), ("b", "b/a"), ("..", "../a")] {
            assert_eq!(base(Path::new(folder)).join("a"), Path::new(expected), "{folder}");
        }
    }
}
