//! A client of a MooseFS file system: several blocking connections that work together.
//!
//! A [`Client`] has one session with the master, on which any number of requests are under way, and
//! connections to chunkservers as it needs them. The calling thread waits for all of them together
//! ([`blocking::wait`](crate::blocking::wait)).
//!
//! - [`Client::get`] reads several parts of a file at a time, from all copies of its chunks, and takes
//!   another copy when one fails.
//! - [`Client::put`] writes several chunks at a time, each through a chain of chunkservers, and continues
//!   with another chain when one fails.
//! - [`Client::verify`] reads all copies and compares them.
//! - [`Client::find`], [`Client::list`], [`Client::tree`] and [`Client::space`] ask the master.
//!
//! ```no_run
//! use clients::mfs::{Client, LastLink, Options, Source, StreamSink};
//! use std::path::Path;
//!
//! let mut client = Client::open(Options::new("10.0.0.1:9421".parse()?))?;
//! let mut source = Source::stream(&b"It is noon.\n"[..])?;
//! client.put(Path::new("/notes"), 0o644, &mut source, &mut ())?;
//!
//! let mut sink = StreamSink::new(Vec::new());
//! client.get(Path::new("/notes"), &mut sink, &mut ())?;
//! assert_eq!(sink.into_inner(), b"It is noon.\n");
//! assert_eq!(client.find(Path::new("/notes"), LastLink::Keep)?.attributes.length, 12);
//! client.close();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This proves a framework. It is no client for data to keep: that is the real MooseFS.
//!
//! # Limits
//!
//! [`Options`] has all of them, with their defaults. Memory holds the window of each chain that is
//! written, the parts of a stream that came before their turn, and the answers of the master: about 20
//! MiB with the defaults, whatever the length of the file.

mod chain;
mod client;
mod error;
mod get;
mod listing;
mod master;
mod options;
mod packets;
mod places;
mod put;
mod reads;
mod sink;
mod source;
mod verify;
mod watch;
mod writing;

pub use client::{Client, Found, Kept, LastLink, is_missing};
pub use error::{Cause, Error};
pub use listing::{Listed, Names, Tree};
pub use options::{Identity, Options, WINDOW_MAX};
pub use sink::{FileSink, Sink, StreamSink};
pub use source::Source;
pub use verify::{Verdict, Verified};
pub use watch::Watch;
