//! What a server says about the state of a resource, and about the part of it that it sends.

use std::time::{Duration, SystemTime};

use protocol::http::{ResponseHead, format_date, parse_date};

/// How much older than the response a change has to be, so that its date identifies the state of the
/// resource (RFC 9110 section 8.8.2.2).
const AGE_MIN: Duration = Duration::from_secs(1);
/// The same, if the server has sent no `Date`. Its clock may differ from ours.
const AGE_MIN_OF_OUR_CLOCK: Duration = Duration::from_secs(60);
/// What is added to a date that does not identify the state, so that the kept file says that.
const WEAK: Duration = Duration::from_nanos(1);

/// What identifies the state of a resource (RFC 9110 section 8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    tag: Option<String>,
    modified: Option<SystemTime>,
    /// Whether the resource cannot have changed twice at the time `modified`.
    is_date_strong: bool,
    /// The size of the whole resource.
    total: Option<u64>,
}

impl State {
    /// Returns what a head says. `total` is the size of the whole resource.
    pub(super) fn of(head: &ResponseHead<'_>, total: Option<u64>) -> Self {
        let field = |name| head.fields().get_str(name);
        let modified = field("last-modified").and_then(time_of);
        let (now, age_min) = match field("date").and_then(time_of) {
            Some(date) => (date, AGE_MIN),
            None => (SystemTime::now(), AGE_MIN_OF_OUR_CLOCK),
        };
        let age = modified.and_then(|it| now.duration_since(it).ok());
        let is_date_strong = age.is_some_and(|it| it >= age_min);
        Self { tag: field("etag").map(str::to_owned), modified, is_date_strong, total }
    }

    /// Returns what the time of a kept file says.
    pub(super) fn of_kept(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
        let is_date_strong = since.subsec_nanos() == 0;
        Self { modified: Some(modified), is_date_strong, ..Self::default() }
    }

    /// Returns the size of the whole resource.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Returns the time for a file that is kept.
    pub(super) fn time_to_keep(&self) -> Option<SystemTime> {
        let modified = self.modified?;
        Some(if self.is_date_strong { modified } else { modified + WEAK })
    }

    /// Returns the value of `If-Range`, if there is a strong validator (RFC 9110 section 13.1.5).
    pub(super) fn if_range(&self) -> Option<Vec<u8>> {
        match &self.tag {
            Some(tag) => (!tag.starts_with("W/")).then(|| tag.clone().into_bytes()),
            None => self.modified.filter(|_| self.is_date_strong).map(date_of),
        }
    }

    /// Returns whether a later response is certainly of another state.
    pub(super) fn differs(&self, later: &Self) -> bool {
        fn differ<T: PartialEq>(one: Option<&T>, two: Option<&T>) -> bool {
            one.zip(two).is_some_and(|(one, two)| one != two)
        }
        differ(self.tag.as_ref(), later.tag.as_ref())
            || differ(self.modified.as_ref(), later.modified.as_ref())
            || differ(self.total.as_ref(), later.total.as_ref())
    }

    /// Adds what a response of the same state says. It may leave out what the client knows (RFC 9110
    /// section 15.3.7).
    pub(super) fn confirm(&mut self, later: Self) {
        self.tag = later.tag.or(self.tag.take());
        self.total = later.total.or(self.total);
        if later.modified.is_some() {
            (self.modified, self.is_date_strong) = (later.modified, later.is_date_strong);
        }
    }
}

/// Returns the time that a date of HTTP names.
fn time_of(date: &str) -> Option<SystemTime> {
    let seconds = parse_date(date.as_bytes())?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Returns the date of a time.
fn date_of(time: SystemTime) -> Vec<u8> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format_date(since.as_secs()).to_vec()
}

/// What a field `Content-Range` says (RFC 9110 section 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The first and the last position.
    pub(super) part: Option<(u64, u64)>,
    /// The size of the whole resource.
    pub(super) total: Option<u64>,
}

impl Range {
    /// Parses the value of the field. Returns nothing if it contradicts itself.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let rest = value.trim().strip_prefix("bytes ")?;
        let (range, total) = rest.split_once('/')?;
        let total = match total.trim() {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        if range.trim() == "*" {
            return Some(Self { part: None, total });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // The positions after the last one have to be numbers as well.
        let is_valid = first <= last && last < total.unwrap_or(u64::MAX);
        is_valid.then_some(Self { part: Some((first, last)), total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_parsed() {
        let range = |part, total| Some(Range { part, total });
        assert_eq!(Range::parse("bytes 5-9/10"), range(Some((5, 9)), Some(10)));
        assert_eq!(Range::parse("bytes 5-9/*"), range(Some((5, 9)), None));
        assert_eq!(Range::parse("bytes */10"), range(None, Some(10)));
        for text in [
            "",
            "bytes",
            "items 1-2/3",
            "bytes 1/3",
            "bytes x-2/3",
            "bytes 1-x/3",
            "bytes 2-1/3",
            "bytes 1-3/3",
            "bytes 1-2/x",
            "bytes 1-18446744073709551615/*",
        ] {
            assert_eq!(Range::parse(text), None, "{text}");
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn only_a_strong_validator_is_sent() {
        let state = |tag: Option<&str>, is_date_strong| State {
            tag: tag.map(str::to_owned),
            modified: Some(at(0)),
            is_date_strong,
            total: None,
        };
        let date = b"Thu, 01 Jan 1970 00:00:00 GMT".to_vec();
        assert_eq!(state(Some("\"a\""), true).if_range(), Some(b"\"a\"".to_vec()));
        assert_eq!(state(Some("W/\"a\""), true).if_range(), None);
        assert_eq!(state(None, true).if_range(), Some(date));
        assert_eq!(state(None, false).if_range(), None);
        assert_eq!(State::default().if_range(), None);
    }

    #[test]
    fn a_kept_file_says_whether_its_date_is_strong() {
        for is_date_strong in [true, false] {
            let state = State { modified: Some(at(7)), is_date_strong, ..State::default() };
            assert_eq!(State::of_kept(state.time_to_keep().expect("it has a date")), state);
        }
        assert_eq!(State::default().time_to_keep(), None);
    }

    #[test]
    fn states_differ_in_what_both_know() {
        let one = State { tag: Some("\"a\"".into()), total: Some(10), ..State::default() };
        assert!(!one.differs(&State::default()) && !one.differs(&one.clone()));
        assert!(one.differs(&State { tag: Some("\"b\"".into()), ..State::default() }));
        assert!(one.differs(&State { total: Some(11), ..State::default() }));
        let (old, new) = (State::of_kept(at(1)), State::of_kept(at(2)));
        assert!(old.differs(&new));
        let mut known = one.clone();
        known.confirm(new.clone());
        assert!(known.tag == one.tag && known.modified == new.modified && known.total == Some(10));
    }
}
