//! Reads commands from standard input, one per line.

use std::io::{self, BufRead, IsTerminal};
use std::time::Instant;

use protocol::resp::text::split;

use super::editor::{Editor, Hints, is_secret};
use super::options::integer;
use super::print::Form;
use super::session::{Loudness, SLOW, Session, Trouble, input_failed, is, print_all};
use crate::output::complain;

/// The source of lines.
enum Lines {
    /// A terminal.
    Typed(Box<Editor>),
    /// Anything else.
    Plain(io::StdinLock<'static>),
}

impl Lines {
    /// Returns the next line without its line end, or None at the end of input.
    fn next(&mut self, prompt: &str) -> Result<Option<Vec<u8>>, Trouble> {
        match self {
            Self::Typed(editor) => editor.line(prompt),
            Self::Plain(input) => {
                let mut line = Vec::new();
                let count =
                    input.read_until(b'\n', &mut line).map_err(|error| input_failed(&error))?;
                line.pop_if(|byte| *byte == b'\n');
                // As in redis-cli, a zero byte ends a line.
                if let Some(end) = line.iter().position(|byte| *byte == 0) {
                    line.truncate(end);
                }
                Ok((count > 0).then_some(line))
            }
        }
    }

    fn hint(&mut self, hints: Hints) {
        if let Self::Typed(editor) = self {
            editor.hint(hints);
        }
    }

    fn remember(&mut self, line: &[u8]) {
        if let Self::Typed(editor) = self {
            editor.remember(&String::from_utf8_lossy(line));
        }
    }
}

/// What to do after a line.
enum Next {
    Line,
    End(u8),
}

/// Runs the commands of standard input until it ends. Returns the exit code.
pub(super) fn run(mut session: Session) -> u8 {
    session.interactive = true;
    if let Err(error) = session.interrupts.listen() {
        complain(format_args!(
            "Ctrl-C always ends the program, because listening for it failed: {error}"
        ));
    }
    // A failure is reported here. Each command tries again.
    let _ = session.connect(Loudness::Loud);
    let mut lines = if io::stdin().is_terminal() {
        Lines::Typed(Box::new(Editor::open(session.connection.as_mut())))
    } else {
        Lines::Plain(io::stdin().lock())
    };
    loop {
        match lines.next(&session.prompt()) {
            Ok(Some(line)) => {
                if let Next::End(code) = run_line(&mut session, &line, &mut lines) {
                    return code;
                }
            }
            Ok(None) => return 0,
            Err(trouble) => return trouble.code(),
        }
    }
}

fn run_line(session: &mut Session, line: &[u8], lines: &mut Lines) -> Next {
    let Ok(command) = split(line) else {
        print_all(b"Invalid argument(s)\n");
        // A line with an unclosed quote may contain a password too.
        let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        if !is_secret(&words.map(<[u8]>::to_vec).collect::<Vec<_>>()) {
            lines.remember(line);
        }
        return Next::Line;
    };
    let Some((repeat, command)) = repetition(&command) else {
        if !command.is_empty() {
            print_all(b"Invalid redis-cli repeat command option value.\n");
        }
        return Next::Line;
    };
    if !is_secret(command) {
        lines.remember(line);
    }
    match own_command(session, command, lines) {
        Some(next) => next,
        None => issue(session, command, repeat),
    }
}

/// Splits a repeat count from the command after it. The count is 1 if there is none. Returns None
/// if the count is not positive or there is no command.
fn repetition(command: &[Vec<u8>]) -> Option<(i64, &[Vec<u8>])> {
    let (first, rest) = command.split_first()?;
    let text = String::from_utf8_lossy(first);
    let text = text.trim_start();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if rest.is_empty() || !is_number {
        return Some((1, command));
    }
    let repeat = text.parse().ok().filter(|repeat| *repeat > 0)?;
    Some((repeat, rest))
}

/// Runs `command` if it is a command of the tool itself. Returns None otherwise.
fn own_command(session: &mut Session, command: &[Vec<u8>], lines: &mut Lines) -> Option<Next> {
    let words: Vec<_> = command.iter().map(|word| String::from_utf8_lossy(word)).collect();
    if is(command, "quit") || is(command, "exit") {
        return Some(Next::End(0));
    }
    if words[0].starts_with(':') {
        match preference(&words) {
            Ok(hints) => lines.hint(hints),
            Err(text) => print_all(text.as_bytes()),
        }
    } else if is(command, "restart") {
        print_all(b"Use 'restart' only in Lua debugging mode.\n");
    } else if is(command, "connect") && words.len() == 3 {
        session.settings.host = words[1].clone().into_owned();
        session.settings.port = u16::try_from(integer(&words[2])).unwrap_or_default();
        // A failure is reported here.
        let _ = session.connect(Loudness::Loud);
    } else if is(command, "clear") && words.len() == 1 {
        print_all(b"\x1b[H\x1b[2J");
    } else {
        return None;
    }
    Some(Next::Line)
}

/// Parses the setting for hints. Returns the text to print if it is unknown.
fn preference(words: &[std::borrow::Cow<'_, str>]) -> Result<Hints, String> {
    match words {
        [set, name, ..] if set.eq_ignore_ascii_case(":set") => {
            if name.eq_ignore_ascii_case("hints") {
                Ok(Hints::Shown)
            } else if name.eq_ignore_ascii_case("nohints") {
                Ok(Hints::Hidden)
            } else {
                Err(format!("unknown redis-cli preference '{name}'\n"))
            }
        }
        _ => Err(format!("unknown redis-cli internal command '{}'\n", words[0])),
    }
}

fn issue(session: &mut Session, command: &[Vec<u8>], repeat: i64) -> Next {
    let begun = Instant::now();
    if let Err(Trouble::Exit(code)) = session.issue(command, repeat) {
        return Next::End(code);
    }
    let elapsed = begun.elapsed();
    if elapsed >= SLOW && session.settings.form == Form::Human {
        print_all(format!("({:.2}s)\n", elapsed.as_secs_f64()).as_bytes());
    }
    Next::Line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(line: &str) -> Option<(i64, usize)> {
        let command = split(line.as_bytes()).expect("quotes are closed");
        repetition(&command).map(|(repeat, rest)| (repeat, rest.len()))
    }

    #[test]
    fn a_number_before_a_command_repeats_it() {
        assert_eq!(repeated("3 ping"), Some((3, 1)));
        assert_eq!(repeated("+3 ping x"), Some((3, 2)));
        assert_eq!(repeated("3"), Some((1, 1)));
        assert_eq!(repeated("3x ping"), Some((1, 2)));
        for never in ["0 ping", "-1 ping", "99999999999999999999 ping"] {
            assert_eq!(repeated(never), None, "{never}");
        }
    }
}
