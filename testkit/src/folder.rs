//! Temporary folders for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new, empty folder for temporary files. It is removed with its content on drop. No other test
/// uses it, even if the tests run twice at once. Its path is short enough for Unix sockets.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Creates a folder. If the test is killed, the name of the folder shows which test left it
    /// behind.
    ///
    /// # Panics
    /// Panics if the folder cannot be created.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("myevent-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A process with the same ID may have been killed before it could clean up.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("the folder for temporary files is writable");
        Self(path)
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of a file in the folder, as text for arguments of programs.
    ///
    /// # Panics
    /// Panics if the path of the folder for temporary files is not valid UTF-8.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().expect("the path is text")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A file that cannot be removed does not fail the test.
        let _ = fs::remove_dir_all(&self.0);
    }
}
