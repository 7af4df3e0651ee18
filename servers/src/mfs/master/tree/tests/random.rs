//! Random requests: the tree answers as the model does, its log gives the same tree, and so does its file.

use protocol::Random;
use protocol::mfs::ChunkId;

use super::model::{Model, Someone};
use super::*;

const SUPERUSER: Someone = Someone { uid: 0, gid: 0 };
const USERS: [Someone; 5] =
    [SUPERUSER, SUPERUSER, SUPERUSER, Someone { uid: 10, gid: 10 }, Someone { uid: 11, gid: 10 }];
const NAMES: [&[u8]; 5] = [b"a", b"b", b"c", b"%(d),\n", b"\xff"];
const KINDS: [FileType; 6] = [
    FileType::File,
    FileType::File,
    FileType::File,
    FileType::Directory,
    FileType::Directory,
    FileType::Fifo,
];
const MODES: [u16; 6] = [0o755, 0o777, 0o1777, 0o2775, 0o700, 0o666];

struct Run {
    random: Random,
    tree: Tree,
    model: Model,
    time: u32,
    last_chunk: u64,
    /// How many requests have succeeded, and how many were refused.
    done: u32,
    refused: u32,
}

impl Run {
    fn inode(&mut self) -> u32 {
        match self.random.one_in(3) {
            true => ROOT,
            false => {
                let all: Vec<u32> = self.model.things.keys().copied().collect();
                // One more, which is not there.
                all.get(self.random.index(all.len() + 1)).copied().unwrap_or(9_999_999)
            }
        }
    }

    /// Returns a name in a directory, or now and then in something else.
    fn place(&mut self) -> (u32, &'static [u8]) {
        let model = &self.model;
        let all: Vec<u32> =
            model.things.keys().copied().filter(|it| model.is_directory(*it)).collect();
        let name = NAMES[self.random.index(NAMES.len())];
        match self.random.one_in(8) {
            true => (self.inode(), name),
            false => (all[self.random.index(all.len())], name),
        }
    }

    #[track_caller]
    fn same(&mut self, of_tree: Result<(), Status>, of_model: Result<(), Status>) {
        assert_eq!(of_tree, of_model);
        *if of_tree.is_ok() { &mut self.done } else { &mut self.refused } += 1;
    }

    fn step(&mut self) {
        self.time += self.random.below(2) as u32;
        let (time, who) = (self.time, USERS[self.random.index(USERS.len())]);
        let user = User::new(who.uid, &[who.gid]);
        let (by, place, inode) = (user.who(), self.place(), self.inode());
        let mode = MODES[self.random.index(MODES.len())];
        match self.random.below(12) {
            0..3 => {
                let kind = KINDS[self.random.index(KINDS.len())];
                let made = self.tree.create(time, &by, place.0, place.1, new(kind, mode));
                let inode = made.ok().map(|(inode, _)| inode);
                let expected = self.model.create(time, who, place, (kind, mode, inode));
                self.same(made.map(drop), expected);
            }
            3 => {
                let linked = self.tree.link(time, &by, inode, place.0, place.1).map(drop);
                let expected = self.model.link(time, who, inode, place);
                self.same(linked, expected);
            }
            4 => {
                let removed = self.tree.unlink(time, &by, place.0, place.1).map(drop);
                let expected = self.model.remove(time, who, place, false);
                self.same(removed, expected);
            }
            5 => {
                let removed = self.tree.remove_directory(time, &by, place.0, place.1).map(drop);
                let expected = self.model.remove(time, who, place, true);
                self.same(removed, expected);
            }
            6 | 7 => {
                let to = self.place();
                let renamed = self.tree.rename(time, &by, place, to).map(drop);
                let expected = self.model.rename(time, who, place, to);
                self.same(renamed, expected);
            }
            8 => {
                let wanted = SetAttributes { mode, ..set(by, inode, 2) };
                let changed = self.tree.set_attributes(time, &wanted).map(drop);
                let expected = self.model.change_mode(who, inode, mode);
                self.same(changed, expected);
            }
            9 => self.step_open(who, &by, inode),
            10 => self.step_content(inode),
            _ => self.step_xattr(who, &by, inode),
        }
    }

    fn step_open(&mut self, who: Someone, by: &Credentials<'_>, inode: u32) {
        let session = 1 + self.random.below(3) as u32;
        if self.random.one_in(2) {
            let opened = self.tree.check_open(by, inode, Mask::READ);
            let opened = opened.and_then(|_| self.tree.acquire(self.time, session, inode));
            let expected = self.model.open(who, session, inode);
            self.same(opened, expected);
        } else {
            let released = self.tree.release(self.time, session, inode);
            let expected = self.model.release(session, inode);
            self.same(released, expected);
        }
    }

    fn step_content(&mut self, inode: u32) {
        let (time, index) = (self.time, self.random.below(4) as u32);
        if self.random.one_in(2) {
            self.last_chunk += 1;
            let chunk = ChunkId(self.last_chunk);
            let added = self.tree.add_chunk(time, inode, index, chunk);
            let expected = self.model.add_chunk(inode, index);
            self.same(added, expected);
        } else if self.random.one_in(2) {
            let length = self.random.below(4 * protocol::mfs::CHUNK_SIZE);
            let written = self.tree.written(time, inode, length).map(drop);
            let expected = self.model.written(time, inode, length);
            self.same(written, expected);
        } else {
            let length = self.random.below(4 * protocol::mfs::CHUNK_SIZE);
            let changed = self.tree.set_length(time, inode, length).map(drop);
            let expected = self.model.set_length(time, inode, length);
            self.same(changed, expected);
        }
    }

    fn step_xattr(&mut self, who: Someone, by: &Credentials<'_>, inode: u32) {
        let name: &[u8] = self.random.pick(&[b"user.a".as_slice(), b"user.(b)"]);
        let value = self.random.bytes(5);
        let is_set = self.random.one_in(2);
        let mode = if is_set { SetMode::Set } else { SetMode::Remove };
        let changed = self.tree.set_xattr(self.time, by, inode, (name, &value), mode);
        let expected = self.model.set_xattr(who, inode, name, is_set.then_some(&value));
        self.same(changed, expected);
    }

    /// Compares everything.
    fn compare(&self) {
        let (tree, model) = (&self.tree, &self.model);
        assert_eq!(tree.sums().inodes as usize, model.things.len());
        for (inode, thing) in &model.things {
            let it = tree.attributes(*inode).expect("the model has it");
            let kind = (it.mode.file_type, it.mode.permissions, it.uid, it.gid);
            assert_eq!(kind, (thing.kind, thing.mode, thing.uid, thing.gid));
            assert_eq!((it.length, it.mtime), (thing.length, thing.mtime), "inode {inode}");
            assert_eq!(it.links, model.links(*inode), "inode {inode}");
            for index in 0..4 {
                let found = tree.chunk_at(*inode, index).ok().and_then(|(_, chunk)| chunk);
                assert_eq!(found.is_some(), thing.chunks.contains(&index));
                if let Some(used) = found.and_then(|chunk| tree.chunk(chunk)) {
                    assert_eq!((used.inode, used.index), (*inode, index));
                }
            }
            for (name, value) in &thing.xattrs {
                let found = tree.xattr(&Credentials::ROOT, *inode, name);
                assert_eq!(found, Ok(value.as_slice()));
            }
            if model.is_directory(*inode) {
                let listed = tree.list(&Credentials::ROOT, *inode).expect("it is a directory");
                let names: Vec<_> =
                    listed.skip(2).map(|(name, inode, _)| (name.to_vec(), inode)).collect();
                assert_eq!(names, model.children(*inode));
            }
        }
        let chunks: usize = model.things.values().map(|it| it.chunks.len()).sum();
        assert_eq!(tree.chunk_count(), chunks);
        let nameless: Vec<u64> = model
            .things
            .iter()
            .filter(|(inode, _)| model.links(**inode) == 0)
            .map(|(_, thing)| thing.length)
            .collect();
        let sums = tree.sums();
        assert_eq!(sums.sustained_files as usize, nameless.len());
        assert_eq!(sums.sustained_size, nameless.iter().sum::<u64>());
    }
}

#[test]
fn random_requests_do_what_the_model_does_and_the_log_gives_the_same_tree() {
    let (mut done, mut refused) = (0, 0);
    for seed in 0..40 {
        let mut run = Run {
            random: Random::new(seed),
            tree: tree(),
            model: Model::new(),
            time: NOW,
            last_chunk: 0,
            done: 0,
            refused: 0,
        };
        let wide = SetAttributes { mode: 0o777, ..set(Credentials::ROOT, ROOT, 2) };
        let mut replayed = tree();
        run.tree.set_attributes(NOW, &wide).expect("root may");
        for _ in 0..20 {
            for _ in 0..25 {
                run.step();
            }
            run.compare();
            for line in run.tree.take_lines() {
                replayed.replay(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
            assert_eq!(run.tree.take_freed(), replayed.take_freed());
            let file = run.tree.save();
            assert!(file == replayed.save(), "seed {seed}");
            assert_eq!(run.tree.sums(), replayed.sums());
            let loaded = Tree::load(&file, TreeLimits::default()).expect("it was saved");
            assert_eq!(loaded.sums(), run.tree.sums());
            assert!(loaded.save() == file, "seed {seed}");
        }
        done += run.done;
        refused += run.refused;
    }
    assert!(done > 5000 && refused > 5000, "{done} done, {refused} refused");
}
