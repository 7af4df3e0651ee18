//! Files of the metadata that are whole, cut short, damaged, foreign and wrong.

use protocol::Random;
use protocol::mfs::{ChunkId, crc32};

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
