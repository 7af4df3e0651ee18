//! A file that is served: its validators, its content and its compressed forms.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;
use std::sync::Arc;

use nix::errno::Errno;

use super::conditions::Validators;
use super::encoding::Encoding;
use super::root::Root;
use super::stamp::Stamp;

/// What tells whether a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    number: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            number: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// In memory, shared by all answers.
    Memory(Arc<[u8]>),
    /// In the open file.
    Open(Arc<File>),
}

/// A file that is served, in one form.
#[derive(Debug)]
pub(crate) struct ServedFile {
    version: Version,
    pub(crate) content: Content,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Its entity tag, with quotation marks.
    tag: String,
    /// The time of its last change, in seconds since 1970.
    modified: u64,
    /// The time of its last change, as a field has it.
    pub(crate) modified_field: String,
    /// Its media type. A compressed form has that of the file.
    pub(crate) media_type: Rc<str>,
    /// The forms that were compressed beforehand, by [`Encoding::ALL`].
    forms: [Option<Rc<ServedFile>>; 3],
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    File(Rc<ServedFile>),
    Folder,
    /// Nothing that is served.
    Missing,
    /// The process may not read it.
    Forbidden,
    /// Opening it has failed: there are too many open files, or the disk has an error.
    Failed(Errno),
}

/// How files are opened.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    /// Files of at most this many bytes are kept in memory.
    pub(crate) small_max: u64,
    /// Whether compressed forms are looked for.
    pub(crate) precompressed: bool,
    /// Media types by the extension of the name, besides the usual ones.
    pub(crate) types: Vec<(String, String)>,
}

impl Opening {
    /// Opens what is at a path below a root. What is still the same as `known` is not read again.
    pub(crate) fn open(&self, root: &Root, path: &str, known: Option<&Rc<ServedFile>>) -> Found {
        let (file, metadata) = match open(root, path) {
            Ok(opened) => opened,
            Err(found) => return found,
        };
        if metadata.is_dir() {
            return Found::Folder;
        }
        if !metadata.is_file() {
            return Found::Missing;
        }
        let forms = self.forms(root, path, &metadata, known);
        let version = Version::of(&metadata);
        let is_same = |known: &&Rc<ServedFile>| {
            let pairs = known.forms.iter().zip(&forms);
            known.version == version && pairs.into_iter().all(|(old, new)| is_same_form(old, new))
        };
        if let Some(known) = known.filter(is_same) {
            return Found::File(Rc::clone(known));
        }
        match self.serve(file, version, "", self.media_type(path)) {
            Ok(served) => Found::File(Rc::new(ServedFile { forms, ..served })),
            Err(error) => failed(&error),
        }
    }

    /// Opens the compressed forms of a file that are not older than it.
    fn forms(
        &self,
        root: &Root,
        path: &str,
        plain: &Metadata,
        known: Option<&Rc<ServedFile>>,
    ) -> [Option<Rc<ServedFile>>; 3] {
        if !self.precompressed {
            return [None, None, None];
        }
        std::array::from_fn(|index| {
            let encoding = Encoding::ALL[index];
            let (file, metadata) = open(root, &format!("{path}{}", encoding.suffix())).ok()?;
            let version = Version::of(&metadata);
            let plain = (plain.mtime(), plain.mtime_nsec());
            if !metadata.is_file() || version.modified < plain {
                return None;
            }
            let known = known.and_then(|known| known.forms[index].as_ref());
            if let Some(known) = known.filter(|known| known.version == version) {
                return Some(Rc::clone(known));
            }
            self.serve(file, version, encoding.name(), self.media_type(path)).ok().map(Rc::new)
        })
    }

    fn serve(
        &self,
        file: File,
        version: Version,
        form: &str,
        media_type: Rc<str>,
    ) -> io::Result<ServedFile> {
        let (seconds, nanoseconds) = version.modified;
        let modified = u64::try_from(seconds).unwrap_or(0);
        let dash = if form.is_empty() { "" } else { "-" };
        let (size, content) = if version.size <= self.small_max {
            let bytes = read(&file, version.size)?;
            (bytes.len() as u64, Content::Memory(bytes.into()))
        } else {
            (version.size, Content::Open(Arc::new(file)))
        };
        Ok(ServedFile {
            version,
            content,
            size,
            tag: format!("\"{seconds:x}.{nanoseconds:x}-{size:x}{dash}{form}\""),
            modified,
            modified_field: Stamp::new(modified).as_field().to_owned(),
            media_type,
            forms: [None, None, None],
        })
    }

    /// Returns the media type of a name. Text is UTF-8.
    fn media_type(&self, path: &str) -> Rc<str> {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        let own = self.types.iter().find(|(name, _)| name.eq_ignore_ascii_case(extension));
        if let Some((_, media_type)) = own {
            return media_type.as_str().into();
        }
        let guess = mime_guess::from_ext(extension).first_raw();
        let guess = guess.unwrap_or("application/octet-stream");
        if guess.starts_with("text/") || guess == "application/javascript" {
            return format!("{guess}; charset=utf-8").into();
        }
        guess.into()
    }
}

impl ServedFile {
    /// Returns what tells its versions apart.
    pub(crate) fn validators(&self) -> Validators<'_> {
        Validators { tag: &self.tag, modified: self.modified }
    }

    /// Returns its form in this encoding, if there is one.
    pub(crate) fn form(&self, encoding: Encoding) -> Option<&Rc<ServedFile>> {
        let index = Encoding::ALL.iter().position(|it| *it == encoding)?;
        self.forms[index].as_ref()
    }

    /// Returns whether it has forms between which a client can choose.
    pub(crate) fn has_forms(&self) -> bool {
        self.forms.iter().any(Option::is_some)
    }

    /// Returns the bytes of memory and the number of descriptors that it takes with its forms.
    pub(crate) fn cost(&self) -> (u64, usize) {
        let own = match &self.content {
            Content::Memory(bytes) => (bytes.len() as u64, 0),
            Content::Open(_) => (0, 1),
        };
        self.forms
            .iter()
            .flatten()
            .map(|form| form.cost())
            .fold(own, |sum, form| (sum.0 + form.0, sum.1 + form.1))
    }
}

fn is_same_form(old: &Option<Rc<ServedFile>>, new: &Option<Rc<ServedFile>>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => Rc::ptr_eq(old, new),
        _ => false,
    }
}

fn open(root: &Root, path: &str) -> Result<(File, Metadata), Found> {
    let file = root.file(path).map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    Ok((file, metadata))
}

fn failed(error: &io::Error) -> Found {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        // Links that go in circles or lead out are not there, nor are names that no file has.
        Errno::ENOENT
        | Errno::ENOTDIR
        | Errno::ENAMETOOLONG
        | Errno::EXDEV
        | Errno::ELOOP
        | Errno::EINVAL
        // Sockets and devices without a driver.
        | Errno::ENXIO
        | Errno::ENODEV => Found::Missing,
        Errno::EACCES | Errno::EPERM => Found::Forbidden,
        other => Found::Failed(other),
    }
}

/// Reads a file that has `size` bytes. It may have become shorter.
fn read(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
