//! The options of a connection.

use std::fmt;
use std::time::Duration;

use protocol::resp::{Limits, Protocol};

use super::{Answer, Cause, Connection, Error};
use crate::tls::Encryption;

/// The options of a connection: how it is made, its timeouts and its limits. By default, every wait
/// has a timeout.
///
/// ```
/// use clients::resp::Options;
/// use protocol::resp::Protocol;
/// use std::time::Duration;
///
/// let options = Options {
///     protocol: Protocol::Resp3,
///     read_timeout: Some(Duration::from_secs(5)),
///     ..Options::default()
/// }
/// .password("secret");
/// // A password does not get into logs.
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The version of RESP to speak. Default RESP2, which every server knows.
    pub protocol: Protocol,
    /// What encrypts the connection (TLS). Default nothing.
    pub encryption: Option<Encryption>,
    /// The password, and the user if there is one. Default none.
    pub credentials: Option<Credentials>,
    /// The number of the database. Default 0.
    pub database: u32,
    /// The name of the connection, which `CLIENT LIST` of the server shows. Default none.
    pub name: Option<String>,
    /// Which changes of keys the server reports, for a cache of what was read. Default none. It needs
    /// RESP3.
    pub tracking: Option<Tracking>,
    /// Whether a [`Client`](super::Client) regards a server that still loads its data set as one
    /// that cannot be reached yet. Default true: it would refuse nearly all commands. Programs that
    /// watch servers set it to false.
    pub waits_for_data: bool,
    /// Whether a [`Client`](super::Client) accepts only a server that says that it is a master
    /// (`ROLE`), and regards another one as a server that cannot be reached yet. Default false.
    pub only_master: bool,
    /// How long connecting may take, for all addresses of a name together, and then again how long
    /// the handshake of TLS may take. `None` waits as long as
    /// the system does. Default 5 s: two lost packets.
    pub connect_timeout: Option<Duration>,
    /// How long the answer to one command may take. `None` waits for ever, which blocking commands
    /// need. Default 30 s: longer than any command that does not block.
    pub read_timeout: Option<Duration>,
    /// How long the server may accept nothing while commands are being sent. `None` waits for ever.
    /// Default 30 s.
    pub write_timeout: Option<Duration>,
    /// The limits of one value. The defaults are those of [`Limits`].
    pub limits: Limits,
    /// Bytes of answers that are kept while commands are being sent. At this size, the connection
    /// stops reading until the commands are sent. Default 64 MiB.
    pub answers_size_max: usize,
    /// Bytes of pushes and messages that are kept until they are taken. With more, the connection
    /// fails. Default 16 MiB.
    pub pushes_size_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            protocol: Protocol::Resp2,
            encryption: None,
            credentials: None,
            database: 0,
            name: None,
            tracking: None,
            waits_for_data: true,
            only_master: false,
            connect_timeout: Some(Duration::from_secs(5)),
            read_timeout: Some(Duration::from_secs(30)),
            write_timeout: Some(Duration::from_secs(30)),
            limits: Limits::DEFAULT,
            answers_size_max: 64 * 1024 * 1024,
            pushes_size_max: 16 * 1024 * 1024,
        }
    }
}

/// Which changes of keys a server of Redis reports with
/// [`Message::Invalidated`](super::Message::Invalidated) (`CLIENT TRACKING`).
///
/// A [`Client`](super::Client) requests them again on each new connection. What has changed between
/// two connections is not reported, so a cache is to be emptied when a connection has ended
/// ([`on_disconnect`](super::Client::on_disconnect)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// Of keys that this connection has read since their last report.
    Read,
    /// Of all keys that begin with one of these (`BCAST`), of all keys if there are none. The server
    /// refuses a prefix that begins with another one.
    Prefixes(Vec<String>),
}

impl Tracking {
    /// Returns the command that requests the reports.
    fn command(&self) -> Vec<&str> {
        let mut command = vec!["CLIENT", "TRACKING", "ON"];
        if let Self::Prefixes(prefixes) = self {
            command.push("BCAST");
            command.extend(prefixes.iter().flat_map(|prefix| ["PREFIX", prefix]));
        }
        command
    }
}

/// A password, and the user that it belongs to.
#[derive(Clone)]
pub struct Credentials {
    /// The user. `None` is the server's default user.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials of {:?}", self.user)
    }
}

impl Options {
    /// Sets the password of the default user.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials { user: None, password: password.into() });
        self
    }

    /// Sets the user and the password.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let user = Some(user.into());
        self.credentials = Some(Credentials { user, password: password.into() });
        self
    }

    /// Connects to `address`: `127.0.0.1:6379`, `tcp://[::1]:6379`, `host:6379` or
    /// `unix:/run/redis.sock`. Then requests the version of RESP, sends the password, selects
    /// the database, sets the name and requests reports of changes, as the options say.
    ///
    /// # Errors
    /// When the address is not valid, the options contradict one another, the connection cannot be
    /// made in time, or the server refuses the version, the password, the database or the reports.
    pub fn connect(&self, address: &str) -> Result<Connection, Error> {
        self.check(address)?;
        let mut connection = Connection::open(address, self)?;
        for command in self.opening() {
            let answer = connection.call(&command)?;
            if command[0] == "HELLO" && !matches!(answer, Answer::Map(_)) {
                return Err(connection.error("HELLO", Cause::Unexpected));
            }
        }
        Ok(connection)
    }

    /// Checks whether a connection to `address` can be as these options say.
    pub(super) fn check(&self, address: &str) -> Result<(), Error> {
        if self.tracking.is_some() && self.protocol == Protocol::Resp2 {
            // Redis accepts that, and reports nothing.
            let cause = Cause::Options("tracking needs RESP3, since RESP2 has no pushes");
            return Err(Error::new("connect", address, cause));
        }
        Ok(())
    }

    /// Returns the commands that open a connection.
    pub(super) fn opening(&self) -> Vec<Vec<String>> {
        let mut commands: Vec<Vec<&str>> = Vec::new();
        match (self.protocol, &self.credentials) {
            (Protocol::Resp2, None) => {}
            (Protocol::Resp2, Some(Credentials { user, password })) => {
                let command = ["AUTH"].into_iter().chain(user.as_deref()).chain([&**password]);
                commands.push(command.collect());
            }
            (Protocol::Resp3, None) => commands.push(vec!["HELLO", "3"]),
            (Protocol::Resp3, Some(Credentials { user, password })) => {
                let user = user.as_deref().unwrap_or("default");
                commands.push(vec!["HELLO", "3", "AUTH", user, password]);
            }
        }
        let database = self.database.to_string();
        if self.database != 0 {
            commands.push(vec!["SELECT", &database]);
        }
        if let Some(name) = &self.name {
            commands.push(vec!["CLIENT", "SETNAME", name]);
        }
        commands.extend(self.tracking.iter().map(Tracking::command));
        let owned = |command: Vec<&str>| command.into_iter().map(str::to_owned).collect();
        commands.into_iter().map(owned).collect()
    }
}
