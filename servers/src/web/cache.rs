//! A cache of what paths lead to: open files, small files in memory, and paths that lead nowhere.
//!
//! An entry is used without a system call until it is `valid` long. Then the path is opened again,
//! and what has not changed is kept. Which entry goes when the cache is full is chosen by the clock
//! algorithm: one that was used since the hand last passed stays.

use std::hash::Hash;
use std::time::{Duration, Instant};

use indexmap::{Equivalent, IndexMap};

use super::file::{Found, Opening};
use super::root::Root;

/// The limits of a cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheLimits {
    /// Paths that are kept, and open files. With none, every request opens its file.
    pub(crate) entries_max: usize,
    /// Bytes of small files that are kept.
    pub(crate) memory_max: u64,
    /// How long an entry is used without looking at the file system.
    pub(crate) valid: Duration,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    root: usize,
    path: Box<str>,
}

/// A key that is looked up: it hashes as [`Key`] does.
#[derive(Hash)]
struct Sought<'a> {
    root: usize,
    path: &'a str,
}

impl Equivalent<Key> for Sought<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.root == key.root && *self.path == *key.path
    }
}

#[derive(Debug)]
struct Slot {
    found: Found,
    checked: Instant,
    is_used: bool,
}

/// What the paths below all roots lead to.
#[derive(Debug)]
pub(crate) struct Cache {
    slots: IndexMap<Key, Slot>,
    limits: CacheLimits,
    opening: Opening,
    memory: u64,
    descriptors: usize,
    /// The entry at which the hand of the clock is.
    hand: usize,
    /// How often the file system was asked.
    pub(crate) openings: u64,
}

impl Cache {
    pub(crate) fn new(limits: CacheLimits, opening: Opening) -> Self {
        Self {
            slots: IndexMap::new(),
            limits,
            opening,
            memory: 0,
            descriptors: 0,
            hand: 0,
            openings: 0,
        }
    }

    /// Returns what a path below a root leads to. `number` is that of the root.
    pub(crate) fn find(&mut self, number: usize, root: &Root, path: &str, now: Instant) -> Found {
        let sought = Sought { root: number, path };
        let mut known = None;
        if let Some(slot) = self.slots.get_mut(&sought) {
            slot.is_used = true;
            if now.saturating_duration_since(slot.checked) < self.limits.valid {
                return slot.found.clone();
            }
            if let Found::File(file) = &slot.found {
                known = Some(file.clone());
            }
        }
        self.openings += 1;
        let found = self.opening.open(root, path, known.as_ref());
        self.keep(sought, &found, now);
        found
    }

    fn keep(&mut self, sought: Sought<'_>, found: &Found, now: Instant) {
        // A failure passes, and a file that is too large for the cache leaves no room for others.
        let (memory, descriptors) = cost(found);
        let is_kept = self.limits.entries_max > 0
            && !matches!(found, Found::Failed(_))
            && memory <= self.limits.memory_max
            && descriptors <= self.limits.entries_max;
        let present = self.slots.get_index_of(&sought);
        if !is_kept {
            if let Some(index) = present {
                self.remove(index);
            }
            return;
        }
        let found = found.clone();
        match present {
            Some(index) => {
                let slot = &mut self.slots[index];
                let (old_memory, old_descriptors) = cost(&slot.found);
                slot.found = found;
                slot.checked = now;
                self.memory = self.memory - old_memory + memory;
                self.descriptors = self.descriptors - old_descriptors + descriptors;
            }
            None => {
                let key = Key { root: sought.root, path: sought.path.into() };
                self.slots.insert(key, Slot { found, checked: now, is_used: false });
                self.memory += memory;
                self.descriptors += descriptors;
            }
        }
        while self.is_over() {
            self.evict();
        }
    }

    fn is_over(&self) -> bool {
        self.slots.len() > self.limits.entries_max
            || self.memory > self.limits.memory_max
            || self.descriptors > self.limits.entries_max
    }

    /// Removes the first entry from the hand on that was not used since the hand last passed it.
    fn evict(&mut self) {
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let slot = &mut self.slots[self.hand];
            if !std::mem::take(&mut slot.is_used) {
                self.remove(self.hand);
                return;
            }
            self.hand += 1;
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some((_, slot)) = self.slots.swap_remove_index(index) {
            let (memory, descriptors) = cost(&slot.found);
            self.memory -= memory;
            self.descriptors -= descriptors;
        }
    }
}

fn cost(found: &Found) -> (u64, usize) {
    match found {
        Found::File(file) => file.cost(),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::encoding::Encoding;
    use crate::web::file::Content;
    use crate::web::root::Links;
    use std::fs;
    use std::path::Path;
    use testkit::Folder;

    const SECOND: Duration = Duration::from_secs(1);

    fn cache(entries_max: usize, memory_max: u64) -> Cache {
        let opening = Opening {
            small_max: 100,
            precompressed: true,
            types: vec![("odd".to_owned(), "text/x-odd".to_owned())],
        };
        Cache::new(CacheLimits { entries_max, memory_max, valid: SECOND }, opening)
    }

    struct Site {
        folder: Folder,
        root: Root,
        now: Instant,
    }

    impl Site {
        fn new(name: &str) -> Self {
            let folder = Folder::new(name);
            let root = Root::open(folder.path(), Links::Inside).expect("it opens");
            Self { folder, root, now: Instant::now() }
        }

        fn write(&self, name: &str, content: &str) {
            fs::write(self.folder.file(name), content).expect("it is written");
        }

        fn find(&self, cache: &mut Cache, path: &str) -> Found {
            cache.find(0, &self.root, path, self.now)
        }

        fn text(&self, cache: &mut Cache, path: &str) -> String {
            match self.find(cache, path) {
                Found::File(file) => match &file.content {
                    Content::Memory(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Content::Open(_) => "open".to_owned(),
                },
                other => format!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_small_file_is_opened_once_and_noticed_when_it_changes() {
        let mut site = Site::new("web-cache-small");
        let mut cache = cache(10, 1000);
        site.write("a", "one");
        assert_eq!(site.text(&mut cache, "a"), "one");
        site.write("a", "three");
        assert_eq!(site.text(&mut cache, "a"), "one");
        assert_eq!((cache.openings, cache.memory, cache.descriptors), (1, 3, 0));
        site.now += SECOND;
        assert_eq!(site.text(&mut cache, "a"), "three");
        assert_eq!((cache.openings, cache.memory), (2, 5));
        site.now += SECOND;
        let Found::File(before) = site.find(&mut cache, "a") else { panic!("it is there") };
        site.now += SECOND;
        let Found::File(after) = site.find(&mut cache, "a") else { panic!("it is there") };
        assert!(std::rc::Rc::ptr_eq(&before, &after), "what is the same is not read again");
        fs::remove_file(site.folder.file("a")).expect("it is there");
        site.now += SECOND;
        assert_eq!(site.text(&mut cache, "a"), "Missing");
        assert_eq!(cache.memory, 0);
        site.write("a", "again");
        assert_eq!(site.text(&mut cache, "a"), "Missing");
        site.now += SECOND;
        assert_eq!(site.text(&mut cache, "a"), "again");
    }

    #[test]
    fn a_large_file_stays_open() {
        let site = Site::new("web-cache-large");
        let mut cache = cache(10, 1000);
        site.write("a", &"x".repeat(101));
        assert_eq!(site.text(&mut cache, "a"), "open");
        assert_eq!((cache.memory, cache.descriptors), (0, 1));
        assert_eq!(site.text(&mut cache, "."), "Folder");
        assert_eq!(site.text(&mut cache, "a/b"), "Missing");
    }

    #[test]
    fn what_is_used_stays_when_the_cache_is_full() {
        let site = Site::new("web-cache-full");
        let mut cache = cache(3, 1000);
        site.write("kept", "kept");
        for number in 0..100 {
            site.find(&mut cache, "kept");
            site.find(&mut cache, &format!("missing-{number}"));
            assert!(cache.slots.len() <= 3);
        }
        assert_eq!(cache.openings, 101, "the file that is used was opened once");
    }

    #[test]
    fn memory_and_descriptors_have_limits() {
        let site = Site::new("web-cache-limits");
        let mut cache = cache(4, 250);
        for number in 0..20 {
            site.write(&format!("small-{number}"), &"x".repeat(100));
            site.write(&format!("large-{number}"), &"x".repeat(200));
            for encoding in Encoding::ALL {
                let name = format!("large-{number}{}", encoding.suffix());
                site.write(&name, &"x".repeat(150));
            }
            site.find(&mut cache, &format!("small-{number}"));
            site.find(&mut cache, &format!("large-{number}"));
            assert!(cache.memory <= 250 && cache.descriptors <= 4, "{cache:?}");
        }
        let mut none = super::tests::cache(0, 250);
        assert_eq!(site.text(&mut none, "small-1").len(), 100);
        assert_eq!(site.text(&mut none, "small-1").len(), 100);
        assert_eq!((none.openings, none.slots.len()), (2, 0));
    }

    #[test]
    fn a_compressed_form_is_used_unless_it_is_older_than_its_file() {
        let mut site = Site::new("web-cache-forms");
        let mut cache = cache(10, 1000);
        let forms = |found: &Found| match found {
            Found::File(file) => {
                let has = |it: &Encoding| file.form(*it).is_some();
                Encoding::ALL.into_iter().filter(has).map(Encoding::name).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        site.write("a.odd", "plain");
        assert!(forms(&site.find(&mut cache, "a.odd")).is_empty());
        site.write("a.odd.gz", "packed");
        site.write("a.odd.br", "tight");
        site.now += SECOND;
        let found = site.find(&mut cache, "a.odd");
        assert_eq!(forms(&found), ["br", "gzip"]);
        let Found::File(file) = found else { panic!("it is there") };
        let packed = file.form(Encoding::Gzip).expect("it is there");
        assert_eq!(&*packed.media_type, "text/x-odd");
        assert_ne!(packed.validators().tag, file.validators().tag);
        assert!(packed.validators().tag.ends_with("-gzip\""), "{}", packed.validators().tag);
        let later = std::time::SystemTime::now() + 10 * SECOND;
        let plain = fs::File::options().write(true).open(site.folder.file("a.odd"));
        plain.expect("it opens").set_modified(later).expect("it can be set");
        site.now += SECOND;
        assert!(forms(&site.find(&mut cache, "a.odd")).is_empty());
    }

    #[test]
    fn what_is_no_regular_file_is_not_served() {
        let site = Site::new("web-cache-kinds");
        let mut cache = cache(10, 1000);
        let path = site.folder.file("pipe");
        nix_pipe(Path::new(&path));
        let _socket = std::os::unix::net::UnixListener::bind(site.folder.file("socket"));
        assert_eq!(site.text(&mut cache, "pipe"), "Missing");
        assert_eq!(site.text(&mut cache, "socket"), "Missing");
    }

    fn nix_pipe(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status().expect("it runs");
        assert!(made.success());
    }
}
