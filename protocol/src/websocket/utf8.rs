//! UTF-8 that arrives in pieces (RFC 6455 section 8.1).

/// The bytes are not UTF-8, whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

/// Checks a text whose pieces may end inside a character.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character that is not complete.
    begun: [u8; 4],
    length: u8,
}

impl Utf8 {
    /// Checks the next bytes of the text. A text that cannot become valid is refused at the first
    /// byte that shows it.
    pub(super) fn check(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        let mut rest = bytes;
        while self.length > 0 {
            let Some((first, more)) = rest.split_first() else { return Ok(()) };
            self.begun[usize::from(self.length)] = *first;
            self.length += 1;
            rest = more;
            match std::str::from_utf8(&self.begun[..usize::from(self.length)]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(NotUtf8),
            }
        }
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                // Three bytes at most.
                let begun = &rest[error.valid_up_to()..];
                self.begun[..begun.len()].copy_from_slice(begun);
                self.length = begun.len() as u8;
                Ok(())
            }
            Err(_) => Err(NotUtf8),
        }
    }

    /// Checks the end of the text, and is ready for the next one.
    pub(super) fn finish(&mut self) -> Result<(), NotUtf8> {
        if std::mem::take(self).length == 0 { Ok(()) } else { Err(NotUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns after how many bytes a text is refused, and whether its end is.
    fn refused_at(text: &[u8], pieces: impl Iterator<Item = usize>) -> (Option<usize>, bool) {
        let (mut utf8, mut from) = (Utf8::default(), 0);
        for size in pieces {
            let piece = &text[from..(from + size).min(text.len())];
            if utf8.check(piece).is_err() {
                return (Some(from), true);
            }
            from += piece.len();
        }
        (None, utf8.finish().is_err())
    }

    /// Texts, and the number of bytes after which it is clear that they are invalid.
    const INVALID: [(&[u8], usize); 22] = [
        (b"\x80", 1),
        (b"\xbf", 1),
        (b"a\xc0\xaf", 2),
        (b"\xc1\xbf", 1),
        (b"\xe0\x80\xaf", 2),
        (b"\xe0\x9f\xbf", 2),
        (b"\xf0\x80\x80\xaf", 2),
        (b"\xf0\x8f\xbf\xbf", 2),
        (b"\xf8\x88\x80\x80\x80", 1),
        (b"\xfc\x84\x80\x80\x80\x80", 1),
        (b"\xfe", 1),
        (b"\xff", 1),
        (b"\xed\xa0\x80", 2),
        (b"\xed\xbf\xbf", 2),
        (b"\xed\xa0\x80\xed\xb0\x80", 2),
        (b"\xf4\x90\x80\x80", 2),
        (b"\xf5\x80\x80\x80", 1),
        (b"\xc3(", 2),
        (b"\xe2\x82(", 3),
        (b"\xe2(\xa1", 2),
        (b"\xf0\x9f\x98(", 4),
        (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 13),
    ];

    const VALID: [&str; 8] = [
        "",
        "ascii",
        "\0\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
        "\u{d7ff}\u{e000}\u{fffd}",
        "κόσμε",
        "Hello-µ@ßöäüàá-UTF-8!!",
        "😀 the end",
        "ᚠᛇᚻ",
    ];

    #[test]
    fn invalid_text_is_refused_at_the_byte_that_shows_it_however_it_is_split() {
        for (text, shown) in INVALID {
            let (at, _) = refused_at(text, std::iter::repeat_n(1, text.len()));
            assert_eq!(at, Some(shown - 1), "{text:x?} byte by byte");
            for split in 0..=text.len() {
                let pieces = [split, text.len() - split].into_iter();
                assert!(refused_at(text, pieces).0.is_some(), "{text:x?} split at {split}");
            }
        }
    }

    #[test]
    fn valid_text_is_accepted_and_its_beginnings_only_between_characters() {
        for text in VALID {
            for end in 0..=text.len() {
                for split in 0..=end {
                    let pieces = [split, end - split].into_iter();
                    let found = refused_at(&text.as_bytes()[..end], pieces);
                    assert_eq!(found, (None, !text.is_char_boundary(end)), "{text} to {end}");
                }
            }
        }
    }
}
