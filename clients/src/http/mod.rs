//! A client of HTTP/1.1 on the loop (RFC 9110, RFC 9112), with connections that are kept.
//!
//! [`Client::fetch`] returns a whole response. [`Client::send`] delivers one to a [`Receiver`], piece
//! by piece, with back-pressure; an [`Upload`] produces the body of a request the same way.

pub(crate) mod args;
mod client;
pub(crate) mod collect;
mod courier;
mod decode;
mod desk;
mod dial;
mod engine;
mod error;
mod options;
mod origin;
mod proxy;
mod receiver;
mod redirect;
mod request;
mod route;
mod tunnel;
mod upload;

pub use args::ConnectArgs;
pub use client::{Client, ExchangeId};
pub use collect::Response;
pub use dial::connect;
pub(crate) use error::Progress;
pub use error::{Error, ErrorKind};
pub use options::{MakeTls, Options};
pub(crate) use origin::shown;
pub use origin::{Origin, parse_url};
pub(crate) use proxy::user_of;
pub use proxy::{Proxies, Proxy, ProxyKind, split};
pub use receiver::{Receiver, Summary};
pub(crate) use request::is_token;
pub use request::{Body, Filled, Request, Upload};
pub(crate) use tunnel::basic;
pub use tunnel::{Tunnel, TunnelError};
pub use url::Url;
