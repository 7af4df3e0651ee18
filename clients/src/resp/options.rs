//! The options of a connection.

use std::fmt;
use std::time::Duration;

use protocol::resp::{Limits, Protocol};

use super::{Answer, Cause, Connection, Error};

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
    /// The password, and the user if there is one. Default none.
    pub credentials: Option<Credentials>,
    /// The number of the database. Default 0.
    pub database: u32,
    /// How long connecting may take, for all addresses of a name together. `None` waits as long as
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
            credentials: None,
            database: 0,
            connect_timeout: Some(Duration::from_secs(5)),
            read_timeout: Some(Duration::from_secs(30)),
            write_timeout: Some(Duration::from_secs(30)),
            limits: Limits::DEFAULT,
            answers_size_max: 64 * 1024 * 1024,
            pushes_size_max: 16 * 1024 * 1024,
        }
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
    /// `unix:/run/redis.sock`. Then requests the version of RESP, sends the password and selects
    /// the database, as the options say.
    ///
    /// # Errors
    /// When the address is not valid, the connection cannot be made in time, or the server refuses
    /// the version, the password or the database.
    pub fn connect(&self, address: &str) -> Result<Connection, Error> {
        let mut connection = Connection::open(address, self)?;
        match self.protocol {
            Protocol::Resp2 => self.authenticate(&mut connection)?,
            Protocol::Resp3 => self.hello(&mut connection)?,
        }
        if self.database != 0 {
            connection.call(["SELECT", &self.database.to_string()])?;
        }
        Ok(connection)
    }

    fn authenticate(&self, connection: &mut Connection) -> Result<(), Error> {
        let Some(Credentials { user, password }) = &self.credentials else { return Ok(()) };
        let command = ["AUTH"].into_iter().chain(user.as_deref()).chain([password.as_str()]);
        connection.call(command.collect::<Vec<_>>()).map(drop)
    }

    fn hello(&self, connection: &mut Connection) -> Result<(), Error> {
        let mut command = vec!["HELLO", "3"];
        if let Some(Credentials { user, password }) = &self.credentials {
            command.extend(["AUTH", user.as_deref().unwrap_or("default"), password]);
        }
        let answer = connection.call(command)?;
        if !matches!(answer, Answer::Map(_)) {
            return Err(connection.error("HELLO", Cause::Unexpected));
        }
        Ok(())
    }
}
