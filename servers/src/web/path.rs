//! Request paths: percent-decoding, removal of dot segments, and what may be opened.
//!
//! RFC 3986, sections 2.1 and 5.2.4. A path is decoded once, split at `/`, and its dot segments are
//! removed. What remains names a file relative to a root. An encoded `/` never separates.

use std::fmt::{self, Write};

/// The folder of RFC 8615, which is served although its name begins with a dot.
const WELL_KNOWN: &str = ".well-known";

/// Why a path cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// A control character, encoded or not; NUL is one.
    Control,
    /// Decoded, it is not UTF-8. Overlong forms are not UTF-8 either.
    Encoding,
    /// A character that a path has to encode (RFC 3986, section 3.3).
    Character,
    /// Its `..` lead above the root.
    AboveRoot,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "a path has to begin with /",
            Self::Escape => "a % in a path has to be followed by two hexadecimal digits",
            Self::Control => "a path cannot have control characters",
            Self::Encoding => "a path has to be UTF-8",
            Self::Character => "a character of the path has to be encoded",
            Self::AboveRoot => "the path leads above the root",
        })
    }
}

/// A path of a request, decoded and without dot segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestPath {
    /// Begins with `/`. Ends with `/` if it names a folder. An encoded slash stays as `%2F`.
    text: String,
    has_encoded_slash: bool,
    is_hidden: bool,
}

impl RequestPath {
    /// Reads the path of a request, without its query.
    ///
    /// # Errors
    /// When no server could answer it; the status is 400.
    pub(crate) fn parse(raw: &str) -> Result<Self, PathError> {
        let rest = raw.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
        let mut path = Self {
            text: String::with_capacity(raw.len()),
            has_encoded_slash: false,
            is_hidden: false,
        };
        let mut is_folder = true;
        for segment in rest.split('/') {
            path.has_encoded_slash |= decode(segment, &mut path.text)?;
            let start = path.text.rfind('/').map_or(0, |at| at + 1);
            is_folder = path.settle(start)?;
        }
        if is_folder {
            path.text.push('/');
        }
        path.is_hidden = path.text.split('/').enumerate().any(|(index, segment)| {
            segment.starts_with('.') && !(index == 1 && segment == WELL_KNOWN)
        });
        Ok(path)
    }

    /// Removes the segment at the end if it is empty or a dot segment. Returns whether the path names
    /// a folder if it ends here.
    fn settle(&mut self, start: usize) -> Result<bool, PathError> {
        match &self.text[start..] {
            "" | "." => {
                self.text.truncate(start.saturating_sub(1));
                Ok(true)
            }
            ".." => {
                self.text.truncate(start.saturating_sub(1));
                let parent = self.text.rfind('/').ok_or(PathError::AboveRoot)?;
                self.text.truncate(parent);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Returns the whole path, which begins with `/`. An encoded slash is `%2F`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the path relative to a root; `.` for the root itself.
    pub(crate) fn relative(&self) -> &str {
        let inner = self.text.trim_matches('/');
        if inner.is_empty() { "." } else { inner }
    }

    /// Returns whether it ends with a slash.
    pub(crate) fn is_folder(&self) -> bool {
        self.text.ends_with('/')
    }

    /// Returns whether it can name a file: no name has a slash in it.
    pub(crate) fn can_be_file(&self) -> bool {
        !self.has_encoded_slash
    }

    /// Returns whether the name of a file or of a folder on the way begins with a dot.
    pub(crate) fn is_hidden(&self) -> bool {
        self.is_hidden
    }

    /// Returns whether it is `prefix` or below it.
    pub(crate) fn is_below(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        let rest = self.text.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Appends a `/` and the decoded segment. Returns whether it has an encoded slash.
fn decode(segment: &str, text: &mut String) -> Result<bool, PathError> {
    text.push('/');
    if !segment.contains('%') {
        check_raw(segment)?;
        text.push_str(segment);
        return Ok(false);
    }
    let (mut bytes, mut has_slash) = (Vec::with_capacity(segment.len()), false);
    let mut rest = segment;
    while let Some((plain, escape)) = rest.split_once('%') {
        check_raw(plain)?;
        bytes.extend_from_slice(plain.as_bytes());
        let byte = escape.get(..2).and_then(hexadecimal).ok_or(PathError::Escape)?;
        match byte {
            0..=0x1f | 0x7f => return Err(PathError::Control),
            b'/' => {
                has_slash = true;
                bytes.extend_from_slice(b"%2F");
            }
            _ => bytes.push(byte),
        }
        rest = &escape[2..];
    }
    check_raw(rest)?;
    bytes.extend_from_slice(rest.as_bytes());
    text.push_str(str::from_utf8(&bytes).map_err(|_| PathError::Encoding)?);
    Ok(has_slash)
}

/// Refuses what cannot be in a path without being encoded. Some programs send `|`, `"` and the like
/// as they are; these name what they say.
fn check_raw(text: &str) -> Result<(), PathError> {
    for byte in text.bytes() {
        match byte {
            0..=0x1f | 0x7f => return Err(PathError::Control),
            b' ' | b'#' | b'?' | 0x80.. => return Err(PathError::Character),
            _ => {}
        }
    }
    Ok(())
}

fn hexadecimal(digits: &str) -> Option<u8> {
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// Appends `text` so that it can be in a path or in a link of a page: all but unreserved characters
/// (RFC 3986, section 2.3) and `/` are encoded.
pub(crate) fn encode(text: &[u8], to: &mut String) {
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            to.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(to, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a path: its text, `hidden` or `no file` with it, or why it is refused.
    fn outcome(raw: &str) -> String {
        match RequestPath::parse(raw) {
            Err(error) => format!("{error:?}"),
            Ok(path) if path.is_hidden() => format!("hidden {}", path.text()),
            Ok(path) if !path.can_be_file() => format!("no file {}", path.text()),
            Ok(path) => path.text().to_owned(),
        }
    }

    const TABLE: &[(&str, &str)] = &[
        // Plain paths.
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/a/b.html", "/a/b.html"),
        ("/a.b.c/d", "/a.b.c/d"),
        ("/a+b", "/a+b"),
        ("/~user/x", "/~user/x"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a:b@c", "/a:b@c"),
        ("/a|b\"c", "/a|b\"c"),
        // Escapes.
        ("/%61", "/a"),
        ("/%41%42", "/AB"),
        ("/a%20b", "/a b"),
        ("/a%2Bb", "/a+b"),
        ("/100%25", "/100%"),
        ("/%2561", "/%61"),
        ("/%252e%252e/etc", "/%2e%2e/etc"),
        ("/%3Fx", "/?x"),
        ("/%23x", "/#x"),
        ("/%c3%a9", "/\u{e9}"),
        ("/%E2%82%AC", "/\u{20ac}"),
        ("/%", "Escape"),
        ("/%2", "Escape"),
        ("/%zz", "Escape"),
        ("/%+1", "Escape"),
        ("/% 1", "Escape"),
        ("/%u002e", "Escape"),
        ("/%%32%65", "Escape"),
        ("/a%\u{e9}", "Escape"),
        // Dot segments, plain and encoded.
        ("/.", "/"),
        ("/./", "/"),
        ("/a/.", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/../b", "/b"),
        ("/a/b/../../c", "/c"),
        ("/..", "AboveRoot"),
        ("/../etc/passwd", "AboveRoot"),
        ("/a/../../etc/passwd", "AboveRoot"),
        ("/a/b/../../../c", "AboveRoot"),
        ("/%2e", "/"),
        ("/%2e%2e", "AboveRoot"),
        ("/%2E%2e/etc/passwd", "AboveRoot"),
        ("/.%2e/etc/passwd", "AboveRoot"),
        ("/%2e./etc/passwd", "AboveRoot"),
        ("/a/%2e%2e/%2e%2e/b", "AboveRoot"),
        ("/a/%2e%2e/b", "/b"),
        ("//../a", "AboveRoot"),
        ("/a//../b", "/b"),
        // Names that begin with a dot.
        ("/.git/config", "hidden /.git/config"),
        ("/a/.htaccess", "hidden /a/.htaccess"),
        ("/%2ehtaccess", "hidden /.htaccess"),
        ("/...", "hidden /..."),
        ("/..a", "hidden /..a"),
        ("/.../b", "hidden /.../b"),
        ("/.git/../a", "/a"),
        ("/.well-known/acme-challenge/x", "/.well-known/acme-challenge/x"),
        ("/a/.well-known/x", "hidden /a/.well-known/x"),
        ("/.well-known/.x", "hidden /.well-known/.x"),
        ("/a.", "/a."),
        ("/a..", "/a.."),
        // Slashes and backslashes.
        ("//", "/"),
        ("//a//b//", "/a/b/"),
        ("//evil.example/x", "/evil.example/x"),
        ("/a%2fb", "no file /a%2Fb"),
        ("/a%2Fb", "no file /a%2Fb"),
        ("/%2f", "no file /%2F"),
        ("/..%2f..%2fetc%2fpasswd", "hidden /..%2F..%2Fetc%2Fpasswd"),
        ("/a%252fb", "/a%2fb"),
        ("/a\\b", "/a\\b"),
        ("/..\\..\\etc", "hidden /..\\..\\etc"),
        ("/a%5cb", "/a\\b"),
        ("/%5c..%5c..%5cetc", "/\\..\\..\\etc"),
        // Control characters and odd encodings.
        ("/%00", "Control"),
        ("/a%00.html", "Control"),
        ("/a%0d%0aX:y", "Control"),
        ("/a%0A", "Control"),
        ("/%7f", "Control"),
        ("/a\u{1}", "Control"),
        ("/%c0%ae%c0%ae/etc", "Encoding"),
        ("/%c0%af", "Encoding"),
        ("/%e0%80%ae", "Encoding"),
        ("/%f0%80%80%ae", "Encoding"),
        ("/%ed%a0%80", "Encoding"),
        ("/%f4%90%80%80", "Encoding"),
        ("/%ff", "Encoding"),
        ("/%c3", "Encoding"),
        ("/%c3/%a9", "Encoding"),
        ("/%ef%bc%8e%ef%bc%8e/x", "/\u{ff0e}\u{ff0e}/x"),
        ("/a b", "Character"),
        ("/a#b", "Character"),
        ("/a?b", "Character"),
        ("/\u{e9}", "Character"),
        // No path.
        ("", "NotAbsolute"),
        ("a", "NotAbsolute"),
        ("*", "NotAbsolute"),
        ("%2fa", "NotAbsolute"),
        ("\\a", "NotAbsolute"),
        ("http://h/a", "NotAbsolute"),
    ];

    #[test]
    fn each_path_of_the_table_is_what_it_says() {
        assert!(TABLE.len() >= 60);
        for (raw, expected) in TABLE {
            assert_eq!(outcome(raw), *expected, "{raw:?}");
        }
    }

    #[test]
    fn no_path_leads_out() {
        // All paths of up to seven of these pieces.
        let pieces = ["/", ".", "..", "%2e", "a", "%2f", "\\"];
        let mut paths = vec![String::new()];
        let mut at = 0;
        while at < paths.len() && paths.len() < 200_000 {
            let start = paths[at].clone();
            at += 1;
            paths.extend(pieces.iter().map(|piece| format!("{start}{piece}")));
        }
        for raw in &paths {
            let Ok(path) = RequestPath::parse(raw) else { continue };
            assert!(path.text().starts_with('/'), "{raw}");
            let relative = path.relative();
            assert!(!relative.starts_with('/') && !relative.is_empty(), "{raw}");
            let is_plain = |it: &str| !it.is_empty() && it != "." && it != "..";
            assert!(relative == "." || relative.split('/').all(is_plain), "{raw}: {relative}");
        }
    }

    #[test]
    fn encoding_is_the_inverse_of_decoding() {
        for name in ["/a b", "/100%", "/\u{e9}/?#", "/a:b", "/\"<&>'"] {
            let mut encoded = String::new();
            encode(name.as_bytes(), &mut encoded);
            assert_eq!(RequestPath::parse(&encoded).expect(name).text(), name);
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        for (path, prefix, is_below) in [
            ("/api", "/api", true),
            ("/api/", "/api", true),
            ("/api/x", "/api", true),
            ("/api/x", "/api/", true),
            ("/apix", "/api", false),
            ("/", "/", true),
            ("/x", "/", true),
            ("/x/../api/y", "/api", true),
            ("/api/../x", "/api", false),
            ("/api%2fx", "/api", false),
        ] {
            let path = RequestPath::parse(path).expect("it is a path");
            assert_eq!(path.is_below(prefix), is_below, "{path:?} {prefix}");
        }
    }
}
