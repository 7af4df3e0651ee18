//! Random changes, of which the watch is told all, some or nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use protocol::Random;
use testkit::Folder;

use super::mirror::{Watched, exchange, find};
use crate::watch::change::FileKind;

/// How many random sequences are tried.
const SEEDS: u64 = 16;

/// Makes one random change in a directory. Some fail, as when a directory were to be moved into itself.
fn change(random: &mut Random, root: &Path, outside: &Path) {
    let all: Vec<(PathBuf, FileKind)> = find(root).into_iter().collect();
    let any = |random: &mut Random| all[random.index(all.len())].0.clone();
    let directories: Vec<&PathBuf> =
        all.iter().filter(|it| it.1 == FileKind::Directory).map(|it| &it.0).collect();
    // Few names, so that they are used again.
    let name = format!("n{}", random.below(12));
    let new = directories[random.index(directories.len())].join(name);
    let old = any(random);
    let _ = match random.below(14) {
        0..=2 => fs::create_dir(&new),
        3..=5 => fs::write(&new, random.bytes(3)),
        6 | 7 if old != root => fs::rename(&old, &new),
        8 if old != root => fs::remove_dir_all(&old).or_else(|_| fs::remove_file(&old)),
        9 => symlink(random.pick(&["n1", "n2", "../n3", "../n4/n5"]), &new),
        10 if old != root => fs::rename(&old, outside.join(format!("n{}", random.below(5)))),
        11 => fs::rename(outside.join(format!("n{}", random.below(5))), &new),
        12 if old != root => exchange(&old, &any(random)),
        13 if old != root => {
            let outer = outside.join(format!("n{}", random.below(5)));
            if random.one_in(2) { exchange(&old, &outer) } else { exchange(&outer, &old) }
        }
        _ => Ok(()),
    };
}

#[test]
fn the_names_are_right_in_the_end_whatever_events_are_lost() {
    let mut overruns = 0;
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let folder = Folder::new("watch-random");
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        for path in [&root, &outside] {
            fs::create_dir(path).expect("it is writable");
        }
        let mut watched = Watched::new(&root);
        for _ in 0..40 {
            for _ in 0..random.below(20) {
                change(&mut random, &root, &outside);
                match random.below(12) {
                    0 => watched.apply_some(usize::MAX),
                    // P30: what comes after these was lost.
                    1 => watched.apply_some(random.index(6)),
                    2 | 3 => watched.scan(random.index(4)),
                    _ => {}
                }
            }
            if random.one_in(3) {
                watched.apply_some(random.index(10));
            }
            watched.settle();
        }
        overruns += watched.overruns;
    }
    assert!(overruns > 330, "{overruns}");
}
