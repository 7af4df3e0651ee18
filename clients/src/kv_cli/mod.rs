//! `kv-cli`: sends commands to a RESP server and prints the replies as `redis-cli` does.
//!
//! - [`arguments`] parses the arguments.
//! - A session keeps the connection and its state: the database, a transaction.
//! - Commands come from the arguments, from standard input line by line, or from a line editor.
//! - Some modes scan all keys for their names or sizes. Others print counters and latency
//!   repeatedly.
//! - Mass insertion sends standard input unchanged and counts the replies.

mod biggest;
mod editor;
mod failure;
mod help;
mod interrupt;
mod lines;
mod options;
mod password;
mod pipe;
mod print;
mod rolling;
mod scan;
mod session;
mod uri;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use protocol::resp::text::split;

pub use options::{Mode, Request, Settings, StandardInput, Version, arguments};
pub use print::Form;

use session::{Loudness, Session, Trouble, input_failed, print_all};

use crate::output::complain;

/// Executes `request`. Returns the exit code.
pub fn run(request: Request) -> u8 {
    match request {
        Request::Run(settings) => run_session(*settings),
        Request::Help => {
            print_all(help::OPTIONS.as_bytes());
            0
        }
        Request::Version => {
            print_all(concat!("kv-cli ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
            0
        }
        Request::Refused(text) => {
            complain(text);
            1
        }
    }
}

fn run_session(mut settings: Settings) -> u8 {
    if settings.warns_of_password {
        complain(
            "Warning: Using a password with '-a' or '-u' option on the command line interface may \
             not be safe.",
        );
    }
    if settings.asks_password {
        match password::ask() {
            Ok(password) => settings.password = password,
            Err(trouble) => return trouble.code(),
        }
    }
    let encryption = match settings.tls_args.encryption_if(settings.tls, "kv-cli") {
        Ok(encryption) => encryption,
        Err(failure) => {
            complain(failure);
            return 1;
        }
    };
    let mut session = Session::new(settings, encryption);
    let done = match session.settings.mode {
        Mode::Commands => return run_commands(session),
        Mode::Pipe => {
            return match session.connect(Loudness::Loud) {
                Ok(()) => pipe::pipe(session),
                Err(trouble) => trouble.code(),
            };
        }
        Mode::Scan => connected(&mut session, scan::list),
        Mode::BigKeys | Mode::MemoryKeys => connected(&mut session, biggest::find),
        Mode::Stat => connected(&mut session, rolling::stat),
        Mode::Latency | Mode::LatencyHistory => connected(&mut session, rolling::latency),
    };
    done.map_or_else(Trouble::code, |()| 0)
}

fn connected(
    session: &mut Session,
    act: fn(&mut Session) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    session.connect(Loudness::Loud)?;
    act(session)
}

fn run_commands(mut session: Session) -> u8 {
    let has_command = !session.settings.command.is_empty() || session.settings.script.is_some();
    if !has_command {
        return lines::run(session);
    }
    // A failure is not reported here: the command connects again and reports it.
    let _ = session.connect(Loudness::Quiet);
    let done = command(&session.settings).and_then(|command| {
        let repeat = session.settings.repeat;
        session.issue(&command, repeat)
    });
    done.map_or_else(Trouble::code, |()| 0)
}

/// Returns the command of the arguments, with standard input inserted.
fn command(settings: &Settings) -> Result<Vec<Vec<u8>>, Trouble> {
    let mut command = match &settings.script {
        Some(path) => evaluation(path, &settings.command)?,
        None => settings.command.clone(),
    };
    if settings.quoted_input {
        for word in &mut command {
            *word = unquote(word)?;
        }
    }
    match &settings.standard_input {
        StandardInput::No => {}
        StandardInput::Last => command.push(read_input()?),
        StandardInput::Tag(tag) => match command.iter_mut().find(|word| *word == tag) {
            Some(word) => *word = read_input()?,
            None => {
                complain("Using -X option but stdin tag not match.");
                return Err(Trouble::Reported);
            }
        },
    }
    Ok(command)
}

/// Returns the command that runs the script in the file at `path`. The `words` before a comma are
/// its keys, and those after it its arguments.
fn evaluation(path: &[u8], words: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Trouble> {
    let script = std::fs::read(OsStr::from_bytes(path)).map_err(|error| {
        let (path, why) = (String::from_utf8_lossy(path), failure::system_text(&error));
        complain(format_args!("Can't open file '{path}': {why}"));
        Trouble::Exit(1)
    })?;
    let comma = words.iter().position(|word| word == b",");
    let keys = comma.unwrap_or(words.len());
    let arguments = words.iter().enumerate().filter(|(place, _)| Some(*place) != comma);
    let mut command = vec![b"EVAL".to_vec(), script, keys.to_string().into_bytes()];
    command.extend(arguments.map(|(_, word)| word.clone()));
    Ok(command)
}

/// Removes the quotes of a word.
fn unquote(word: &[u8]) -> Result<Vec<u8>, Trouble> {
    match split(word) {
        Ok(mut words) if words.len() == 1 => Ok(words.remove(0)),
        _ => {
            print_all(b"Invalid quoted string\n");
            Err(Trouble::Reported)
        }
    }
}

fn read_input() -> Result<Vec<u8>, Trouble> {
    let mut all = Vec::new();
    io::stdin().lock().read_to_end(&mut all).map_err(|error| input_failed(&error))?;
    Ok(all)
}
