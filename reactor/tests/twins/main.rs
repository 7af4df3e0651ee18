//! Runs the examples in `examples/coming_from` beside programs in C that do the same with libevent
//! and libev: given the same input, both write the same lines.
//!
//! The book shows them in "Coming from libevent and libev". A test uses what differs between the
//! libraries, such as the number of wakes, nowhere. Where the meaning differs, it says so.

mod libev;
mod libevent;
#[path = "../common/program.rs"]
mod program;
mod talk;

use std::collections::BTreeSet;
use std::path::Path;

/// Returns the names of the files in a folder of this package that have an extension.
fn names(folder: &str, extension: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let paths = files.map(|file| file.expect("it can be listed").path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .map(|path| path.file_stem().expect("a file has a name").to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_example_has_a_twin_and_a_test() {
    let examples = names("examples/coming_from", "rs");
    assert_eq!(examples, names("tests/twins", "c"));
    let tests = [include_str!("libev.rs"), include_str!("libevent.rs")].concat();
    for name in examples {
        assert!(tests.contains(&format!("\"{name}\"")), "{name} has no test");
    }
}
