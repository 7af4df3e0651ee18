//! Files of the metadata that are whole, cut short, damaged, foreign and wrong.

use std::time::Instant;

use protocol::Random;
use protocol::mfs::{ChunkId, crc32};

use super::super::checks::check_saved;
use super::super::snapshot::FORM;
use super::*;

fn saved() -> Vec<u8> {
    let mut tree = tree();
    let below = directory(&mut tree, ROOT, "below");
    let inode = file(&mut tree, below, "file");
    tree.symlink(NOW, &Credentials::ROOT, ROOT, b"link", b"below/file").expect("it is free");
    let chunk = ChunkId(1);
    tree.add_chunk(NOW, inode, 1, chunk).expect("it is a file");
    tree.acquire(NOW, 5, inode).expect("it is there");
    tree.unlink(NOW, &Credentials::ROOT, below, b"file").expect("it is there");
    tree.save()
}

#[test]
fn a_tree_that_was_saved_goes_on() {
    let mut tree = Tree::load(&saved(), TreeLimits::default()).expect("it was saved");
    assert_eq!(tree.sessions(), [5].into());
    assert_eq!(tree.opened_by(5).collect::<Vec<_>>(), [3]);
    assert_eq!(
        tree.read_link(found(&tree, ROOT, "link").expect("it is there")),
        Ok(&b"below/file"[..])
    );
    let used = tree.chunk(ChunkId(1)).expect("it is there");
    assert_eq!((used.inode, used.index), (3, 1));
    // New numbers go on behind the old ones, also those that are gone.
    tree.release(NOW, 5, 3).expect("it is open");
    assert_eq!(super::file(&mut tree, ROOT, "new"), 5);
}

#[test]
fn what_is_no_snapshot_is_refused_with_the_reason() {
    let file = saved();
    let load = |file: &[u8]| Tree::load(file, TreeLimits::default()).err();
    assert_eq!(load(b"MFSM NEW"), Some(SnapshotError::Foreign));
    for size in 0..file.len() {
        assert!(load(&file[..size]).is_some(), "{size} bytes");
    }
    let mut foreign = file.clone();
    foreign[..8].copy_from_slice(b"SESS 1.0");
    assert_eq!(load(&foreign), Some(SnapshotError::Foreign));
    for place in 8..file.len() {
        let mut damaged = file.clone();
        damaged[place] ^= 1;
        assert_eq!(load(&damaged), Some(SnapshotError::Damaged), "byte {place}");
    }
}

#[test]
fn a_wrong_file_with_a_right_crc_is_refused_or_a_tree() {
    let file = saved();
    let mut random = Random::new(17);
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..3000 {
        let mut wrong = file.clone();
        for _ in 0..=random.below(2) {
            // Behind the number of nodes, so the loop over them is short.
            let place = 16 + random.index(wrong.len() - 20);
            wrong[place] = random.number() as u8;
        }
        let end = wrong.len() - 4;
        let crc = crc32(&wrong[..end]).to_be_bytes();
        wrong[end..].copy_from_slice(&crc);
        check_saved(&wrong[FORM.len()..end], b"5|CREATE(1,new,1,420,0,0,0,0):9\n5|RELEASE(5,3)");
        match Tree::load(&wrong, TreeLimits::default()) {
            Err(SnapshotError::Tree(_)) => refused += 1,
            Err(error) => panic!("{error}"),
            Ok(loaded) => {
                taken += 1;
                let again = Tree::load(&loaded.save(), TreeLimits::default());
                assert_eq!(again.expect("it was saved").sums(), loaded.sums());
            }
        }
    }
    assert!(refused > 300 && taken > 300, "{refused} refused, {taken} taken");
}

/// Returns the file of a tree whose root is in `parent` and has one file, of this name.
fn with_one_file(parent: u32, name: &[u8]) -> Vec<u8> {
    let mut tree = tree();
    file(&mut tree, ROOT, "x");
    let mut content = tree.save();
    content.truncate(content.len() - 4);
    // The form, the next inode, the number of nodes, the inode, its attributes.
    let place = FORM.len() + 4 + 4 + 4 + protocol::mfs::ATTRIBUTES_SIZE;
    assert_eq!(content[place..place + 10], [0, 0, 0, 1, 0, 0, 0, 1, 1, b'x']);
    let start = [&parent.to_be_bytes()[..], &1_u32.to_be_bytes(), &[name.len() as u8], name];
    content.splice(place..place + 10, start.concat());
    content.extend_from_slice(&crc32(&content).to_be_bytes());
    content
}

#[test]
fn a_tree_with_a_name_that_no_entry_can_have_is_refused() {
    let load = |file: &[u8]| Tree::load(file, TreeLimits::default()).err();
    assert_eq!(load(&with_one_file(ROOT, b"other")), None);
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
        let error = SnapshotError::Tree("a name that no entry can have");
        assert_eq!(load(&with_one_file(ROOT, name)), Some(error), "{name:?}");
    }
    let error = SnapshotError::Tree("the root is in a directory");
    assert_eq!(load(&with_one_file(2, b"x")), Some(error));
}

#[test]
fn a_log_with_a_name_that_no_entry_can_have_does_not_fit() {
    let mut tree = tree();
    file(&mut tree, ROOT, "file");
    let before = tree.save();
    let long = "n".repeat(256);
    for name in ["", ".", "..", "a%2Fb", "%00", &long] {
        for change in [
            format!("CREATE(1,{name},1,420,0,0,0,0):3"),
            format!("SYMLINK(1,{name},path,0,0):3"),
            format!("LINK(2,1,{name})"),
            format!("MOVE(1,file,1,{name}):2"),
        ] {
            let refused = tree.replay(format!("5|{change}").as_bytes());
            assert_eq!(refused, Err(Mismatch("a name that an entry can have")), "{change}");
        }
    }
    let refused = tree.replay(format!("5|SETXATTR(2,{long},value,0)").as_bytes());
    assert_eq!(refused, Err(Mismatch("a name that an attribute can have")));
    assert!(tree.save() == before, "it is as it was");
}

/// Tells how long the loop stands still while a large tree is saved. The book has the figure.
#[test]
#[ignore = "measures"]
fn the_time_that_saving_a_large_tree_takes() {
    const FILES: usize = 200_000;
    let mut tree = tree();
    let directories: Vec<u32> =
        (0..200).map(|it| directory(&mut tree, ROOT, &format!("directory-{it}"))).collect();
    for number in 0..FILES {
        file(&mut tree, directories[number % 200], &format!("some-file-name-{number}"));
        // Nothing else takes what the log has.
        tree.take_lines();
    }
    let start = Instant::now();
    let saved = tree.save();
    let time = start.elapsed();
    println!("{FILES} files: {} bytes in {time:?}", saved.len());
    let loaded = Tree::load(&saved, TreeLimits::default()).expect("it was saved");
    assert_eq!((loaded.sums(), loaded.save() == saved), (tree.sums(), true));
}
