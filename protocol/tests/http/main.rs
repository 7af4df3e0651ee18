//! HTTP/1.1: servers, clients and their parts, in memory.

#![cfg(feature = "http")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod recorder;
mod server;
