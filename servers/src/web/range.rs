//! The `Range` field: parts of a file (RFC 9110, section 14).

/// How many parts one request may ask for. One that asks for more gets the whole file.
const PARTS_MAX: usize = 16;

/// A part of a file: at least one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its first byte, counted from the start of the file.
    pub(crate) start: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

/// What of a file is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    /// All of it: there is no usable `Range`.
    Whole,
    /// One part.
    One(Part),
    /// Several parts, in the order in which they were asked for.
    Several(Vec<Part>),
    /// None of the parts is in the file: 416.
    Unsatisfiable,
}

/// Reads a `Range` for a file of `size` bytes. A field that is malformed, of another unit, or that
/// asks for more than the file has in all, is ignored, as section 14.2 permits.
pub(crate) fn parse(field: &[u8], size: u64) -> Parts {
    let Some(list) = list_of_bytes(field) else { return Parts::Whole };
    let (mut parts, mut count) = (Vec::new(), 0_usize);
    for spec in list.split(',').map(|spec| spec.trim_matches([' ', '\t'])) {
        if spec.is_empty() {
            continue;
        }
        count += 1;
        match part(spec, size) {
            _ if count > PARTS_MAX => return Parts::Whole,
            None => return Parts::Whole,
            Some(None) => {}
            Some(Some(part)) => parts.push(part),
        }
    }
    // No part of an empty file can be described by `Content-Range`.
    if count == 0 || size == 0 && list.split(',').any(|it| it.trim().starts_with('-')) {
        return Parts::Whole;
    }
    let total = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.length));
    match parts[..] {
        [] => Parts::Unsatisfiable,
        [one] => Parts::One(one),
        _ if total.is_none_or(|total| total > size) => Parts::Whole,
        _ => Parts::Several(parts),
    }
}

/// Returns what follows `bytes=`; the unit is case-insensitive.
fn list_of_bytes(field: &[u8]) -> Option<&str> {
    let (unit, list) = str::from_utf8(field).ok()?.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(list)
}

/// Reads one range. `None` if it is malformed, `Some(None)` if it is not in the file.
fn part(spec: &str, size: u64) -> Option<Option<Part>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim_matches([' ', '\t']), last.trim_matches([' ', '\t']));
    if first.is_empty() {
        let suffix = number(last)?.min(size);
        let part = Part { start: size - suffix, length: suffix };
        return Some((suffix > 0).then_some(part));
    }
    let start = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < start {
        return None;
    }
    let end = last.saturating_add(1).min(size);
    Some((start < end).then(|| Part { start, length: end - start }))
}

/// Reads a decimal number. One that does not fit is as large as numbers get: no file is longer.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(parts: &Parts) -> String {
        let one = |part: &Part| format!("{}+{}", part.start, part.length);
        match parts {
            Parts::Whole => "whole".to_owned(),
            Parts::Unsatisfiable => "none".to_owned(),
            Parts::One(part) => one(part),
            Parts::Several(parts) => parts.iter().map(one).collect::<Vec<_>>().join(" "),
        }
    }

    #[test]
    fn each_range_of_the_table_selects_what_it_says() {
        for (field, size, expected) in [
            ("bytes=0-0", 100, "0+1"),
            ("bytes=0-", 100, "0+100"),
            ("bytes=0-99", 100, "0+100"),
            ("bytes=0-100", 100, "0+100"),
            ("bytes=10-19", 100, "10+10"),
            ("bytes=99-", 100, "99+1"),
            ("bytes=100-", 100, "none"),
            ("bytes=100-200", 100, "none"),
            ("bytes=-1", 100, "99+1"),
            ("bytes=-100", 100, "0+100"),
            ("bytes=-1000", 100, "0+100"),
            ("bytes=-0", 100, "none"),
            ("bytes=5-4", 100, "whole"),
            ("bytes=0-18446744073709551615", 100, "0+100"),
            ("bytes=0-99999999999999999999999", 100, "0+100"),
            ("bytes=99999999999999999999999-", 100, "none"),
            ("bytes=-99999999999999999999999", 100, "0+100"),
            ("bytes=0-1,4-5", 100, "0+2 4+2"),
            ("bytes=4-5, 0-1", 100, "4+2 0+2"),
            ("bytes= 0-1 ,\t-1", 100, "0+2 99+1"),
            ("bytes=0-1,,4-5", 100, "0+2 4+2"),
            ("bytes=0-1,200-", 100, "0+2"),
            ("bytes=200-,300-", 100, "none"),
            ("bytes=0-,0-", 100, "whole"),
            ("bytes=0-49,50-99", 100, "0+50 50+50"),
            ("bytes=0-50,50-99", 100, "whole"),
            ("bytes=0-1,4-3", 100, "whole"),
            ("bytes=0-1,x", 100, "whole"),
            ("BYTES=0-1", 100, "0+2"),
            ("bytes=", 100, "whole"),
            ("bytes=,", 100, "whole"),
            ("bytes=-", 100, "whole"),
            ("bytes=+1-2", 100, "whole"),
            ("bytes=1-+2", 100, "whole"),
            ("bytes=--1", 100, "whole"),
            ("bytes=0x1-2", 100, "whole"),
            ("bytes=1 0-11", 100, "whole"),
            ("bytes", 100, "whole"),
            ("", 100, "whole"),
            ("lines=0-1", 100, "whole"),
            ("bytes=0-", 0, "none"),
            ("bytes=0-0", 0, "none"),
            ("bytes=-1", 0, "whole"),
        ] {
            assert_eq!(shown(&parse(field.as_bytes(), size)), expected, "{field} of {size}");
        }
        assert_eq!(parse(b"bytes=0-\xff", 100), Parts::Whole);
    }

    #[test]
    fn too_many_parts_are_none() {
        let field = |count: usize| {
            let all: Vec<String> = (0..count).map(|at| format!("{0}-{0}", at * 2)).collect();
            format!("bytes={}", all.join(","))
        };
        let Parts::Several(parts) = parse(field(PARTS_MAX).as_bytes(), 1000) else {
            panic!("they are not too many");
        };
        assert_eq!(parts.len(), PARTS_MAX);
        assert_eq!(parse(field(PARTS_MAX + 1).as_bytes(), 1000), Parts::Whole);
        assert_eq!(parse(field(100_000).as_bytes(), 1_000_000), Parts::Whole);
    }
}
