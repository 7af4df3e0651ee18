//! Requests about names and attributes, which are answered at once.

use protocol::Reply;
use protocol::codecs::Packet;
use protocol::mfs::{
    Access, AccessTimes, Answer, AttributedEntry, Attributes, CreateFile, CreateFileAnswer, Entry,
    Field, FileType, GetAcl, GetAttributes, GetAttributesAnswer, GetXattr, GetXattrAnswer, Kind,
    Link, LinkAnswer, Lookup, LookupAnswer, MakeDirectory, MakeDirectoryAnswer, MakeNode,
    MakeNodeAnswer, Message, Name, Numbered, Open, OpenAnswer, ReadDirectory, ReadDirectoryAnswer,
    ReadLink, ReadLinkAnswer, RemoveDirectory, RemoveDirectoryAnswer, Rename, RenameAnswer,
    Request, Rest, SetAttributes, SetAttributesAnswer, SetXattr, StatFs, StatFsAnswer, Status,
    SustainedInodes, Symlink, SymlinkAnswer, Text, TimeSync, TimeSyncAnswer, Unlink, UnlinkAnswer,
};

use super::{unix_micros, unix_seconds};
use crate::mfs::master::app::Master;
use crate::mfs::master::port::Refused;
use crate::mfs::master::tree::{Mask, NewNode, SetMode, Tree};

/// The flags of [`ReadDirectory`] and [`Open`].
const WITH_ATTRIBUTES: u8 = 1;
const OPEN_READ: u8 = 1;
const OPEN_WRITE: u8 = 2;
const OPEN_AFTER_CREATE: u8 = 4;
const OPEN_TRUNCATE: u8 = 8;

/// A request of a session.
pub(super) struct Call<'r, 'o> {
    pub(super) session: u32,
    pub(super) reply: &'r mut Reply<'o, Packet>,
}

impl Call<'_, '_> {
    /// Answers a request with what `run` returns, or the status that it fails with.
    fn serve<'b, 'a, R>(
        &mut self,
        body: &'b [u8],
        run: impl FnOnce(R) -> Result<R::Answer<'a>, Status>,
    ) -> Result<(), Refused>
    where
        R: Message<'b> + Request + Clone + Default,
    {
        let Numbered { number, message } = Numbered::<R>::parse(body)?;
        let message = run(message).map_or_else(Answer::Status, Answer::Done);
        Numbered { number, message }.send(self.reply);
        Ok(())
    }

    /// Answers a request whose answer is a status in any case.
    fn serve_status<'b, R>(
        &mut self,
        body: &'b [u8],
        run: impl FnOnce(R) -> Result<(), Status>,
    ) -> Result<(), Refused>
    where
        R: Message<'b> + Request + Clone + Default,
    {
        let Numbered { number, message } = Numbered::<R>::parse(body)?;
        let status = run(message).err().unwrap_or_default();
        let message = Answer::<R::Answer<'_>>::Status(status);
        Numbered { number, message }.send(self.reply);
        Ok(())
    }

    /// Handles a packet of a session. Returns false if it is no request about names or attributes.
    pub(super) fn handle(
        &mut self,
        kind: Kind,
        body: &[u8],
        app: &mut Master,
    ) -> Result<bool, Refused> {
        let (tree, time) = (&mut app.tree, unix_seconds());
        match kind {
            Kind::ACCESS => self.serve_status(body, |it: Access<'_>| {
                tree.access(&it.credentials, it.inode, Mask(it.mask as u8 & 7))
            }),
            Kind::LOOKUP => self.serve(body, |it: Lookup<'_>| {
                let (inode, attributes) =
                    tree.lookup(&it.credentials, it.parent, it.name.bytes())?;
                let flags = tree.accesses(&it.credentials, inode)?;
                Ok(LookupAnswer { inode, attributes, flags, place: None })
            }),
            Kind::GETATTR => self.serve(body, |it: GetAttributes| {
                Ok(GetAttributesAnswer { attributes: tree.attributes(it.inode)? })
            }),
            Kind::SETATTR => self.serve(body, |it: SetAttributes<'_>| {
                Ok(SetAttributesAnswer { attributes: tree.set_attributes(time, &it)? })
            }),
            Kind::GETXATTR => self.get_xattr(body, tree),
            Kind::SETXATTR => self.serve_status(body, |it: SetXattr<'_>| {
                let mode = SetMode::from_number(it.mode).ok_or(Status::EINVAL)?;
                let attribute = (it.name.bytes(), it.value.0);
                tree.set_xattr(time, &it.credentials, it.inode, attribute, mode)
            }),
            Kind::GETACL => self.serve(body, |_: GetAcl| Err(Status::ENOATTR)),
            Kind::READLINK => {
                let mut path = Vec::new();
                let path = &mut path;
                self.serve(body, move |it: ReadLink| {
                    path.extend_from_slice(tree.read_link(it.inode)?);
                    path.push(0);
                    Ok(ReadLinkAnswer { path: Text(path) })
                })
            }
            Kind::READDIR => self.list(body, tree),
            _ => return self.handle_changes(kind, body, app),
        }?;
        Ok(true)
    }

    /// Handles requests that change names.
    fn handle_changes(
        &mut self,
        kind: Kind,
        body: &[u8],
        app: &mut Master,
    ) -> Result<bool, Refused> {
        let (tree, time) = (&mut app.tree, unix_seconds());
        match kind {
            Kind::SYMLINK => self.serve(body, |it: Symlink<'_>| {
                let (name, path) = (it.name.bytes(), it.path.trimmed());
                let made = tree.symlink(time, &it.credentials, it.parent, name, path)?;
                Ok(SymlinkAnswer { inode: made.0, attributes: made.1 })
            }),
            Kind::MKNOD => self.serve(body, |it: MakeNode<'_>| {
                let file_type = FileType::from_number(it.file_type)
                    .filter(|it| !matches!(it, FileType::Directory | FileType::Symlink))
                    .ok_or(Status::EINVAL)?;
                let MakeNode { mode, umask, device, .. } = it;
                let new = NewNode { file_type, mode, umask, device };
                let made = tree.create(time, &it.credentials, it.parent, it.name.bytes(), new)?;
                Ok(MakeNodeAnswer { inode: made.0, attributes: made.1 })
            }),
            Kind::MKDIR => self.serve(body, |it: MakeDirectory<'_>| {
                let (mode, umask) = (it.mode, it.umask);
                let new = NewNode { file_type: FileType::Directory, mode, umask, device: 0 };
                let made = tree.create(time, &it.credentials, it.parent, it.name.bytes(), new)?;
                Ok(MakeDirectoryAnswer { inode: made.0, attributes: made.1 })
            }),
            Kind::UNLINK => self.serve(body, |it: Unlink<'_>| {
                let inode = tree.unlink(time, &it.credentials, it.parent, it.name.bytes())?;
                Ok(UnlinkAnswer { inode })
            }),
            Kind::RMDIR => self.serve(body, |it: RemoveDirectory<'_>| {
                let (parent, name) = (it.parent, it.name.bytes());
                let inode = tree.remove_directory(time, &it.credentials, parent, name)?;
                Ok(RemoveDirectoryAnswer { inode })
            }),
            Kind::RENAME => self.serve(body, |it: Rename<'_>| {
                let from = (it.parent, it.name.bytes());
                let to = (it.new_parent, it.new_name.bytes());
                let (inode, attributes) = tree.rename(time, &it.credentials, from, to)?;
                Ok(RenameAnswer { inode, attributes })
            }),
            Kind::LINK => self.serve(body, |it: Link<'_>| {
                let (parent, name) = (it.new_parent, it.new_name.bytes());
                let linked = tree.link(time, &it.credentials, it.inode, parent, name)?;
                Ok(LinkAnswer { inode: linked.0, attributes: linked.1 })
            }),
            _ => return self.handle_use(kind, body, app),
        }?;
        Ok(true)
    }

    /// Handles requests of clients that use files, and what they tell about it.
    fn handle_use(&mut self, kind: Kind, body: &[u8], app: &mut Master) -> Result<bool, Refused> {
        let (session, time) = (self.session, unix_seconds());
        match kind {
            Kind::STATFS => self.serve(body, |_: StatFs| Ok(app.file_system())),
            Kind::OPEN => self.serve(body, |it: Open<'_>| {
                let attributes = open(session, time, &it, app)?;
                Ok(OpenAnswer { flags: 0, attributes })
            }),
            Kind::CREATE_FILE => self.serve(body, |it: CreateFile<'_>| {
                let (mode, umask) = (it.mode, it.umask);
                let new = NewNode { file_type: FileType::File, mode, umask, device: 0 };
                let (parent, name) = (it.parent, it.name.bytes());
                let (inode, attributes) =
                    app.tree.create(time, &it.credentials, parent, name, new)?;
                app.opens(session, time, inode)?;
                Ok(CreateFileAnswer { flags: 0, inode, attributes })
            }),
            Kind::SUSTAINED_INODES => {
                let SustainedInodes { inodes } = SustainedInodes::parse(body)?;
                app.keeps_open(session, time, inodes);
                Ok(())
            }
            Kind::ACCESS_TIMES => {
                let AccessTimes { times } = AccessTimes::parse(body)?;
                for it in times {
                    // A file that is gone has no times.
                    let _ = app.tree.used(time, it.inode, (it.atime, it.mtime));
                }
                Ok(())
            }
            Kind::TIME_SYNC => {
                let number =
                    if body.is_empty() { 0 } else { Numbered::<TimeSync>::parse(body)?.number };
                let message = Answer::Done(TimeSyncAnswer { time: unix_micros() });
                Numbered { number, message }.send(self.reply);
                Ok(())
            }
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// Answers with the value of an extended attribute, or with the names of all.
    fn get_xattr(&mut self, body: &[u8], tree: &Tree) -> Result<(), Refused> {
        const ONLY_LENGTH: u8 = 1;
        let mut names = Vec::new();
        let names = &mut names;
        self.serve(body, move |it: GetXattr<'_>| {
            let value = match it.name.bytes() {
                b"" => {
                    *names = tree.xattr_names(&it.credentials, it.inode)?;
                    names.as_slice()
                }
                name => tree.xattr(&it.credentials, it.inode, name)?,
            };
            let length = value.len() as u32;
            let shown = if it.mode == ONLY_LENGTH { &[] } else { value };
            Ok(GetXattrAnswer { length, value: Rest(shown) })
        })
    }

    /// Answers with all names in a directory. The real master does not page either.
    fn list(&mut self, body: &[u8], tree: &Tree) -> Result<(), Refused> {
        let mut entries = Vec::new();
        let entries = &mut entries;
        self.serve(body, move |it: ReadDirectory<'_>| {
            for (name, inode, attributes) in tree.list(&it.credentials, it.inode)? {
                let name = Name::new(name).unwrap_or_default();
                if it.flags & WITH_ATTRIBUTES != 0 {
                    AttributedEntry { name, inode, attributes }.append(entries);
                } else {
                    let file_type = attributes.mode.file_type;
                    Entry { name, inode, file_type }.append(entries);
                }
            }
            Ok(ReadDirectoryAnswer { edge: it.edge, entries: Rest(entries) })
        })
    }
}

/// Opens a file. One that was created with the same permissions a moment ago needs no check.
fn open(session: u32, time: u32, it: &Open<'_>, app: &mut Master) -> Result<Attributes, Status> {
    let wanted = [(OPEN_READ, Mask::READ), (OPEN_WRITE, Mask::WRITE)];
    let bits = wanted.iter().filter(|(flag, _)| it.flags & flag != 0).map(|(_, mask)| mask.0);
    let mask = match it.flags & OPEN_AFTER_CREATE {
        0 => Mask(bits.sum()),
        _ => Mask(0),
    };
    let attributes = app.tree.check_open(&it.credentials, it.inode, mask)?;
    app.opens(session, time, it.inode)?;
    if it.flags & OPEN_TRUNCATE != 0 && it.flags & OPEN_WRITE != 0 && attributes.length > 0 {
        return app.tree.set_length(time, it.inode, 0);
    }
    Ok(attributes)
}

/// Returns the answer to a request of a client of a type that this master does not know: that it does not
/// support it. `None` if the packet is no request of a client.
pub(super) fn not_supported(kind: Kind, body: &[u8]) -> Option<(Kind, Vec<u8>)> {
    const FIRST: u32 = Kind::STATFS.0;
    const LAST: u32 = 499;
    let number = body.first_chunk::<4>()?;
    let is_request = (FIRST..=LAST).contains(&kind.0) && kind.0.is_multiple_of(2);
    let status = Status::ENOTSUP.0;
    is_request.then(|| (Kind(kind.0 + 1), [&number[..], &[status]].concat()))
}

impl Master {
    /// Returns the size of the file system.
    fn file_system(&self) -> StatFsAnswer {
        let (total, free) = self.total_and_free();
        let sums = self.tree.sums();
        StatFsAnswer {
            total,
            available: free,
            free,
            trash: 0,
            sustained: sums.sustained_size,
            inodes: sums.inodes,
        }
    }
}
