//! A session: the connection, its state, and running commands.

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
use crate::tls::Encryption;

/// The reason why a command failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The failure was reported. The next command may succeed.
    Reported,
    /// The program ends with this exit code.
    Exit(u8),
}

impl Trouble {
    /// Returns the exit code of a program that ends with this failure.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Reported => 1,
            Self::Exit(code) => code,
        }
    }
}

/// Whether a failure to connect is reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loudness {
    Loud,
    Quiet,
}

/// The kind of a reply, as far as the state of the session depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error,
    Null,
    Other,
    /// A push, which is not a reply.
    Push,
}

pub(super) struct Session {
    pub(super) settings: Settings,
    /// What encrypts the connection.
    encryption: Option<Encryption>,
    pub(super) connection: Option<Connection>,
    /// Whether commands are read from standard input. If so, a lost connection does not end the
    /// program.
    pub(super) interactive: bool,
    pub(super) interrupts: Interrupts,
    /// The database that is selected.
    database: i64,
    /// The database to select after connecting again.
    wanted_database: i64,
    /// The database at the start of the transaction, while there is one.
    transaction: Option<i64>,
    shuts_down: bool,
}

impl Session {
    pub(super) fn new(settings: Settings, encryption: Option<Encryption>) -> Self {
        Self {
            encryption,
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

    /// Returns the address of the server as it is shown to users.
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

    /// Returns the prompt.
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

    /// Connects, or connects again. Sends the password, the database and the version.
    pub(super) fn connect(&mut self, loudness: Loudness) -> Result<(), Trouble> {
        self.connection = None;
        (self.database, self.transaction) = (0, None);
        let options = Options {
            encryption: self.encryption.clone(),
            connect_timeout: self.settings.connect_timeout,
            read_timeout: None,
            write_timeout: None,
            // The highest possible limit: the user asked for the reply, and can press Ctrl-C.
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
                return Err(Trouble::Reported);
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

    /// Selects the wanted database, unless it is selected already.
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

    /// Runs a command of the tool's own. Reports a failure.
    fn ask(&mut self, what: &str, command: &[String]) -> Result<Answer, Trouble> {
        let Some(connection) = &mut self.connection else { return Err(Trouble::Reported) };
        connection.call(command).map_err(|error| {
            match error.server() {
                Some(words) => {
                    complain(format_args!("{what} failed: {}", String::from_utf8_lossy(words)))
                }
                None => complain("\nI/O error"),
            }
            Trouble::Reported
        })
    }

    /// Runs `command`. Reports a failure that ends the program. The text of a server error follows
    /// `what`.
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

    /// Sends all `commands` at once. Returns an answer, or the text of the server error, for each.
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

    /// Runs `command` `repeat` times, forever if `repeat` is negative, and prints the replies.
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
        let Some(connection) = &mut self.connection else { return Err(Trouble::Reported) };
        connection.send(command);
        // The next reply reports the error.
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
            // Each name is confirmed, in RESP3 by a push.
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

    /// Prints messages until Ctrl-C, or until the server answers with an error.
    fn watch(&mut self, is_text: bool, pushes: Pushes) -> Result<(), Trouble> {
        let cutter = self.connection.as_ref().map(|connection| connection.cutter());
        self.interrupts.aim(cutter.map_or(Target::Program, Target::Connection));
        let result = loop {
            match self.read(is_text, pushes) {
                Ok(Kind::Error) => break Ok(()),
                Ok(_) => {}
                // Losing the connection ends a script, unless Ctrl-C cut it.
                Err(Trouble::Reported) if self.interrupts.take() => {
                    break self.connect(Loudness::Loud);
                }
                Err(trouble) => break Err(trouble),
            }
        };
        self.interrupts.aim(Target::Program);
        // A Ctrl-C that came too late is ignored.
        self.interrupts.take();
        result
    }

    /// Prints the next reply, and pushes that come before it.
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
        let Some(connection) = connection else { return Err(Trouble::Reported) };
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

    /// Handles the loss of the connection.
    fn lose(&mut self, error: &Error) -> Result<Kind, Trouble> {
        if std::mem::take(&mut self.shuts_down) {
            // The user asked for it.
            self.connection = None;
            return Ok(Kind::Other);
        }
        if self.interrupts.peek() {
            return Err(Trouble::Reported);
        }
        complain(format_args!("Error: {}", context(error.cause())));
        if !self.interactive || !is_reconnectable(error.cause()) {
            return Err(Trouble::Exit(1));
        }
        self.connection = None;
        Err(Trouble::Reported)
    }

    /// Updates the state after a command.
    fn follow(&mut self, command: &[Vec<u8>], kind: Kind) {
        let done = kind != Kind::Error;
        if is(command, "select") && command.len() == 2 && done {
            let database = integer(&String::from_utf8_lossy(&command[1]));
            (self.database, self.wanted_database) = (database, database);
        } else if is(command, "auth") && matches!(command.len(), 2 | 3) {
            // Selecting may not have been allowed before. A failure is reported.
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

/// The handling of pushes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pushes {
    /// They count as the awaited replies.
    AreReplies,
    /// They are printed, if wanted, while the session waits for a reply.
    AreApart,
}

/// Returns whether the name of `command` is `name`, ignoring case.
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

/// Reports that standard input failed, and ends the tool.
pub(super) fn input_failed(error: &io::Error) -> Trouble {
    complain(format_args!("kv-cli: standard input: {error}"));
    Trouble::Exit(1)
}

/// Writes to standard output. Exits if standard output fails.
pub(super) fn print_all(text: &[u8]) {
    if let Err(failure) = output::print(text) {
        std::process::exit(failure.report("kv-cli").into());
    }
}

/// The duration from which on the time of a command is printed.
pub(super) const SLOW: Duration = Duration::from_millis(500);
