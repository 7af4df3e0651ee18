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
//!   beside their commands in `commands/pubsub.rs`;
//! - the `clock`, and `counters` of calls.
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
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use protocol::{Conversation, Limits};
use reactor::LoopLimits;

use crate::{Application, ServerArgs};

pub use app::{App, Config};
pub use session::{Connection, session};

/// How often keys whose time has come are looked for.
const TICK: Duration = Duration::from_millis(100);

/// The longest string, of 512 MB, and a million replies of 100 bytes behind it: clients that write all
/// of a pipeline before they read any of it have asked for so many.
const NORMAL_BACKLOG: &str = "640mb";
/// Three clients at that limit.
const CLIENTS_MEMORY: &str = "2gb";

/// The arguments that only this server takes.
#[derive(Clone, Debug, Args)]
pub struct KvArgs {
    /// Bytes of keys and values, such as 100mb, at which commands that add more are refused
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub maxmemory: Option<u64>,

    /// A password that clients have to give with AUTH before anything else
    #[arg(long, value_name = "PASSWORD", env = "KV_PASSWORD", hide_env_values = true)]
    pub requirepass: Option<String>,

    /// Bytes that a subscriber may leave unread before it is closed
    #[arg(long, value_name = "BYTES", default_value = "32mb", value_parser = parse_size)]
    pub pubsub_backlog: u64,

    /// Bytes that another client may leave unread before it is closed
    #[arg(long, value_name = "BYTES", default_value = NORMAL_BACKLOG, value_parser = parse_size)]
    pub normal_backlog: u64,

    /// Bytes that all clients but subscribers may leave unread together, with the requests that are
    /// kept for them; beyond it, the one with the most is closed
    #[arg(long, value_name = "BYTES", default_value = CLIENTS_MEMORY, value_parser = parse_size)]
    pub maxmemory_clients: u64,
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size = commands::server::memory_size(text).filter(|size| *size > 0);
    size.ok_or_else(|| "expected a positive size such as 100mb or 1gb".to_owned())
}

/// Clients that talk on many connections need not wake this server for each of their requests: it
/// looks for about as long as the next is away, and lets those after it gather.
const LOOP_LIMITS: LoopLimits = LoopLimits {
    spin_max: Duration::from_nanos(2500),
    coalesce_for: Duration::from_micros(5),
    ..LoopLimits::DEFAULT
};

/// The server that the arguments ask for.
///
/// # Errors
/// None as yet: it is what [`run_with`](crate::run_with) calls.
pub fn application(
    common: &ServerArgs,
    own: &KvArgs,
) -> io::Result<Application<App, Conversation<protocol::resp::Server, Connection>>> {
    let config = Config {
        memory_max: own.maxmemory,
        password: own.requirepass.clone().unwrap_or_default(),
        pubsub_backlog_max: own.pubsub_backlog,
        normal_backlog_max: own.normal_backlog,
        clients_memory_max: own.maxmemory_clients,
        idle_timeout: common.idle_timeout.limit(),
        connections_max: common.connections_max(),
    };
    // Classes have limits of their own under this one, so it is never reached.
    let backlog_max = own.normal_backlog.max(own.pubsub_backlog).max(Limits::DEFAULT.output_max);
    let limits = Limits {
        // The largest string, with room for the rest of its request.
        message_size_max: commands::strings::STRING_SIZE_MAX + 1024 * 1024,
        // Who writes a whole pipeline before it reads has to be read from all the while.
        output_high: backlog_max.saturating_add(1),
        output_max: backlog_max.saturating_add(1),
        ..Limits::DEFAULT
    };
    let start = |cx: &mut reactor::LoopCx<'_, App>| cx.every(TICK, |_, cx| cx.app.tick()).map(drop);
    let (state, session) = (App::new(config, Instant::now), Rc::new(session));
    Ok(Application { state, limits, loop_limits: LOOP_LIMITS, session, start })
}
