//! `kv-cli`: commands to a server of RESP, replies as `redis-cli` prints them.
//!
//! - [`arguments`] reads what is asked for.
//! - A session keeps the connection and what is known of its state: the database, a transaction.
//! - Commands come from the arguments, from standard input line by line, or from a line editor.
//! - Mass insertion sends standard input as it is and counts the replies.

mod editor;
mod help;
mod interrupt;
mod lines;
mod options;
mod pipe;
mod print;
mod session;

use std::io::{self, Read};

use protocol::resp::text::split;

pub use options::{Request, Settings, StandardInput, Version, arguments};
pub use print::Form;

use session::{Loudness, Session, Trouble, print_all};

/// Does what `request` asks for. Returns the exit code.
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
            eprintln!("{text}");
            1
        }
    }
}

fn run_session(settings: Settings) -> u8 {
    if settings.warns_of_password {
        eprintln!(
            "Warning: Using a password with '-a' or '-u' option on the command line interface may \
             not be safe."
        );
    }
    let mut session = Session::new(settings);
    if session.settings.pipes {
        return match session.connect(Loudness::Loud) {
            Ok(()) => pipe::pipe(session),
            Err(_) => 1,
        };
    }
    if session.settings.command.is_empty() {
        return lines::run(session);
    }
    // It is tried once more for the command, and told then.
    let _ = session.connect(Loudness::Quiet);
    let done = command(&session.settings).and_then(|command| {
        let repeat = session.settings.repeat;
        session.issue(&command, repeat)
    });
    match done {
        Ok(()) => 0,
        Err(Trouble::Told) => 1,
        Err(Trouble::Exit(code)) => code,
    }
}

/// The command of the arguments, with standard input in its place.
fn command(settings: &Settings) -> Result<Vec<Vec<u8>>, Trouble> {
    let mut command = settings.command.clone();
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
                eprintln!("Using -X option but stdin tag not match.");
                return Err(Trouble::Told);
            }
        },
    }
    Ok(command)
}

/// A word without its quotes.
fn unquote(word: &[u8]) -> Result<Vec<u8>, Trouble> {
    match split(word) {
        Ok(mut words) if words.len() == 1 => Ok(words.remove(0)),
        _ => {
            print_all(b"Invalid quoted string\n");
            Err(Trouble::Told)
        }
    }
}

fn read_input() -> Result<Vec<u8>, Trouble> {
    let mut all = Vec::new();
    io::stdin().lock().read_to_end(&mut all).map_err(|error| {
        eprintln!("Reading from standard input: {error}");
        Trouble::Exit(1)
    })?;
    Ok(all)
}
