//! What the tests of both programs share: folders for reports, and the processes they start.

#![allow(dead_code)] // Each test program uses a part of it.

use std::fs;
use std::path::PathBuf;

use testkit::Folder;

/// Where a report goes: a folder that is not there yet, in one that is removed when this is dropped.
pub(crate) struct Report {
    _around: Folder,
    pub(crate) path: PathBuf,
}

impl Report {
    pub(crate) fn new(name: &str) -> Self {
        let around = Folder::new(name);
        Self { path: around.path().join("report"), _around: around }
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).expect("the comparison writes it")
    }
}
