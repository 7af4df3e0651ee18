//! Events as lines of text and as JSON.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::resp::text::json_string;
use reactor::watch::{Change, FileKind, What};

/// Kinds of events, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    const ACCESS: Self = Self(0x1);
    const MODIFY: Self = Self(0x2);
    const ATTRIB: Self = Self(0x4);
    const CLOSE_WRITE: Self = Self(0x8);
    const CLOSE_NOWRITE: Self = Self(0x10);
    const OPEN: Self = Self(0x20);
    const MOVED_FROM: Self = Self(0x40);
    const MOVED_TO: Self = Self(0x80);
    const CREATE: Self = Self(0x100);
    const DELETE: Self = Self(0x200);

    /// Parses the name of an event, as `inotifywait(1)` has it.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "access" => Self::ACCESS,
            "modify" => Self::MODIFY,
            "attrib" => Self::ATTRIB,
            "close_write" => Self::CLOSE_WRITE,
            "close_nowrite" => Self::CLOSE_NOWRITE,
            "close" => Self(Self::CLOSE_WRITE.0 | Self::CLOSE_NOWRITE.0),
            "open" => Self::OPEN,
            "moved_from" => Self::MOVED_FROM,
            "moved_to" => Self::MOVED_TO,
            "move" => Self(Self::MOVED_FROM.0 | Self::MOVED_TO.0),
            "create" => Self::CREATE,
            "delete" => Self::DELETE,
            _ => return Err(format!("there is no event {name:?} (see --help)")),
        })
    }

    /// Returns all of several.
    pub(super) fn union(all: &[Self]) -> Self {
        Self(all.iter().fold(0, |bits, kinds| bits | kinds.0))
    }

    /// Returns whether there are events among them of files that are only read.
    pub(super) fn need_reads(self) -> bool {
        self.0 & (Self::ACCESS.0 | Self::CLOSE_NOWRITE.0 | Self::OPEN.0) != 0
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// How changes are shown.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) is_json: bool,
    /// What is shown.
    pub(super) kinds: Kinds,
    /// The paths that were given. Their events are their own, and not those of a name in a directory.
    pub(super) given: BTreeSet<PathBuf>,
}

impl Form {
    /// Appends the lines of a change, at most `most`. Returns how many.
    pub(super) fn append(&self, change: &Change, most: u64, text: &mut Vec<u8>) -> u64 {
        let events = events(&change.what);
        let is_shown = |kinds: Kinds| self.kinds.has(kinds);
        if self.is_json {
            let is_any_shown = events.iter().any(|(kinds, ..)| is_shown(*kinds));
            if !is_any_shown || most == 0 {
                return 0;
            }
            append_json(change, text);
            return 1;
        }
        let shown = events.iter().filter(|(kinds, ..)| is_shown(*kinds));
        let mut count = 0;
        for (kinds, name, place) in shown.take(usize::try_from(most).unwrap_or(usize::MAX)) {
            let path = match (&change.what, place) {
                (What::Moved { from }, Place::Before) => from,
                _ => &change.path,
            };
            self.append_line(path, *kinds, name, change.kind, text);
            count += 1;
        }
        count
    }

    fn append_line(
        &self,
        path: &Path,
        kinds: Kinds,
        name: &str,
        kind: FileKind,
        text: &mut Vec<u8>,
    ) {
        let is_directory = kind == FileKind::Directory;
        let is_given = self.given.contains(path);
        let (directory, file) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !is_given => (parent, name.as_bytes()),
            _ => (path, &b""[..]),
        };
        let name = match (is_given, kinds) {
            (true, Kinds::DELETE) => "DELETE_SELF",
            (true, Kinds::MOVED_FROM) => "MOVE_SELF",
            _ => name,
        };
        let directory = directory.as_os_str().as_bytes();
        text.extend_from_slice(if directory.is_empty() { b"." } else { directory });
        if (!is_given || is_directory) && !directory.ends_with(b"/") {
            text.push(b'/');
        }
        text.push(b' ');
        text.extend_from_slice(name.as_bytes());
        // The kernel does not say of these that they concern a directory.
        if is_directory && !name.ends_with("_SELF") {
            text.extend_from_slice(b",ISDIR");
        }
        text.push(b' ');
        text.extend_from_slice(file);
        text.push(b'\n');
    }
}

/// Which path of a move an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Now,
    Before,
}

/// Returns the events of the kernel that a change consists of, and their names in a line.
fn events(what: &What) -> &'static [(Kinds, &'static str, Place)] {
    match what {
        What::Created => &[(Kinds::CREATE, "CREATE", Place::Now)],
        What::MovedIn => &[(Kinds::MOVED_TO, "MOVED_TO", Place::Now)],
        What::Moved { .. } => &[
            (Kinds::MOVED_FROM, "MOVED_FROM", Place::Before),
            (Kinds::MOVED_TO, "MOVED_TO", Place::Now),
        ],
        What::MovedOut => &[(Kinds::MOVED_FROM, "MOVED_FROM", Place::Now)],
        What::Removed => &[(Kinds::DELETE, "DELETE", Place::Now)],
        What::Modified => &[(Kinds::MODIFY, "MODIFY", Place::Now)],
        What::Written => &[(Kinds::CLOSE_WRITE, "CLOSE_WRITE,CLOSE", Place::Now)],
        What::Attributes => &[(Kinds::ATTRIB, "ATTRIB", Place::Now)],
        What::Opened => &[(Kinds::OPEN, "OPEN", Place::Now)],
        What::Read => &[(Kinds::ACCESS, "ACCESS", Place::Now)],
        What::Closed => &[(Kinds::CLOSE_NOWRITE, "CLOSE_NOWRITE,CLOSE", Place::Now)],
    }
}

fn append_json(change: &Change, text: &mut Vec<u8>) {
    let event = match change.what {
        What::Created => "create",
        What::MovedIn => "moved_to",
        What::Moved { .. } => "move",
        What::MovedOut => "moved_from",
        What::Removed => "delete",
        What::Modified => "modify",
        What::Written => "close_write",
        What::Attributes => "attrib",
        What::Opened => "open",
        What::Read => "access",
        What::Closed => "close_nowrite",
    };
    let kind = match change.kind {
        FileKind::Directory => "directory",
        FileKind::File => "file",
        FileKind::Link => "link",
        FileKind::Other => "other",
    };
    text.extend_from_slice(format!("{{\"event\":\"{event}\",\"kind\":\"{kind}\"").as_bytes());
    append_path("path", &change.path, text);
    if let What::Moved { from } = &change.what {
        append_path("from", from, text);
    }
    text.extend_from_slice(b"}\n");
}

fn append_path(key: &str, path: &Path, text: &mut Vec<u8>) {
    text.extend_from_slice(format!(",\"{key}\":").as_bytes());
    json_string(path.to_string_lossy().as_bytes(), text);
    let bytes = path.as_os_str().as_bytes();
    if std::str::from_utf8(bytes).is_err() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.extend_from_slice(format!(",\"{key}_hex\":\"{hex}\"").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn shown(is_json: bool, change: &Change) -> String {
        let given = BTreeSet::from([PathBuf::from("root"), PathBuf::from("a.txt")]);
        let form = Form { is_json, kinds: Kinds(0xffff), given };
        let mut text = Vec::new();
        form.append(change, 9, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn lines_are_those_of_inotifywait() {
        let change = |path: &str, kind, what| Change { path: path.into(), kind, what };
        let (file, directory) = (FileKind::File, FileKind::Directory);
        let moved = What::Moved { from: "root/a".into() };
        let cases = [
            (change("root/new", file, What::Created), "root/ CREATE new\n"),
            (change("root/sub", directory, What::Removed), "root/ DELETE,ISDIR sub\n"),
            (change("root/b", file, moved), "root/ MOVED_FROM a\nroot/ MOVED_TO b\n"),
            (change("root/x/y", file, What::Written), "root/x/ CLOSE_WRITE,CLOSE y\n"),
            (change("root", directory, What::Removed), "root/ DELETE_SELF \n"),
            (change("a.txt", file, What::Modified), "a.txt MODIFY \n"),
            (change("name", file, What::Created), "./ CREATE name\n"),
        ];
        for (change, line) in cases {
            assert_eq!(shown(false, &change), line);
        }
    }

    #[test]
    fn objects_keep_names_that_are_no_text() {
        let path = PathBuf::from(OsStr::from_bytes(b"root/\"\xff"));
        let change =
            Change { path, kind: FileKind::File, what: What::Moved { from: "root/a".into() } };
        let line = "{\"event\":\"move\",\"kind\":\"file\",\"path\":\"root/\\\"\u{fffd}\",\
            \"path_hex\":\"726f6f742f22ff\",\"from\":\"root/a\"}\n";
        assert_eq!(shown(true, &change), line);
    }
}
