//! A folder of chunks, which is a disk or a part of one. All of it blocks.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use nix::sys::statvfs::statvfs;
use protocol::mfs::ChunkId;

use super::form;
use crate::mfs::files;

/// How many folders a disk has for its chunks.
pub(crate) const SUBFOLDERS: usize = 256;

/// The file of the id of the metadata that its chunks belong to.
const META_ID: &str = ".metaid";

/// A folder that no other chunkserver uses.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// How many bytes are left free.
    reserve: u64,
    opened: SystemTime,
    /// It is locked as long as it is open.
    _lock: File,
}

/// A chunk that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: ChunkId,
    pub(crate) version: u32,
    /// Why it cannot be read.
    pub(crate) fault: Option<String>,
}

/// The space of a folder, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) total: u64,
    /// What can be used, without the reserve.
    pub(crate) free: u64,
}

impl Folder {
    /// Opens a folder, of which `reserve` bytes are left free.
    ///
    /// # Errors
    /// One sentence that names the folder: it is not there, or another chunkserver uses it.
    pub(crate) fn open(path: &Path, reserve: u64) -> io::Result<Self> {
        let lock = files::lock_with(".lock", path, "mfs-chunkserver")?;
        Ok(Self { path: path.to_owned(), reserve, opened: SystemTime::now(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of a chunk.
    fn subfolder(&self, chunk: ChunkId) -> PathBuf {
        self.path.join(format!("{:02X}", chunk.0 as u8))
    }

    /// Returns the path of the file of a chunk.
    pub(crate) fn path_of(&self, chunk: ChunkId, version: u32) -> PathBuf {
        self.subfolder(chunk).join(form::name(chunk, version))
    }

    /// Returns a path for the file of a chunk that is not complete, which no other has.
    pub(crate) fn partial_path_of(&self, chunk: ChunkId) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        self.subfolder(chunk).join(format!("chunk_{chunk}.{number}{}", form::PARTIAL))
    }

    /// Makes the folder of a chunk.
    pub(crate) fn make_subfolder(&self, chunk: ChunkId) -> io::Result<()> {
        match fs::create_dir(self.subfolder(chunk)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Returns its space.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn room(&self) -> io::Result<Room> {
        let found = statvfs(&self.path)?;
        let unit = found.fragment_size();
        // What only the superuser may use is not there.
        let hidden = found.blocks_free().saturating_sub(found.blocks_available());
        Ok(Room {
            total: found.blocks().saturating_sub(hidden).saturating_mul(unit),
            free: found.blocks_available().saturating_mul(unit).saturating_sub(self.reserve),
        })
    }

    /// Returns the id of the metadata that its chunks belong to, if it has one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn meta_id(&self) -> io::Result<Option<u64>> {
        let path = self.path.join(META_ID);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files::about(path.display(), &error)),
        };
        let id = bytes.as_slice().try_into().map_err(|_| {
            let text = format!(
                "{} has {} bytes and not 8: remove it if the chunks there belong to this master",
                path.display(),
                bytes.len()
            );
            io::Error::new(ErrorKind::InvalidData, text)
        })?;
        Ok(Some(u64::from_be_bytes(id)))
    }

    /// Sets the id of the metadata.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn set_meta_id(&self, id: u64) -> io::Result<()> {
        files::replace(&self.path.join(META_ID), &id.to_be_bytes())
    }

    /// Returns the chunks of one of its subfolders, which is made if it is not there. Files that are not
    /// complete are removed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn scan(&self, subfolder: usize) -> io::Result<Vec<Found>> {
        let path = self.path.join(format!("{subfolder:02X}"));
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return fs::create_dir(&path).map(|()| Vec::new());
            }
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with("chunk_") && name.ends_with(form::PARTIAL) {
                // A newer one is being made.
                if entry.metadata()?.modified()? < self.opened {
                    fs::remove_file(entry.path())?;
                }
            } else if let Some((id, version)) = form::parse_name(name) {
                let fault = check(&entry.path(), id, version).err().map(|it| it.to_string());
                found.push(Found { id, version, fault });
            }
        }
        Ok(found)
    }
}

/// Checks the size and the header of a file.
fn check(path: &Path, id: ChunkId, version: u32) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        // It is opened when it is read.
        return Ok(());
    }
    if form::blocks_of(metadata.len()).is_none() {
        return Err(io::Error::other(format!("no chunk has {} bytes", metadata.len())));
    }
    let mut header = [0; form::HEADER_SIZE];
    File::open(path)?.read_exact_at(&mut header, 0)?;
    match header == form::header(id, version) {
        true => Ok(()),
        false => Err(io::Error::other("the header is that of another chunk or version")),
    }
}
