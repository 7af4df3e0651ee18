//! Sending what stands in files.

use std::fs::File;
use std::io;

use crate::Cx;

/// Sends some of a range of a file that the peer was promised all of: `Ok(None)` when it would
/// block. A file that ends before is an error of the connection.
pub(crate) fn send_range<A>(
    file: &File,
    offset: u64,
    length: u64,
    cx: &mut Cx<'_, A>,
) -> io::Result<Option<usize>> {
    let count = cx.send_file(file, offset, length)?;
    if count == Some(0) {
        let text = "the file is shorter than the range that was promised";
        cx.failed = Some("sendfile");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(count)
}
