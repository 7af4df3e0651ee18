//! Conditional requests (RFC 9110, section 13).

use protocol::http::parse_date;

/// The validators of a file: what tells its versions apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validators<'a> {
    /// The entity tag, with its quotation marks. It is strong.
    pub(crate) tag: &'a str,
    /// The time of the last change, in seconds since 1970.
    pub(crate) modified: u64,
}

/// The condition fields of a request. Lists may have several lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) if_match: Vec<&'a [u8]>,
    pub(crate) if_none_match: Vec<&'a [u8]>,
    pub(crate) if_modified_since: Option<&'a [u8]>,
    pub(crate) if_unmodified_since: Option<&'a [u8]>,
    pub(crate) if_range: Option<&'a [u8]>,
}

/// What becomes of a request with conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is carried out.
    Proceed,
    /// 304: the client has the present version.
    NotModified,
    /// 412: the file is not as the client supposes.
    Failed,
}

impl Conditions<'_> {
    /// Judges the conditions of `GET` or `HEAD`, in the order of section 13.2.2.
    pub(crate) fn judge(&self, file: &Validators<'_>) -> Verdict {
        let has = |lines: &[&[u8]], comparison| {
            lines.iter().any(|line| lists(line, file.tag, comparison))
        };
        if !self.if_match.is_empty() {
            if !has(&self.if_match, Comparison::Strong) {
                return Verdict::Failed;
            }
        } else if let Some(date) = self.if_unmodified_since.and_then(parse_date)
            && file.modified > date
        {
            return Verdict::Failed;
        }
        if !self.if_none_match.is_empty() {
            if has(&self.if_none_match, Comparison::Weak) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = self.if_modified_since.and_then(parse_date)
            && file.modified <= date
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Returns whether a `Range` is to be heeded (section 13.1.5). `now` is in seconds since 1970. A
    /// date is a strong validator only if the file was at rest for a second (section 8.8.2.2).
    pub(crate) fn range_holds(&self, file: &Validators<'_>, now: u64) -> bool {
        let Some(value) = self.if_range else { return true };
        let value = value.trim_ascii();
        if value.starts_with(b"\"") || value.starts_with(b"W/") {
            return value == file.tag.as_bytes();
        }
        now > file.modified && parse_date(value) == Some(file.modified)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Two weak tags are never equal (section 8.8.3.2).
    Strong,
    /// Whether tags are weak makes no difference.
    Weak,
}

/// Returns whether a list of entity tags has this strong one, or is `*`. The list ends where it is
/// malformed.
fn lists(list: &[u8], tag: &str, comparison: Comparison) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b',' | b' ' | b'\t', behind @ ..] = rest {
            rest = behind;
        }
        let is_weak = rest.starts_with(b"W/");
        let opaque = if is_weak { &rest[2..] } else { rest };
        let [b'"', inner @ ..] = opaque else { return false };
        let Some(end) = inner.iter().position(|byte| *byte == b'"') else { return false };
        let is_same = &opaque[..end + 2] == tag.as_bytes();
        if is_same && !(is_weak && comparison == Comparison::Strong) {
            return true;
        }
        rest = &inner[end + 1..];
        if !matches!(rest, [] | [b',' | b' ' | b'\t', ..]) {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn file() -> Validators<'static> {
        Validators { tag: "\"abc\"", modified: 784_111_777 }
    }

    fn conditions<'a>(fields: &[(&str, &'a str)]) -> Conditions<'a> {
        let mut conditions = Conditions::default();
        for (name, value) in fields {
            let value = value.as_bytes();
            match *name {
                "match" => conditions.if_match.push(value),
                "none" => conditions.if_none_match.push(value),
                "since" => conditions.if_modified_since = Some(value),
                "unmodified" => conditions.if_unmodified_since = Some(value),
                "range" => conditions.if_range = Some(value),
                other => panic!("{other}"),
            }
        }
        conditions
    }

    #[test]
    fn each_condition_has_the_verdict_of_the_table() {
        use Verdict::{Failed, NotModified, Proceed};
        let table: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[("match", "\"abc\"")], Proceed),
            (&[("match", "\"x\", \"abc\"")], Proceed),
            (&[("match", "\"x\",\"abc\"")], Proceed),
            (&[("match", "*")], Proceed),
            (&[("match", "\"x\"")], Failed),
            (&[("match", "W/\"abc\"")], Failed),
            (&[("match", "abc")], Failed),
            (&[("match", "")], Failed),
            (&[("match", "\"abc")], Failed),
            (&[("match", "\"a,\", \"abc\"")], Proceed),
            (&[("match", "\"x\"junk, \"abc\"")], Failed),
            (&[("none", "\"abc\"")], NotModified),
            (&[("none", "W/\"abc\"")], NotModified),
            (&[("none", "\"x\" , W/\"abc\"")], NotModified),
            (&[("none", ", ,\"abc\"")], NotModified),
            (&[("none", "*")], NotModified),
            (&[("none", "\"x\"")], Proceed),
            (&[("none", "abc")], Proceed),
            (&[("none", "\"x\""), ("none", "\"abc\"")], NotModified),
            (&[("match", "\"abc\""), ("match", "\"x\"")], Proceed),
            (&[("none", "w/\"abc\"")], Proceed),
            (&[("since", BEFORE)], Proceed),
            (&[("since", SAME)], NotModified),
            (&[("since", AFTER)], NotModified),
            (&[("since", "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
            (&[("since", "Sun Nov  6 08:49:37 1994")], NotModified),
            (&[("since", "yesterday")], Proceed),
            (&[("since", "784111777")], Proceed),
            (&[("unmodified", BEFORE)], Failed),
            (&[("unmodified", SAME)], Proceed),
            (&[("unmodified", AFTER)], Proceed),
            (&[("unmodified", "never")], Proceed),
            // The order of section 13.2.2.
            (&[("match", "\"abc\""), ("unmodified", BEFORE)], Proceed),
            (&[("match", "\"x\""), ("unmodified", AFTER)], Failed),
            (&[("none", "\"x\""), ("since", AFTER)], Proceed),
            (&[("none", "\"abc\""), ("since", BEFORE)], NotModified),
            (&[("match", "\"abc\""), ("none", "\"abc\"")], NotModified),
            (&[("match", "\"x\""), ("none", "\"abc\"")], Failed),
            (&[("unmodified", AFTER), ("since", SAME)], NotModified),
            (&[("unmodified", BEFORE), ("none", "\"abc\"")], Failed),
        ];
        for (fields, expected) in table {
            assert_eq!(conditions(fields).judge(&file()), *expected, "{fields:?}");
        }
    }

    #[test]
    fn a_range_is_heeded_only_for_the_same_version() {
        for (value, seconds_later, expected) in [
            ("\"abc\"", 0, true),
            ("\"x\"", 0, false),
            ("W/\"abc\"", 0, false),
            (SAME, 10, true),
            (SAME, 1, true),
            (SAME, 0, false),
            (BEFORE, 10, false),
            (AFTER, 10, false),
            ("soon", 10, false),
            ("", 10, false),
        ] {
            let now = file().modified + seconds_later;
            let holds = conditions(&[("range", value)]).range_holds(&file(), now);
            assert_eq!(holds, expected, "{value}");
        }
        assert!(Conditions::default().range_holds(&file(), file().modified));
    }
}
