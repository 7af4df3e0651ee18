//! HTTP/1.1: servers, clients and their parts, in memory.

#![cfg(feature = "http")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod costs;
mod differential;
mod exchanges;
mod framing;
mod property;
mod recorder;
mod router;
mod server;
mod smuggling;
