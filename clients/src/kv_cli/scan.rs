//! Scans all keys of the database.

use super::interrupt::Target;
use super::print::Form;
use super::session::{Session, Trouble, print_all};
use crate::output::complain;
use crate::resp::Answer;
use protocol::resp::text::repr;

/// The position of a scan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The next cursor of the server, 0 at first.
    Cursor(u64),
    End,
}

/// A scan of the keys of the database. `SCAN` returns some keys at once, and may return a key
/// twice.
pub(super) struct Scan {
    place: Place,
}

impl Scan {
    /// Starts at the first key. From now on, Ctrl-C ends the scan between two steps.
    pub(super) fn begin(session: &Session) -> Self {
        // If this fails, Ctrl-C ends the program as usual.
        if session.interrupts.listen().is_ok() {
            session.interrupts.aim(Target::Loop);
        }
        Self { place: Place::Cursor(0) }
    }

    /// Returns the next keys, possibly none. Returns None at the end of the scan or after Ctrl-C.
    pub(super) fn next(&mut self, session: &mut Session) -> Result<Option<Vec<Vec<u8>>>, Trouble> {
        let Place::Cursor(cursor) = self.place else { return Ok(None) };
        if session.interrupts.peek() {
            return Ok(None);
        }
        let settings = &session.settings;
        let mut command = vec![b"SCAN".to_vec(), cursor.to_string().into_bytes()];
        if let Some(pattern) = &settings.pattern {
            command.extend([b"MATCH".to_vec(), pattern.clone()]);
        }
        if let Some(count) = settings.scan_count {
            command.extend([b"COUNT".to_vec(), count.to_string().into_bytes()]);
        }
        let answer = session.call(&command, "SCAN error")?;
        let Answer::Array(parts) = answer else {
            return Err(fatal("Non ARRAY response from SCAN!"));
        };
        let [cursor, keys] = &parts[..] else {
            return Err(fatal("Invalid element count from SCAN!"));
        };
        let cursor = cursor.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        self.place = if cursor == 0 { Place::End } else { Place::Cursor(cursor) };
        let keys = keys.elements().iter().filter_map(Answer::as_bytes);
        Ok(Some(keys.map(<[u8]>::to_vec).collect()))
    }
}

/// Reports an error that ends the program.
pub(super) fn fatal(text: &str) -> Trouble {
    complain(text);
    Trouble::Exit(1)
}

/// Prints the names of all keys, one per line.
pub(super) fn list(session: &mut Session) -> Result<(), Trouble> {
    let mut scan = Scan::begin(session);
    while let Some(keys) = scan.next(session)? {
        let mut text = Vec::new();
        for key in keys {
            match session.settings.form {
                Form::Human => repr(&key, &mut text),
                _ => text.extend_from_slice(&key),
            }
            text.push(b'\n');
        }
        print_all(&text);
        session.interrupts.pause(session.settings.interval);
    }
    Ok(())
}
