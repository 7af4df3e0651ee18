//! Glob patterns, as `KEYS` and `PSUBSCRIBE` take them.

/// Returns whether all of `text` matches `pattern`: `*`, `?`, `[a-z]`, `[^a-z]`, and a backslash
/// before a literal character.
///
/// It backtracks to the last star only, so the work is at most the product of both lengths, as in
/// Redis since 7.0.9. The matcher of earlier releases takes exponential time for some patterns.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        // Redis looks at the pattern only while there is text.
        return pattern.is_empty();
    }
    let (mut at, mut seen) = (0, 0);
    // Where to continue after a mismatch: after the last star, one byte further in the text.
    let mut retry: Option<(usize, usize)> = None;
    while seen < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, seen + 1));
            continue;
        }
        if let Some(size) = one(&pattern[at..], text[seen]) {
            at += size;
            seen += 1;
            continue;
        }
        let Some((behind_star, next)) = retry else { return false };
        (at, seen) = (behind_star, next);
        retry = Some((behind_star, next + 1));
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Matches names of keys, members and fields like [`matches`], but a single star matches the empty
/// name too.
pub(crate) fn finds(pattern: &[u8], name: &[u8]) -> bool {
    pattern == b"*" || matches(pattern, name)
}

/// Returns the length of the first element of `pattern` if it matches `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (is_match, size) = in_class(class, byte);
            is_match.then_some(size + 1)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [plain, ..] => (*plain == byte).then_some(1),
    }
}

/// Returns whether `byte` is in the class, which begins after its bracket, and the length of the
/// class. As in Redis, an unclosed class ends with the pattern.
fn in_class(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at..] {
            [] => return (found != negated, at),
            [b']', ..] => return (found != negated, at + 1),
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= *plain == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{finds, matches};

    #[test]
    fn patterns_match_as_in_redis() {
        let yes = [
            ("", ""),
            ("*", "a"),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hbllo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("h\\?llo", "h?llo"),
            ("*a*b*c", "xxaxxbxxc"),
            ("[\\]]", "]"),
            ("[abc", "c"),
            ("a**", "a"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        assert!(finds(b"*", b"") && finds(b"*", b"a") && !finds(b"**", b""));
        let no = [
            ("", "a"),
            ("*", ""),
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            ("a*b", "ac"),
            ("a", ""),
        ];
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        let pattern = b"*a".repeat(200);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &[b'a'; 5000]));
    }
}
