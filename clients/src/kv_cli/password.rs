//! A password that is typed, and not shown.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::session::{Trouble, input_failed};

const PROMPT: &[u8] = b"Please input password: ";

/// The terminal that standard input is, set back to how it was when this goes.
struct Hidden {
    before: Termios,
}

impl Hidden {
    /// Makes the terminal show nothing, edit nothing and send no signal: a Ctrl-C that ended the
    /// program here would leave it so.
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        let shown = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
        hidden.local_flags.remove(shown);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs no setting.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// What a key does while a password is typed.
enum Key {
    Byte(u8),
    Back,
    Clear,
    Accept,
    GiveUp,
}

fn key(byte: Option<u8>) -> Key {
    match byte {
        None | Some(3 | 4) => Key::GiveUp,
        Some(b'\r' | b'\n') => Key::Accept,
        Some(8 | 127) => Key::Back,
        Some(21) => Key::Clear,
        Some(byte) => Key::Byte(byte),
    }
}

/// Asks for a password: on a terminal with a star for each character, else it is the next line of
/// standard input. None if there is none.
pub(super) fn ask() -> Result<Option<String>, Trouble> {
    let typed = if io::stdin().is_terminal() { type_in() } else { read_line().map(Some) };
    match typed {
        Ok(Some(bytes)) if bytes.is_empty() => Ok(None),
        Ok(Some(bytes)) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Ok(None) => Err(Trouble::Exit(1)),
        Err(error) => Err(input_failed(&error)),
    }
}

fn read_line() -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    io::stdin().lock().read_until(b'\n', &mut line)?;
    line.pop_if(|byte| *byte == b'\n');
    line.pop_if(|byte| *byte == b'\r');
    Ok(line)
}

/// What is typed until Enter; None if it is given up. The terminal is asked and shown to through
/// standard error, so that what the tool prints can be redirected.
fn type_in() -> io::Result<Option<Vec<u8>>> {
    let mut screen = io::stderr();
    // Before it is asked for, so that no key is shown that comes at once.
    let hidden = Hidden::begin()?;
    screen.write_all(PROMPT)?;
    let mut keys = io::stdin().lock().bytes();
    let mut typed: Vec<u8> = Vec::new();
    let accepted = loop {
        match key(keys.next().transpose()?) {
            Key::Accept => break true,
            Key::GiveUp => break false,
            Key::Back => remove_character(&mut typed),
            Key::Clear => typed.clear(),
            Key::Byte(byte) => typed.push(byte),
        }
        let stars = "*".repeat(characters(&typed));
        screen.write_all(&[b"\r\x1b[K", PROMPT, stars.as_bytes()].concat())?;
    };
    drop(hidden);
    screen.write_all(b"\n")?;
    Ok(accepted.then_some(typed))
}

/// Whether `byte` goes on with the character before it (UTF-8).
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !is_continuation(**byte)).count()
}

fn remove_character(bytes: &mut Vec<u8>) {
    while bytes.pop().is_some_and(is_continuation) {}
}
