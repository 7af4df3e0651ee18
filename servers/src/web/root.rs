//! A folder whose files are served, and opening files in it without a way out.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

/// How often an opening is tried again that a rename at the same time has disturbed.
const TRIES: usize = 8;

/// What links in a root may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Only what is below the root.
    Inside,
    /// Anything that the process may read.
    Anywhere,
}

/// A folder whose files are served.
#[derive(Debug)]
pub(crate) struct Root {
    folder: OwnedFd,
    path: PathBuf,
    links: Links,
}

impl Root {
    /// Opens the folder.
    ///
    /// # Errors
    /// One sentence that names the folder and says what is wrong: it is missing, is no folder, or
    /// may not be read; or the kernel cannot keep openings below it.
    pub(crate) fn open(path: &Path, links: Links) -> io::Result<Self> {
        let about = |error: io::Error| {
            let text = format!("cannot serve {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        };
        let folder = File::open(path).map_err(about)?;
        if !folder.metadata().map_err(about)?.is_dir() {
            let text = format!("cannot serve {}: it is not a folder", path.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
        }
        let root = Self { folder: folder.into(), path: path.to_owned(), links };
        match root.file(".") {
            Ok(_) => Ok(root),
            Err(error) if error.raw_os_error() == Some(Errno::ENOSYS as i32) => {
                let text = "openat2(2), which Linux has since 5.6, is not available; without it, \
                            links could lead out of the root";
                Err(about(io::Error::new(io::ErrorKind::Unsupported, text)))
            }
            Err(error) => Err(about(error)),
        }
    }

    /// Returns the path of the folder, as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file or a folder by its path relative to the root. Does not wait, whatever it is.
    ///
    /// # Errors
    /// When there is none, it may not be read, or its path leads out of the root.
    pub(crate) fn file(&self, relative: &str) -> io::Result<File> {
        let file = self.resolve(relative, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
        Ok(file.into())
    }

    /// Opens what is at a path, with these flags.
    fn resolve(&self, relative: &str, flags: OFlag) -> io::Result<OwnedFd> {
        let flags = flags | OFlag::O_CLOEXEC;
        let mut tries = 0;
        let opened = loop {
            let opened = match self.links {
                Links::Anywhere => openat(&self.folder, relative, flags, Mode::empty()),
                Links::Inside => {
                    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
                    openat2(&self.folder, relative, OpenHow::new().flags(flags).resolve(resolve))
                }
            };
            match opened {
                // The kernel cannot exclude that a rename has moved what was passed.
                Err(Errno::EAGAIN) if tries < TRIES => tries += 1,
                Err(Errno::EINTR) => {}
                result => break result,
            }
        };
        Ok(opened?)
    }

    /// Returns what a name in an open folder of this root is, or `None` if that cannot be found out. A
    /// link is what it leads to, if opening `folder`, the path of the folder, and the name would lead
    /// there too.
    fn stat(&self, place: &File, folder: &str, name: &str) -> Option<FileStat> {
        if self.links == Links::Anywhere {
            return fstatat(place, name, AtFlags::empty()).ok();
        }
        let stat = fstatat(place, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        if kind(&stat) != SFlag::S_IFLNK {
            return Some(stat);
        }
        // O_PATH needs no permission to read, and disturbs no device.
        let target = self.resolve(&format!("{folder}/{name}"), OFlag::O_PATH).ok()?;
        fstat(target).ok()
    }

    /// Reads what is in a folder, by its path relative to the root: folders first, each by name, and at
    /// most `most` entries. Returns whether there are more. Leaves out what is neither a file nor a
    /// folder, links that lead nowhere or out of the root, names that no request can have, and names
    /// for which `is_shown` is false.
    ///
    /// # Errors
    /// When the folder cannot be opened or read.
    pub(crate) fn entries(
        &self,
        relative: &str,
        most: usize,
        is_shown: impl Fn(&str) -> bool,
    ) -> io::Result<(Vec<Entry>, bool)> {
        let place = self.file(relative)?;
        let mut folder = Dir::from_fd(place.try_clone()?.into())?;
        let (mut all, mut has_more) = (Vec::new(), false);
        for entry in folder.iter() {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            // A path with control bytes is refused.
            let is_path = !name.bytes().any(|byte| byte.is_ascii_control());
            if name == "." || name == ".." || !is_path || !is_shown(name) {
                continue;
            }
            if all.len() == most {
                has_more = true;
                break;
            }
            // It may have been removed meanwhile.
            let Some(stat) = self.stat(&place, relative, name) else { continue };
            let kind = kind(&stat);
            if kind == SFlag::S_IFREG || kind == SFlag::S_IFDIR {
                all.push(Entry {
                    name: name.to_owned(),
                    is_folder: kind == SFlag::S_IFDIR,
                    size: u64::try_from(stat.st_size).unwrap_or(0),
                    modified: stat.st_mtime,
                });
            }
        }
        all.sort_by(|one, other| {
            other.is_folder.cmp(&one.is_folder).then_with(|| one.name.cmp(&other.name))
        });
        Ok((all, has_more))
    }
}

/// Returns whether it is a file, a folder, a link or something else.
fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_folder: bool,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// When it was changed, in seconds since 1970.
    pub(crate) modified: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use testkit::Folder;

    /// A root `site` with a file `secret` beside it, and links of all kinds.
    fn site(name: &str) -> Folder {
        let folder = Folder::new(name);
        fs::create_dir_all(folder.file("site/a/b")).expect("it is made");
        fs::write(folder.file("site/index.html"), "index").expect("it is written");
        fs::write(folder.file("site/a/b/deep"), "deep").expect("it is written");
        fs::write(folder.file("secret"), "secret").expect("it is written");
        for (target, link) in [
            ("../secret", "out"),
            ("..", "up"),
            ("/etc/passwd", "absolute"),
            ("/proc/self/root", "magic"),
            ("a/b/deep", "inside"),
            ("../site/index.html", "out-and-in"),
            ("loop", "loop"),
            ("a", "folder"),
            ("../../site/a/b/deep", "a/wide"),
            ("../index.html", "a/near"),
        ] {
            symlink(target, folder.file(&format!("site/{link}"))).expect("it is made");
        }
        folder
    }

    fn read(root: &Root, path: &str) -> Option<String> {
        let file = root.file(path).ok()?;
        io::read_to_string(file).ok()
    }

    #[test]
    fn no_path_and_no_link_leads_out() {
        let folder = site("web-root-inside");
        let root = Root::open(Path::new(&folder.file("site")), Links::Inside).expect("it opens");
        for (path, content) in [
            ("index.html", Some("index")),
            ("a/b/deep", Some("deep")),
            ("inside", Some("deep")),
            ("folder/b/deep", Some("deep")),
            ("a/near", Some("index")),
            ("out", None),
            ("up/secret", None),
            ("absolute", None),
            ("magic/etc/passwd", None),
            ("out-and-in", None),
            ("a/wide", None),
            ("loop", None),
            ("../secret", None),
            ("a/../../secret", None),
            ("/etc/passwd", None),
            ("missing", None),
            ("index.html/x", None),
            ("", None),
        ] {
            assert_eq!(read(&root, path).as_deref(), content, "{path}");
        }
        let long = "x".repeat(300);
        assert_eq!(read(&root, &long), None);
    }

    #[test]
    fn links_may_lead_out_where_that_is_allowed() {
        let folder = site("web-root-anywhere");
        let root = Root::open(Path::new(&folder.file("site")), Links::Anywhere).expect("it opens");
        assert_eq!(read(&root, "out").as_deref(), Some("secret"));
        assert_eq!(read(&root, "a/wide").as_deref(), Some("deep"));
        assert_eq!(read(&root, "loop"), None);
    }

    #[test]
    fn what_is_no_folder_is_no_root() {
        let folder = site("web-root-wrong");
        for (path, reason) in [("site/index.html", "not a folder"), ("nothing", "No such file")] {
            let path = folder.file(path);
            let error = Root::open(Path::new(&path), Links::Inside).expect_err(&path).to_string();
            assert!(error.contains(&path) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_folder_is_read_with_folders_first() {
        let folder = site("web-root-entries");
        let root = Root::open(Path::new(&folder.file("site")), Links::Inside).expect("it opens");
        fs::write(folder.file("site/new\nline"), "x").expect("it is written");
        let (all, has_more) = root.entries(".", 100, |name| name != "a").expect("it is read");
        let names: Vec<&str> = all.iter().map(|entry| entry.name.as_str()).collect();
        // Links that lead out are left out, and others are shown as what they lead to.
        assert_eq!(names, ["folder", "index.html", "inside"]);
        assert!(!has_more);
        assert_eq!((all[1].size, all[1].is_folder), (5, false));
        let (few, has_more) = root.entries(".", 2, |_| true).expect("it is read");
        assert!(few.len() <= 2 && has_more);
        let (within, _) = root.entries("a", 100, |_| true).expect("it is read");
        let names: Vec<&str> = within.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["b", "near"]);
        let root = Root::open(Path::new(&folder.file("site")), Links::Anywhere).expect("it opens");
        let (all, _) = root.entries(".", 100, |_| true).expect("it is read");
        let names: Vec<&str> = all.iter().map(|entry| entry.name.as_str()).collect();
        let folders = ["a", "folder", "magic", "up"];
        assert_eq!(names[..4], folders);
        assert_eq!(names[4..], ["absolute", "index.html", "inside", "out", "out-and-in"]);
    }
}
