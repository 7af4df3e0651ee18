//! Moves, and what editors do.

use std::fs;
use std::path::Path;

use protocol::inotify::{Event, Events, Mask as Bits};
use testkit::Folder;

use super::mirror::{LOST, Watched, exchange};
use crate::watch::change::What;
use crate::watch::tree::Step;

/// Returns what the steps tell that are decided now.
fn told(watched: &mut Watched, folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let short = |path: &Path| path.strip_prefix(folder).expect("it is in it").display().to_string();
    while let Some(step) = watched.tree.next_step() {
        let Step::Changed(changed) = step else { panic!("{step:?}") };
        let what = match &changed.what {
            What::Moved { from } => format!("Moved from {}", short(from)),
            what => format!("{what:?}"),
        };
        lines.push(format!("{} {what}", short(&changed.path)));
    }
    lines
}

fn watched(folder: &Folder) -> Watched {
    for name in ["a/deep", "b"] {
        fs::create_dir_all(folder.path().join(name)).expect("it is writable");
    }
    Watched::new(folder.path())
}

fn rename(folder: &Folder, from: &str, to: &str) {
    fs::rename(folder.path().join(from), folder.path().join(to)).expect("it can be moved");
}

/// Applies the events that the kernel has, without looking at what they tell.
fn apply(watched: &mut Watched) {
    let bytes = watched.read();
    for event in Events::new(&bytes) {
        let event = event.expect("it is one");
        watched.tree.apply(&event, std::time::Instant::now()).expect("no limit is reached");
    }
}

#[test]
fn a_directory_that_is_moved_stays_watched_and_has_its_new_path() {
    let folder = Folder::new("watch-move");
    let mut watched = watched(&folder);
    rename(&folder, "a", "b/c");
    fs::write(folder.path().join("b/c/deep/file"), "").expect("it is writable");
    apply(&mut watched);
    let lines = told(&mut watched, folder.path());
    let expected = ["b/c Moved from a", "b/c/deep/file Created", "b/c/deep/file Written"];
    assert_eq!(lines, expected);
    assert!(!watched.tree.is_scanning(), "nothing has to be read again");
}

#[test]
fn the_first_half_of_a_move_waits_for_the_second_and_what_comes_after_it_too() {
    let folder = Folder::new("watch-halves");
    let mut watched = watched(&folder);
    rename(&folder, "a", "b/c");
    fs::write(folder.path().join("a"), "").expect("it is writable");
    let bytes = watched.read();
    let mut events: Vec<Event<'_>> = Events::new(&bytes).map(|it| it.expect("it is one")).collect();
    let at = events.iter().position(|event| event.mask.contains(Bits::MOVED_TO));
    // The second half comes last.
    let second = events.remove(at.expect("there is a second half"));
    for event in &events {
        watched.tree.apply(event, std::time::Instant::now()).expect("no limit is reached");
    }
    assert_eq!(told(&mut watched, folder.path()), [""; 0]);
    assert!(watched.tree.waits_until().is_some());
    watched.tree.apply(&second, std::time::Instant::now()).expect("no limit is reached");
    let expected = ["b/c Moved from a", "a Created", "a Written"];
    assert_eq!(told(&mut watched, folder.path()), expected);
    assert!(watched.tree.waits_until().is_none());
}

#[test]
fn a_name_without_a_second_half_was_moved_out_and_its_directory_is_watched_no_longer() {
    let (folder, outside) = (Folder::new("watch-out"), Folder::new("watch-outside"));
    let mut watched = watched(&folder);
    let before = watched.tree.watches();
    fs::rename(folder.path().join("a"), outside.path().join("a")).expect("it can be moved");
    apply(&mut watched);
    assert_eq!(told(&mut watched, folder.path()), [""; 0]);
    let until = watched.tree.waits_until().expect("it waits, but not for ever");
    watched.tree.expire(until);
    assert_eq!(told(&mut watched, folder.path()), ["a MovedOut"]);
    assert_eq!(watched.tree.watches(), before - 2);
    // Nothing is told of what happens there.
    fs::write(outside.path().join("a/deep/file"), "").expect("it is writable");
    apply(&mut watched);
    assert_eq!(told(&mut watched, folder.path()), [""; 0]);
}

#[test]
fn a_directory_that_comes_from_elsewhere_is_told_with_what_is_in_it() {
    let (folder, outside) = (Folder::new("watch-in"), Folder::new("watch-from"));
    let mut watched = watched(&folder);
    fs::create_dir_all(outside.path().join("x/y")).expect("it is writable");
    fs::rename(outside.path().join("x"), folder.path().join("x")).expect("it can be moved");
    apply(&mut watched);
    watched.tree.scan(100).expect("no limit is reached");
    assert_eq!(told(&mut watched, folder.path()), ["x MovedIn", "x/y Created"]);
}

#[test]
fn what_is_made_in_a_new_directory_before_it_is_watched_is_told_once() {
    let folder = Folder::new("watch-new");
    let mut watched = watched(&folder);
    fs::create_dir_all(folder.path().join("x/y")).expect("it is writable");
    fs::write(folder.path().join("x/y/file"), "").expect("it is writable");
    apply(&mut watched);
    // This comes after the directory is watched and before it is read: an event tells it too.
    fs::write(folder.path().join("x/late"), "").expect("it is writable");
    watched.tree.scan(100).expect("no limit is reached");
    apply(&mut watched);
    let lines = told(&mut watched, folder.path());
    let created: Vec<&str> = lines.iter().filter_map(|it| it.strip_suffix(" Created")).collect();
    let mut sorted = created.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["x", "x/late", "x/y", "x/y/file"], "{lines:?}");
}

/// Exchanges two names in a folder.
fn exchange_in(folder: &Folder, first: &str, second: &str) {
    exchange(&folder.path().join(first), &folder.path().join(second)).expect("they are there");
}

#[test]
fn two_names_that_change_places_are_not_created() {
    let folder = Folder::new("watch-exchange");
    fs::create_dir(folder.path().join("a")).expect("it is writable");
    for name in ["p", "q", "a/in_a"] {
        fs::write(folder.path().join(name), name).expect("it is writable");
    }
    let mut watched = watched(&folder);
    for [first, second] in [["p", "q"], ["a", "b"]] {
        exchange_in(&folder, first, second);
        apply(&mut watched);
        watched.tree.scan(100).expect("no limit is reached");
        let lines = told(&mut watched, folder.path());
        assert_eq!(lines, [format!("{second} Moved from {first}"), format!("{first} MovedIn")]);
    }
    // Both directories are watched, with their new paths.
    for name in ["a/new", "b/new", "b/deep/new"] {
        fs::write(folder.path().join(name), "").expect("it is writable");
    }
    apply(&mut watched);
    let lines = told(&mut watched, folder.path());
    let created: Vec<&str> = lines.iter().filter_map(|it| it.strip_suffix(" Created")).collect();
    assert_eq!(created, ["a/new", "b/new", "b/deep/new"]);
}

/// The events of an exchange are those of two moves, and the second name leaves after the first has come
/// to it.
#[test]
fn names_that_change_places_are_known_in_the_end_however_late_their_events_are() {
    // What happens to one of the names before the events are read.
    for gone in [None, Some("a"), Some("b")] {
        for is_scanned in [false, true] {
            let folder = Folder::new("watch-pairs");
            let mut watched = watched(&folder);
            exchange_in(&folder, "a", "b");
            if let Some(name) = gone {
                fs::remove_dir_all(folder.path().join(name)).expect("it is there");
            }
            if is_scanned {
                watched.apply(std::iter::once(LOST));
                watched.scan(1000);
            }
            let bytes = watched.read();
            for event in Events::new(&bytes) {
                watched.apply(std::iter::once(event.expect("it is one")));
            }
            // It compares what was told with the names that exist.
            watched.settle();
        }
    }
}

/// In one of both orders, the name leaves after it has come.
#[test]
fn a_name_that_changes_places_with_one_outside_is_replaced() {
    let (folder, outside) = (Folder::new("watch-within"), Folder::new("watch-without"));
    let mut watched = watched(&folder);
    let (inner, outer) = (folder.path().join("a"), outside.path().join("x"));
    fs::create_dir(&outer).expect("it is writable");
    for [first, second] in [[&inner, &outer], [&outer, &inner], [&outer, &inner]] {
        exchange(first, second).expect("they are there");
        // It compares what was told with the names that exist.
        watched.settle();
    }
}

/// P30: the link leads to the directory that it has replaced.
#[test]
fn a_directory_that_was_moved_is_found_though_its_name_leads_to_it_by_a_link() {
    let folder = Folder::new("watch-behind");
    fs::create_dir_all(folder.path().join("b/c/deep")).expect("it is writable");
    let mut watched = watched(&folder);
    rename(&folder, "b/c", "c");
    std::os::unix::fs::symlink("../c", folder.path().join("b/c")).expect("it is writable");
    watched.apply_some(0);
    watched.settle();
    fs::write(folder.path().join("c/deep/new"), "").expect("it is writable");
    watched.settle();
}

#[test]
fn what_a_scan_finds_in_a_directory_is_read_though_that_was_moved_meanwhile() {
    let folder = Folder::new("watch-reading");
    let mut watched = watched(&folder);
    fs::create_dir_all(folder.path().join("a/new/deep/below")).expect("it is writable");
    watched.apply_some(usize::MAX);
    // This opens the directory, and reads no name in it.
    watched.scan(1);
    rename(&folder, "a", "c");
    watched.scan(1000);
    watched.settle();
}

#[test]
fn a_directory_that_was_away_and_is_back_is_not_read_again() {
    let folder = Folder::new("watch-back");
    let mut watched = watched(&folder);
    rename(&folder, "a", "b/c");
    rename(&folder, "b/c", "a");
    apply(&mut watched);
    assert!(!watched.tree.is_scanning(), "nothing has to be read again");
    assert_eq!(told(&mut watched, folder.path()), ["b/c MovedIn", "b/c MovedOut"]);
    fs::write(folder.path().join("a/deep/file"), "").expect("it is writable");
    apply(&mut watched);
    let expected = ["a/deep/file Created", "a/deep/file Written"];
    assert_eq!(told(&mut watched, folder.path()), expected);
}

#[test]
fn a_directory_with_two_paths_that_is_moved_is_gone_at_both() {
    let folder = Folder::new("watch-two-paths");
    fs::create_dir_all(folder.path().join("a")).expect("it is writable");
    for name in ["x", "y"] {
        fs::write(folder.path().join("a").join(name), "").expect("it is writable");
    }
    std::os::unix::fs::symlink("a", folder.path().join("link")).expect("it is writable");
    let paths = ["a/x", "link/y"].map(|it| folder.path().join(it));
    let options = crate::watch::TreeOptions::DEFAULT;
    let mut tree = crate::watch::tree::Tree::new(options, &paths, None).expect("it is watched");
    while tree.is_scanning() {
        tree.scan(100).expect("it is read");
    }
    assert_eq!(tree.entries(), 2);
    // Both are one directory for the kernel.
    assert_eq!(tree.watches(), 1);
    rename(&folder, "a", "gone");
    let event = Event { watch: 1, mask: Bits::MOVE_SELF, cookie: 0, name: b"" };
    tree.apply(&event, std::time::Instant::now()).expect("no limit is reached");
    assert!(tree.entries() == 0 && tree.is_over(), "{} names", tree.entries());
}
