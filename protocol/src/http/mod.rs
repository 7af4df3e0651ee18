//! HTTP/1.1 (RFC 9110, RFC 9112) for servers and clients (feature `http`).
//!
//! - A [`Server`] is the session of a connection. It delivers requests to a [`Service`], as a view of
//!   the head and the pieces of the body, and sends what the service writes into a [`Response`].
//! - A [`Router`] is a service that chooses a handler by path and method: for small requests and
//!   responses.
//! - A [`Client`] is the session of a connection to a server. It sends what a [`Requester`] writes into
//!   a [`Request`], and delivers the responses. An [`IdlePool`] keeps account of idle connections.
//! - [`Options`] and [`ClientOptions`] limit what the peer may ask for. A [`Refusal`] says what is wrong with a message.
//! - A [`RequestHead`] and a [`ResponseHead`] are views of received bytes: their [`Fields`], their
//!   [`Target`] or [`Status`], and the [`BodyLength`].
//!
//! ```
//! use protocol::http::{Options, RequestHead, Response, Server, Status};
//! use protocol::{Context, Flow, testing};
//!
//! let hello = |_: &RequestHead<'_>, response: &mut Response<'_>, _: &mut Context<'_>| {
//!     response.text(Status::OK, "hello\n");
//!     Flow::Continue
//! };
//! let options = Options { server_name: Some("example".into()), ..Options::default() }.shared()?;
//! let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
//! let sent = testing::drive(&mut Server::new(hello, options), &mut (), &[request])?;
//! assert_eq!(
//!     str::from_utf8(&sent)?,
//!     "HTTP/1.1 200 OK\r\n\
//!      Content-Type: text/plain; charset=utf-8\r\n\
//!      Server: example\r\n\
//!      Content-Length: 6\r\n\
//!      Connection: close\r\n\r\n\
//!      hello\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The chapter "HTTP" of the book (`docs/src/http.md`) describes the parts together.

mod client;
mod date;
mod fields;
mod framing;
mod head;
mod incoming;
mod options;
mod outgoing;
mod percent;
mod pool;
mod refusal;
mod request;
mod requester;
mod response;
mod router;
mod server;
mod service;
mod status;
mod target;

pub use client::{Client, ClientOptions};
pub use date::{Clock, format_date, parse_date};
pub use fields::{Field, Fields};
pub use head::{BodyLength, OwnedRequestHead, RequestHead, ResponseHead, Version};
pub use options::Options;
pub use percent::{decode_percent, query_pairs};
pub use pool::{IdleOptions, IdlePool};
pub use refusal::Refusal;
pub use request::{Request, RequestBuilder};
pub use requester::Requester;
pub use response::{Head, Response};
pub use router::{RoutedRequest, Router, RouterService};
pub use server::{Server, TIMEOUT_KEY};
pub use service::Service;
pub use status::Status;
pub use target::Target;
