//! A client of a file system: names and attributes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::Arc;

use protocol::mfs::{
    Attributes, CreateFile, CreateFileAnswer, FileType, GetAttributes, GetAttributesAnswer, Lookup,
    LookupAnswer, Name, Open, OpenAnswer, ReadLink, ReadLinkAnswer, SetAttributes,
    SetAttributesAnswer, StatFs, StatFsAnswer, Status, TruncateFile, TruncateFileAnswer,
};

use super::error::{Cause, Error};
use super::master::Master;
use super::options::{Options, Requester};
use super::reads::Reads;

/// The number of the root.
const ROOT: u32 = 1;
/// How many symbolic links a path may lead through, as with the kernel (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// A client of a file system: one session with its master, and connections to chunkservers as they are
/// needed.
///
/// All of it happens on the thread that calls, which waits for all connections together. Between two
/// calls nothing happens: the master ends a connection that is silent for ten seconds, and the next call
/// then resumes the session.
///
/// The session is closed on drop, which takes a second at most.
#[derive(Debug)]
pub struct Client {
    pub(super) master: Master,
    pub(super) reads: Reads,
    pub(super) requester: Requester,
    pub(super) options: Arc<Options>,
}

/// A file, a directory or another object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub inode: u32,
    /// Its attributes.
    pub attributes: Attributes,
}

impl Found {
    /// Returns its type.
    pub fn file_type(&self) -> FileType {
        self.attributes.mode.file_type
    }
}

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// What it leads to is found.
    Follow,
    /// The link itself is found.
    Keep,
}

/// Permissions and times that a file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The permissions.
    pub permissions: u16,
    /// The last access, in seconds since 1970.
    pub atime: u32,
    /// The last change of the content, in seconds since 1970.
    pub mtime: u32,
}

impl Client {
    /// Connects to the master and opens a session.
    ///
    /// # Errors
    /// When the options cannot be used, the master cannot be reached, or it refuses a session.
    pub fn open(options: Options) -> Result<Self, Error> {
        if let Some(fault) = options.fault() {
            let subject = options.master.to_string();
            return Err(Error::new("options", subject, Cause::Invalid(fault.to_owned())));
        }
        let options = Arc::new(options);
        let master = Master::open(Arc::clone(&options))?;
        let requester = options.identity.requester();
        Ok(Self { master, reads: Reads::default(), requester, options })
    }

    /// Returns the size of the file system.
    ///
    /// # Errors
    /// When the master does not tell.
    pub fn space(&mut self) -> Result<StatFsAnswer, Error> {
        let body = self.master.call(StatFs)?;
        body.read().map_err(|cause| Error::new("size", self.options.master.to_string(), cause))
    }

    /// Finds what has a path from the exported directory on. Symbolic links on the way are followed. One
    /// that begins with `/` is an error: only a mount knows where it leads.
    ///
    /// # Errors
    /// When it is not there, or may not be seen.
    pub fn find(&mut self, path: &Path, last: LastLink) -> Result<Found, Error> {
        self.walk(path, last).map_err(|error| error.about("lookup", text_of(path)))
    }

    fn walk(&mut self, path: &Path, last: LastLink) -> Result<Found, Error> {
        let mut links = 0;
        let mut left = names(path);
        // The directories above.
        let mut above: Vec<Found> = Vec::new();
        let mut here = self.root()?;
        while let Some(name) = left.pop() {
            if name == b".." {
                here = above.pop().unwrap_or(here);
                continue;
            }
            let found = self.lookup(here.inode, &name)?;
            let is_followed = !left.is_empty() || last == LastLink::Follow;
            if found.file_type() != FileType::Symlink || !is_followed {
                above.push(std::mem::replace(&mut here, found));
                continue;
            }
            links += 1;
            let target = self.target(found.inode)?;
            let target = Path::new(OsStr::from_bytes(&target));
            if target.is_absolute() || links > LINKS_MAX {
                let text = match links {
                    0..=LINKS_MAX => format!("a symbolic link leads to {}", target.display()),
                    _ => format!("it leads through more than {LINKS_MAX} symbolic links"),
                };
                return Err(unnamed(Cause::Invalid(text)));
            }
            left.extend(names(target));
        }
        Ok(here)
    }

    fn root(&mut self) -> Result<Found, Error> {
        let Requester { uid, gid, .. } = self.requester;
        let body = self.master.call(GetAttributes { inode: ROOT, is_open: 0, uid, gid })?;
        let answer: GetAttributesAnswer = body.read().map_err(unnamed)?;
        Ok(Found { inode: ROOT, attributes: answer.attributes })
    }

    fn lookup(&mut self, parent: u32, name: &[u8]) -> Result<Found, Error> {
        let name = short(name).map_err(unnamed)?;
        let credentials = self.requester.credentials();
        let body = self.master.call(Lookup { parent, name, credentials })?;
        let answer: LookupAnswer<'_> = body.read().map_err(unnamed)?;
        Ok(Found { inode: answer.inode, attributes: answer.attributes })
    }

    /// Returns where a symbolic link leads to.
    ///
    /// # Errors
    /// When it is none.
    pub fn read_link(&mut self, link: &Found) -> Result<Vec<u8>, Error> {
        let subject = format!("the object {}", link.inode);
        self.target(link.inode).map_err(|error| error.about("read the link", subject))
    }

    fn target(&mut self, inode: u32) -> Result<Vec<u8>, Error> {
        let body = self.master.call(ReadLink { inode })?;
        let answer: ReadLinkAnswer<'_> = body.read().map_err(unnamed)?;
        Ok(answer.path.trimmed().to_vec())
    }

    /// Finds a file and opens it for reading, which the master may refuse.
    pub(super) fn open_to_read(&mut self, path: &Path) -> Result<Found, Error> {
        let found = self.find(path, LastLink::Follow)?;
        let failed = |cause| Error::new("open", text_of(path), cause);
        must_be_a_file(&found).map_err(failed)?;
        self.open_with(found.inode, 1).map_err(|error| error.about("open", text_of(path)))
    }

    fn open_with(&mut self, inode: u32, flags: u8) -> Result<Found, Error> {
        let credentials = self.requester.credentials();
        let body = self.master.call(Open { inode, credentials, flags })?;
        let answer: OpenAnswer = body.read().map_err(unnamed)?;
        Ok(Found { inode, attributes: answer.attributes })
    }

    /// Opens a file for writing. It is empty then: it is new, or what it had is gone.
    pub(super) fn open_to_write(&mut self, path: &Path, mode: u16) -> Result<Found, Error> {
        let failed = |error: Error| error.about("create", text_of(path));
        match self.find(path, LastLink::Follow) {
            Ok(found) => {
                must_be_a_file(&found).map_err(unnamed).map_err(failed)?;
                self.emptied(found.inode).map_err(failed)
            }
            Err(error) if is_missing(&error) => self.create(path, mode).map_err(failed),
            Err(error) => Err(error),
        }
    }

    fn emptied(&mut self, inode: u32) -> Result<Found, Error> {
        self.open_with(inode, 2)?;
        let credentials = self.requester.credentials();
        let body = self.master.call(TruncateFile { inode, flags: 0, credentials, length: 0 })?;
        let answer: TruncateFileAnswer = body.read().map_err(unnamed)?;
        Ok(Found { inode, attributes: answer.attributes })
    }

    fn create(&mut self, path: &Path, mode: u16) -> Result<Found, Error> {
        let (Some(name), parent) = (path.file_name(), path.parent()) else {
            return Err(unnamed(Cause::Invalid("a path with a name is needed".to_owned())));
        };
        let name = short(name.as_bytes()).map_err(unnamed)?;
        let parent = self.walk(parent.unwrap_or(Path::new("/")), LastLink::Follow)?.inode;
        let credentials = self.requester.credentials();
        let umask = self.options.identity.umask;
        let body = self.master.call(CreateFile { parent, name, mode, umask, credentials })?;
        match body.read::<CreateFileAnswer>() {
            Ok(answer) => Ok(Found { inode: answer.inode, attributes: answer.attributes }),
            // The master was asked twice, since the connection was lost; or another client was faster.
            Err(Cause::Status(Status::EEXIST)) => {
                let found = self.walk(path, LastLink::Follow)?;
                must_be_a_file(&found).map_err(unnamed)?;
                self.emptied(found.inode)
            }
            Err(cause) => Err(unnamed(cause)),
        }
    }

    /// Gives a file permissions and times.
    ///
    /// # Errors
    /// When the master refuses.
    pub fn keep(&mut self, file: &Found, kept: Kept) -> Result<Attributes, Error> {
        let request = SetAttributes {
            inode: file.inode,
            is_open: 0,
            credentials: self.requester.credentials(),
            // Permissions and both times.
            mask: 0x02 | 0x20 | 0x40,
            mode: kept.permissions,
            atime: kept.atime,
            mtime: kept.mtime,
            ..SetAttributes::default()
        };
        let body = self.master.call(request)?;
        let answer = body.read::<SetAttributesAnswer>().map(|answer| answer.attributes);
        let subject = format!("the file {}", file.inode);
        answer.map_err(|cause| Error::new("keep permissions and times", subject, cause))
    }

    /// Closes the session: so does the drop of the client.
    pub fn close(self) {}
}

impl Drop for Client {
    fn drop(&mut self) {
        self.master.close();
    }
}

/// Returns the names of a path, the last one first.
fn names(path: &Path) -> Vec<Vec<u8>> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.as_bytes().to_vec()),
        Component::ParentDir => Some(b"..".to_vec()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// Returns a name as requests have it.
fn short(name: &[u8]) -> Result<Name<'_>, Cause> {
    Name::new(name).ok_or_else(|| {
        Cause::Invalid(format!("a name of {} bytes, and 255 are the most", name.len()))
    })
}

fn must_be_a_file(found: &Found) -> Result<(), Cause> {
    match found.file_type() {
        FileType::File => Ok(()),
        FileType::Directory => Err(Cause::Invalid("it is a directory".to_owned())),
        _ => Err(Cause::Invalid("it is no regular file".to_owned())),
    }
}

/// Returns an error that gets its subject later.
pub(super) fn unnamed(cause: Cause) -> Error {
    Error::new("", "", cause)
}

/// Returns whether an error says that there is no such file.
pub fn is_missing(error: &Error) -> bool {
    matches!(error.status(), Some(Status::ENOENT | Status::ENOENT_NOCACHE))
}

/// Returns a path as messages have it.
pub(super) fn text_of(path: &Path) -> String {
    path.display().to_string()
}
