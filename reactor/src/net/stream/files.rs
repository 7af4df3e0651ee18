//! Sending ranges of files.

use std::io;
use std::os::unix::fs::FileExt;

use protocol::FileRange;

use crate::Cx;

/// Sends some of a range of a file that the peer was promised all of: `Ok(None)` when it would
/// block. A file that ends before is an error of the connection.
pub(super) fn send_range<A>(range: &FileRange, cx: &mut Cx<'_, A>) -> io::Result<Option<usize>> {
    let count = cx.send_file(&range.file, range.offset, range.length)?;
    if count == Some(0) {
        return Err(broken("sendfile", too_short(), cx));
    }
    Ok(count)
}

/// Reads the beginning of a range of a file, for a layer that has to see it.
pub(super) fn read_range<A>(
    range: &FileRange,
    room: &mut [u8],
    cx: &mut Cx<'_, A>,
) -> io::Result<usize> {
    loop {
        match range.file.read_at(room, range.offset) {
            Ok(0) => return Err(broken("pread", too_short(), cx)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(|error| broken("pread", error, cx)),
        }
    }
}

/// Returns the error of a file that the peer was promised more of: an end in order would pass for the
/// end of the file.
fn broken<A>(operation: &'static str, error: io::Error, cx: &mut Cx<'_, A>) -> io::Error {
    cx.failed = Some(operation);
    cx.set_unsent(true);
    error
}

fn too_short() -> io::Error {
    let text = "the file is shorter than the range that was promised";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}
