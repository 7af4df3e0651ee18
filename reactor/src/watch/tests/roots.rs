//! What becomes of the directory in which a path was given, and of limits that are just met.

use std::fs;
use std::time::Instant;

use testkit::Folder;

use super::mirror::{LOST, Watched};
use crate::watch::limits::TreeOptions;
use crate::watch::tree::Tree;

/// P30: the event that ends the watch is one of those that are lost.
#[test]
fn the_loss_of_a_root_is_noticed_though_its_events_are_lost() {
    let folder = Folder::new("watch-lost-root");
    let parent = folder.path().join("parent");
    let root = parent.join("root");
    fs::create_dir_all(root.join("deep")).expect("it is writable");
    let mut watched = Watched::new(&root);
    assert_eq!(watched.mirror.0.len(), 2);
    fs::remove_dir_all(&parent).expect("it is writable");
    watched.apply_some(0);
    while watched.tree.is_scanning() {
        watched.scan(1);
    }
    assert_eq!((watched.mirror.0.len(), watched.overruns), (0, 1));
    assert!(watched.tree.is_over(), "nothing is left that could be watched");
}

/// P30: the same, when another directory has taken the place of the one in which the root was.
#[test]
fn a_root_that_was_replaced_while_events_were_lost_is_read_again() {
    let folder = Folder::new("watch-replaced-root");
    let parent = folder.path().join("parent");
    let root = parent.join("tree");
    fs::create_dir_all(root.join("old")).expect("it is writable");
    let mut watched = Watched::new(&root);
    fs::rename(&parent, folder.path().join("away")).expect("it moves");
    fs::create_dir_all(root.join("new")).expect("it is writable");
    watched.apply_some(0);
    watched.settle();
    // It is watched where it is now, and not where it was.
    fs::write(root.join("new/file"), "").expect("it is writable");
    fs::write(folder.path().join("away/tree/old/file"), "").expect("it is writable");
    watched.settle();
}

#[test]
fn watches_that_are_as_many_as_allowed_survive_a_loss() {
    let folder = Folder::new("watch-exactly");
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("deep")).expect("it is writable");
    // The folder, in which the path was given, the path, and what is in it.
    let options = TreeOptions { watches_max: 3, ..TreeOptions::DEFAULT };
    let mut tree = Tree::new(options, &[root], None).expect("it can be watched");
    tree.scan(1000).expect("no limit is reached");
    assert_eq!(tree.watches(), 3);
    tree.apply(&LOST, Instant::now()).expect("it is one");
    tree.scan(1000).expect("no limit is reached");
    assert_eq!((tree.watches(), tree.entries()), (3, 2));
}
