//! A key-value store that speaks RESP, so that Redis's own clients and tools can use it.
//!
//! It answers "how do I write a real server with this", and does not replace Redis. A request goes
//!
//! 1. from the codec to [`Connection`], the service of one connection (`session`),
//! 2. through the checks that precede every command (`dispatch`), which find the command by its
//!    name (`names`),
//! 3. to its row in the table of commands (`table`, `command`),
//! 4. to a function in `commands` that reads the arguments (`call`), works on the [`App`] and writes
//!    a reply.
//!
//! The state is one value, [`App`] (`app`), which the loop lends to every call: one thread, no locks.
//! It has
//!
//! - the keys: `databases`, `store`, `value`, `places`, `expiry`, `watches`;
//! - the clients: `client`, `blocking` (clients that wait for a list), and the channels, which are
//!   next to their commands in `commands/pubsub.rs`;
//! - the `clock`, and `counters` of calls.
//!
//! `moving` passes all of it on to a new program.
//!
//! Helpers know none of these: `decimal`, `error`, `glob`, `room`, `text`.

mod app;
mod blocking;
mod call;
mod client;
mod clock;
mod command;
mod commands;
mod counters;
mod databases;
mod decimal;
mod dispatch;
mod error;
mod expiry;
mod glob;
mod moving;
mod names;
mod places;
mod room;
mod session;
mod store;
mod table;
mod text;
mod value;
mod watches;

use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use protocol::{Conversation, Limits};
use reactor::{LoopLimits, now, time_of_day};

use crate::{Application, Server, ServerArgs};

pub use app::{App, Config};
pub use session::{Connection, session};

const ABOUT: &str = "A small in-memory key-value store that speaks Redis's protocol. It is an \
                     example to read and a server for tests. It has no scripts, sorted sets or streams, stores \
                     nothing on disk and does not replicate. For any of those, run Redis or \
                     Valkey";

/// The name, the description and the default address of the server.
pub const SERVER: Server =
    Server { name: "kv", about: ABOUT, address: "127.0.0.1:6379", datagram_port: None };

/// The interval at which expired keys are removed.
const TICK: Duration = Duration::from_millis(100);

/// The longest string, of 512 MB, and a million replies of 100 bytes after it: a client that writes
/// a whole pipeline before it reads may have that much unread.
const NORMAL_BACKLOG: &str = "640mb";
/// Three clients at that limit.
const CLIENTS_MEMORY: &str = "2gb";

/// The arguments that only this server takes.
#[derive(Clone, Debug, Args)]
pub struct KvArgs {
    /// Memory for keys and values, such as 100mb; above it, commands that need more are refused
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub maxmemory: Option<u64>,

    /// Password that clients have to give with AUTH before any other command
    #[arg(long, value_name = "PASSWORD", env = "KV_PASSWORD", hide_env_values = true)]
    pub requirepass: Option<String>,

    /// Bytes that a subscriber may leave unread before it is closed
    #[arg(long, value_name = "BYTES", default_value = "32mb", value_parser = parse_size)]
    pub pubsub_backlog: u64,

    /// Bytes that any other client may leave unread before it is closed
    #[arg(long, value_name = "BYTES", default_value = NORMAL_BACKLOG, value_parser = parse_size)]
    pub normal_backlog: u64,

    /// Bytes that all clients except subscribers may hold together, in unread replies and in
    /// requests that are kept for later; above it, the client with the most is closed
    #[arg(long, value_name = "BYTES", default_value = CLIENTS_MEMORY, value_parser = parse_size)]
    pub maxmemory_clients: u64,
}

/// Reads a number of bytes such as `100mb`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let size = commands::server::memory_size(text).filter(|size| *size > 0);
    size.ok_or_else(|| "expected a positive size such as 100mb or 1gb".to_owned())
}

/// Clients with many connections should not have to wake the server for each request. The loop
/// polls for about as long as the next request takes to arrive, and then coalesces events.
const LOOP_LIMITS: LoopLimits = LoopLimits {
    spin_max: Duration::from_nanos(2500),
    coalesce_for: Duration::from_micros(5),
    ..LoopLimits::DEFAULT
};

/// Builds the server from its arguments.
///
/// # Errors
/// When there is to be more than one thread: all clients see the same keys, which belong to one loop.
pub fn application(
    common: &ServerArgs,
    own: &KvArgs,
) -> io::Result<Application<App, Conversation<protocol::resp::Server, Connection>>> {
    if common.loops.threads > NonZeroUsize::MIN {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "kv runs with one thread: all clients have to see the same keys, which belong to one loop \
             and have no locks. Leave out --threads, or start several servers and divide the keys among \
             them",
        ));
    }
    let config = Config {
        memory_max: own.maxmemory,
        password: own.requirepass.clone().unwrap_or_default(),
        pubsub_backlog_max: own.pubsub_backlog,
        normal_backlog_max: own.normal_backlog,
        clients_memory_max: own.maxmemory_clients,
        idle_timeout: common.idle_timeout.limit(),
        connections_max: common.connections_max(),
    };
    // Each class of clients has its own limit below this one, so this one is never reached.
    let backlog_max = own.normal_backlog.max(own.pubsub_backlog).max(Limits::DEFAULT.output_max);
    let limits = Limits {
        // The longest string, and the rest of its request.
        message_size_max: commands::strings::STRING_SIZE_MAX + 1024 * 1024,
        // A client that writes a whole pipeline before it reads has to be read from meanwhile.
        output_high: backlog_max.saturating_add(1),
        output_max: backlog_max.saturating_add(1),
        ..Limits::DEFAULT
    };
    let start = |cx: &mut reactor::LoopCx<'_, App>| cx.every(TICK, |_, cx| cx.app.tick()).map(drop);
    let (state, session) = (App::new(config, now, time_of_day), Rc::new(session));
    let loop_limits = LOOP_LIMITS;
    Ok(Application {
        state,
        limits,
        loop_limits,
        descriptors: 0,
        own_connections: 0,
        shared: Some(|app| app),
        legacy: None,
        session,
        datagrams: None,
        start,
        reload: None,
    })
}
