//! Where a response is written.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use percent_encoding::percent_decode_str;
use url::Url;

/// What is added to the name of a file that is not complete.
const PART: &str = ".part";
/// The most bytes of a name of a file (`NAME_MAX`, `limits.h(0p)`).
const NAME_MAX: usize = 255;

/// Where a response is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Standard output.
    Standard,
    /// This file.
    File(PathBuf),
}

/// A file, or standard output, that takes a response.
pub(super) struct Sink {
    place: Place,
    /// How many bytes of the response are in it: where the next one goes.
    position: u64,
}

enum Place {
    Standard(io::Stdout),
    /// A pipe, a device, or a file that is continued in place.
    Direct(File, PathBuf),
    /// A file under another name until it is complete.
    Part {
        file: File,
        part: PathBuf,
        target: PathBuf,
    },
}

/// What there is of a file already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Existing {
    pub(super) size: u64,
    /// When the server had changed the resource, as it said then.
    pub(super) validator: Option<SystemTime>,
}

/// Returns the path of a file without links, so that two names of one file are the same. The file need not
/// exist.
pub(super) fn resolved(target: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(target) {
        return path;
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match (fs::canonicalize(folder), target.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => target.to_owned(),
    }
}

/// Returns the path that a file has until it is complete. A name that would be too long is cut.
pub(super) fn part_of(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().as_bytes();
    let mut kept = name.len().min(NAME_MAX - PART.len());
    // No character is cut.
    while kept < name.len() && name[kept] & 0xc0 == 0x80 {
        kept -= 1;
    }
    let mut part = OsStr::from_bytes(&name[..kept]).to_owned();
    part.push(PART);
    target.with_file_name(part)
}

/// Returns the options to open a file that exists or not without waiting for a reader of a pipe.
fn to_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    options
}

/// Opens a pipe or a device.
fn open_special(path: &Path) -> io::Result<File> {
    let file = to_write().open(path).map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::ENXIO as i32 => {
            io::Error::new(error.kind(), format!("{}: no program reads this pipe", path.display()))
        }
        _ => explained(path, error),
    })?;
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(file)
}

/// Returns what there is of a file: the part of an earlier transfer, or the file itself.
pub(super) fn existing(target: &Path) -> Option<Existing> {
    let target = resolved(target);
    let is_file = |path: &Path| fs::symlink_metadata(path).ok().filter(|it| it.is_file());
    if let Some(part) = is_file(&part_of(&target)) {
        let modified = part.modified().ok().filter(|it| *it != SystemTime::UNIX_EPOCH);
        return Some(Existing { size: part.len(), validator: modified });
    }
    is_file(&target).map(|whole| Existing { size: whole.len(), validator: None })
}

impl Sink {
    /// Opens a target, so that the response begins at its byte `from`. What is there from that byte
    /// on is removed.
    pub(super) fn open(target: &Target, from: u64) -> io::Result<Self> {
        let path = match target {
            Target::Standard => {
                return Ok(Self { place: Place::Standard(io::stdout()), position: from });
            }
            // The file that a link leads to is replaced, not the link.
            Target::File(path) => resolved(path),
        };
        let about = |error: io::Error| explained(&path, error);
        let found = fs::metadata(&path).ok();
        if found.as_ref().is_some_and(|it| !it.is_file()) {
            let file = open_special(&path)?;
            return Ok(Self { place: Place::Direct(file, path), position: from });
        }
        let part = part_of(&path);
        let (name, place): (_, fn(File, PathBuf, PathBuf) -> Place) =
            match from > 0 && !part.is_file() && found.is_some() {
                // The file itself is continued. It is not complete, under whatever name.
                true => (&path, |file, _, target| Place::Direct(file, target)),
                false => (&part, |file, part, target| Place::Part { file, part, target }),
            };
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        let mut options = to_write();
        options.create(true).truncate(false).custom_flags(flags.bits());
        let opened = options.open(name).and_then(|file| Ok((file.metadata()?.is_file(), file)));
        let mut file = match opened {
            Ok((true, file)) => file,
            Err(error) if !is_special(name) => return Err(explained(name, error)),
            _ => {
                let text =
                    format!("{}: it is no regular file, so no part is put there", name.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        if file.metadata()?.len() < from {
            let text = format!("{}: it has fewer than {from} bytes", name.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        file.set_len(from).map_err(about)?;
        file.seek(SeekFrom::Start(from)).map_err(about)?;
        if let Some(found) = found {
            // The new file is as private as the old one.
            file.set_permissions(found.permissions()).map_err(about)?;
        }
        Ok(Self { place: place(file, part, path.clone()), position: from })
    }

    /// Returns where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Returns whether it can go back to an earlier position.
    pub(super) fn can_go_back(&self) -> bool {
        match &self.place {
            Place::Standard(_) => false,
            Place::Direct(file, _) => file.metadata().is_ok_and(|it| it.is_file()),
            Place::Part { .. } => true,
        }
    }

    /// Writes all of `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = match &mut self.place {
            Place::Standard(output) => output.write_all(bytes),
            Place::Direct(file, path) => file.write_all(bytes).map_err(|it| explained(path, it)),
            Place::Part { file, part, .. } => {
                file.write_all(bytes).map_err(|it| explained(part, it))
            }
        };
        self.position += bytes.len() as u64;
        written
    }

    /// Removes everything from `position` on.
    pub(super) fn go_back(&mut self, position: u64) -> io::Result<()> {
        match &mut self.place {
            Place::Standard(_) => return Err(io::Error::other("standard output cannot go back")),
            Place::Direct(file, _) | Place::Part { file, .. } => {
                file.set_len(position)?;
                file.seek(SeekFrom::Start(position))?;
            }
        }
        self.position = position;
        Ok(())
    }

    /// Ends a complete response: gives the file its name.
    pub(super) fn complete(self) -> io::Result<()> {
        match self.place {
            Place::Standard(mut output) => output.flush(),
            Place::Direct(..) => Ok(()),
            Place::Part { file, part, target } => {
                // A time of its own, not that of the server which an earlier transfer had kept.
                file.set_modified(SystemTime::now())?;
                fs::rename(&part, &target).map_err(|error| explained(&target, error))
            }
        }
    }

    /// Keeps what there is of a response, so that it can be continued, or removes it if there is
    /// nothing or it cannot be. Returns a sentence about that, for the user.
    pub(super) fn keep(self, can_continue: bool, validator: Option<SystemTime>) -> Option<String> {
        let _ = match self.place {
            Place::Standard(mut output) => output.flush(),
            Place::Direct(..) => Ok(()),
            Place::Part { part, .. } if self.position == 0 || !can_continue => {
                fs::remove_file(&part)
            }
            Place::Part { file, part, .. } => {
                let kept = file.set_modified(validator.unwrap_or(SystemTime::UNIX_EPOCH));
                let (size, name) = (self.position, part.display());
                return kept
                    .ok()
                    .map(|()| format!("{size} bytes are kept in {name}: -C - continues there"));
            }
        };
        None
    }
}

/// Returns whether a path is of something else than a regular file, such as a link or a pipe.
fn is_special(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| !it.is_file())
}

fn explained(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Returns the name of the file for a URL: the last part of its path, decoded. Characters that a
/// file name cannot have, or that would harm a terminal, become `_`.
pub(super) fn remote_name(url: &Url) -> Option<String> {
    let last = url.path_segments()?.next_back()?;
    let name = percent_decode_str(last).decode_utf8_lossy().into_owned();
    let safe: String =
        name.chars().map(|it| if it == '/' || it.is_control() { '_' } else { it }).collect();
    (!safe.is_empty() && safe != "." && safe != "..").then_some(safe)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testkit::Folder;

    use super::*;

    fn at(path: &str) -> Target {
        Target::File(path.into())
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_complete() {
        let folder = Folder::new("sink");
        let path = folder.file("x");
        fs::write(&path, "old").expect("it is written");
        let mut sink = Sink::open(&at(&path), 0).expect("it opens");
        sink.write(b"new content").expect("it is written");
        assert_eq!(fs::read(&path).expect("it is there"), b"old");
        sink.complete().expect("it is renamed");
        assert_eq!(fs::read(&path).expect("it is there"), b"new content");
        assert!(!Path::new(&part_of(path.as_ref())).exists());
    }

    #[test]
    fn a_part_is_kept_and_continued() {
        let folder = Folder::new("part");
        let path = folder.file("x");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let mut sink = Sink::open(&at(&path), 0).expect("it opens");
        sink.write(b"12345").expect("it is written");
        let text = sink.keep(true, Some(time)).expect("it is kept");
        assert!(text.contains("5 bytes") && text.contains("x.part"), "{text}");
        let found = existing(path.as_ref()).expect("there is a part");
        assert_eq!(found, Existing { size: 5, validator: Some(time) });
        let mut sink = Sink::open(&at(&path), 3).expect("it opens");
        sink.write(b"xy").expect("it is written");
        assert_eq!(sink.position(), 5);
        sink.complete().expect("it is renamed");
        assert_eq!(fs::read(&path).expect("it is there"), b"123xy");
        // Without a part, the file itself is continued.
        let found = existing(path.as_ref()).expect("there is a file");
        assert_eq!(found, Existing { size: 5, validator: None });
        let mut sink = Sink::open(&at(&path), 5).expect("it opens");
        sink.write(b"!").expect("it is written");
        assert_eq!(sink.keep(true, None), None);
        assert_eq!(fs::read(&path).expect("it is there"), b"123xy!");
        assert!(Sink::open(&at(&path), 100).is_err(), "there are fewer bytes");
    }

    #[test]
    fn an_empty_part_is_removed() {
        let folder = Folder::new("empty");
        let path = folder.file("x");
        let sink = Sink::open(&at(&path), 0).expect("it opens");
        assert_eq!(sink.keep(true, None), None);
        assert_eq!(existing(path.as_ref()), None);
    }

    #[test]
    fn devices_are_written_in_place_and_links_are_followed() {
        let mut sink = Sink::open(&at("/dev/null"), 0).expect("it opens");
        sink.write(b"x").expect("it takes everything");
        assert!(!sink.can_go_back());
        sink.complete().expect("there is nothing to do");
        let folder = Folder::new("link");
        fs::write(folder.file("real"), "old").expect("it is written");
        std::os::unix::fs::symlink(folder.file("real"), folder.file("link")).expect("it is made");
        let mut sink = Sink::open(&at(&folder.file("link")), 0).expect("it opens");
        sink.write(b"new").expect("it is written");
        sink.complete().expect("it is renamed");
        assert_eq!(fs::read(folder.file("real")).expect("it is there"), b"new");
        assert!(fs::symlink_metadata(folder.file("link")).expect("it is there").is_symlink());
    }

    #[test]
    fn names_of_urls_stay_in_their_folder() {
        for (url, name) in [
            ("http://one.example/a/b.tar.gz?x=1#y", Some("b.tar.gz")),
            ("http://one.example/a%20b", Some("a b")),
            ("http://one.example/..%2f..%2fetc%2fpasswd", Some(".._.._etc_passwd")),
            ("http://one.example/%1b%5b2J", Some("_[2J")),
            ("http://one.example/x%00y", Some("x_y")),
            ("http://one.example/", None),
            ("http://one.example/a/", None),
            ("http://one.example/%2e%2e", None),
        ] {
            let url = Url::parse(url).expect(url);
            assert_eq!(remote_name(&url).as_deref(), name, "{url}");
        }
    }
}
