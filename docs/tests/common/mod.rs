//! Finds the files that the checks read.

#![allow(dead_code)] // Each test program uses a part of it.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("docs is in the workspace").to_owned()
}

/// Adds to `files` the files below `folder` whose names end in `extension`, without build products.
pub(crate) fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|it| it == extension) {
            files.push(path);
        }
    }
}

/// Returns the source files of all packages.
pub(crate) fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for package in ["protocol", "reactor", "servers", "clients", "benches", "docs", "testkit"] {
        collect(&root().join(package), "rs", &mut files);
    }
    assert!(files.len() > 30, "only {} files were found", files.len());
    files
}
