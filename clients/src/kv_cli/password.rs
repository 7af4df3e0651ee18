//! Reads a password without showing it.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::session::{Trouble, input_failed};

const PROMPT: &[u8] = b"Please input password: ";

/// The saved settings of the terminal of standard input. They are restored on drop.
struct Hidden {
    before: Termios,
}

impl Hidden {
    /// Turns off echo, editing and signals of the terminal. If Ctrl-C ended the program here, the
    /// terminal would stay like that.
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
        // Restoring fails only if the terminal is gone.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// The effect of a key while a password is typed.
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

/// Asks for a password. On a terminal, shows a star for each character. Otherwise reads the next
/// line of standard input. Returns None if the password is empty.
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

/// Reads keys until Enter. Returns None if the user gives up. The prompt goes to standard error, so
/// that the output of the tool can be redirected.
fn type_in() -> io::Result<Option<Vec<u8>>> {
    let mut screen = io::stderr();
    // Before the prompt, so that no key is shown that is typed at once.
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

/// Returns whether `byte` continues the character before it (UTF-8).
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !is_continuation(**byte)).count()
}

fn remove_character(bytes: &mut Vec<u8>) {
    while bytes.pop().is_some_and(is_continuation) {}
}
