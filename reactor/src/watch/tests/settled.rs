//! What differs in the end, each name once.

use std::fs;
use std::path::Path;

use testkit::Folder;

use super::mirror::Watched;
use crate::watch::change::What;

/// Returns what a report tells.
fn told(watched: &mut Watched, folder: &Folder) -> Vec<String> {
    let short =
        |path: &Path| path.strip_prefix(folder.path()).expect("it is in it").display().to_string();
    let line = |change: crate::watch::Change| match &change.what {
        What::Moved { from } => format!("{} Moved from {}", short(&change.path), short(from)),
        what => format!("{} {what:?}", short(&change.path)),
    };
    watched.settle().into_iter().map(line).collect()
}

fn make(folder: &Folder, directory: &str) {
    fs::create_dir_all(folder.path().join(directory)).expect("it is writable");
}

fn write(folder: &Folder, file: &str, content: &str) {
    fs::write(folder.path().join(file), content).expect("it is writable");
}

fn rename(folder: &Folder, from: &str, to: &str) {
    fs::rename(folder.path().join(from), folder.path().join(to)).expect("it can be moved");
}

fn remove(folder: &Folder, directory: &str) {
    fs::remove_dir_all(folder.path().join(directory)).expect("it is there");
}

#[test]
fn what_is_in_a_new_directory_is_created_once() {
    let folder = Folder::new("settled-new");
    let mut watched = Watched::new(folder.path());
    make(&folder, "d/e");
    write(&folder, "d/f", "content");
    assert_eq!(told(&mut watched, &folder), ["d Created", "d/e Created", "d/f Created"]);
    // The same if each is watched before something is made in it.
    for directory in ["x", "x/y"] {
        make(&folder, directory);
        watched.apply_some(usize::MAX);
        watched.scan(100);
    }
    write(&folder, "x/y/f", "content");
    assert_eq!(told(&mut watched, &folder), ["x Created", "x/y Created", "x/y/f Created"]);
}

#[test]
fn what_is_moved_into_a_new_directory_is_told_once() {
    let folder = Folder::new("settled-into");
    write(&folder, "a", "1");
    make(&folder, "old/deep");
    let mut watched = Watched::new(folder.path());
    make(&folder, "d/e");
    watched.apply_some(usize::MAX);
    watched.scan(100);
    rename(&folder, "a", "d/e/c");
    rename(&folder, "old", "d/new");
    write(&folder, "d/new/deep/f", "2");
    let expected = [
        "d Created",
        "d/e Created",
        "d/e/c Moved from a",
        "d/new Moved from old",
        "d/new/deep/f Created",
    ];
    assert_eq!(told(&mut watched, &folder), expected);
    // Nobody has watched the directory when this was moved.
    make(&folder, "g/h");
    rename(&folder, "d/e/c", "g/h/a");
    let expected = ["g Created", "g/h Created", "g/h/a Created", "d/e/c Removed"];
    assert_eq!(told(&mut watched, &folder), expected);
}

#[test]
fn what_is_in_a_directory_that_was_moved_or_made_again_is_told_once() {
    let folder = Folder::new("settled-again");
    make(&folder, "d/e");
    write(&folder, "d/f", "1");
    write(&folder, "d/gone", "1");
    let mut watched = Watched::new(folder.path());
    rename(&folder, "d", "n");
    write(&folder, "n/f", "longer");
    make(&folder, "n/new");
    fs::remove_file(folder.path().join("n/gone")).expect("it is there");
    let expected = ["n Moved from d", "n/f Modified", "n/new Created", "n/gone Removed"];
    assert_eq!(told(&mut watched, &folder), expected);
    remove(&folder, "n");
    make(&folder, "n/e");
    write(&folder, "n/f", "1");
    let expected = ["n Removed", "n Created", "n/e Created", "n/f Created"];
    assert_eq!(told(&mut watched, &folder), expected);
}

#[test]
fn a_file_that_was_a_directory_meanwhile_is_modified() {
    let folder = Folder::new("settled-kinds");
    write(&folder, "f", "1");
    let mut watched = Watched::new(folder.path());
    let to_directory = || {
        fs::remove_file(folder.path().join("f")).expect("it is there");
        make(&folder, "f/below");
    };
    to_directory();
    watched.apply_some(usize::MAX);
    watched.scan(100);
    remove(&folder, "f");
    write(&folder, "f", "2");
    assert_eq!(told(&mut watched, &folder), ["f Modified"]);
    to_directory();
    let expected = ["f Removed", "f Created", "f/below Created"];
    assert_eq!(told(&mut watched, &folder), expected);
}
