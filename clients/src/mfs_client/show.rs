//! How files and sizes are shown.

use std::io::IsTerminal;

use protocol::http::format_date;
use protocol::mfs::{Attributes, FileType, StatFsAnswer};

use crate::fetch::progress::size;
use crate::mfs::Found;
use crate::output;

/// Returns a name for standard output: as it is, and on a terminal without what could control it.
pub(super) fn shown(name: &[u8]) -> Vec<u8> {
    let is_plain = name.iter().all(|byte| !byte.is_ascii_control());
    if is_plain || !std::io::stdout().is_terminal() {
        return name.to_vec();
    }
    name.iter().map(|byte| if byte.is_ascii_control() { b'?' } else { *byte }).collect()
}

/// Prints a line about a failure. A name in it can have been chosen by others, so nothing of it controls a
/// terminal or begins a line.
pub(super) fn complain(text: &str) {
    let text: String =
        text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    output::complain(format_args!("mfs-client: {text}"));
}

/// Returns a time as `28 Nov 2026 14:29:47`, in UTC.
fn time(seconds: u32) -> String {
    // Thu, 01 Jan 1970 00:00:00 GMT
    String::from_utf8_lossy(&format_date(seconds.into())[5..25]).into_owned()
}

/// Returns type and permissions as `ls -l` has them.
fn mode(attributes: &Attributes) -> String {
    let permissions = attributes.mode.permissions;
    let letter = match attributes.mode.file_type {
        FileType::File => '-',
        FileType::Fifo => 'p',
        other => char::from(other.letter()),
    };
    let mut text = String::from(letter);
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = permissions >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (permissions & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => set.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Returns the length, or the numbers of a device.
fn length(attributes: &Attributes) -> String {
    match attributes.mode.file_type {
        FileType::Block | FileType::Character => {
            let number = attributes.length >> 32;
            format!("{}, {}", number >> 16, number & 0xffff)
        }
        _ => attributes.length.to_string(),
    }
}

/// Returns what `ls -l` shows before the name.
pub(super) fn long(attributes: &Attributes) -> String {
    let Attributes { links, uid, gid, mtime, .. } = *attributes;
    let (mode, length) = (mode(attributes), length(attributes));
    format!("{mode} {links:>3} {uid:>5} {gid:>5} {length:>12} {} ", time(mtime))
}

/// Returns what `stat` shows below the path.
pub(super) fn attributes(found: &Found) -> String {
    let it = &found.attributes;
    let kind = match found.file_type() {
        FileType::File => "regular file",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "fifo",
        FileType::Block => "block device",
        FileType::Character => "character device",
        FileType::Socket => "socket",
    };
    format!(
        "  type      {kind}\n  inode     {}\n  mode      {:04o} ({})\n  owner     {}:{}\n  \
         links     {}\n  length    {}\n  accessed  {} ({})\n  modified  {} ({})\n  \
         changed   {} ({})\n",
        found.inode,
        it.mode.permissions,
        mode(it),
        it.uid,
        it.gid,
        it.links,
        length(it),
        it.atime,
        time(it.atime),
        it.mtime,
        time(it.mtime),
        it.ctime,
        time(it.ctime),
    )
}

/// Returns what `df` shows.
pub(super) fn space(space: &StatFsAnswer) -> String {
    let line = |name: &str, bytes: u64| format!("{name:<11} {bytes:>20}  {}\n", size(bytes));
    [
        line("total", space.total),
        line("used", space.total.saturating_sub(space.available)),
        line("available", space.available),
        line("trash", space.trash),
        line("sustained", space.sustained),
        format!("{:<11} {:>20}\n", "objects", space.inodes),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use protocol::mfs::Mode;

    use super::*;

    #[test]
    fn files_are_shown_as_ls_does() {
        let shown = |file_type, permissions| {
            let mode = Mode { file_type, permissions };
            super::mode(&Attributes { mode, ..Attributes::default() })
        };
        assert_eq!(shown(FileType::File, 0o644), "-rw-r--r--");
        assert_eq!(shown(FileType::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(shown(FileType::File, 0o4755), "-rwsr-xr-x");
        assert_eq!(shown(FileType::Fifo, 0o2600), "prw---S---");
        let device = Mode { file_type: FileType::Block, permissions: 0o660 };
        let attributes =
            Attributes { mode: device, length: 0x0008_0001_0000_0000, ..Attributes::default() };
        assert_eq!(
            long(&attributes),
            "brw-rw----   0     0     0         8, 1 01 Jan 1970 00:00:00 "
        );
    }
}
