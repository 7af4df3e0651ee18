//! Lines of configuration files, of limited size, with their numbers.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

/// The longest line, in bytes. A line of a hosts file may have several names of 255 bytes.
pub(super) const LINE_SIZE_MAX: usize = 16 * 1024;

/// A line of a file is wrong, or the file cannot be read.
#[derive(Debug)]
pub(in crate::dns) struct FileError {
    file: PathBuf,
    /// The number of the line, from 1, if a line is at fault.
    line: Option<u64>,
    what: String,
}

impl FileError {
    /// Returns an error of a line.
    pub(super) fn new(file: &Path, line: u64, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), what: what.into() }
    }

    /// Returns an error of a file.
    pub(super) fn of_file(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, what: what.into() }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl Error for FileError {}

/// Calls `each` with the number of each line that has words, and its words. What follows a `#` is a
/// comment.
///
/// # Errors
/// When the input cannot be read, a line is longer than [`LINE_SIZE_MAX`], or `each` fails. `each` is
/// told of a line that is no UTF-8.
pub(super) fn each_line(
    mut input: impl BufRead,
    file: &Path,
    mut each: impl FnMut(u64, Result<&str, String>) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        let size = read_line(&mut input, &mut line)
            .map_err(|error| FileError::of_file(file, format!("cannot be read: {error}")))?;
        if size == 0 {
            return Ok(());
        }
        if line.len() > LINE_SIZE_MAX {
            let what = format!("the line is longer than {LINE_SIZE_MAX} bytes");
            return Err(FileError::new(file, number, what));
        }
        let content = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        match std::str::from_utf8(content).map(str::trim) {
            Ok("") => {}
            Ok(content) => each(number, Ok(content))?,
            Err(_) => {
                let what = "the line is no UTF-8; write other names in their xn-- form";
                each(number, Err(what.to_owned()))?;
            }
        }
    }
}

/// Reads a line, but not more than a line may have and a byte. Returns how many bytes were read.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    io::Read::take(input, LINE_SIZE_MAX as u64 + 1).read_until(b'\n', line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<(u64, String)>, String> {
        let mut found = Vec::new();
        let result = each_line(text, Path::new("list"), |number, line| {
            let line = line.map_err(|what| FileError::new(Path::new("list"), number, what))?;
            found.push((number, line.to_owned()));
            Ok(())
        });
        result.map(|()| found).map_err(|error| error.to_string())
    }

    #[test]
    fn comments_and_empty_lines_are_left_out_but_counted() {
        let text = b"# top\n\n a b # c\r\n\t\nlast";
        let expected = [(3, "a b".to_owned()), (5, "last".to_owned())];
        assert_eq!(read(text).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_named() {
        let mut long = b"ok\n".to_vec();
        long.resize(LINE_SIZE_MAX + 4, b'x');
        assert_eq!(read(&long), Err("list:2: the line is longer than 16384 bytes".to_owned()));
        let text = b"ok\n\xff\n";
        let expected = "list:2: the line is no UTF-8; write other names in their xn-- form";
        assert_eq!(read(text), Err(expected.to_owned()));
    }
}
