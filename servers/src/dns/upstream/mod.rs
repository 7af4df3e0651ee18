//! Asking other servers.
//!
//! The engine (`engine`) decides without I/O: which upstream is asked, when the next one is, which
//! answers count, and when there will be none. It knows the latency and the health of each upstream
//! (`server`), and the ports that are open (`ports`). The sockets belong to services of their own
//! (`sockets`). A session cannot open a socket, so a source does, the keeper (`keeper`), which also tells
//! the engine the time. Answers that do not fit into a datagram are fetched over TCP (`tcp`). Numbers,
//! spellings and the choice of ports are random (`secrets`). Upstreams know the ports by cookies
//! (`jar`). What has failed is not asked again for a
//! moment (`failures`).

mod changing;
mod engine;
mod failures;
mod flight;
mod hearing;
mod jar;
mod keeper;
mod ports;
mod resolv_conf;
mod secrets;
mod sending;
mod server;
mod sockets;
mod tcp;

pub(super) use engine::{Begun, Engine, EngineOptions};
pub(super) use flight::{Client, Done, Waiter};
pub(super) use keeper::{Keeper, open_missing};
pub(super) use resolv_conf::name_servers;
pub(super) use tcp::{Ask, OverConnection, client_options};
