//! What has to hold for any bytes that are taken for a saved tree, or for a log of changes. The fuzz
//! targets `mfs_tree` and `mfs_log` check the same.

use protocol::mfs::{Credentials, crc32};

use super::change::Change;
use super::snapshot::FORM;
use super::{Mismatch, ROOT, Sums, Tree, TreeLimits};

/// When the tree of a log begins, in seconds.
const TIME: u32 = 1_000_000_000;

/// Reads any bytes as a tree that was saved: what comes between its form and its CRC-32. Then reads `log`
/// as the changes that were made since.
///
/// # Panics
/// When a tree that is taken is not saved to a file of the same tree, or a log does what it must not
/// ([`check_log`]).
pub(super) fn check_saved(content: &[u8], log: &[u8]) {
    let mut file = [FORM, content].concat();
    file.extend_from_slice(&crc32(&file).to_be_bytes());
    if let Ok(tree) = Tree::load(&file, TreeLimits::default()) {
        check_whole(&tree);
        replay(tree, log);
    }
}

/// Reads any bytes as the lines of a log, which begins with a tree that has only its root.
///
/// # Panics
/// When a change is not read from its own text, a change that does not fit alters the tree, or the tree
/// is not saved to a file of the same tree.
pub(super) fn check_log(log: &[u8]) {
    replay(Tree::new(TreeLimits::default(), TIME), log);
}

fn replay(mut tree: Tree, log: &[u8]) {
    for line in log.split(|byte| *byte == b'\n') {
        let before = (tree.save(), tree.sums());
        let read = std::str::from_utf8(line).ok().and_then(Change::parse);
        match (tree.replay(line), read) {
            (Ok(()), Some((time, change))) => {
                let text = change.line(time);
                assert_eq!(Change::parse(&text), Some((time, change)), "{text}");
                check_whole(&tree);
            }
            (Ok(()), None) => panic!("{} is no change", line.escape_ascii()),
            (Err(Mismatch(_)), _) => {
                assert!(before == (tree.save(), tree.sums()), "{} altered it", line.escape_ascii());
            }
        }
    }
    tree.sessions().into_iter().for_each(|session| {
        for inode in tree.opened_by(session).collect::<Vec<_>>() {
            tree.release(TIME, session, inode).expect("it is open");
        }
    });
    let Sums { sustained_files, sustained_size, .. } = tree.sums();
    assert_eq!((sustained_files, sustained_size), (0, 0), "files without a name are left");
    check_whole(&tree);
}

/// Checks that a tree is saved to a file of the same tree, and that its root can be used.
fn check_whole(tree: &Tree) {
    let file = tree.save();
    let again = Tree::load(&file, TreeLimits::default());
    let again = again.unwrap_or_else(|error| panic!("what was saved is no tree: {error}"));
    assert_eq!(again.sums(), tree.sums());
    assert!(again.save() == file, "another tree is saved");
    let up = tree.lookup(&Credentials::ROOT, ROOT, b"..");
    assert_eq!(up.map(|(inode, _)| inode), Ok(ROOT));
}

/// Checks any bytes for the fuzz target.
///
/// # Panics
/// When something does not hold.
#[cfg(fuzzing)]
pub fn check_mfs_tree(content: &[u8], log: &[u8]) {
    check_saved(content, log);
}

/// Checks any bytes for the fuzz target.
///
/// # Panics
/// When something does not hold.
#[cfg(fuzzing)]
pub fn check_mfs_log(log: &[u8]) {
    check_log(log);
}

#[cfg(test)]
mod tests {
    use protocol::Random;

    use super::*;

    /// What lines of a log consist of. Zero stands for a small number.
    const LINES: [&str; 20] = [
        "5|AMTIME(0,0,0)",
        "5|ACQUIRE(0,0)",
        "5|RELEASE(0,0)",
        "5|ATTR(0,493,0,0,0,0,0)",
        "5|CREATE(0,a,1,420,0,0,0,0):0",
        "5|CREATE(0,b,1,420,0,0,0,0):0",
        "5|CREATE(0,c,2,420,0,0,0,0):0",
        "5|CREATE(0,d,2,420,0,0,0,0):0",
        "5|SYMLINK(0,e,%2Fx,0,0):0",
        "5|LINK(0,0,b)",
        "5|UNLINK(0,a):0",
        "5|UNLINK(0,c):0",
        "5|MOVE(0,a,0,b):0",
        "5|MOVE(0,c,0,d):0",
        "5|LENGTH(0,99999999,0)",
        "5|TRUNCATE(0,0)",
        "5|WRITE(0,0,1,0):0",
        "5|UNLOCK(0)",
        "5|SETXATTR(0,user.a,xyz,0)",
        "5|SETXATTR(0,user.a,,3)",
    ];

    #[test]
    fn any_log_gives_a_tree_or_is_refused() {
        let mut random = Random::new(23);
        for _ in 0..300 {
            let mut log = String::new();
            for _ in 0..random.below(80) {
                let line = *random.pick(&LINES.each_ref());
                for letter in line.chars() {
                    match letter {
                        '0' => log.push_str(&random.below(7).to_string()),
                        _ => log.push(letter),
                    }
                }
                log.push('\n');
            }
            check_log(log.as_bytes());
        }
    }
}
