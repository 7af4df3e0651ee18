//! Edits lines on a terminal, with history, completion of command names, and hints for arguments.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Context, Event, EventContext, EventHandler, Helper,
    KeyCode, KeyEvent, Modifiers, RepeatCount,
};

use super::help;
use super::session::{Trouble, input_failed, is};
use crate::Failure;
use crate::output::complain;
use crate::resp::{Answer, Connection};

/// The maximum number of lines in the history.
const HISTORY_MAX: usize = 1000;

pub(super) struct Editor {
    editor: Option<rustyline::Editor<Names, FileHistory>>,
    /// The file of the history, if there is one.
    history: Option<PathBuf>,
}

impl Editor {
    /// Creates an editor that completes the names of the commands of the server.
    pub(super) fn open(connection: Option<&mut Connection>) -> Self {
        let mut this = Self { editor: None, history: history_path() };
        let config = Config::builder()
            .max_history_size(HISTORY_MAX)
            .map(|builder| builder.auto_add_history(false).build());
        let editor = config.and_then(rustyline::Editor::with_config);
        match editor {
            Ok(mut editor) => {
                let names = Names::of(connection);
                bind_paste(&mut editor, &names.pasting);
                editor.set_helper(Some(names));
                if let Some(path) = &this.history {
                    // The file does not exist in the first run.
                    let _ = editor.load_history(path);
                }
                this.editor = Some(editor);
            }
            Err(error) => {
                complain(format_args!("Line editing does not work on this terminal: {error}"))
            }
        }
        this
    }

    /// Reads a line. Returns None at the end of input, or after Ctrl-C. Reports errors to the user.
    pub(super) fn line(&mut self, prompt: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let editor = self.editor.as_mut().ok_or(Trouble::Reported)?;
        match editor.readline(prompt) {
            Ok(line) => Ok(Some(line.into_bytes())),
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
            Err(ReadlineError::Io(error)) => Err(terminal_failed(&error)),
            Err(ReadlineError::Errno(error)) => Err(terminal_failed(&error.into())),
            Err(error) => Err(terminal_failed(&io::Error::other(error.to_string()))),
        }
    }

    /// Turns hints for arguments on or off.
    pub(super) fn hint(&mut self, hints: Hints) {
        if let Some(names) = self.editor.as_mut().and_then(rustyline::Editor::helper_mut) {
            names.hints = hints;
        }
    }

    pub(super) fn remember(&mut self, line: &str) {
        let Some(editor) = &mut self.editor else { return };
        let added = editor.add_history_entry(line).unwrap_or(false);
        if let Some(path) = self.history.as_ref().filter(|_| added) {
            // A history that cannot be written does not end the tool.
            let _ = editor.append_history(path);
        }
    }
}

/// The keys that a terminal sends around and inside a paste. As in `redis-cli`, pasted text is
/// handled as if it were typed. Each line is a command, which is sent when the line ends. The text
/// after the last line end can still be edited.
enum Paste {
    Start,
    End,
    Tab,
}

struct PasteHandler {
    key: Paste,
    /// Whether the current keys are part of a paste.
    pasting: Arc<AtomicBool>,
}

impl ConditionalEventHandler for PasteHandler {
    fn handle(
        &self,
        _event: &Event,
        _count: RepeatCount,
        _positive: bool,
        _context: &EventContext<'_>,
    ) -> Option<Cmd> {
        match self.key {
            Paste::Start => self.pasting.store(true, Ordering::Relaxed),
            Paste::End => self.pasting.store(false, Ordering::Relaxed),
            // A tab completes only while the user types.
            Paste::Tab if self.pasting.load(Ordering::Relaxed) => {
                return Some(Cmd::Insert(1, "\t".to_owned()));
            }
            Paste::Tab => return None,
        }
        Some(Cmd::Noop)
    }
}

fn bind_paste(editor: &mut rustyline::Editor<Names, FileHistory>, pasting: &Arc<AtomicBool>) {
    for (code, key) in [
        (KeyCode::BracketedPasteStart, Paste::Start),
        (KeyCode::BracketedPasteEnd, Paste::End),
        (KeyCode::Tab, Paste::Tab),
    ] {
        let handler = PasteHandler { key, pasting: Arc::clone(pasting) };
        let event = KeyEvent(code, Modifiers::NONE);
        editor.bind_sequence(event, EventHandler::Conditional(Box::new(handler)));
    }
}

/// Reports that line editing failed, and ends the tool. The editor does not distinguish errors of
/// reading from errors of writing, but some kinds occur only when writing.
fn terminal_failed(error: &io::Error) -> Trouble {
    use io::ErrorKind::{BrokenPipe, FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        BrokenPipe | FileTooLarge | QuotaExceeded | StorageFull => {
            Trouble::Exit(Failure::of_output(error).report("kv-cli"))
        }
        _ => input_failed(error),
    }
}

fn history_path() -> Option<PathBuf> {
    match std::env::var_os("KVCLI_HISTFILE").filter(|path| !path.is_empty()) {
        Some(path) if path == "/dev/null" => None,
        Some(path) => Some(path.into()),
        None => std::env::home_dir().map(|home| home.join(".kvcli_history")),
    }
}

/// Returns whether a command may contain a secret, so that it is not added to the history.
pub(super) fn is_secret(command: &[Vec<u8>]) -> bool {
    let has = |words: &[&str]| {
        let matches =
            |it: &Vec<u8>| words.iter().any(|word| it.eq_ignore_ascii_case(word.as_bytes()));
        command.iter().skip(1).any(matches)
    };
    is(command, "auth")
        || is(command, "acl") && has(&["setuser", "deluser", "getuser"])
        || is(command, "config")
            && has(&[
                "requirepass",
                "masterauth",
                "masteruser",
                "tls-key-file-pass",
                "tls-client-key-file-pass",
            ])
        || is(command, "hello") && has(&["auth"])
        || is(command, "migrate") && has(&["auth", "auth2"])
        || is(command, "sentinel")
            && has(&["sentinel-pass", "sentinel-user", "auth-pass", "auth-user"])
}

/// Whether hints for arguments are shown while a command is typed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hints {
    Shown,
    Hidden,
}

/// The names of commands in upper case, sorted.
struct Names {
    names: Vec<String>,
    hints: Hints,
    /// Whether the current keys are part of a paste. No hints are shown then.
    pasting: Arc<AtomicBool>,
}

impl Names {
    /// Asks the server for the names of its commands and subcommands. If it does not answer, takes
    /// all known names.
    fn of(connection: Option<&mut Connection>) -> Self {
        // A server may not have COMMAND.
        let listed = connection.and_then(|connection| {
            connection
                .call_with(["COMMAND"], |value| {
                    let first = |command: protocol::resp::Value<'_>| {
                        let name = command.elements().next().map(Answer::from);
                        name.and_then(|name| name.as_str().map(str::to_uppercase))
                    };
                    value.elements().filter_map(first).collect::<Vec<_>>()
                })
                .ok()
        });
        let listed = listed.unwrap_or_default();
        let is_there = |name: &str| {
            let first = name.split(' ').next().unwrap_or_default();
            listed.is_empty() || listed.iter().any(|it| it == first)
        };
        let known = help::commands().map(|command| command.name).filter(|name| is_there(name));
        let own = ["CLEAR", "CONNECT", "EXIT", "HELP", "QUIT"];
        let mut names: Vec<String> = known.chain(own).map(str::to_owned).collect();
        names.extend(listed);
        names.sort_unstable();
        names.dedup();
        Self { names, hints: Hints::Shown, pasting: Arc::default() }
    }

    /// Returns the names that start with `word`, in the case in which the user types. After `help`,
    /// returns the names of groups as well.
    fn complete(&self, word: &str) -> Vec<String> {
        let (help, word) = match word.split_at_checked("help ".len()) {
            Some((help, word)) if help.eq_ignore_ascii_case("help ") => (help, word.trim_start()),
            _ => ("", word),
        };
        let capitals = word.to_uppercase();
        let is_small = word.chars().any(char::is_lowercase);
        let names = self.names.iter().filter(|name| name.starts_with(&capitals));
        let names = names.map(|name| if is_small { name.to_lowercase() } else { name.clone() });
        let groups = help::groups().into_iter().map(|group| format!("@{group}"));
        let groups =
            groups.filter(|name| !help.is_empty() && name.starts_with(&word.to_lowercase()));
        names.chain(groups).map(|name| format!("{help}{name}")).collect()
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        place: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        // Candidates replace the line from its start, where the name is.
        Ok((0, self.complete(&line[..place])))
    }
}

impl Hinter for Names {
    type Hint = Arguments;

    fn hint(&self, line: &str, place: usize, _context: &Context<'_>) -> Option<Arguments> {
        let is_typed = place == line.len() && !self.pasting.load(Ordering::Relaxed);
        let is_asked_for = self.hints == Hints::Shown && is_typed;
        is_asked_for.then(|| help::hint(line)).flatten().map(Arguments)
    }
}

/// A hint: the arguments that a command takes. They are displayed, and no key inserts them.
struct Arguments(String);

impl Hint for Arguments {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Highlighter for Names {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        format!("\x1b[90m{hint}\x1b[0m").into()
    }
}

impl Validator for Names {}
impl Helper for Names {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_in_the_typed_case() {
        let names = Names::of(None);
        assert_eq!(names.complete("hg"), ["hget", "hgetall"]);
        assert_eq!(names.complete("SELE"), ["SELECT"]);
        assert_eq!(names.complete("config re"), ["config resetstat", "config rewrite"]);
        assert_eq!(names.complete("help hge"), ["help hget", "help hgetall"]);
        assert_eq!(names.complete("help @str"), ["help @stream", "help @string"]);
        assert!(names.complete("y").is_empty() && names.complete("@").is_empty());
    }

    #[test]
    fn secrets_are_not_remembered() {
        let secret = |line: &str| {
            let words = line.split(' ').map(|word| word.as_bytes().to_vec());
            is_secret(&words.collect::<Vec<_>>())
        };
        for line in ["AUTH x", "config set requirepass x", "hello 3 AUTH a b", "acl setuser a >b"] {
            assert!(secret(line), "{line}");
        }
        for line in ["get auth", "config get maxmemory", "hello 3", "acl list"] {
            assert!(!secret(line), "{line}");
        }
    }
}
