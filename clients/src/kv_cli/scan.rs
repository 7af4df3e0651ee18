//! Going through all keys of the database.

use super::interrupt::Target;
use super::print::Form;
use super::session::{Session, Trouble, print_all};
use crate::output::complain;
use crate::resp::Answer;
use protocol::resp::text::repr;

/// Where one is among the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// This cursor of the server's comes next, 0 at first.
    Cursor(u64),
    End,
}

/// The keys of the database, as `SCAN` tells them: some at once, and some of them twice perhaps.
pub(super) struct Scan {
    place: Place,
}

impl Scan {
    /// Begins at the first key. Ctrl-C ends it between two steps from now on.
    pub(super) fn begin(session: &Session) -> Self {
        // Without, Ctrl-C ends the program as it ends others.
        if session.interrupts.listen().is_ok() {
            session.interrupts.aim(Target::Loop);
        }
        Self { place: Place::Cursor(0) }
    }

    /// The next keys, which may be none, or None when all were told or Ctrl-C has come.
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
            return Err(told("Non ARRAY response from SCAN!"));
        };
        let [cursor, keys] = &parts[..] else {
            return Err(told("Invalid element count from SCAN!"));
        };
        let cursor = cursor.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        self.place = if cursor == 0 { Place::End } else { Place::Cursor(cursor) };
        let keys = keys.elements().iter().filter_map(Answer::as_bytes);
        Ok(Some(keys.map(<[u8]>::to_vec).collect()))
    }
}

/// Tells what is wrong; the program ends.
pub(super) fn told(text: &str) -> Trouble {
    complain(text);
    Trouble::Exit(1)
}

/// Prints the names of all keys, one a line.
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
