//! What each request does.

use protocol::mfs::{ATTRIBUTES_SIZE, CHUNK_SIZE, ChunkId};

use super::super::contents::Cut;
use super::*;

const ROOT_USER: Credentials<'static> = Credentials::ROOT;

#[test]
fn a_new_tree_has_a_root_that_is_its_own_parent() {
    let tree = tree();
    let (inode, attributes) = tree.lookup(&ROOT_USER, ROOT, b"..").expect("it is there");
    assert_eq!((inode, attributes.links, attributes.flags), (ROOT, 2, 12));
    let names: Vec<_> = tree.list(&ROOT_USER, ROOT).expect("it may be read").collect();
    assert_eq!(names.len(), 2);
    assert_eq!((names[0].0, names[1].0), (&b"."[..], &b".."[..]));
    assert_eq!(tree.lookup(&ROOT_USER, ROOT, b"nosuch"), Err(Status::ENOENT));
    assert_eq!(tree.attributes(7), Err(Status::ENOENT));
}

#[test]
fn changes_are_logged_as_the_real_master_does() {
    let mut tree = tree();
    let made = NewNode { umask: 0o22, ..new(FileType::File, 0o666) };
    let (inode, _) = tree.create(NOW, &ROOT_USER, ROOT, b"ml-29953", made).expect("it is free");
    let chunk = ChunkId(1);
    tree.add_chunk(NOW, inode, 0, chunk).expect("it is a file");
    assert_eq!(tree.written(NOW, inode, 1), Ok(1));
    tree.end_write(NOW, chunk).expect("it is there");
    assert_eq!(
        tree.take_lines(),
        [
            "1795717895|CREATE(1,ml-29953,1,438,18,0,0,0):2",
            "1795717895|WRITE(2,0,1,0):1",
            "1795717895|LENGTH(2,1,0)",
            "1795717895|UNLOCK(1)",
        ]
    );
    assert_eq!(tree.attributes(inode).map(|it| it.mode.permissions), Ok(0o644));
    file(&mut tree, ROOT, "a, (50%)\n\u{e9}");
    assert_eq!(
        tree.take_lines(),
        ["1795717895|CREATE(1,a%2C%20%2850%25%29%0A%C3%A9,1,420,0,0,0,0):3"]
    );
}

#[test]
fn names_that_no_entry_can_have_are_refused() {
    let mut tree = tree();
    let long = "x".repeat(NAME_MAX);
    file(&mut tree, ROOT, &long);
    for name in ["", ".", "..", "a/b", "a\0", &format!("{long}x")] {
        let made = tree.create(NOW, &ROOT_USER, ROOT, name.as_bytes(), new(FileType::File, 0));
        assert_eq!(made, Err(Status::EINVAL), "{name:?}");
        let renamed =
            tree.rename(NOW, &ROOT_USER, (ROOT, long.as_bytes()), (ROOT, name.as_bytes()));
        assert_eq!(renamed, Err(Status::EINVAL), "{name:?}");
    }
    assert_eq!(
        tree.create(NOW, &ROOT_USER, ROOT, long.as_bytes(), new(FileType::File, 0)),
        Err(Status::EEXIST)
    );
}

#[test]
fn renaming_follows_rename_2() {
    let mut tree = tree();
    let (top, below) = (directory(&mut tree, ROOT, "top"), "below");
    let inner = directory(&mut tree, top, below);
    let (one, two) = (file(&mut tree, ROOT, "one"), file(&mut tree, top, "two"));
    let mut rename = |from: (u32, &str), to: (u32, &str)| {
        let (from, to) = ((from.0, from.1.as_bytes()), (to.0, to.1.as_bytes()));
        tree.rename(NOW, &ROOT_USER, from, to).map(|(inode, _)| inode)
    };
    assert_eq!(rename((ROOT, "top"), (inner, "x")), Err(Status::EINVAL));
    assert_eq!(rename((ROOT, "top"), (top, "x")), Err(Status::EINVAL));
    assert_eq!(rename((ROOT, "nosuch"), (ROOT, "x")), Err(Status::ENOENT));
    assert_eq!(rename((ROOT, "one"), (two, "x")), Err(Status::ENOTDIR));
    assert_eq!(rename((ROOT, "one"), (ROOT, "top")), Err(Status::EPERM));
    assert_eq!(rename((top, below), (ROOT, "one")), Err(Status::ENOTDIR));
    // Over a file, which goes.
    assert_eq!(rename((ROOT, "one"), (top, "two")), Ok(one));
    // Over itself: nothing changes.
    assert_eq!(rename((top, "two"), (top, "two")), Ok(one));
    assert_eq!(tree.attributes(two), Err(Status::ENOENT));
    let other = directory(&mut tree, ROOT, "other");
    let mut rename = |from: (u32, &str), to: (u32, &str)| {
        let (from, to) = ((from.0, from.1.as_bytes()), (to.0, to.1.as_bytes()));
        tree.rename(NOW, &ROOT_USER, from, to).map(|(inode, _)| inode)
    };
    assert_eq!(rename((ROOT, "other"), (ROOT, "top")), Err(Status::ENOTEMPTY));
    // Over an empty directory.
    assert_eq!(rename((ROOT, "top"), (ROOT, "other")), Ok(top));
    assert_eq!(tree.attributes(other), Err(Status::ENOENT));
    assert_eq!(found(&tree, ROOT, "top"), Err(Status::ENOENT));
    assert_eq!(rename_links(&tree), (3, 3));
}

/// Returns the links of the root and of `other` in it.
fn rename_links(tree: &Tree) -> (u32, u32) {
    let links = |inode| tree.attributes(inode).expect("it is there").links;
    (links(ROOT), links(found(tree, ROOT, "other").expect("it is there")))
}

#[test]
fn a_directory_that_moves_has_another_parent() {
    let mut tree = tree();
    let (a, b) = (directory(&mut tree, ROOT, "a"), directory(&mut tree, ROOT, "b"));
    let moved = directory(&mut tree, a, "moved");
    tree.rename(NOW + 5, &ROOT_USER, (a, b"moved"), (b, b"new")).expect("it can move");
    assert_eq!(found(&tree, moved, ".."), Ok(b));
    let links: Vec<u32> =
        [ROOT, a, b].iter().map(|it| tree.attributes(*it).expect("it is there").links).collect();
    assert_eq!(links, [4, 2, 3]);
    assert_eq!(tree.attributes(a).map(|it| it.mtime), Ok(NOW + 5));
    assert_eq!(tree.attributes(b).map(|it| it.mtime), Ok(NOW + 5));
}

#[test]
fn an_open_file_without_a_name_stays_until_it_is_released() {
    let mut tree = tree();
    let inode = file(&mut tree, ROOT, "a");
    let chunk = ChunkId(7);
    tree.add_chunk(NOW, inode, 3, chunk).expect("it is a file");
    tree.written(NOW, inode, 4 * CHUNK_SIZE).expect("it is a file");
    for session in [1, 2] {
        tree.check_open(&ROOT_USER, inode, Mask::READ).expect("it may be read");
        tree.acquire(NOW, session, inode).expect("it is a file");
    }
    tree.unlink(NOW, &ROOT_USER, ROOT, b"a").expect("it is there");
    assert_eq!(tree.attributes(inode).map(|it| it.links), Ok(0));
    assert_eq!((tree.sums().sustained_files, tree.sums().sustained_size), (1, 4 * CHUNK_SIZE));
    assert_eq!(tree.link(NOW, &ROOT_USER, inode, ROOT, b"b"), Err(Status::ENOENT));
    tree.set_length(NOW, inode, 4 * CHUNK_SIZE - 1).expect("it is a file");
    tree.release(NOW, 1, inode).expect("it is open");
    assert_eq!(tree.release(NOW, 1, inode), Err(Status::NOTOPENED));
    assert_eq!(tree.sums().sustained_size, 4 * CHUNK_SIZE - 1);
    assert_eq!(tree.take_freed(), []);
    tree.release(NOW, 2, inode).expect("it is open");
    assert_eq!(tree.attributes(inode), Err(Status::ENOENT));
    assert_eq!(tree.take_freed(), [chunk]);
    assert_eq!((tree.sums().sustained_files, tree.sums().sustained_size), (0, 0));
    assert_eq!(tree.chunk_count(), 0);
}

#[test]
fn truncating_deletes_the_chunks_behind_and_cuts_one() {
    let mut tree = tree();
    let inode = file(&mut tree, ROOT, "a");
    let chunks: Vec<ChunkId> = [0, 1, 3]
        .map(|index| {
            let chunk = ChunkId(7 + u64::from(index));
            tree.add_chunk(NOW, inode, index, chunk).expect("it is a file");
            chunk
        })
        .to_vec();
    let length = 3 * CHUNK_SIZE + 10;
    tree.written(NOW, inode, length).expect("it is a file");
    let plan = |tree: &Tree, length| {
        tree.plan_truncation(&ROOT_USER, inode, false, length).expect("it may be written")
    };
    let cut =
        |place: usize, length| Some(Cut { chunk: chunks[place], index: [0, 1, 3][place], length });
    assert_eq!(plan(&tree, length - 1), (length, cut(2, 9)));
    assert_eq!(plan(&tree, 3 * CHUNK_SIZE), (length, None));
    // It ends in a hole.
    assert_eq!(plan(&tree, 2 * CHUNK_SIZE + 5), (length, None));
    assert_eq!(plan(&tree, CHUNK_SIZE + 5), (length, cut(1, 5)));
    assert_eq!(plan(&tree, length + 5), (length, None));
    tree.set_length(NOW, inode, CHUNK_SIZE + 5).expect("it is a file");
    assert_eq!(tree.take_freed(), [chunks[2]]);
    assert_eq!(tree.chunk(chunks[1]).map(|it| it.index), Some(1));
    assert_eq!(tree.chunk_at(inode, 3), Ok((CHUNK_SIZE + 5, None)));
    tree.set_length(NOW, inode, 0).expect("it is a file");
    assert_eq!(tree.chunk_count(), 0);
    assert_eq!(tree.chunk_at(inode, u32::MAX), Err(Status::INDEXTOOBIG));
    assert_eq!(tree.written(NOW, inode, LENGTH_MAX + 1), Err(Status::EINVAL));
    assert_eq!(tree.chunk_at(ROOT, 0), Err(Status::EPERM));
}

#[test]
fn permissions_are_those_of_the_first_class_that_a_user_is_in() {
    let mut tree = tree();
    let inode = made(&mut tree, ROOT, "a", FileType::File, 0o246);
    let owner = SetAttributes { uid: 10, gid: 20, ..set(ROOT_USER, inode, 4 | 8) };
    tree.set_attributes(NOW, &owner).expect("root may");
    let users = [(0, 99, 7), (10, 20, 2), (11, 20, 4), (11, 99, 6)];
    for (uid, gid, expected) in users {
        let user = User::new(uid, &[7, gid]);
        for mask in 0..8_u8 {
            let allowed = tree.access(&user.who(), inode, Mask(mask)).is_ok();
            assert_eq!(allowed, mask & !expected == 0, "user {uid}, mask {mask}");
        }
        let bits: u16 = (0..8).map(|mask| u16::from(mask & !expected == 0) << mask).sum();
        assert_eq!(tree.accesses(&user.who(), inode), Ok(bits));
    }
}

#[test]
fn only_owners_remove_names_from_a_sticky_directory() {
    let mut tree = tree();
    let shared = made(&mut tree, ROOT, "tmp", FileType::Directory, 0o1777);
    let (alice, bob) = (User::new(10, &[10]), User::new(11, &[11]));
    let (who, other) = (alice.who(), bob.who());
    tree.create(NOW, &who, shared, b"a", new(FileType::File, 0o666)).expect("it may");
    assert_eq!(tree.unlink(NOW, &other, shared, b"a"), Err(Status::EPERM));
    assert_eq!(tree.rename(NOW, &other, (shared, b"a"), (shared, b"b")), Err(Status::EPERM));
    tree.create(NOW, &other, shared, b"b", new(FileType::File, 0o666)).expect("it may");
    assert_eq!(tree.rename(NOW, &other, (shared, b"b"), (shared, b"a")), Err(Status::EPERM));
    assert!(tree.unlink(NOW, &who, shared, b"a").is_ok());
    assert_eq!(tree.create(NOW, &who, ROOT, b"x", new(FileType::File, 0)), Err(Status::EACCES));
}

#[test]
fn a_directory_with_set_gid_gives_its_group_to_what_is_made_in_it() {
    let mut tree = tree();
    let shared = made(&mut tree, ROOT, "shared", FileType::Directory, 0o2777);
    let alice = User::new(10, &[10]);
    let who = alice.who();
    let (_, made) =
        tree.create(NOW, &who, shared, b"f", new(FileType::File, 0o644)).expect("it may");
    assert_eq!((made.uid, made.gid, made.mode.permissions), (10, 0, 0o644));
    let (_, made) =
        tree.create(NOW, &who, shared, b"d", new(FileType::Directory, 0o755)).expect("it may");
    assert_eq!((made.gid, made.mode.permissions), (0, 0o2755));
}

#[test]
fn only_root_gives_files_away_and_others_lose_the_set_ids() {
    let mut tree = tree();
    let dir = made(&mut tree, ROOT, "d", FileType::Directory, 0o777);
    let alice = User::new(10, &[10, 30]);
    let who = alice.who();
    let (inode, _) =
        tree.create(NOW, &who, dir, b"f", new(FileType::File, 0o6755)).expect("it may");
    let mut change = |wanted: SetAttributes<'_>| {
        tree.set_attributes(NOW + 1, &wanted).map(|it| (it.uid, it.gid, it.mode.permissions))
    };
    let to = |uid, gid, mask| SetAttributes { uid, gid, ..set(who, inode, mask) };
    assert_eq!(change(to(11, 10, 4)), Err(Status::EPERM));
    assert_eq!(change(to(10, 31, 8)), Err(Status::EPERM));
    assert_eq!(change(to(10, 10, 4 | 8)), Ok((10, 10, 0o6755)));
    assert_eq!(change(to(10, 30, 8)), Ok((10, 30, 0o755)));
    // Root may, and keeps them.
    let mode = SetAttributes { mode: 0o6711, ..set(ROOT_USER, inode, 2) };
    assert_eq!(change(mode), Ok((10, 30, 0o6711)));
    let give = SetAttributes { uid: 12, gid: 13, ..set(ROOT_USER, inode, 4 | 8) };
    assert_eq!(change(give), Ok((12, 13, 0o6711)));
    assert_eq!(change(SetAttributes { mode: 0o777, ..set(who, inode, 2) }), Err(Status::EPERM));
}

#[test]
fn times_are_set_by_owners_and_to_now_by_writers() {
    let mut tree = tree();
    let inode = made(&mut tree, ROOT, "f", FileType::File, 0o666);
    let other = User::new(10, &[10]);
    let wanted = SetAttributes { atime: 5, mtime: 6, ..set(other.who(), inode, 0x20 | 0x40) };
    assert_eq!(tree.set_attributes(NOW, &wanted), Err(Status::EPERM));
    let times = |tree: &mut Tree, wanted: &SetAttributes<'_>| {
        let it = tree.set_attributes(NOW + 9, wanted).expect("it may");
        (it.atime, it.mtime, it.ctime)
    };
    let now = set(other.who(), inode, 0x10 | 0x80);
    assert_eq!(times(&mut tree, &now), (NOW + 9, NOW + 9, NOW + 9));
    let old = SetAttributes { credentials: ROOT_USER, ..wanted };
    assert_eq!(times(&mut tree, &old), (5, 6, NOW + 9));
    // What was used before that does not count any more, and nothing is logged.
    tree.take_lines();
    tree.used(NOW + 20, inode, (NOW + 8, NOW + 9)).expect("it is there");
    assert_eq!(tree.take_lines(), [""; 0]);
    tree.used(NOW + 20, inode, (NOW + 10, NOW + 90)).expect("it is there");
    let it = tree.attributes(inode).expect("it is there");
    assert_eq!((it.atime, it.mtime), (NOW + 10, NOW + 20));
}

#[test]
fn extended_attributes_follow_their_modes_and_spaces() {
    let mut tree = tree();
    let inode = made(&mut tree, ROOT, "f", FileType::File, 0o644);
    let other = User::new(10, &[10]);
    let who = other.who();
    let mut put = |who: &Credentials<'_>, name: &[u8], value: &[u8], mode| {
        tree.set_xattr(NOW, who, inode, (name, value), mode)
    };
    assert_eq!(put(&who, b"user.a", b"1", SetMode::Set), Err(Status::EACCES));
    assert_eq!(put(&ROOT_USER, b"user.a", b"1", SetMode::Replace), Err(Status::ENOATTR));
    assert_eq!(put(&ROOT_USER, b"user.a", b"1", SetMode::Remove), Err(Status::ENOATTR));
    assert_eq!(put(&ROOT_USER, b"user.a", b"1", SetMode::Create), Ok(()));
    assert_eq!(put(&ROOT_USER, b"user.a", b"2", SetMode::Create), Err(Status::EEXIST));
    assert_eq!(put(&ROOT_USER, b"user.a", b"22", SetMode::Replace), Ok(()));
    assert_eq!(put(&ROOT_USER, b"trusted.b", b"", SetMode::Set), Ok(()));
    assert_eq!(put(&ROOT_USER, b"system.x", b"", SetMode::Set), Err(Status::ENOTSUP));
    assert_eq!(put(&ROOT_USER, b"user.a", &[0; 65_537], SetMode::Set), Err(Status::ERANGE));
    assert_eq!(tree.xattr(&who, inode, b"user.a"), Ok(&b"22"[..]));
    assert_eq!(tree.xattr(&who, inode, b"trusted.b"), Err(Status::ENOATTR));
    assert_eq!(tree.xattr_names(&ROOT_USER, inode), Ok(b"trusted.b\0user.a\0".to_vec()));
    assert_eq!(tree.xattr_names(&who, inode), Ok(b"user.a\0".to_vec()));
    assert_eq!(tree.attributes(inode).map(|it| it.flags), Ok(0));
    let gone = tree.set_xattr(NOW, &ROOT_USER, inode, (b"user.a", b""), SetMode::Remove);
    assert_eq!(gone, Ok(()));
    assert_eq!(tree.xattr_names(&who, inode), Ok(Vec::new()));
}

#[test]
fn every_limit_has_a_status() {
    let limits = TreeLimits { inodes_max: 3, ..TreeLimits::default() };
    let mut tree = Tree::new(limits, NOW);
    let inode = file(&mut tree, ROOT, "a");
    directory(&mut tree, ROOT, "b");
    let more = new(FileType::File, 0);
    assert_eq!(tree.create(NOW, &ROOT_USER, ROOT, b"c", more), Err(Status::NOSPACE));
    assert_eq!(tree.symlink(NOW, &ROOT_USER, ROOT, b"c", b"x"), Err(Status::NOSPACE));
    // Another name needs no inode.
    assert!(tree.link(NOW, &ROOT_USER, inode, ROOT, b"c").is_ok());

    let mut tree = Tree::new(TreeLimits { memory_max: 100_000, ..TreeLimits::default() }, NOW);
    let names = (0_u32..).map(|number| format!("file{number}"));
    let made = names
        .map(|name| tree.create(NOW, &ROOT_USER, ROOT, name.as_bytes(), more))
        .find_map(Result::err);
    assert_eq!(made, Some(Status::OUTOFMEMORY));
    assert!((90_000..=100_000).contains(&tree.sums().memory), "{:?}", tree.sums());
    let inode = found(&tree, ROOT, "file0").expect("it is there");
    let chunks = (0..).map(|index| {
        tree.check_new_chunk(inode, index)
            .and_then(|()| tree.add_chunk(NOW, inode, index, ChunkId(u64::from(index) + 1)))
    });
    assert_eq!(chunks.take(1000).find_map(Result::err), Some(Status::OUTOFMEMORY));

    let listing_max = (ATTRIBUTES_SIZE + 5) * 10 + 100;
    let mut tree = Tree::new(TreeLimits { listing_max, ..TreeLimits::default() }, NOW);
    let name = |number: u32| format!("{number:010}");
    let full = (0..100)
        .find_map(|number| tree.create(NOW, &ROOT_USER, ROOT, name(number).as_bytes(), more).err());
    assert_eq!(full, Some(Status::NOSPACE));
    let listed = tree.list(&ROOT_USER, ROOT).expect("it is one");
    let size: usize = listed.map(|(name, ..)| name.len() + 5 + ATTRIBUTES_SIZE).sum();
    assert!(size <= listing_max, "{size}");
}
