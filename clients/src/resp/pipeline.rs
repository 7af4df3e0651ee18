//! Pipelines: many commands at once.

use std::collections::VecDeque;

use protocol::Output;

use super::connection::encode;
use super::name::Name;
use super::{Answer, Connection, Error};

/// Commands that are sent together, with one wait for all answers.
///
/// ```no_run
/// use clients::resp::Connection;
///
/// let mut connection = Connection::connect("127.0.0.1:6379")?;
/// let mut pipeline = connection.pipeline();
/// for number in 0..1000 {
///     pipeline.add(["RPUSH", "numbers", &number.to_string()]);
/// }
/// for result in pipeline.run() {
///     result?;
/// }
/// # Ok::<(), clients::resp::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "commands are sent when it is run"]
pub struct Pipeline<'a> {
    connection: &'a mut Connection,
    commands: Output,
    names: VecDeque<Name>,
}

impl Connection {
    /// Returns a pipeline without commands.
    pub fn pipeline(&mut self) -> Pipeline<'_> {
        Pipeline { connection: self, commands: Output::new(), names: VecDeque::new() }
    }
}

impl Pipeline<'_> {
    /// Appends a command.
    ///
    /// # Panics
    /// When it has no name.
    pub fn add<T: AsRef<[u8]>>(
        &mut self,
        command: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) -> &mut Self {
        let name = encode(command, &mut self.commands);
        self.names.push_back(name);
        self
    }

    /// Sends the commands and waits for all answers. Returns one result for each command, in order.
    /// If the connection is lost, all commands without an answer have the same error.
    ///
    /// # Panics
    /// In the same cases as [`call`](Connection::call).
    pub fn run(self) -> Vec<Result<Answer, Error>> {
        let Self { connection, commands, names } = self;
        connection.adopt(commands, names);
        // Each command returns the failure in its own result.
        let _ = connection.flush();
        (0..connection.owed()).map(|_| connection.receive()).collect()
    }
}
