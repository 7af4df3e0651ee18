//! Folders of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new and empty folder for temporary files, removed with all that is in it when dropped. No
/// other test uses it, even when the tests run twice at once. Its path is short enough for Unix
/// sockets.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a folder. Its name tells which test left it behind, where the test was killed.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("myevent-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A process of the same number may have been killed before it could clean up.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("the folder for temporary files is writable");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it, as text for arguments of programs.
    ///
    /// # Panics
    /// When the folder for temporary files has a name that is no text.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().expect("the path is text")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is no failure.
        let _ = fs::remove_dir_all(&self.0);
    }
}
