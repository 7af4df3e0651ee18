//! The log of the changes of the metadata.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::mfs::{Changes, Message};

/// What a metalogger is sent.
#[derive(Debug)]
struct Entry {
    /// The version of the change, or of the last one before a new log begins.
    version: u64,
    packet: Arc<[u8]>,
    at: Instant,
    /// How many bytes all entries up to this one have had since the start.
    end: u64,
}

/// What comes next for a metalogger.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A packet, which all share.
    Packet(Arc<[u8]>),
    /// It has everything.
    Nothing,
    /// What comes next is no longer kept.
    Gone,
}

/// The changes that are kept for metaloggers which come back.
///
/// Each change is encoded once. A metalogger has a position in the log, so one that lags behind holds no
/// copies, and one that comes back continues as those that were there all the time.
#[derive(Debug)]
pub(super) struct ChangeLog {
    entries: VecDeque<Entry>,
    /// The position of the first entry that is kept.
    first: u64,
    version: u64,
    size_max: u64,
    age_max: Duration,
    /// How many bytes all entries have had since the start.
    end: u64,
    encoded: u64,
}

impl ChangeLog {
    /// Returns a log that goes on after the change `version`, and keeps so many bytes for so long.
    pub(super) fn new(version: u64, size_max: u64, age_max: Duration) -> Self {
        let entries = VecDeque::new();
        Self { entries, first: 0, version, size_max, age_max, end: 0, encoded: 0 }
    }

    /// Returns the version of the last change.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Returns how many packets were encoded since the start.
    pub(super) const fn encoded(&self) -> u64 {
        self.encoded
    }

    /// Appends a change, and returns its version.
    pub(super) fn append(&mut self, text: &[u8], now: Instant) -> u64 {
        self.version += 1;
        self.push(&Changes::Change { version: self.version, text }, now);
        self.version
    }

    /// Appends a change that was made before the start. If it does not follow the last one, those before
    /// it are forgotten.
    pub(super) fn restore(&mut self, version: u64, text: &[u8], now: Instant) {
        self.skip_to(version.saturating_sub(1));
        self.append(text, now);
    }

    /// Goes on after another version. If it is not the last one, all changes are forgotten.
    pub(super) fn skip_to(&mut self, version: u64) {
        if version != self.version {
            self.first += self.entries.len() as u64;
            self.entries.clear();
            self.version = version;
        }
    }

    /// Begins a new log.
    pub(super) fn rotate(&mut self, now: Instant) {
        self.push(&Changes::Rotate, now);
    }

    fn push(&mut self, change: &Changes<'_>, now: Instant) {
        let packet = change.packet();
        self.encoded += 1;
        self.end += packet.len() as u64;
        self.entries.push_back(Entry { version: self.version, packet, at: now, end: self.end });
        self.trim(now);
    }

    /// Forgets what is too old or too much.
    pub(super) fn trim(&mut self, now: Instant) {
        while let Some(entry) = self.entries.front() {
            let kept = self.end - entry.end + entry.packet.len() as u64;
            let age = now.saturating_duration_since(entry.at);
            if kept <= self.size_max && age <= self.age_max {
                break;
            }
            self.entries.pop_front();
            self.first += 1;
        }
    }

    /// Returns the position of the next entry that comes.
    pub(super) fn position(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Returns the position of the change `version`. If it is not kept, or has not been made, that of
    /// the next entry: the metalogger notices that changes are missing.
    pub(super) fn position_of(&self, version: u64) -> u64 {
        let place = self.entries.partition_point(|entry| entry.version < version);
        match self.entries.get(place) {
            Some(entry) if entry.version == version => self.first + place as u64,
            _ => self.position(),
        }
    }

    /// Returns the entry at a position.
    pub(super) fn at(&self, position: u64) -> Next {
        let Some(place) = position.checked_sub(self.first) else { return Next::Gone };
        match usize::try_from(place).ok().and_then(|place| self.entries.get(place)) {
            Some(entry) => Next::Packet(Arc::clone(&entry.packet)),
            None => Next::Nothing,
        }
    }

    /// Returns how many bytes come from a position on.
    pub(super) fn size_from(&self, position: u64) -> u64 {
        let place = position.saturating_sub(self.first);
        match usize::try_from(place).ok().and_then(|place| self.entries.get(place)) {
            Some(entry) => self.end - entry.end + entry.packet.len() as u64,
            None => 0,
        }
    }

    /// Returns how many bytes the changes after `version` have, if all of them are kept.
    pub(super) fn size_after(&self, version: u64) -> Option<u64> {
        if version == self.version {
            return Some(0);
        }
        let position = self.position_of(version + 1);
        (position < self.position()).then(|| self.size_from(position))
    }

    /// Returns the kept changes after `version` as lines of a file.
    pub(super) fn lines_after(&self, version: u64) -> Vec<u8> {
        let mut lines = Vec::new();
        let place = self.entries.partition_point(|entry| entry.version <= version);
        for entry in self.entries.iter().skip(place) {
            // The header of the packet, 0xFF, the version, the text, 0. A rotation is shorter.
            if let Some([text @ .., 0]) = entry.packet.get(17..) {
                lines.extend_from_slice(entry.version.to_string().as_bytes());
                lines.extend_from_slice(b": ");
                lines.extend_from_slice(text);
                lines.push(b'\n');
            }
        }
        lines
    }
}

/// Returns the text of a change that is made now: `SECONDS|WHAT`.
pub(super) fn line(what: &dyn fmt::Display) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = String::new();
    // A string takes everything.
    let _ = write!(text, "{}|{what}", now.as_secs());
    debug_assert!(!text.contains(['\0', '\n']), "names have to be escaped: {text:?}");
    text.into_bytes()
}

/// Returns whether a byte of a name stands for itself in a change.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b',' | b'(' | b')')
}

/// A name in a change: bytes that could end the line, a field or an escape, and those that cannot be
/// seen, are `%XX`.
///
/// ```
/// use servers::mfs::master::Escaped;
///
/// assert_eq!(Escaped(b"50% (new)").to_string(), "50%25%20%28new%29");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                byte if is_plain(*byte) => f.write_char(char::from(*byte))?,
                byte => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(size_max: u64) -> ChangeLog {
        ChangeLog::new(10, size_max, Duration::from_secs(60))
    }

    fn packet(version: u64, text: &[u8]) -> Next {
        Next::Packet(Changes::Change { version, text }.packet())
    }

    #[test]
    fn a_metalogger_continues_where_it_was() {
        let (mut log, now) = (log(1000), Instant::now());
        assert_eq!(log.position_of(11), log.position());
        assert_eq!((log.append(b"a", now), log.append(b"b", now)), (11, 12));
        log.rotate(now);
        log.append(b"c", now);
        assert_eq!((log.position_of(12), log.position_of(13)), (1, 3));
        assert_eq!(log.at(1), packet(12, b"b"));
        assert_eq!(log.at(2), Next::Packet(Changes::Rotate.packet()));
        assert_eq!((log.at(3), log.at(4)), (packet(13, b"c"), Next::Nothing));
        // Those that are ahead, or lack what was never kept, get what comes next.
        assert_eq!((log.position_of(14), log.position_of(20), log.position_of(9)), (4, 4, 4));
        assert_eq!(log.lines_after(11), b"12: b\n13: c\n");
        assert_eq!((log.size_after(13), log.size_after(9)), (Some(0), None));
        assert_eq!(log.size_after(12), Some(19));
        assert_eq!(log.encoded(), 4);
    }

    #[test]
    fn what_is_too_much_or_too_old_is_forgotten() {
        let (mut log, now) = (log(100), Instant::now());
        for _ in 0..1000 {
            log.append(&[b'.'; 32], now);
        }
        assert_eq!((log.at(0), log.at(997)), (Next::Gone, Next::Gone));
        assert_eq!(log.at(998), packet(1009, &[b'.'; 32]));
        assert_eq!((log.size_from(998), log.size_from(999), log.size_from(1000)), (100, 50, 0));
        assert_eq!(log.size_from(0), 100);
        log.trim(now + Duration::from_secs(61));
        assert_eq!((log.position(), log.at(999), log.at(1000)), (1000, Next::Gone, Next::Nothing));
        assert_eq!(log.append(b"", now), 1011);
    }

    #[test]
    fn a_gap_makes_earlier_changes_useless() {
        let (mut log, now) = (log(1000), Instant::now());
        [11, 12, 15, 16].iter().for_each(|version| log.restore(*version, b"a", now));
        assert_eq!((log.version(), log.size_after(12)), (16, None));
        assert_eq!(log.lines_after(0), b"15: a\n16: a\n");
        log.skip_to(16);
        assert_eq!(log.lines_after(15), b"16: a\n");
        log.skip_to(20);
        assert_eq!((log.append(b"b", now), log.lines_after(0)), (21, b"21: b\n".to_vec()));
    }

    #[test]
    fn a_name_cannot_end_its_line() {
        assert_eq!(Escaped(b"a b\n\0,(%)\xff").to_string(), "a%20b%0A%00%2C%28%25%29%FF");
    }
}
