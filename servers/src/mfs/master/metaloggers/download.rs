//! The download of the metadata.

use std::sync::Arc;

use protocol::Reply;
use protocol::codecs::Packet;
use protocol::mfs::{Data, DownloadData, DownloadInfo, DownloadRequest, Message};

use crate::mfs::master::app::Master;
use crate::mfs::master::port::Refused;

/// The numbers of the files.
const METADATA: u8 = 1;
const CHANGE_LOG: u8 = 11;
const CHANGE_LOG_BEFORE: u8 = 12;
/// The status of a file that is not there.
const REFUSED: u8 = 0xff;
/// The longest part that may be asked for, in bytes.
const PART_MAX: u32 = 1_000_000;

/// The files that a metalogger downloads, one after the other.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    /// The present one.
    content: Option<Arc<[u8]>>,
    /// The version of the metadata that it had last.
    version: Option<u64>,
}

impl Downloads {
    /// Begins a download, and tells the length.
    ///
    /// The metadata are those of a version, which several metaloggers share. What was changed since is in
    /// the change log. There is none before it.
    pub(super) fn start(&mut self, file: u8, reply: &mut Reply<'_, Packet>, app: &mut Master) {
        let content = match file {
            METADATA => {
                let metadata = app.metadata();
                self.version = Some(metadata.version);
                metadata.content()
            }
            CHANGE_LOG => {
                let version = self.version.unwrap_or(app.version());
                app.changes.lines_after(version).into()
            }
            CHANGE_LOG_BEFORE => Arc::default(),
            _ => {
                self.content = None;
                return DownloadInfo::Refused(REFUSED).send(reply);
            }
        };
        DownloadInfo::Length(content.len() as u64).send(reply);
        self.content = Some(content);
    }

    /// Ends the present download.
    pub(super) fn end(&mut self) {
        self.content = None;
    }

    /// Sends a part.
    ///
    /// # Errors
    /// When there is no download, or its file has no such part.
    pub(super) fn send(
        &self,
        request: DownloadRequest,
        reply: &mut Reply<'_, Packet>,
    ) -> Result<(), Refused> {
        let DownloadRequest { offset, size } = request;
        let Some(content) = &self.content else {
            return Err(Refused::new("a part is asked for without a download"));
        };
        let part = usize::try_from(offset).ok().and_then(|start| {
            let end = start.checked_add(size as usize)?;
            content.get(start..end).filter(|_| size <= PART_MAX)
        });
        let Some(part) = part else {
            let length = content.len();
            let text = format!("a part of {size} bytes at {offset} of a file of {length} bytes");
            return Err(Refused::new(text));
        };
        DownloadData { offset, data: Data::new(part) }.send(reply);
        Ok(())
    }
}
