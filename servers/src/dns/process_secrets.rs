//! The secrets of the process, which all of its loops have in common.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use protocol::dns::CookieSecret;
use protocol::{SavedState, State, StateError};

use super::app::Dns;

/// The size of a mark of a loop, in bytes: a random number, and its hash.
pub(super) const MARK_SIZE: usize = 4 + 8;

/// The secrets of the process.
#[derive(Clone, Debug)]
pub(super) struct ProcessSecrets {
    pub(super) cookies: CookieSecret,
    pub(super) marks: Marks,
}

impl ProcessSecrets {
    /// Returns new secrets. That of cookies is in the file, if there is one.
    ///
    /// # Errors
    /// When the system has no random numbers, or the file has no secret. The error names the file.
    pub(super) fn new(file: Option<&Path>) -> io::Result<Self> {
        let cookies = match file {
            Some(file) => read(file).map_err(|text| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {text}", file.display()))
            })?,
            None => {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes).map_err(io::Error::other)?;
                CookieSecret::new(bytes)
            }
        };
        Ok(Self { cookies, marks: Marks::default() })
    }
}

/// Writes the secret of the cookies for a new program that takes over, so that clients keep their cookies.
pub(super) fn save(app: &Dns, state: &mut State) {
    state.bytes(&app.cookies.to_bytes());
}

/// Takes over the secret of the cookies of the old program, unless the operator has given one.
pub(super) fn restore(app: &mut Dns, state: &mut SavedState<'_>) -> Result<(), StateError> {
    let bytes = state.bytes()?.try_into();
    let bytes = bytes.map_err(|_| StateError::Invalid("a secret of cookies has 16 bytes"))?;
    if !app.has_given_secret {
        app.cookies = CookieSecret::new(bytes);
    }
    Ok(())
}

/// Reads the secret of a file.
fn read(file: &Path) -> Result<CookieSecret, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let number = Some(text.trim()).filter(|it| it.len() == 32 && !it.starts_with('+'));
    let number = number.and_then(|it| u128::from_str_radix(it, 16).ok());
    let number = number.ok_or("expected 32 hexadecimal digits, as of `openssl rand -hex 16`")?;
    Ok(CookieSecret::new(number.to_be_bytes()))
}

/// Marks of questions, by which the process knows those that it has sent. Each is another number, so they
/// tell nothing about who asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    key: RandomState,
}

impl Marks {
    /// Returns the mark with a number.
    pub(super) fn make(&self, number: [u8; 4]) -> [u8; MARK_SIZE] {
        let mut mark = [0; MARK_SIZE];
        mark[..4].copy_from_slice(&number);
        mark[4..].copy_from_slice(&self.key.hash_one(number).to_be_bytes());
        mark
    }

    /// Returns whether one of several marks was made here.
    pub(super) fn have_made_one_of(&self, marks: &[u8]) -> bool {
        marks.as_chunks().0.iter().any(|mark: &[u8; MARK_SIZE]| {
            let [a, b, c, d, ..] = *mark;
            self.make([a, b, c, d]) == *mark
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_marks_are_known_among_others() {
        let (own, other) = (Marks::default(), Marks::default());
        let marks = [other.make([1; 4]), own.make([2; 4]), other.make([2; 4])].concat();
        assert!(own.have_made_one_of(&marks) && other.have_made_one_of(&marks));
        assert!(!own.have_made_one_of(&other.make([2; 4])));
        assert!(!own.have_made_one_of(&marks[..20]) && !own.have_made_one_of(&[]));
    }

    #[test]
    fn a_file_has_the_secret_or_an_error_names_it() {
        let folder = testkit::Folder::new("cookie-secret");
        let file = folder.file("secret");
        let secret = |text: &str| {
            std::fs::write(&file, text).expect("it is written");
            ProcessSecrets::new(Some(Path::new(&file))).map(|it| it.cookies)
        };
        let known = secret("e5e973e5a6b2a43f48e7dc849e37bfcf\n").expect("it is one");
        // RFC 9018 appendix A.1
        let cookie = known.make(
            [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57],
            [198, 51, 100, 100].into(),
            1_559_731_985,
        );
        assert_eq!(cookie[8..], [0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2, 0x94, 0x80]);
        let no_digits = "g".repeat(32);
        for wrong in ["", "e5e973e5", "+5e973e5a6b2a43f48e7dc849e37bfcf", &no_digits] {
            let error = secret(wrong).expect_err(wrong).to_string();
            assert!(error.contains(&file) && error.contains("32 hexadecimal digits"), "{error}");
        }
    }
}
