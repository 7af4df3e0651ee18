//! A session: the connection, what is known of its state, and commands with their replies.

use std::io;
use std::time::Duration;

use protocol::resp::{Item, Limits, Value};

use super::failure::{connect_failure, context, is_reconnectable, wants_another};
use super::help;
use super::interrupt::{Interrupts, Target};
use super::options::{Settings, Version, integer};
use super::print;
use crate::output::{self, complain};
use crate::resp::{Answer, Connection, Error, Options};

/// Why a command came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It has been told; the next command may do better.
    Told,
    /// The program ends with this exit code.
    Exit(u8),
}

impl Trouble {
    /// The exit code of a program that ends with it.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Told => 1,
            Self::Exit(code) => code,
        }
    }
}

/// Whether a failure to connect is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loudness {
    Loud,
    Quiet,
}

/// What a reply was, as far as the state of the session depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error,
    Null,
    Other,
    /// It was no reply.
    Push,
}

pub(super) struct Session {
    pub(super) settings: Settings,
    pub(super) connection: Option<Connection>,
    /// Whether commands are read from standard input, so that losing one is not the end.
    pub(super) interactive: bool,
    pub(super) interrupts: Interrupts,
    /// The database that is selected, and the one to select when the connection is made again.
    database: i64,
    wanted_database: i64,
    /// The database before the transaction, while there is one.
    transaction: Option<i64>,
    shuts_down: bool,
}

impl Session {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            connection: None,
            interactive: false,
            interrupts: Interrupts::default(),
            database: 0,
            wanted_database: settings.database,
            transaction: None,
            shuts_down: false,
            settings,
        }
    }

    /// Where the server is, as people write it.
    pub(super) fn place(&self) -> String {
        let Settings { host, port, socket, .. } = &self.settings;
        match socket {
            Some(path) => path.clone(),
            None => format!("{host}:{port}"),
        }
    }

    fn address(&self) -> String {
        let Settings { host, port, socket, .. } = &self.settings;
        match socket {
            Some(path) => format!("unix:{path}"),
            None if host.contains(':') => format!("[{host}]:{port}"),
            None => format!("{host}:{port}"),
        }
    }

    /// What stands before a line to be typed.
    pub(super) fn prompt(&self) -> String {
        if self.connection.is_none() {
            return "not connected> ".to_owned();
        }
        let Settings { host, port, socket, .. } = &self.settings;
        let mut prompt = match socket {
            Some(path) => format!("redis {path}"),
            None if host.contains(':') => format!("[{host}]:{port}"),
            None => format!("{host}:{port}"),
        };
        if self.database != 0 {
            prompt.push_str(&format!("[{}]", self.database));
        }
        if self.transaction.is_some() {
            prompt.push_str("(TX)");
        }
        prompt.push_str("> ");
        prompt
    }

    /// Connects, or connects again; says the password, the database and the version.
    pub(super) fn connect(&mut self, loudness: Loudness) -> Result<(), Trouble> {
        self.connection = None;
        (self.database, self.transaction) = (0, None);
        let options = Options {
            connect_timeout: self.settings.connect_timeout,
            read_timeout: None,
            write_timeout: None,
            // As many as a length can say: a person asks, and Ctrl-C is at hand.
            limits: Limits { elements_max: u32::MAX as usize, ..Limits::DEFAULT },
            ..Options::default()
        };
        match Connection::open(&self.address(), &options) {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => {
                if loudness == Loudness::Loud {
                    let (place, why) = (self.place(), connect_failure(&error));
                    complain(format_args!("Could not connect to Redis at {place}: {why}"));
                }
                return Err(Trouble::Told);
            }
        }
        self.authenticate()?;
        self.select()?;
        self.switch()
    }

    fn authenticate(&mut self) -> Result<(), Trouble> {
        let Some(password) = self.settings.password.clone() else { return Ok(()) };
        let user = self.settings.user.clone();
        let command: Vec<String> =
            ["AUTH".to_owned()].into_iter().chain(user).chain([password]).collect();
        self.ask("AUTH", &command).map(drop)
    }

    /// Selects the database that is wanted, if it is another.
    fn select(&mut self) -> Result<(), Trouble> {
        let wanted = self.wanted_database;
        if wanted != self.database {
            self.ask(&format!("SELECT {wanted}"), &["SELECT".to_owned(), wanted.to_string()])?;
            self.database = wanted;
        }
        Ok(())
    }

    fn switch(&mut self) -> Result<(), Trouble> {
        let version = self.settings.version;
        if !matches!(version, Version::Resp3 | Version::PreferResp3) {
            return Ok(());
        }
        let answered = self.ask("HELLO 3", &["HELLO".to_owned(), "3".to_owned()]);
        let may_refuse = version == Version::PreferResp3;
        let refused = self.connection.as_ref().is_some_and(|connection| !connection.is_lost());
        if may_refuse && refused { Ok(()) } else { answered.map(drop) }
    }

    /// Says something of the tool's own, and tells if that fails.
    fn ask(&mut self, what: &str, command: &[String]) -> Result<Answer, Trouble> {
        let Some(connection) = &mut self.connection else { return Err(Trouble::Told) };
        connection.call(command).map_err(|error| {
            match error.server() {
                Some(words) => {
                    complain(format_args!("{what} failed: {}", String::from_utf8_lossy(words)))
                }
                None => complain("\nI/O error"),
            }
            Trouble::Told
        })
    }

    /// Says `command`, and tells what goes wrong: an error of the server behind `what`. The
    /// program ends then.
    pub(super) fn call(&mut self, command: &[Vec<u8>], what: &str) -> Result<Answer, Trouble> {
        let Some(connection) = &mut self.connection else { return Err(Trouble::Exit(1)) };
        connection.call(command).map_err(|error| {
            match error.server() {
                Some(words) => {
                    complain(format_args!("{what}: {}", String::from_utf8_lossy(words)));
                }
                None => complain("\nI/O error"),
            }
            Trouble::Exit(1)
        })
    }

    /// Says all `commands` at once. Returns an answer for each, or the words of the server's error.
    pub(super) fn call_all(
        &mut self,
        commands: Vec<Vec<Vec<u8>>>,
    ) -> Result<Vec<Result<Answer, String>>, Trouble> {
        let Some(connection) = &mut self.connection else { return Err(Trouble::Exit(1)) };
        let mut pipeline = connection.pipeline();
        for command in &commands {
            pipeline.add(command);
        }
        let results = pipeline.run().into_iter().map(|result| match result {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) => match error.server() {
                Some(words) => Ok(Err(String::from_utf8_lossy(words).into_owned())),
                None => {
                    complain("\nI/O error");
                    Err(Trouble::Exit(1))
                }
            },
        });
        results.collect()
    }

    /// Says `command` so many times, forever if `repeat` is negative, and prints the replies.
    pub(super) fn issue(&mut self, command: &[Vec<u8>], repeat: i64) -> Result<(), Trouble> {
        if is(command, "help") || is(command, "?") {
            print_all(help::about(&command[1..]).as_bytes());
            return Ok(());
        }
        if self.connection.as_ref().is_none_or(wants_another)
            && let Err(trouble) = self.connect(Loudness::Loud)
        {
            if let Some(connection) = &self.connection {
                let error = connection.lost().map_or_else(String::new, context);
                complain(format_args!("Error: {error}"));
            }
            return Err(trouble);
        }
        let mut left = repeat;
        while left != 0 {
            left = if left > 0 { left - 1 } else { left };
            self.issue_once(command)?;
            if !self.settings.interval.is_zero() {
                std::thread::sleep(self.settings.interval);
            }
        }
        Ok(())
    }

    fn issue_once(&mut self, command: &[Vec<u8>]) -> Result<(), Trouble> {
        let is_text = print::is_text(command);
        self.shuts_down |= is(command, "shutdown");
        let Some(connection) = &mut self.connection else { return Err(Trouble::Told) };
        connection.send(command);
        // The reply tells what went wrong.
        let _ = connection.flush();
        if is(command, "monitor") {
            return self.watch(is_text, Pushes::AreReplies);
        }
        if is_one_of(command, &["subscribe", "psubscribe", "ssubscribe"]) {
            if self.settings.form != print::Form::Raw {
                print_all(b"Reading messages... (press Ctrl-C to quit)\n");
            }
            return self.watch(is_text, Pushes::AreReplies);
        }
        if is_one_of(command, &["unsubscribe", "punsubscribe", "sunsubscribe"]) {
            // Each name is confirmed, by pushes in RESP3.
            for _ in 1..command.len().max(2) {
                if self.read(is_text, Pushes::AreReplies)? == Kind::Error {
                    break;
                }
            }
            return Ok(());
        }
        let kind = self.read(is_text, Pushes::AreApart)?;
        self.follow(command, kind);
        Ok(())
    }

    /// Prints what comes until Ctrl-C, or until the server refuses.
    fn watch(&mut self, is_text: bool, pushes: Pushes) -> Result<(), Trouble> {
        let cutter = self.connection.as_ref().and_then(|connection| connection.cutter().ok());
        self.interrupts.aim(cutter.map_or(Target::Program, Target::Connection));
        let result = loop {
            match self.read(is_text, pushes) {
                Ok(Kind::Error) => break Ok(()),
                Ok(_) => {}
                // Losing what is watched is the end of a script, but not of Ctrl-C.
                Err(Trouble::Told) if self.interrupts.take() => {
                    break self.connect(Loudness::Loud);
                }
                Err(trouble) => break Err(trouble),
            }
        };
        self.interrupts.aim(Target::Program);
        // One that came too late is for nothing.
        self.interrupts.take();
        result
    }

    /// Prints the next reply, and what comes before it unasked.
    fn read(&mut self, is_text: bool, pushes: Pushes) -> Result<Kind, Trouble> {
        loop {
            let kind = self.read_one(is_text, pushes)?;
            if kind != Kind::Push {
                return Ok(kind);
            }
        }
    }

    fn read_one(&mut self, is_text: bool, pushes: Pushes) -> Result<Kind, Trouble> {
        let Self { connection, settings, interactive, .. } = self;
        let Some(connection) = connection else { return Err(Trouble::Told) };
        let mut text = Vec::new();
        let is_fatal = settings.fails_on_error && !*interactive;
        let next = connection.next_with(None, |value| {
            if value.is_push() && pushes == Pushes::AreApart {
                if settings.prints_pushes {
                    print::push(value, settings, &mut text);
                }
                return Kind::Push;
            }
            if is_fatal && value.is_error() {
                complain(format_args!("{}", String::from_utf8_lossy(value.text())));
            } else {
                print::reply(value, settings, is_text, &mut text);
            }
            kind(value)
        });
        match next {
            Ok(found) => {
                print_all(&text);
                match found.unwrap_or(Kind::Push) {
                    Kind::Error if is_fatal => Err(Trouble::Exit(1)),
                    kind => Ok(kind),
                }
            }
            Err(error) => self.lose(&error),
        }
    }

    /// The connection is gone.
    fn lose(&mut self, error: &Error) -> Result<Kind, Trouble> {
        if std::mem::take(&mut self.shuts_down) {
            // As was asked for.
            self.connection = None;
            return Ok(Kind::Other);
        }
        if self.interrupts.peek() {
            return Err(Trouble::Told);
        }
        complain(format_args!("Error: {}", context(error.cause())));
        if !self.interactive || !is_reconnectable(error.cause()) {
            return Err(Trouble::Exit(1));
        }
        self.connection = None;
        Err(Trouble::Told)
    }

    /// Keeps up with what a command has changed.
    fn follow(&mut self, command: &[Vec<u8>], kind: Kind) {
        let done = kind != Kind::Error;
        if is(command, "select") && command.len() == 2 && done {
            let database = integer(&String::from_utf8_lossy(&command[1]));
            (self.database, self.wanted_database) = (database, database);
        } else if is(command, "auth") && matches!(command.len(), 2 | 3) {
            // It may not have been allowed before. What fails is told.
            let _ = self.select();
        } else if command.len() != 1 {
        } else if is(command, "multi") && done {
            self.transaction = Some(self.database);
        } else if is(command, "exec") {
            let before = self.transaction.take();
            self.go_back(before.filter(|_| matches!(kind, Kind::Error | Kind::Null)));
        } else if is(command, "discard") && done {
            let before = self.transaction.take();
            self.go_back(before);
        } else if is(command, "reset") && done {
            self.transaction = None;
            self.go_back(Some(0));
        }
    }

    fn go_back(&mut self, database: Option<i64>) {
        if let Some(database) = database {
            (self.database, self.wanted_database) = (database, database);
        }
    }
}

/// What becomes of pushes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pushes {
    /// They are what one waits for.
    AreReplies,
    /// They are printed, or not, while one waits for a reply.
    AreApart,
}

/// Whether the name of `command` is `name`, in whatever case.
pub(super) fn is(command: &[Vec<u8>], name: &str) -> bool {
    command.first().is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
}

fn is_one_of(command: &[Vec<u8>], names: &[&str]) -> bool {
    names.iter().any(|name| is(command, name))
}

fn kind(value: Value<'_>) -> Kind {
    match value.item() {
        Item::Error(_) | Item::BulkError(_) => Kind::Error,
        Item::Null | Item::NullArray => Kind::Null,
        _ => Kind::Other,
    }
}

/// Standard input failed, which is told and is the end of the tool.
pub(super) fn input_failed(error: &io::Error) -> Trouble {
    complain(format_args!("kv-cli: standard input: {error}"));
    Trouble::Exit(1)
}

/// Writes to standard output. One that takes no more is the end of the tool.
pub(super) fn print_all(text: &[u8]) {
    if let Err(failure) = output::print(text) {
        std::process::exit(failure.report("kv-cli").into());
    }
}

/// How long a command may take without its time being printed.
pub(super) const SLOW: Duration = Duration::from_millis(500);
