//! The names in directories, and in all directories below.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::mfs::{AttributedEntry, FileType, List, ReadDirectory, ReadDirectoryAnswer};

use super::client::{Client, Found, LastLink, text_of};
use super::error::{Cause, Error};
use super::master::{Body, Ticket};

/// How many directories are asked for ahead.
const AHEAD: usize = 16;
/// How deep directories are listed: deeper than paths of 4,096 bytes lead.
const DEPTH_MAX: usize = 2_048;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// What has it.
    pub found: Found,
}

/// The names in a directory, or why it cannot be listed.
pub type Names = Result<Vec<Listed>, Error>;

/// Lists a directory and all directories below. Several are asked for at a time.
#[derive(Debug)]
pub struct Tree {
    /// The next one is the last.
    pending: Vec<Pending>,
}

/// A directory that is still to be listed.
#[derive(Debug)]
struct Pending {
    path: PathBuf,
    inode: u32,
    depth: usize,
    ticket: Option<Ticket>,
}

impl Client {
    /// Returns the names in a directory, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// When the path leads to no directory, or it may not be read.
    pub fn list(&mut self, path: &Path) -> Result<Vec<Listed>, Error> {
        let found = self.find(path, LastLink::Follow)?;
        let ticket = self.ask_names(found.inode);
        let body = self.master.wait(ticket)?;
        listed(&body).map_err(|cause| Error::new("list", text_of(path), cause))
    }

    /// Returns what lists a directory and all directories below.
    ///
    /// # Errors
    /// When the path leads to nothing.
    pub fn tree(&mut self, path: &Path) -> Result<Tree, Error> {
        let found = self.find(path, LastLink::Follow)?;
        let top = Pending { path: path.to_owned(), inode: found.inode, depth: 0, ticket: None };
        Ok(Tree { pending: vec![top] })
    }

    /// Asks for the names in a directory with their attributes: all at once, since the real master does
    /// not page.
    fn ask_names(&mut self, inode: u32) -> Ticket {
        let credentials = self.requester.credentials();
        let request =
            ReadDirectory { inode, credentials, flags: 1, entries_max: u32::MAX, edge: 0 };
        self.master.ask(request)
    }
}

impl Tree {
    /// Returns the path of the next directory and its names, or why it cannot be listed. Each directory
    /// comes after the one that it is in, as with `ls -R`. `None` is the end.
    ///
    /// # Errors
    /// When the master is lost, or directories lead too deep.
    pub fn next(&mut self, client: &mut Client) -> Result<Option<(PathBuf, Names)>, Error> {
        for next in self.pending.iter_mut().rev().take(AHEAD) {
            if next.ticket.is_none() {
                next.ticket = Some(client.ask_names(next.inode));
            }
        }
        let Some(Pending { path, depth, ticket: Some(ticket), .. }) = self.pending.pop() else {
            return Ok(None);
        };
        let body = client.master.wait(ticket)?;
        let names = listed(&body).map_err(|cause| Error::new("list", text_of(&path), cause));
        let is_directory = |it: &&Listed| it.found.file_type() == FileType::Directory;
        for below in names.iter().flatten().filter(is_directory).rev() {
            if depth >= DEPTH_MAX {
                let text = format!("it is more than {DEPTH_MAX} directories deep");
                return Err(Error::new("list", text_of(&path), Cause::Invalid(text)));
            }
            self.pending.push(Pending {
                path: path.join(OsStr::from_bytes(&below.name)),
                inode: below.found.inode,
                depth: depth + 1,
                ticket: None,
            });
        }
        Ok(Some((path, names)))
    }
}

/// Returns the names of an answer, sorted.
fn listed(body: &Body) -> Result<Vec<Listed>, Cause> {
    let answer: ReadDirectoryAnswer<'_> = body.read()?;
    let entries = List::<AttributedEntry<'_>>::new(answer.entries.0)
        .ok_or_else(|| Cause::Master("a listing that cannot be read".to_owned()))?;
    let mut names: Vec<Listed> = entries
        .iter()
        .filter(|entry| !matches!(entry.name.bytes(), b"." | b".."))
        .map(|entry| Listed {
            name: entry.name.bytes().to_vec(),
            found: Found { inode: entry.inode, attributes: entry.attributes },
        })
        .collect();
    names.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(names)
}
