//! Editing lines on a terminal: history, and completion of the names of commands.

use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Helper};

use super::session::is;
use crate::resp::{Answer, Connection};

/// How many lines are remembered.
const HISTORY_MAX: usize = 1000;

pub(super) struct Editor {
    editor: Option<rustyline::Editor<Names, FileHistory>>,
    /// Where lines are remembered from one run to the next, if anywhere.
    history: Option<PathBuf>,
}

impl Editor {
    /// An editor that completes the names of the commands that the server has.
    pub(super) fn open(connection: Option<&mut Connection>) -> Self {
        let mut this = Self { editor: None, history: history_path() };
        let config = Config::builder()
            .max_history_size(HISTORY_MAX)
            .map(|builder| builder.auto_add_history(false).build());
        let editor = config.and_then(rustyline::Editor::with_config);
        match editor {
            Ok(mut editor) => {
                editor.set_helper(Some(Names::of(connection)));
                if let Some(path) = &this.history {
                    // There is none in the first run.
                    let _ = editor.load_history(path);
                }
                this.editor = Some(editor);
            }
            Err(error) => eprintln!("The terminal can not be edited on: {error}"),
        }
        this
    }

    /// The line that is typed. None at the end of input, or when it is given up.
    pub(super) fn line(&mut self, prompt: &str) -> Option<Vec<u8>> {
        match self.editor.as_mut()?.readline(prompt) {
            Ok(line) => Some(line.into_bytes()),
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => None,
            Err(error) => {
                eprintln!("Reading from the terminal: {error}");
                None
            }
        }
    }

    pub(super) fn remember(&mut self, line: &str) {
        let Some(editor) = &mut self.editor else { return };
        let added = editor.add_history_entry(line).unwrap_or(false);
        if let Some(path) = self.history.as_ref().filter(|_| added) {
            // A line that is not remembered is no reason to stop.
            let _ = editor.append_history(path);
        }
    }
}

fn history_path() -> Option<PathBuf> {
    match std::env::var_os("KVCLI_HISTFILE").filter(|path| !path.is_empty()) {
        Some(path) if path == "/dev/null" => None,
        Some(path) => Some(path.into()),
        None => std::env::home_dir().map(|home| home.join(".kvcli_history")),
    }
}

/// Whether a command may have a secret in it, so that it is not remembered.
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

/// The names of commands, in capitals and in order.
struct Names {
    names: Vec<String>,
}

/// What is completed when the server does not tell its commands.
const USUAL: [&str; 20] = [
    "AUTH",
    "CLIENT",
    "CONFIG",
    "DBSIZE",
    "DEL",
    "EXISTS",
    "EXPIRE",
    "GET",
    "HELLO",
    "HGETALL",
    "INFO",
    "KEYS",
    "LRANGE",
    "PING",
    "PUBLISH",
    "SCAN",
    "SELECT",
    "SET",
    "SUBSCRIBE",
    "TTL",
];

impl Names {
    /// The names that the server tells, or the usual ones.
    fn of(connection: Option<&mut Connection>) -> Self {
        let own = ["CLEAR", "CONNECT", "EXIT", "HELP", "QUIT"];
        let mut names: Vec<String> = own.map(str::to_owned).into();
        // A server that knows no COMMAND is as good.
        let told = connection.and_then(|connection| {
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
        match told.filter(|told| !told.is_empty()) {
            Some(told) => names.extend(told),
            None => names.extend(USUAL.map(str::to_owned)),
        }
        names.sort_unstable();
        names.dedup();
        Self { names }
    }

    /// The names that begin with `word`, in the case in which it is typed.
    fn complete(&self, word: &str) -> Vec<String> {
        let capitals = word.to_uppercase();
        let is_small = word.chars().any(char::is_lowercase);
        let found = self.names.iter().filter(|name| name.starts_with(&capitals));
        found.map(|name| if is_small { name.to_lowercase() } else { name.clone() }).collect()
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
        // Only names are known, and they stand first.
        let typed = &line[..place];
        let found = if typed.contains(' ') { Vec::new() } else { self.complete(typed) };
        Ok((0, found))
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_in_the_case_in_which_they_are_typed() {
        let names = Names::of(None);
        assert_eq!(names.complete("hg"), ["hgetall"]);
        assert_eq!(names.complete("SE"), ["SELECT", "SET"]);
        assert!(names.complete("x").is_empty());
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
